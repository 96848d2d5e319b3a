"""Every pair on one number: the same tests as in tables, and ranks that agree with bold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from results_kit import episodes, results_of, sweep
from scipy import stats

from harness.metrics.means import mean_gap
from harness.report.pairs import Rivals, comparable, places
from harness.report.tables import build
from harness.suite.specs.tables import TableSpec


@pytest.fixture
def draw() -> np.random.Generator:
    return np.random.default_rng(0)


def verdicts(draw: np.random.Generator, share: float) -> list[int]:
    return [int(v) for v in draw.random(200) < share]


def rivals_of(*cells) -> Rivals:
    results = results_of(*cells)
    learners = [[r for r in results.records if r.learner == name] for name in results.learners]
    return Rivals(learners, results.verdicts)


def test_one_seed_of_images_is_a_t_test_with_one_more_image_each_way(draw):
    a, b = verdicts(draw, 0.7), verdicts(draw, 0.6)
    pair = rivals_of(sweep("a", "pgd", {0.1: a}), sweep("b", "pgd", {0.1: b})).pair(0, 1)
    more = np.append(np.subtract(a, b), [1, -1])
    expected = stats.ttest_1samp(more, 0)
    interval = expected.confidence_interval(0.95)
    assert (pair.low, pair.high, pair.p) == pytest.approx(
        (interval.low, interval.high, expected.pvalue)
    )
    assert (pair.first, pair.second) == (int(np.greater(a, b).sum()), int(np.less(a, b).sum()))
    assert pair.difference == pytest.approx(np.mean(a) - np.mean(b))


def test_one_seed_of_images_agrees_with_mcnemar(draw):
    """The exact test of the same hypothesis; it is conservative where few images differ."""
    for share in (0.55, 0.6, 0.65):
        a, b = verdicts(draw, 0.7), verdicts(draw, share)
        pair = rivals_of(sweep("a", "pgd", {0.1: a}), sweep("b", "pgd", {0.1: b})).pair(0, 1)
        exact = stats.binomtest(pair.first, pair.first + pair.second).pvalue
        assert exact / 2 <= pair.p <= exact * 1.5


def test_one_seed_of_episodes_is_a_paired_t_test(draw):
    a, b = draw.normal(0.7, 0.1, 60), draw.normal(0.65, 0.1, 60)
    pair = rivals_of(episodes("a", a), episodes("b", b)).pair(0, 1)
    expected = stats.ttest_rel(a, b)
    interval = expected.confidence_interval(0.95)
    assert (pair.difference, pair.low, pair.high, pair.p) == pytest.approx(
        ((a - b).mean(), interval.low, interval.high, expected.pvalue)
    )


@pytest.mark.parametrize("seeds", [2, 5])
@pytest.mark.parametrize(("kind", "crossed"), [("images", True), ("episodes", False)])
def test_several_seeds_are_compared_over_seeds_and_units(kind, crossed, seeds, draw):
    units = {}
    cells = []
    for name, share in (("a", 0.72), ("b", 0.66)):
        for s in range(seeds):
            made = verdicts(draw, share) if crossed else draw.normal(share, 0.1, 80)
            units.setdefault(name, []).append(np.array(made, float))
            cells.append(
                sweep(name, "pgd", {0.1: made}, seed=s) if crossed else episodes(name, made, seed=s)
            )
    pair = rivals_of(*cells).pair(0, 1)
    gaps = np.subtract(units["a"], units["b"])
    found = mean_gap(gaps, crossed=crossed, verdicts=crossed)
    assert (pair.difference, pair.low, pair.high, pair.p) == (
        found.mean,
        found.low,
        found.high,
        found.p,
    )


def test_more_than_a_hundred_rivals_are_still_distinguished(draw):
    hard = draw.normal(0.6, 0.1, (5, 20))
    rivals = rivals_of(
        *[
            episodes(f"r{i}", hard[s] + 0.1 * (i < 2) + draw.normal(0, 0.001, 20), seed=s)
            for i in range(120)
            for s in range(5)
        ]
    )
    assert sum(place > 2 for place in places(rivals.ranks())) == 118


def test_a_pair_is_antisymmetric(draw):
    rivals = rivals_of(
        *[episodes(name, draw.normal(0.7, 0.1, 40), seed=s) for name in "ab" for s in range(5)]
    )
    one, other = rivals.pair(0, 1), rivals.pair(1, 0)
    assert (one.difference, one.low, one.high) == pytest.approx(
        (-other.difference, -other.high, -other.low)
    )
    assert (one.p, one.first, one.second) == (other.p, other.second, other.first)


def test_rivals_must_share_their_seeds():
    with pytest.raises(ValueError, match="same seeds"):
        rivals_of(episodes("a", [0.5, 0.6], seed=0), episodes("b", [0.5, 0.6], seed=1))


@given(st.lists(st.sampled_from([10, 12, 40, 44, 90]), min_size=2, max_size=6))
def test_ranks_count_learners_and_never_rise_with_a_lower_mean(wrong):
    rivals = rivals_of(
        *[sweep(f"l{i}", "pgd", {0.1: [0] * n + [1] * (100 - n)}) for i, n in enumerate(wrong)]
    )
    found = places(rivals.ranks())
    assert all(found[i] == 1 for i, n in enumerate(wrong) if n == min(wrong))
    for rank in set(found):
        assert rank == 1 + sum(other < rank for other in found)  # a group of k takes k places
    for i, j in ((i, j) for i in range(len(wrong)) for j in range(len(wrong))):
        if wrong[i] < wrong[j]:
            assert found[i] <= found[j]


def numbers(**seeds: list[int]) -> dict:
    """Name -> records of episodes over these seeds."""
    made = {}
    for name, of_seeds in seeds.items():
        results = results_of(*[episodes(name, [0.5, 0.6], seed=s) for s in of_seeds])
        made[name] = results.records
    return made


def test_planned_seeds_are_compared_before_larger_groups():
    column = numbers(a=[0, 1], b=[0, 1], c=[0], d=[0], e=[0])
    assert comparable(column, [0, 1]).keys == ["a", "b"]
    shown = comparable(column, [0, 1, 2])
    assert shown.keys == ["c", "d", "e"]
    assert shown.left_out["a"] == "seed 0, 1, the others have seed 0"


def test_nothing_is_compared_with_itself():
    shown = comparable(numbers(a=[0, 1], b=[0]), [0, 1])
    assert shown.keys == [] and shown.left_out == {}


def test_bold_rows_have_rank_one():
    cells = [
        sweep(f"l{k}", "pgd", {0.1: [0] * wrong + [1] * (200 - wrong)})
        for k, wrong in enumerate((20, 24, 80, 84, 160))
    ]
    results = results_of(*cells)
    table = build(results, TableSpec(protocol="robust", columns=["attack", "eps"]))
    bold = [i for i, row in enumerate(table.cells) if row[0].bold]
    found = places(rivals_of(*cells).ranks())
    assert [i for i, rank in enumerate(found) if rank == 1] == bold == [0, 1] and found == [
        1,
        1,
        3,
        3,
        5,
    ]
