"""Numbers of two runs are matched by what they measure; differences in settings are reported."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from results_kit import episodes, results_of, sweep

from harness.errors import HarnessError
from harness.report import compare, reference

DRAW = np.random.default_rng(0)
BY_EPS = {eps: (DRAW.random(40) > 2 * eps).astype(int).tolist() for eps in (0.0, 0.1, 0.2)}
FALLEN = {eps: [0] * 20 + verdicts[20:] for eps, verdicts in BY_EPS.items()}


def measured(*cells, learners=None, **more) -> reference.Reference:
    return reference.of_results(results_of(*cells, **more), learners)


def test_runs_are_compared_on_the_settings_that_both_have():
    """Eps distinguishes the numbers of one run; in the other it belongs to its only number."""
    long, short = (
        measured(sweep("bio", "pgd", BY_EPS)),
        measured(sweep("bio", "pgd", {0.1: BY_EPS[0.1]})),
    )
    for a, b in ((long, short), (short, long)):
        (line,) = compare.runs(a, b)
        assert (line.where, line.difference, line.apart) == ("robust, eps 0.1", 0.0, ())


def test_other_settings_may_differ_and_are_reported():
    a = measured(
        sweep("bio", "pgd", BY_EPS, steps=20),
        learners={"bio": {"kind": "ech", "config": {"hidden": 40}}},
    )
    b = measured(
        sweep("bio", "pgd", BY_EPS, steps=40),
        learners={"bio": {"kind": "ech", "config": {"hidden": 80}}},
    )
    lines = compare.runs(a, b)
    assert len(lines) == 3 and {line.apart for line in lines} == {
        ("config.hidden 40 -> 80", "steps 20 -> 40")
    }


def test_a_fall_is_shown_pair_by_pair_and_corrected_over_all_numbers():
    lines = compare.runs(
        measured(sweep("bio", "pgd", BY_EPS)), measured(sweep("bio", "pgd", FALLEN))
    )
    assert all(
        line.paired and line.n == 40 and line.low <= line.difference <= line.high < 0
        for line in lines
    )
    alone = compare.runs(
        measured(sweep("bio", "pgd", {0.0: BY_EPS[0.0]})),
        measured(sweep("bio", "pgd", {0.0: FALLEN[0.0]})),
    )
    assert lines[0].p == pytest.approx(3 * alone[0].p) and lines[0].differs


def test_rows_with_equal_keys_are_matched_by_setting():
    """Lists of losses do not distinguish rows: without this rule, all would match each other."""

    def run(*losses):
        return measured(
            *(
                sweep("bio", "pgd", {0.1: BY_EPS[0.1]}, loss=[loss], seed=seed)
                for seed, loss in enumerate(losses)
            )
        )

    lines = compare.runs(run("ce", "margin"), run("margin", "ratio"))
    assert len(lines) == 1 and lines[0].apart == ()
    (line,) = compare.runs(run("ce"), run("margin"))
    assert line.apart == ("loss ['ce'] -> ['margin']",)


def test_a_key_may_be_plain_in_one_run_and_a_list_in_the_other():
    a = measured(
        sweep("bio", "pgd", {0.1: BY_EPS[0.1]}, loss="ce"),
        sweep("bio", "fgsm", {0.1: BY_EPS[0.1]}, loss="margin"),
    )
    b = measured(sweep("bio", "pgd", {0.1: BY_EPS[0.1]}, loss=["ce", "margin"]))
    with pytest.raises(HarnessError, match="no number in common"):
        compare.runs(a, b)


def test_other_data_is_reported_and_never_paired():
    def on(digest):
        cells = [
            (replace(record, dataset_hash=digest), array)
            for seed in (0, 1)
            for record, array in episodes("bio", DRAW.random(30), seed=seed)
        ]
        return measured(cells)

    (line,) = compare.runs(on("a" * 64), on("b" * 64))
    assert not line.paired and line.apart == (f"data {'a' * 12} -> {'b' * 12}",)


def test_nothing_in_common_and_unknown_learners_are_errors():
    run = measured(sweep("bio", "pgd", BY_EPS), sweep("backprop", "pgd", FALLEN))
    with pytest.raises(HarnessError, match="no number in common"):
        compare.runs(run, measured(sweep("other", "pgd", BY_EPS)))
    with pytest.raises(HarnessError) as caught:
        compare.learners(run, "bio", "backpro")
    assert "did you mean 'backprop'" in str(caught.value)
    assert [line.where for line in compare.learners(run, "bio", "backprop")] == [
        "robust, clean",
        "robust, eps 0.1",
        "robust, eps 0.2",
    ]


def test_disagreeing_seeds_show_no_difference_however_many_images():
    """Each learner is clearly ahead in one seed of 1,000 images: no difference over seeds."""

    def verdicts(wrong):
        return {0.1: [0] * wrong + [1] * (1000 - wrong)}

    seeds = [(100, 200), (100, 240), (200, 150)]
    run = measured(
        *(
            sweep(name, "pgd", verdicts(pair[side]), seed=seed)
            for seed, pair in enumerate(seeds)
            for side, name in enumerate("ab")
        )
    )
    (line,) = compare.learners(run, "a", "b")
    assert line.paired and line.n == 1000 and not line.differs and line.low < 0 < line.high
    one = measured(
        *(sweep(name, "pgd", verdicts(wrong)) for name, wrong in (("a", 100), ("b", 200)))
    )
    assert compare.learners(one, "a", "b")[0].differs
