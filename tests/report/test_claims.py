"""Claims: a verdict follows from intervals and from nothing else."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError
from results_kit import episodes, plain, record, results_of, sweep

from harness.errors import HarnessError
from harness.report import claims, claims_text
from harness.suite.specs.claims import ClaimSpec


def spec(*measures: dict, **more) -> ClaimSpec:
    base = {"name": "c", "claim": "it is so", "learner": "bio", "measures": list(measures)}
    return ClaimSpec.model_validate(base | more)


def audit(learner: str, values: list[float], metric: str = "ks_log_w", **setting):
    return plain(
        *(
            record(
                learner,
                setting,
                v,
                seed=seed,
                metric=metric,
                protocol="audit",
                cell=f"{learner}{seed}",
            )
            for seed, v in enumerate(values)
        )
    )


def decide(results, *specs):
    return claims.decide(results, specs)


@pytest.mark.parametrize(
    "bound, verdict",
    [
        ({"at_most": 0.05}, "holds"),
        ({"at_least": 0.05}, "fails"),
        ({"at_most": 0.0305}, "open"),
        ({"at_least": 0.02}, "holds"),
    ],
)
def test_a_bound_on_the_learners_own_number(bound, verdict):
    results = results_of(audit("bio", [0.030, 0.031, 0.029, 0.030, 0.031]))
    (row,) = decide(results, spec({"protocol": "audit", "metric": "ks_log_w", **bound}))
    assert row.verdict == verdict and row.seeds == 5


def test_a_number_without_spread_is_its_own_interval():
    (row,) = decide(
        results_of(audit("bio", [0.0] * 5)),
        spec({"protocol": "audit", "metric": "ks_log_w", "at_most": 0}),
    )
    assert row.verdict == "holds" and row.claim_verdict == "confirmed"


def test_a_difference_is_paired_by_seed_and_must_hold_against_every_control():
    base = np.array([0.1, 0.3, 0.2, 0.5, 0.4])
    results = results_of(
        audit("bio", list(base + 0.1)),
        audit("low", list(base - [0.3, 0.31, 0.3, 0.29, 0.3])),
        audit("high", list(base + [0.0, 0.01, 0.0, -0.01, 0.0])),
    )
    measure = {
        "protocol": "audit",
        "metric": "ks_log_w",
        "above_controls_by": 0.05,
        "controls": ["low", "high"],
    }
    (row,) = decide(results, spec(measure))
    assert (row.control, row.verdict) == ("high", "holds") and row.difference == pytest.approx(0.1)
    (row,) = decide(results, spec(measure | {"above_controls_by": 0.2}))
    assert (row.control, row.verdict) == ("high", "fails")
    (row,) = decide(results, spec(measure | {"above_controls_by": 0.1}))
    assert row.verdict == "open"


def one_seed(learner: str, value: float, half: float | None):
    low, high = (None, None) if half is None else (value - half, value + half)
    keys = {"metric": "ks_log_w", "protocol": "audit", "cell": learner}
    return plain(replace(record(learner, {}, value, seed=0, **keys), low=low, high=high))


@pytest.mark.parametrize(
    ("own", "theirs", "verdict"),
    [(0.03, 0.04, "holds"), (0.06, 0.09, "open"), (None, 0.09, "holds"), (0.11, None, "open")],
)
def test_one_seed_without_stored_units_is_compared_by_both_intervals(own, theirs, verdict):
    """The difference is 0.1; its half width is the root of the sum of squares."""
    results = results_of(one_seed("bio", 0.4, own), one_seed("control", 0.3, theirs))
    measure = {"protocol": "audit", "metric": "ks_log_w", "above_controls_by": 0}
    (row,) = decide(results, spec(measure, controls=["control"]))
    half = np.hypot(own or 0, theirs or 0)
    assert row.verdict == verdict
    assert (row.difference_low, row.difference_high) == pytest.approx((0.1 - half, 0.1 + half))


def test_below_controls_mirrors_above():
    results = results_of(
        audit("bio", [0.1, 0.11, 0.1, 0.09, 0.1]), audit("a", [0.3] * 5), audit("b", [0.15] * 5)
    )
    (row,) = decide(
        results,
        spec(
            {
                "protocol": "audit",
                "metric": "ks_log_w",
                "below_controls_by": 0.02,
                "controls": ["a", "b"],
            }
        ),
    )
    assert (row.control, row.verdict) == ("b", "holds") and row.difference == pytest.approx(-0.05)


def test_more_controls_widen_the_interval():
    generator = np.random.default_rng(0)
    base = list(generator.normal(0.5, 0.02, 5))
    alone = results_of(audit("bio", base), audit("a", list(generator.normal(0.45, 0.02, 5))))
    (one,) = decide(
        alone,
        spec(
            {"protocol": "audit", "metric": "ks_log_w", "above_controls_by": 0, "controls": ["a"]}
        ),
    )
    theirs = [r.value for r in alone.records if r.learner == "a"]
    many = results_of(audit("bio", base), *(audit(name, theirs) for name in "abcd"))
    (four,) = decide(
        many,
        spec(
            {
                "protocol": "audit",
                "metric": "ks_log_w",
                "above_controls_by": 0,
                "controls": list("abcd"),
            }
        ),
    )
    assert (
        four.difference == pytest.approx(one.difference)
        and four.difference_low < one.difference_low
    )


def test_controls_that_are_not_comparable_are_left_out_and_named():
    results = results_of(
        audit("bio", [0.9] * 3),
        audit("near", [0.895] * 3),
        audit("far", [0.99] * 3),
        audit("bio", [0.7] * 3, "gini_w"),
        audit("near", [0.5] * 3, "gini_w"),
        audit("far", [0.9] * 3, "gini_w"),
    )
    rule = {"protocol": "audit", "metric": "ks_log_w", "within": 0.01}
    (row,) = decide(
        results,
        spec(
            {"protocol": "audit", "metric": "gini_w", "above_controls_by": 0.1},
            controls=["near", "far"],
            comparable=rule,
        ),
    )
    assert (row.control, row.verdict) == ("near", "holds") and "far left out" in row.notes[0]


def test_missing_or_distrusted_numbers_confirm_nothing():
    assert (
        decide(results_of(), spec({"protocol": "audit", "at_least": 0}))[0].verdict
        == "not measured"
    )
    failed = plain(record("bio", {}, 0.9, protocol="audit", trust="FAIL"))
    (row,) = decide(results_of(failed), spec({"protocol": "audit", "at_least": 0.5}))
    assert row.verdict == "not trusted" and row.claim_verdict == "undecided"
    measure = {
        "protocol": "audit",
        "metric": "ks_log_w",
        "above_controls_by": 0,
        "controls": ["gone"],
    }
    (row,) = decide(results_of(audit("bio", [0.9] * 3)), spec(measure))
    assert row.verdict == "not measured" and "gone" in row.notes[0]


def test_missing_seeds_leave_a_claim_undecided():
    measure = {"protocol": "audit", "metric": "ks_log_w", "at_most": 0.05}
    (row,) = decide(
        results_of(audit("bio", [0.01] * 3), seeds={"audit": [0, 1, 2, 3]}), spec(measure)
    )
    assert (row.verdict, row.value, row.seeds) == (
        "not measured",
        0.01,
        3,
    ) and "only for seeds 0, 1, 2 of 0, 1, 2, 3" in row.notes[0]
    against = {
        "protocol": "audit",
        "metric": "ks_log_w",
        "below_controls_by": 0,
        "controls": ["bp"],
    }
    results = results_of(
        audit("bio", [0.01] * 3), audit("bp", [0.2] * 2), seeds={"audit": [0, 1, 2]}
    )
    (row,) = decide(results, spec(against))
    assert row.verdict == "not measured" and row.notes[0].startswith("bp has")
    assert (
        decide(results_of(audit("bio", [0.01] * 3), seeds={"audit": [0, 1, 2]}), spec(measure))[
            0
        ].verdict
        == "holds"
    )


def test_an_ambiguous_setting_is_an_error_unless_there_is_a_summary():
    two = plain(
        *(
            record("bio", {"bundle": b}, 0.01, metric="ks_log_w", protocol="audit", cell=b)
            for b in ("in", "out")
        )
    )
    measure = {"protocol": "audit", "metric": "ks_log_w", "at_most": 0.05}
    with pytest.raises(HarnessError, match="matches 2 numbers of ks_log_w of bio") as caught:
        decide(results_of(two), spec(measure))
    assert "bundle" in caught.value.hint
    assert decide(results_of(two, audit("bio", [0.02])), spec(measure))[0].value == 0.02


def test_the_worst_case_can_be_claimed_and_single_images_widen_the_interval():
    fgsm, pgd = [1] * 90 + [0] * 10, [1] * 80 + [0] * 20
    bio = [
        sweep("bio", attack, {0.1: v}, seed=seed)
        for seed in range(5)
        for attack, v in (("fgsm", fgsm), ("pgd", pgd))
    ]
    bp = [
        sweep("bp", attack, {0.1: [1] * 60 + [0] * 40}, seed=seed)
        for seed in range(5)
        for attack in ("fgsm", "pgd")
    ]
    measure = {
        "protocol": "robust",
        "setting": {"attack": "worst", "eps": 0.1},
        "above_controls_by": 0.1,
        "controls": ["bp"],
    }
    (row,) = decide(results_of(*bio, *bp), spec(measure))
    assert row.value == pytest.approx(0.8) and row.difference == pytest.approx(0.2)
    assert (
        row.difference_low < 0.2 < row.difference_high
    )  # equal seeds do not make the images certain


def test_one_seed_of_episodes_has_the_interval_over_episodes():
    generator = np.random.default_rng(1)
    a, b = generator.normal(0.8, 0.1, 200), generator.normal(0.6, 0.1, 200)
    (row,) = decide(
        results_of(episodes("bio", a), episodes("bp", b)),
        spec(
            {
                "protocol": "few",
                "setting": {"shots": 1},
                "above_controls_by": 0.1,
                "controls": ["bp"],
            }
        ),
    )
    assert row.verdict == "holds" and row.difference_low < (a - b).mean() < row.difference_high


def test_verdicts_of_claims():
    assert claims.overall(["holds", "open"]) == "partly confirmed"
    assert (
        claims.overall(["not measured"]) == "undecided" == claims.overall(["open", "not trusted"])
    )


@pytest.mark.parametrize(
    "measure", [{"protocol": "audit"}, {"protocol": "audit", "at_least": 1, "at_most": 2}]
)
def test_a_measure_has_one_bound(measure):
    with pytest.raises(ValidationError, match="one bound"):
        spec(measure)


def test_every_format_says_the_same(tmp_path):
    results = results_of(audit("bio", [0.030, 0.031, 0.029]), audit("bp_1", [0.1, 0.11, 0.12]))
    specs = [
        spec(
            {"protocol": "audit", "metric": "ks_log_w", "at_most": 0.05},
            {
                "protocol": "audit",
                "metric": "ks_log_w",
                "above_controls_by": 0,
                "controls": ["bp_1"],
            },
        )
    ]
    paths = claims_text.write(results, specs, tmp_path)
    texts = {path.suffix: path.read_text() for path in paths}
    assert set(texts) == {".md", ".csv", ".tex", ".json"}
    assert [m["verdict"] for m in json.loads(texts[".json"])["claims"][0]["measures"]] == [
        "holds",
        "fails",
    ]
    for text in texts.values():
        assert "partly confirmed" in text and "holds" in text and "fails" in text
    assert r"bp\_1" in texts[".tex"] and texts[".csv"].count("\n") == 3
    assert "partly confirmed" in str(claims_text.to_rich(claims.decide(results, specs)))
    assert claims_text.write(results, [], tmp_path) == []


def test_the_control_shown_is_the_one_that_decides():
    """Against ``wild`` nothing can be said; the bound fails against ``better``."""
    base = np.array([0.50, 0.51, 0.49])
    results = results_of(
        audit("bio", list(base)),
        audit("better", list(base + [0.30, 0.31, 0.30])),
        audit("wild", list(base + [0.5, -0.4, 0.1])),
    )
    measure = {
        "protocol": "audit",
        "metric": "ks_log_w",
        "above_controls_by": 0,
        "controls": ["wild", "better"],
    }
    (row,) = decide(results, spec(measure))
    assert (row.verdict, row.control) == ("fails", "better") and row.difference_high < 0


@pytest.mark.parametrize("seeds", [2, 3])
def test_a_difference_over_few_seeds_counts_the_images_too(seeds):
    """Seeds agree to the last image, and the images do not show a difference."""
    better = [1] * 55 + [0] * 45
    worse = [0] * 6 + [1] * 55 + [0] * 39
    results = results_of(
        *[sweep("bio", "pgd", {0.1: worse}, seed=s) for s in range(seeds)],
        *[sweep("control", "pgd", {0.1: better}, seed=s) for s in range(seeds)],
    )
    measure = {
        "protocol": "robust",
        "metric": "accuracy",
        "above_controls_by": 0.0,
        "controls": ["control"],
    }
    (row,) = decide(results, spec(measure))
    assert row.difference_low < -0.05 and row.difference_high > 0.05 and row.verdict == "open"
