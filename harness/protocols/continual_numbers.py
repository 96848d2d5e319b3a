"""Numbers of a stream: from the verdicts of each order to values with intervals over orders."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from harness.metrics import continual
from harness.metrics.catalogue import SIGNED
from harness.metrics.statistics import interval_over_streams, t_interval
from harness.protocols.continual_run import Course
from harness.records import Value

OF_MATRIX: dict[str, Callable[[np.ndarray], float]] = {
    "accuracy": continual.average_accuracy,
    "average_incremental": continual.average_incremental,
    "learning_accuracy": continual.learning_accuracy,
    "backward_transfer": continual.backward_transfer,
    "forgetting": continual.forgetting,
}
"""Metrics that every accuracy matrix has."""

USED = ("state_bytes", "kept_bytes", "images_trained", "images_replayed")
"""What a strategy needed; it has no interval."""


NO_SHARES = ("retention", "robust_retention", "tasks_per_unit", "signature_kept")
"""Metrics that may be above 1 or below 0, so they cannot be counted again."""


def arrays_of(courses: Sequence[Course], *, has_forward_transfer: bool) -> dict[str, np.ndarray]:
    """Verdicts of each order, and the numbers that follow from them.

    Args:
        courses: One for each order.
        has_forward_transfer: Whether output units of a task are trained before it.

    Returns:
        Name -> array: ``correct/0`` (T + 1, N) and ``task/0`` (N,) of the first order, and so on;
        each metric (orders,).
    """
    arrays: dict[str, np.ndarray] = {}
    numbers: dict[str, list[float]] = {}
    for place, course in enumerate(courses):
        correct = np.stack(course.correct)
        arrays[f"correct/{place}"] = correct
        arrays[f"task/{place}"] = course.task
        if course.curve:
            arrays[f"curve/{place}"] = np.stack(course.curve).astype(np.float32)
            arrays[f"during/{place}"] = np.array(course.during)
        if course.robust:
            arrays[f"robust/{place}"] = np.stack(course.robust)
            arrays[f"robust_task/{place}"] = course.robust_task
        if course.units:
            arrays[f"units/{place}"] = np.stack(course.units)
        of_order = numbers_of(correct, course, has_forward_transfer=has_forward_transfer)
        for name, number in of_order.items():
            numbers.setdefault(name, []).append(number)
    # A metric that is not defined on one order is not averaged over the others.
    complete = {name: each for name, each in numbers.items() if np.isfinite(each).all()}
    return arrays | {name: np.array(each, np.float64) for name, each in complete.items()}


def numbers_of(
    correct: np.ndarray, course: Course, *, has_forward_transfer: bool
) -> dict[str, float]:
    """The metrics of one order."""
    matrix = continual.accuracy_matrix(correct, course.task)
    numbers = {name: function(matrix) for name, function in OF_MATRIX.items()}
    numbers["pooled_accuracy"] = float(correct[-1].mean())
    if has_forward_transfer and course.answered:
        numbers["forward_transfer"] = continual.forward_transfer(matrix)
    if course.has_sessions:
        numbers["performance_drop"] = continual.performance_drop(correct, course.task)
        numbers["harmonic_accuracy"] = continual.harmonic_accuracy(correct, course.task)
    if course.robust:
        robust = continual.accuracy_matrix(np.stack(course.robust), course.robust_task)
        numbers["robust_accuracy"] = continual.average_accuracy(robust)
        numbers["robust_learning_accuracy"] = continual.learning_accuracy(robust)
        numbers["retention"] = continual.retention(matrix)
        numbers["robust_retention"] = continual.retention(robust)
    if course.units:
        units = np.stack(course.units)
        numbers["units_kept"] = continual.units_kept(units)
        numbers["signature_kept"] = continual.signature_kept(units)
        numbers["tasks_per_unit"] = continual.tasks_per_unit(units[-1])
    if course.curve:
        lowest = continual.min_accuracy(np.stack(course.curve), np.array(course.during))
        numbers["min_accuracy"] = lowest
        numbers["worst_case_accuracy"] = continual.worst_case_accuracy(matrix, lowest)
    return {**numbers, **{name: float(course.used[name]) for name in USED}}


def values_of(arrays: dict[str, np.ndarray]) -> list[Value]:
    """Each metric as its mean over orders, with a t interval over them."""
    return [_value(name, array) for name, array in arrays.items() if "/" not in name]


def _value(name: str, numbers: np.ndarray) -> Value:
    mean = float(numbers.mean())
    if name in USED:
        return Value(name, mean, n=len(numbers), unit="stream")
    if name in NO_SHARES:
        low, high = t_interval(numbers)
        return Value(name, mean, low, high, n=len(numbers), unit="stream")
    low, high = interval_over_streams(numbers, -1.0 if name in SIGNED else 0.0)
    return Value(name, mean, low, high, n=len(numbers), unit="stream", verdicts=name)
