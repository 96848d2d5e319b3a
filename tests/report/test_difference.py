"""The difference of a number between two runs, against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from results_kit import episodes, plain, record, results_of, sweep
from scipy import stats

from harness.report import reference
from harness.report.compare import _fair_difference
from harness.report.difference import difference


def paired_t(a, b) -> tuple[float, float, float, float]:
    """Mean, interval and p of scipy's paired t test."""
    found = stats.ttest_rel(a, b)
    interval = found.confidence_interval(0.95)
    return float(np.mean(np.subtract(a, b))), interval.low, interval.high, found.pvalue


def row_of(*cells) -> reference.Row:
    (row,) = reference.of_results(results_of(*cells)).rows
    return row


def images(*seeds: list[int], first: int = 0) -> reference.Row:
    return row_of(*[sweep("a", "pgd", {0.1: v}, seed=first + s) for s, v in enumerate(seeds)])


def flipped(verdicts: list[int], lost: int, gained: int) -> list[int]:
    """Verdicts of which some 1s became 0 and some 0s became 1."""
    ones = [i for i, v in enumerate(verdicts) if v]
    zeros = [i for i, v in enumerate(verdicts) if not v]
    changed = {*ones[:lost], *zeros[:gained]}
    return [1 - v if i in changed else v for i, v in enumerate(verdicts)]


def test_images_of_one_seed_have_bonett_and_prices_interval():
    before = [1] * 30 + [0] * 20
    now = flipped(before, lost=9, gained=2)
    found = difference(images(before), images(now))
    assert found.mean == (2 - 9) / 50
    # Bonett & Price 2012: one more image is lost, one more is gained.
    _, low, high, p = paired_t([*now, 1, 0], [*before, 0, 1])
    assert (found.low, found.high, found.p) == pytest.approx((low, high, p))
    assert found.paired and found.n == 50 and found.unit == "images"
    assert found.spread == pytest.approx(np.std(np.subtract(now, before), ddof=1))


def test_images_of_several_seeds_count_once_each():
    draw = np.random.default_rng(0)
    before = [[int(v) for v in draw.random(40) < 0.7] for _ in range(3)]
    now = [flipped(v, lost=3 + s, gained=1) for s, v in enumerate(before)]
    found = difference(images(*before), images(*now))
    now_means, before_means = np.mean(now, axis=0), np.mean(before, axis=0)
    _, low, high, p = paired_t([*now_means, 1, 0], [*before_means, 0, 1])
    fixed = difference(images(*before), images(*now), fixed_seeds=True)
    assert (fixed.low, fixed.high, fixed.p) == pytest.approx((low, high, p)) and fixed.n == 40
    assert found.mean == fixed.mean == pytest.approx(np.subtract(now, before).mean())
    assert found.low < fixed.low and found.high > fixed.high and found.p > fixed.p


def test_episodes_of_several_seeds_are_all_different_ones():
    draw = np.random.default_rng(0)
    before = draw.normal(0.6, 0.1, (2, 25))
    now = before + draw.normal(-0.02, 0.03, (2, 25))

    def row(seeds):
        return row_of(*[episodes("a", v, seed=s) for s, v in enumerate(seeds)])

    found = difference(row(before), row(now), fixed_seeds=True)
    assert found.n == 50 and found.unit == "episodes"
    error = np.sqrt(sum(stats.sem(gap) ** 2 for gap in now - before)) / 2
    half = stats.t.ppf(0.975, 48) * error
    mean = (now - before).mean()
    assert (found.mean, found.low, found.high) == pytest.approx((mean, mean - half, mean + half))
    assert found.p == pytest.approx(2 * stats.t.sf(abs(mean) / error, 48))


def test_other_seeds_are_compared_by_their_means():
    before = images([1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 0, 0])
    now = images([1, 1, 0, 0], [0, 0, 0, 0], first=7)
    found = difference(before, now)
    assert not found.paired and found.unit == "seed" and found.n == 2
    seeds = stats.ttest_ind([0.5, 0.0], [0.5, 0.75, 0.25], equal_var=False)
    images_of = np.subtract([0.5, 0.5, 0, 0], [1, 2 / 3, 1 / 3, 0])
    over_seeds = np.ptp(seeds.confidence_interval(0.95)) / 2
    half = np.hypot(over_seeds, stats.t.ppf(0.975, 3) * stats.sem(images_of))
    assert (found.low, found.high) == pytest.approx((-0.25 - half, -0.25 + half))
    assert found.mean == -0.25 and found.p > seeds.pvalue
    assert found.spread == pytest.approx(math.sqrt(0.0625 + 0.125))


def test_a_single_seed_per_side_is_not_compared():
    assert difference(images([1, 1, 0]), images([1, 0, 0], first=3)) is None


def test_equal_values_of_other_seeds_do_not_differ():
    def row(first):
        values = [
            record("a", {}, value, protocol="audit", metric="live_share", seed=first + s)
            for s, value in enumerate((0.2, 0.4))
        ]
        return row_of(plain(*values))

    found = difference(row(0), row(5))
    assert (found.mean, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)
    assert found.spread == pytest.approx(0.1 * math.sqrt(2))


# ------------------------------------------------------------------------------ comparing two runs


def shifted(shifts: list[float], noise: float) -> tuple[reference.Row, reference.Row]:
    """Two rows of episodes that differ by a shift per seed, and by noise per episode."""
    draw = np.random.default_rng(1)
    before = draw.normal(0.6, 0.1, (len(shifts), 40))
    wiggle = noise * np.tile([1, -1], 20)
    now = before + np.array(shifts)[:, None] + wiggle
    rows = [
        row_of(*[episodes("a", v, seed=s) for s, v in enumerate(seeds)]) for seeds in (before, now)
    ]
    return rows[0], rows[1]


def test_seeds_that_differ_more_than_units_decide_a_comparison():
    before, now = shifted([0.1, 0.02, -0.03], noise=0.001)
    found = _fair_difference(before, now)
    means = [[n.value for n in row.seeds.values()] for row in (now, before)]
    by_units = difference(before, now, fixed_seeds=True)
    assert by_units.low > found.low and by_units.high < found.high and by_units.p < found.p
    assert (found.low, found.high, found.p) == pytest.approx(paired_t(*means)[1:])


def test_units_that_differ_more_than_seeds_decide_a_comparison():
    before, now = shifted([0.02, 0.0201, 0.0199], noise=0.2)
    found = _fair_difference(before, now)
    by_units = difference(before, now, fixed_seeds=True)
    _, low, high, p = paired_t(*[[n.value for n in row.seeds.values()] for row in (now, before)])
    assert by_units.low < low and by_units.high > high and by_units.p > p
    assert (found.low, found.high, found.p) == (by_units.low, by_units.high, by_units.p)
