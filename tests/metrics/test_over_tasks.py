"""IQM, profiles and probability of improvement: hand-worked values, and those of rliable."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from harness.metrics.over_tasks import (
    bootstrap,
    interquartile_mean,
    probability_of_improvement,
    profile,
)
from harness.rng import Rng

X = np.array(
    [
        [0.91, 0.62, 0.40, 0.75],
        [0.89, 0.66, 0.38, 0.71],
        [0.93, 0.60, 0.45, 0.78],
        [0.90, 0.64, 0.41, 0.70],
        [0.92, 0.61, 0.39, 0.77],
    ]
)
Y = np.array(
    [
        [0.90, 0.58, 0.41, 0.69],
        [0.88, 0.66, 0.30, 0.72],
        [0.91, 0.55, 0.35, 0.66],
        [0.90, 0.59, 0.37, 0.70],
        [0.87, 0.57, 0.33, 0.74],
    ]
)
THRESHOLDS = np.array([0.35, 0.5, 0.65, 0.8, 0.9])

# What rliable 1.2.0 gives for them, with arch 7.2.0: `metrics.aggregate_iqm`,
# `metrics.probability_of_improvement`, `library.create_performance_profile`, and percentile
# intervals of `library.get_interval_estimates` with 20,000 draws (5,000 of the last two).
RLIABLE = {"iqm x": 0.684, "iqm y": 0.646, "x over y": 0.82}
RLIABLE_PROFILES = ([1.0, 0.75, 0.55, 0.25, 0.15], [0.85, 0.75, 0.55, 0.25, 0.05])
RLIABLE_INTERVALS = {"iqm x": (0.667, 0.701), "iqm y": (0.627, 0.667), "x over y": (0.66, 0.95)}


def test_numbers_agree_with_rliable():
    assert interquartile_mean(X) == pytest.approx(RLIABLE["iqm x"])
    assert interquartile_mean(Y) == pytest.approx(RLIABLE["iqm y"])
    assert probability_of_improvement(X, Y) == pytest.approx(RLIABLE["x over y"])
    assert profile(X, THRESHOLDS) == pytest.approx(RLIABLE_PROFILES[0])
    assert profile(Y, THRESHOLDS) == pytest.approx(RLIABLE_PROFILES[1])


@pytest.mark.parametrize(
    ("name", "statistic", "scores"),
    [
        ("iqm x", interquartile_mean, [X]),
        ("iqm y", interquartile_mean, [Y]),
        ("x over y", probability_of_improvement, [X, Y]),
    ],
)
def test_intervals_agree_with_rliable(name, statistic, scores):
    low, high = bootstrap(statistic, scores, Rng(0).numpy("test"), draws=20_000)
    # Their steps are 0.001 and 0.01: runs are few.
    step = 0.012 if name == "x over y" else 0.0015
    assert (low, high) == pytest.approx(RLIABLE_INTERVALS[name], abs=step)


def test_intervals_of_a_profile_agree_with_rliable():
    found = functools.partial(profile, thresholds=THRESHOLDS)
    low, high = bootstrap(found, [X], Rng(0).numpy("test"), draws=5000)
    assert low == pytest.approx([1.0, 0.75, 0.5, 0.25, 0.05])
    assert high == pytest.approx([1.0, 0.75, 0.65, 0.25, 0.25])


def test_a_quarter_of_the_scores_is_left_out_at_each_end():
    # Ten scores: floor(2.5) = 2 at each end, so 2 to 7 are left.
    assert interquartile_mean(np.arange(10.0).reshape(2, 5)) == 4.5
    assert interquartile_mean(np.array([[7.0]])) == 7.0


def test_improvement_over_itself_is_a_half_and_swaps_to_the_rest():
    assert probability_of_improvement(X, X) == 0.5
    assert probability_of_improvement(X, Y) + probability_of_improvement(Y, X) == pytest.approx(1)


def test_runs_are_drawn_for_each_task_on_its_own():
    # With tasks drawn together, the mean of both would always be 0.5.
    scores = np.array([[0.0, 1.0], [1.0, 0.0]])
    low, high = bootstrap(lambda drawn: drawn.mean((-2, -1)), [scores], Rng(0).numpy("test"))
    assert (low, high) == (0.0, 1.0)


@pytest.mark.slow
@pytest.mark.parametrize(("runs", "stated"), [(2, 0.77), (3, 0.83), (5, 0.92)])
def test_few_runs_cover_the_truth_as_rarely_as_the_page_states(runs, stated):
    generator = Rng(1).numpy("coverage", runs)
    tasks = np.linspace(0.3, 0.9, 8)
    truth = interquartile_mean(tasks + 0.03 * generator.standard_normal((20_000, 8)))
    covered = 0
    for _ in range(400):
        scores = tasks + 0.03 * generator.standard_normal((runs, 8))
        low, high = bootstrap(interquartile_mean, [scores], generator, draws=500)
        covered += low <= truth <= high
    assert covered / 400 == pytest.approx(stated, abs=0.05)
