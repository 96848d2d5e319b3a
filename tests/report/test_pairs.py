"""Every pair on one number: the same tests as in tables, and ranks that agree with bold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from results_kit import episodes, results_of, sweep

from harness.metrics.statistics import hierarchical_bootstrap, mcnemar_exact, paired_t, t_interval
from harness.report.pairs import Rivals, ranks
from harness.report.tables import build
from harness.rng import Rng
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


def test_one_seed_of_images_is_mcnemar(draw):
    a, b = verdicts(draw, 0.7), verdicts(draw, 0.6)
    pair = rivals_of(sweep("a", "pgd", {0.1: a}), sweep("b", "pgd", {0.1: b})).pair(0, 1)
    assert pair.p == mcnemar_exact(a, b)
    assert (pair.low, pair.high) == t_interval(np.subtract(a, b))
    assert (pair.first, pair.second) == (int(np.greater(a, b).sum()), int(np.less(a, b).sum()))
    assert pair.difference == pytest.approx(np.mean(a) - np.mean(b))


def test_one_seed_of_episodes_is_a_paired_t_test(draw):
    a, b = draw.normal(0.7, 0.1, 60), draw.normal(0.65, 0.1, 60)
    pair = rivals_of(episodes("a", a), episodes("b", b)).pair(0, 1)
    assert (pair.difference, pair.low, pair.high, pair.p) == paired_t(a, b)


@pytest.mark.parametrize(("kind", "crossed"), [("images", True), ("episodes", False)])
def test_many_seeds_are_resampled_as_in_tables(kind, crossed, draw):
    shares = {"a": 0.72, "b": 0.66}
    units = {
        name: [
            np.array(verdicts(draw, share)) if crossed else draw.normal(share, 0.1, 80)
            for _ in range(6)
        ]
        for name, share in shares.items()
    }
    cells = [
        sweep(name, "pgd", {0.1: list(v)}, seed=s) if crossed else episodes(name, v, seed=s)
        for name, seeds in units.items()
        for s, v in enumerate(seeds)
    ]
    pair = rivals_of(*cells).pair(0, 1)
    gaps = [x - y for x, y in zip(units["a"], units["b"], strict=True)]
    low, high, p = hierarchical_bootstrap(gaps, Rng(1).numpy("another stream"), crossed=crossed)
    t_low, t_high = t_interval([g.mean() for g in gaps])
    assert pair.low == pytest.approx(min(low, t_low), abs=0.01) and pair.high == pytest.approx(
        max(high, t_high), abs=0.01
    )
    assert pair.p == pytest.approx(p, abs=0.06)  # of 4,000 draws each


def test_few_seeds_have_a_t_interval_over_seeds_and_the_larger_p(draw):
    cells = [
        episodes(name, draw.normal(mean + 0.01 * s, 0.1, 50), seed=s)
        for name, mean in (("a", 0.7), ("b", 0.6))
        for s in range(3)
    ]
    rivals = rivals_of(*cells)
    means = [[float(r.mean()) for r in units] for units in rivals.units]
    assert (rivals.pair(0, 1).low, rivals.pair(0, 1).high) == pytest.approx(
        t_interval(np.subtract(*means))
    )
    assert rivals.pair(0, 1).p >= paired_t(*means)[3]


def quantiles(rivals: Rivals) -> tuple[float, float]:
    drawn = rivals.resampled[:, 0] - rivals.resampled[:, 1]
    return tuple(np.quantile(drawn, [0.025, 0.975]))


def test_t_interval_and_p_are_used_if_seeds_differ_more_than_units(draw):
    shifts = [0.08, -0.02, 0.05, 0.01, -0.04]
    base = draw.normal(0.6, 0.001, (5, 40))
    rivals = rivals_of(
        *[episodes("a", base[s] + shift, seed=s) for s, shift in enumerate(shifts)],
        *[episodes("b", base[s], seed=s) for s in range(5)],
    )
    pair = rivals.pair(0, 1)
    low, high = quantiles(rivals)
    assert (pair.low, pair.high) == pytest.approx(t_interval(shifts))
    assert pair.low < low and pair.high > high
    means = rivals.means
    assert pair.difference == pytest.approx(np.mean(shifts))
    assert pair.p >= paired_t(means[0], means[1])[3]


def test_bootstrap_interval_and_p_are_used_if_they_are_wider():
    """Every seed has the same mean difference: the t interval over seeds has almost no width."""
    wiggle = np.tile([0.3, -0.26], 20)
    base = np.full(40, 0.5)
    rivals = rivals_of(
        *[episodes("a", base + wiggle, seed=s) for s in range(5)],
        *[episodes("b", base, seed=s) for s in range(5)],
    )
    pair = rivals.pair(0, 1)
    assert (pair.low, pair.high) == pytest.approx(quantiles(rivals))
    assert pair.low < 0 < 0.02 < pair.high
    drawn = rivals.resampled[:, 0] - rivals.resampled[:, 1]
    assert pair.p == pytest.approx(2 * ((drawn <= 0).sum() + 1) / (len(drawn) + 1))


@pytest.mark.parametrize("seeds", [2, 4])
def test_few_seeds_are_not_resampled_for_an_interval(seeds):
    wiggle = np.tile([0.3, -0.26], 20)
    rivals = rivals_of(
        *[episodes("a", 0.5 + wiggle + 0.01 * s, seed=s) for s in range(seeds)],
        *[episodes("b", np.full(40, 0.5), seed=s) for s in range(seeds)],
    )
    gaps = [0.02 + 0.01 * s for s in range(seeds)]
    pair = rivals.pair(0, 1)
    assert (pair.low, pair.high) == pytest.approx(t_interval(gaps))


def test_more_than_a_hundred_rivals_are_still_distinguished(draw):
    hard = draw.normal(0.6, 0.1, (5, 20))
    rivals = rivals_of(
        *[
            episodes(f"r{i}", hard[s] + 0.1 * (i < 2) + draw.normal(0, 0.005, 20), seed=s)
            for i in range(120)
            for s in range(5)
        ]
    )
    means = rivals.means.mean(axis=1)
    found = ranks(means, [int(np.argmax(means))], rivals.p)
    assert sum(rank > 2 for rank in found) == 118


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


@given(
    st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5]), min_size=1, max_size=8),
    st.floats(0.001, 1),
)
def test_ranks_count_learners_and_never_rise_with_a_lower_mean(means, p):
    top = [i for i, mean in enumerate(means) if mean == max(means)]
    found = ranks(means, top, lambda i, j: 1.0 if means[i] == means[j] else p)
    assert all(found[i] == 1 for i in top)
    for rank in set(found):
        assert rank == 1 + sum(other < rank for other in found)  # a group of k takes k places
    for i, j in ((i, j) for i in range(len(means)) for j in range(len(means))):
        if p < 0.001:
            assert (means[i] > means[j]) <= (found[i] < found[j])
        if means[i] > means[j]:
            assert found[i] <= found[j]


def test_bold_rows_have_rank_one():
    cells = [
        sweep(f"l{k}", "pgd", {0.1: [0] * wrong + [1] * (200 - wrong)})
        for k, wrong in enumerate((20, 24, 80, 84, 160))
    ]
    results = results_of(*cells)
    table = build(results, TableSpec(protocol="robust", columns=["attack", "eps"]))
    bold = [i for i, row in enumerate(table.cells) if row[0].bold]
    found = ranks([row[0].value for row in table.cells], bold, rivals_of(*cells).p)
    assert [i for i, rank in enumerate(found) if rank == 1] == bold == [0, 1] and found == [
        1,
        1,
        3,
        3,
        5,
    ]
