"""What strategies lack beside joint training: numbers that derive from several cells of a stream.

Joint training is a cell of its own, of the same learner and seed on the same streams. A learner
without one gets no such numbers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from harness.cells.results import Results
from harness.metrics import continual
from harness.metrics.statistics import interval_over_streams, t_interval
from harness.records import Record

KIND = "continual"
NAIVE, JOINT = "naive", "joint"
INTRANSIGENCE, CLOSED = "intransigence", "closed_gap"


def with_streams(results: Results) -> Results:
    """Add ``intransigence`` and ``closed_gap`` to every protocol ``continual``; once, if repeated.

    ``closed_gap`` is the share of the gap between no method and joint training that is closed.
    """
    of_streams = {name for name, kind in results.protocols.items() if kind == KIND}
    if not of_streams or any(record.metric == INTRANSIGENCE for record in results.records):
        return results
    groups: dict[tuple, dict[str, Record]] = defaultdict(dict)
    for record in results.records:
        if record.protocol in of_streams and record.metric == "accuracy":
            groups[_group(record)][str(record.setting.get("strategy"))] = record
    derived = [record for group in groups.values() for record in _derived(group, results)]
    return replace(results, records=results.records + derived) if derived else results


def _group(record: Record) -> tuple:
    """Everything but the strategy, which its records are compared over."""
    return record.protocol, record.learner, record.seed, str(record.setting.get("streams"))


def _derived(group: dict[str, Record], results: Results) -> Iterator[Record]:
    """The records of all strategies of one learner and seed."""
    joint = group.get(JOINT)
    if joint is None:
        return
    references = matrices_of(joint, results)
    naive = group.get(NAIVE)
    for strategy, record in group.items():
        matrices = matrices_of(record, results)
        if strategy == JOINT or not matrices or len(matrices) != len(references):
            continue
        pairs = zip(matrices, references, strict=True)
        missed = np.array([continual.intransigence(own, joint) for own, joint in pairs])
        yield _record(record, INTRANSIGENCE, missed, *interval_over_streams(missed, -1.0))
        if naive is not None and strategy != NAIVE:
            closed = _closed(record, naive, joint, results)
            if np.isfinite(closed).all():
                yield _record(record, CLOSED, closed, *t_interval(closed))


def _closed(record: Record, naive: Record, joint: Record, results: Results) -> np.ndarray:
    """The closed gap of each order."""
    own, none, all_ = (_units(each, results) for each in (record, naive, joint))
    return np.array([continual.closed_gap(*each) for each in zip(own, none, all_, strict=False)])


def _units(record: Record, results: Results) -> list[float]:
    assert record.verdicts is not None  # an accuracy has them
    units: list[float] = np.asarray(results.verdicts(record.cell, record.verdicts)).tolist()
    return units


def _record(
    like: Record, metric: str, numbers: np.ndarray, low: float | None, high: float | None
) -> Record:
    return replace(
        like, metric=metric, value=float(numbers.mean()), low=low, high=high, verdicts=None
    )


def matrices_of(record: Record, results: Results) -> list[np.ndarray]:
    """The accuracy matrix (T + 1, T) of each order of a record.

    Returns:
        None of them if the verdicts of one are missing or are no verdicts of a stream.
    """
    matrices = []
    for place in range(record.n):
        try:
            correct = np.asarray(results.verdicts(record.cell, f"correct/{place}"))
            task = np.asarray(results.verdicts(record.cell, f"task/{place}"))
        except KeyError:
            return []
        if not _are_verdicts(correct, task):
            return []
        matrices.append(continual.accuracy_matrix(correct, task))
    return matrices


def _are_verdicts(correct: np.ndarray, task: np.ndarray) -> bool:
    """Whether arrays, which may come from anywhere, are those of a stream."""
    if correct.ndim != 2 or task.ndim != 1 or task.dtype.kind not in "iu" or not len(task):
        return False
    tasks = np.arange(len(correct) - 1)
    return correct.shape[1] == len(task) and np.array_equal(np.unique(task), tasks)


@dataclass(frozen=True)
class Curve:
    """Accuracy on each task within training, of one order.

    Attributes:
        accuracy: (M, T), NaN for tasks to come.
        during: (M,), the task that was being learned.
    """

    accuracy: np.ndarray
    during: np.ndarray


def curve_of(record: Record, results: Results) -> Curve | None:
    """The curve of the first order of a record; None if old tasks were not watched."""
    try:
        accuracy = np.asarray(results.verdicts(record.cell, "curve/0"), np.float64)
        during = np.asarray(results.verdicts(record.cell, "during/0"))
    except KeyError:
        return None
    if accuracy.ndim != 2 or during.shape != (len(accuracy),):
        return None
    return Curve(accuracy, during)
