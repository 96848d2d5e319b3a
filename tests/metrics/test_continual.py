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


def test_units_that_change_their_task_are_not_kept():
    responses = np.zeros((3, 3, 4))
    responses[0, 0] = [1, 1, 0, 0]  # after task 0, two units serve it
    responses[0, 1] = [0, 0, 1, 0]
    responses[1, 1] = [0, 0, 1, 2]  # after task 1, two units serve it
    responses[2] = [[1, 0, 0, 0], [0, 0, 1, 2], [0, 3, 0, 0]]  # one of the first went to task 2
    assert continual.units_kept(responses) == pytest.approx((1 / 2 + 2 / 2) / 2)
    assert continual.tasks_per_unit(responses[2]) == 1


def test_a_silent_unit_serves_no_task():
    assert np.isnan(continual.units_kept(np.zeros((3, 3, 4))))
    assert np.isnan(continual.tasks_per_unit(np.zeros((3, 4))))
    assert np.isnan(continual.signature_kept(np.ones((3, 3, 4))))


def test_a_unit_that_responds_to_all_tasks_alike_counts_them_all():
    assert continual.tasks_per_unit(np.ones((5, 3))) == pytest.approx(5)
    assert continual.tasks_per_unit(np.array([[3.0], [1.0]])) == pytest.approx(16 / 10)


def test_a_signature_is_compared_with_itself_at_the_end():
    rng = np.random.default_rng(0)
    still = np.repeat(rng.random((1, 4, 10)), 4, axis=0)
    assert continual.signature_kept(still) == pytest.approx(1)
    assert continual.signature_kept(2 * still + 3) == pytest.approx(1), "scale and offset are free"
    drifted = rng.random((4, 4, 10))
    by_hand = []
    for task in range(3):
        then = drifted[task, task] - drifted[task].mean(0)
        now = drifted[3, task] - drifted[3].mean(0)
        by_hand.append(then @ now / np.sqrt((then @ then) * (now @ now)))
    assert continual.signature_kept(drifted) == pytest.approx(np.mean(by_hand))
