"""Numbers of a stream, on matrices that are worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from harness.metrics import continual

# Task 0 is at its best after task 1 (0.9), so forgetting is more than -BWT.
R = np.array([[0.1, 0.2, 0.3], [0.8, 0.4, 0.3], [0.9, 0.7, 0.5], [0.5, 0.6, 1.0]])
JOINT = np.array([[0.0, 0.0, 0.0], [0.9, 0, 0], [0.8, 0.9, 0], [0.8, 0.8, 0.9]])


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (continual.average_accuracy, (0.5 + 0.6 + 1.0) / 3),
        (continual.average_incremental, (0.8 + (0.9 + 0.7) / 2 + 2.1 / 3) / 3),
        (continual.learning_accuracy, (0.8 + 0.7 + 1.0) / 3),
        (continual.backward_transfer, ((0.5 - 0.8) + (0.6 - 0.7)) / 2),
        (continual.forgetting, ((0.9 - 0.5) + (0.7 - 0.6)) / 2),
        (continual.forward_transfer, ((0.4 - 0.2) + (0.5 - 0.3)) / 2),
        (continual.retention, 2.1 / 2.5),
    ],
)
def test_metrics_agree_with_a_matrix_worked_out_by_hand(metric, expected):
    assert metric(R) == pytest.approx(expected)


def test_forgetting_is_not_minus_backward_transfer():
    assert continual.forgetting(R) != pytest.approx(-continual.backward_transfer(R))


def test_intransigence_compares_each_task_just_after_it_was_learned():
    expected = ((0.9 - 0.8) + (0.9 - 0.7) + (0.9 - 1.0)) / 3
    assert continual.intransigence(R, JOINT) == pytest.approx(expected)


def test_min_accuracy_looks_only_at_moments_after_a_task():
    curve = np.array([[0.1, np.nan, np.nan], [0.9, 0.2, np.nan], [0.3, 0.6, 0.4], [0.5, 0.5, 0.7]])
    during = np.array([0, 1, 2, 2])
    # Task 0: 0.9, 0.3, 0.5 after it; task 1: 0.6, 0.5. Lows while a task is learned do not count.
    lowest = continual.min_accuracy(curve, during)
    assert lowest == pytest.approx((0.3 + 0.5) / 2)
    assert continual.worst_case_accuracy(R, lowest) == pytest.approx(1.0 / 3 + 2 / 3 * 0.4)


def test_tasks_of_unequal_size_count_equally_in_the_matrix():
    correct = np.array([[0, 0, 0, 0], [1, 1, 1, 0]])
    matrix = continual.accuracy_matrix(correct, np.array([0, 0, 0, 1]))
    assert matrix.tolist() == [[0, 0], [1, 0]]
    assert continual.average_accuracy(matrix) == 0.5 != correct[-1].mean()


def test_no_gap_is_closed_where_joint_training_is_no_better():
    assert np.isnan(continual.closed_gap(0.5, 0.5, 0.5))
    assert continual.closed_gap(0.2, 0.2, 0.9) == 0
