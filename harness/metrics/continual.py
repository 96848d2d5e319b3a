"""Numbers of a stream of tasks, from its accuracy matrix.

R is (T + 1, T): ``R[t, i]`` is the accuracy on task i's test images after t tasks, so row 0 is from
before any learning, and ``R[i + 1, i]`` is from just after task i. Chance, the order of the tasks
and their number all move these numbers: compare them on the same stream only.
"""

from __future__ import annotations

import numpy as np


def accuracy_matrix(correct: np.ndarray, task: np.ndarray) -> np.ndarray:
    """R of verdicts.

    >>> accuracy_matrix(np.array([[0, 0, 1], [1, 0, 1]]), np.array([0, 0, 1]))
    array([[0. , 1. ],
           [0.5, 1. ]])

    Args:
        correct: 0 or 1, (T + 1, N).
        task: int (N,) in [0, T), the task of each test image.

    Returns:
        float64 (T + 1, T).
    """
    members = np.eye(task.max() + 1)[task]
    matrix: np.ndarray = correct @ members / members.sum(0)
    return matrix


def average_accuracy(matrix: np.ndarray) -> float:
    """ACC: the mean over tasks at the end."""
    return float(matrix[-1].mean())


def average_incremental(matrix: np.ndarray) -> float:
    """AIA: the mean over t of the accuracy on the tasks so far, each task with equal weight.

    It is the area under the curve of the accuracy over the stream.
    """
    rows = [matrix[t, :t].mean() for t in range(1, len(matrix))]
    return float(np.mean(rows))


def learned(matrix: np.ndarray) -> np.ndarray:
    """The accuracy on each task just after it was learned, (T,)."""
    return np.diagonal(matrix, offset=-1)


def learning_accuracy(matrix: np.ndarray) -> float:
    """LA: the mean accuracy on a task just after it was learned (plasticity)."""
    return float(learned(matrix).mean())


def backward_transfer(matrix: np.ndarray) -> float:
    """BWT: accuracy at the end minus just after learning, over all tasks but the last.

    Lopez-Paz & Ranzato 2017, eq. 3; negative where a learner forgets.
    """
    return float((matrix[-1] - learned(matrix))[:-1].mean())


def forgetting(matrix: np.ndarray) -> float:
    """F: the best accuracy since a task was learned minus that at the end.

    Chaudhry et al. 2018, eq. 2. It is not -BWT: a task may be at its best later than when it was
    learned. The best is over the tasks before the last one.
    """
    tasks = matrix.shape[1]
    lost = [matrix[i + 1 : tasks, i].max() - matrix[-1, i] for i in range(tasks - 1)]
    return float(np.mean(lost))


def forward_transfer(matrix: np.ndarray) -> float:
    """FWT: accuracy on a task just before it is learned minus that of the untrained learner.

    Lopez-Paz & Ranzato 2017, eq. 4. It is undefined where output units of a task are not trained
    before it, as in class-incremental streams.
    """
    before = np.diagonal(matrix)
    return float((before - matrix[0])[1:].mean())


def intransigence(matrix: np.ndarray, joint: np.ndarray) -> float:
    """What a task lacks just after it was learned, beside joint training on the tasks so far.

    Chaudhry et al. 2018, eq. 3; negative where joint training does worse.

    Args:
        matrix: R of the learner.
        joint: R of a learner that is trained anew on all tasks so far.
    """
    return float((learned(joint) - learned(matrix)).mean())


def closed_gap(accuracy: float, naive: float, joint: float) -> float:
    """The share of the gap between no method and joint training that a strategy closes.

    NaN unless joint training is better than no method.

    >>> round(closed_gap(0.8, 0.2, 0.95), 3)
    0.8
    """
    if joint <= naive:
        return float("nan")
    return (accuracy - naive) / (joint - naive)


def min_accuracy(curve: np.ndarray, task: np.ndarray) -> float:
    """Min-ACC: the lowest accuracy on a task at any moment after it, over all tasks but the last.

    De Lange, van de Ven & Tuytelaars 2023, eq. 3: a learner that recovers by the end of each task
    may have forgotten everything in between (the stability gap).

    Args:
        curve: accuracy on each task at each moment of measuring, (M, T), in order of time.
        task: int (M,): which task was being learned then.
    """
    tasks = curve.shape[1]
    lowest = [curve[task > i, i].min() for i in range(tasks - 1)]
    return float(np.mean(lowest))


def worst_case_accuracy(matrix: np.ndarray, lowest: float) -> float:
    """WC-ACC: accuracy on the last task and min-ACC, weighted by the number of their tasks.

    De Lange et al. 2023, eq. 4.

    Args:
        matrix: R.
        lowest: ``min_accuracy``.
    """
    tasks = matrix.shape[1]
    return float(matrix[-1, -1] / tasks + (1 - 1 / tasks) * lowest)


def retention(matrix: np.ndarray) -> float:
    """rho: accuracy at the end as a share of what was learned; NaN if nothing was.

    The quotient for accuracy under attack, beside that without one, says which is forgotten faster.
    """
    start = learned(matrix).sum()
    return float(matrix[-1].sum() / start) if start else float("nan")


def units_kept(responses: np.ndarray) -> float:
    """Share of a task's units that still serve it at the end, the mean over tasks but the last.

    A unit serves the task whose images excite it most, of all tasks of the stream. Counted are the
    units that serve a task just after it was learned; 1 / T of them would serve it at the end by
    chance. NaN if no unit serves a task.

    Args:
        responses: (T, T, U), mean response after each task to images of each.
    """
    serves = np.where(np.ptp(responses, axis=1) > 0, responses.argmax(1), -1)  # (T, U)
    shares = [
        (serves[-1, own] == task).mean()
        for task, own in enumerate(serves[:-1] == np.arange(len(serves) - 1)[:, None])
        if own.any()
    ]
    return float(np.mean(shares)) if shares else float("nan")


def signature_kept(responses: np.ndarray) -> float:
    """Cosine of each task's population response just after it was learned and at the end.

    The response to the mean task is taken away from each first. The mean over tasks but the last;
    NaN if all tasks excite the units alike.

    Args:
        responses: (T, T, U), mean response after each task to images of each.
    """
    centred = responses.astype(np.float64) - responses.mean(1, keepdims=True, dtype=np.float64)
    tasks = np.arange(len(responses) - 1)
    then, now = centred[tasks, tasks], centred[-1, tasks]
    lengths = np.linalg.norm(then, axis=1) * np.linalg.norm(now, axis=1)
    if not lengths.all():
        return float("nan")
    return float(((then * now).sum(1) / lengths).mean())


def tasks_per_unit(responses: np.ndarray) -> float:
    """To how many tasks a unit responds: (sum |r|)^2 / sum r^2 over tasks, the mean over units.

    From 1 (units of one task) to T (units that serve all alike); silent units are left out.

    Args:
        responses: (T, U), mean response to images of each task.
    """
    sizes = np.abs(responses.astype(np.float64))
    active = sizes.any(0)
    if not active.any():
        return float("nan")
    sizes = sizes[:, active]
    return float((sizes.sum(0) ** 2 / (sizes**2).sum(0)).mean())


def performance_drop(correct: np.ndarray, task: np.ndarray) -> float:
    """PD: accuracy after the base task minus that at the end, on all classes known at the time.

    Args:
        correct: 0 or 1, (T + 1, N).
        task: int (N,), the task of each test image; 0 is the base.
    """
    return float(correct[1, task == 0].mean() - correct[-1].mean())


def harmonic_accuracy(correct: np.ndarray, task: np.ndarray) -> float:
    """The harmonic mean of accuracy at the end on base classes and on those of later sessions.

    Plain accuracy hides that no new class is ever predicted; this is then 0.

    >>> harmonic_accuracy(np.array([[0, 0], [1, 0]]), np.array([0, 1]))
    0.0

    Args:
        correct: as for ``performance_drop``.
        task: as for ``performance_drop``.
    """
    base = float(correct[-1, task == 0].mean())
    new = float(correct[-1, task > 0].mean())
    return 2 * base * new / (base + new) if base + new else 0.0
