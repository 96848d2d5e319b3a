"""The gate: what fails, what passes, and what cannot be told."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from results_kit import episodes, plain, record, results_of, sweep

from harness.errors import HarnessError
from harness.report import gate, gate_text, reference

N = 1000


def side(*cells, environment=None, config=None):
    learners = {"bio": {"kind": "ech", "config": config or {"eta": 0.3}}}
    return reference.of_results(
        results_of(*cells), learners, {"environment": environment or {"torch": "2.9"}}
    )


def verdicts(right: int, n: int = N, shift: int = 0):
    return np.roll(np.arange(n) < right, shift).astype(int).tolist()


def robust(right: int, n: int = N, *, shift: int = 0, seeds=(0,), **setting):
    return [
        cell
        for seed in seeds
        for cell in sweep("bio", "pgd", {0.1: verdicts(right, n, shift)}, seed=seed, **setting)
    ]


def only(report):
    (finding,) = report.findings
    return finding


def judged(before, now, **more):
    return only(gate.statistical(side(before), side(now), **more))


def test_equal_verdicts_pass_even_if_few():
    assert judged(robust(8, 10), robust(8, 10)).outcome == "same"


def test_a_fall_is_reported_with_row_size_and_certainty():
    finding = judged(robust(900), robust(870))
    assert (
        finding.fails
        and finding.outcome == "worse"
        and finding.name == "bio: robust, pgd, eps 0.1"
        or finding.where
    )
    assert (
        finding.difference == pytest.approx(-0.03)
        and finding.low < -0.03 < finding.high < 0
        and finding.p < 1e-6
    )
    assert (
        "fell by 3.00 points, 90.0 before, 87.0 now" in finding.said
        and "1000 images" in finding.said
    )


def test_a_rise_fails_unless_allowed():
    """An attack that became weaker looks like progress."""
    assert (
        judged(robust(500), robust(530)).outcome == "better"
        and judged(robust(500), robust(530)).fails
    )
    assert not judged(robust(500), robust(530), rises=False).fails


def test_a_shown_change_within_the_tolerance_passes():
    n = 10_000
    assert judged(robust(9000, n), robust(8960, n)).outcome == "kept"


def test_noise_passes_where_there_are_enough_images():
    """As many images lost as won: not a fall, and 2 points are excluded."""
    finding = judged(robust(900), robust(900, shift=10))
    assert finding.outcome == "kept" and finding.difference == 0 and -0.02 < finding.low < 0


def test_too_little_power_says_how_many_images_are_needed():
    finding = judged(robust(45, 50), robust(45, 50, shift=2))
    assert finding.outcome == "undecided" and finding.fails and finding.needed > 50
    assert f"about {finding.needed} images would tell, 50 were compared" in finding.said
    assert not judged(robust(45, 50), robust(45, 50, shift=2), undecided="warn").fails


@pytest.mark.parametrize("loss", [20, 25, 40])
def test_a_real_fall_of_two_points_never_passes(loss):
    generator, before = np.random.default_rng(0), verdicts(900)
    for _ in range(200):
        now = np.array(before)
        now[generator.choice(900, loss, replace=False)] = 0
        flipped = generator.choice(N, 10, replace=False)  # and noise on top
        now[flipped] = generator.integers(0, 2, 10)
        after = sweep("bio", "pgd", {0.1: now.tolist()})
        assert judged(robust(900), after).fails


def test_false_alarms_are_rare():
    """A hundred numbers that differ by chance only, many times: a change is almost never shown."""
    generator, alarms = np.random.default_rng(1), 0
    for _ in range(20):
        pairs = [(generator.random(600) < 0.8, generator.random(600) < 0.8) for _ in range(100)]
        before, now = (
            side(
                *(
                    sweep("bio", "pgd", {i / 1000: pair[which].astype(int).tolist()})
                    for i, pair in enumerate(pairs)
                )
            )
            for which in (0, 1)
        )
        alarms += any(
            f.outcome in ("worse", "better") for f in gate.statistical(before, now).findings
        )
    assert alarms <= 1


def test_another_setting_is_another_measurement():
    finding = judged(robust(900, config={"steps": 8}), robust(905, config={"steps": 7}))
    assert finding.outcome == "changed" and "config.steps 8 -> 7" in finding.said and finding.fails


def test_other_samples_under_one_seed_are_another_measurement():
    def drawn(classes):
        results = results_of(episodes("bio", [0.5, 0.6, 0.7]))
        arrays = {"episodes": np.array([0.5, 0.6, 0.7]), "classes": np.array(classes)}
        return reference.of_results(replace(results, verdicts=lambda cell, name: arrays[name]))

    finding = only(gate.statistical(drawn([[0, 1]]), drawn([[0, 2]])))
    assert finding.outcome == "changed" and "seed 0 drew other episodes" in finding.said
    assert only(gate.statistical(drawn([[0, 1]]), drawn([[0, 1]]))).outcome == "same"


def test_a_missing_number_fails_and_a_new_one_is_noted():
    report = gate.statistical(
        side(robust(900)),
        side(sweep("bio", "pgd", {0.2: verdicts(900)}), sweep("bio", "pgd", {0.3: verdicts(900)})),
    )
    assert [f.outcome for f in report.findings] == ["missing"] and not report.passed
    assert "2 numbers are not in the reference" in report.notes[0]


def test_a_failed_cell_is_named():
    report = gate.statistical(
        side(robust(900)), side(), failures={("bio", "robust"): "ValueError: no"}
    )
    assert only(report).said == "its cell failed: ValueError: no"


def test_a_check_that_fails_now_is_caught():
    assert judged(robust(900), robust(900, trust="FAIL")).outcome == "untrusted"


def test_a_changed_config_is_noted_beside_the_finding():
    report = gate.statistical(side(robust(900)), side(robust(870), config={"eta": 0.15}))
    assert (
        only(report).notes == ("config.eta 0.3 -> 0.15",)
        and "bio is configured differently" in report.notes[-1]
    )


def test_other_seeds_are_compared_by_their_means():
    """Retrained learners differ by more than images show: 3 points between seeds are noise."""
    before = [c for seed, right in enumerate((880, 900, 920)) for c in robust(right, seeds=(seed,))]
    now = [
        c for seed, right in enumerate((870, 890, 910)) for c in robust(right, seeds=(seed + 5,))
    ]
    finding = judged(before, now)
    assert (
        finding.outcome == "undecided"
        and not finding.fails
        and not finding.paired
        and finding.unit == "seed"
    )
    assert "seeds a side would tell" in finding.said
    worse = [
        c for seed, right in enumerate((400, 401, 402)) for c in robust(right, seeds=(seed + 5,))
    ]
    assert (
        judged([c for seed in range(3) for c in robust(900 + seed, seeds=(seed,))], worse).outcome
        == "worse"
    )


def test_one_seed_against_another_is_not_judged():
    finding = judged(robust(900), robust(880, seeds=(7,)))
    assert (
        finding.outcome == "undecided"
        and not finding.fails
        and "a single seed does not show" in finding.said
    )


def audit(values, first=0):
    return plain(
        *(
            record("bio", {}, value, metric="live_share", seed=first + i, protocol="audit")
            for i, value in enumerate(values)
        )
    )


def test_numbers_without_units_are_compared_with_the_spread_of_seeds():
    assert judged(audit([0.5, 0.51, 0.52]), audit([0.505, 0.51, 0.525])).outcome == "steady"
    assert judged(audit([0.5, 0.501, 0.502]), audit([0.6, 0.601, 0.602])).outcome == "moved"
    assert judged(audit([1.0, 1.0]), audit([1.0, 1.0])).outcome == "same"
    assert judged(audit([1.0, 1.0]), audit([0.9, 0.9])).fails


def test_exact_finds_a_single_verdict():
    finding = only(gate.exact(side(robust(900)), side(robust(899))))
    assert (
        finding.outcome == "differs"
        and finding.fails
        and "seed 0: 1 of 1000 images differ" in finding.said
    )
    assert gate.exact(side(robust(900)), side(robust(900))).passed


def test_exact_requires_every_seed():
    assert only(gate.exact(side(robust(900, seeds=(0, 1))), side(robust(900)))).outcome == "missing"


def test_exact_requires_the_same_environment():
    with pytest.raises(HarnessError, match="torch 2.10 here, 2.9 there"):
        gate.exact(side(robust(900)), side(robust(900), environment={"torch": "2.10"}))
    report = gate.statistical(side(robust(900)), side(robust(900), environment={"torch": "2.10"}))
    assert report.passed and "another environment" in report.notes[0]


@pytest.fixture
def failing():
    return gate.statistical(
        side(robust(900), audit([0.5, 0.51])), side(robust(870), audit([0.5, 0.52]))
    )


def test_every_format_names_what_failed(failing):
    assert (
        gate_text.lines(failing)[1].startswith("FAIL bio: robust")
        and "FAILED (1 of 2)" in gate_text.lines(failing)[-1]
    )
    assert "| ❌ | bio | robust | worse | fell by 3.00 points" in gate_text.markdown(failing)
    suite = ElementTree.fromstring(gate_text.junit(failing)).find("testsuite")
    assert (suite.get("tests"), suite.get("failures"), len(suite.findall("testcase/failure"))) == (
        "2",
        "1",
        1,
    )
    assert json.loads(json.dumps(failing.to_dict()))["passed"] is False
