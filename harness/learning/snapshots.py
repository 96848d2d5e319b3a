"""States of a learner while it learns, at moments that are the same for every learner: fixed numbers of images seen."""

from __future__ import annotations

import numpy as np

from harness.learning.learner import Learner


def next_moment(seen: int) -> int:
    """The first moment after ``seen`` images: 100, 316, 1000, 3162 ..., two a decade.

    >>> [next_moment(0), next_moment(100), next_moment(999), next_moment(1000)]
    [100, 316, 1000, 3162]
    """
    step = 4
    while int(10 ** (step / 2)) <= seen:
        step += 1
    return int(10 ** (step / 2))


class Snapshots:
    """A learner's ``watch``: keeps its state before learning and at the first step at or after each moment.

    Attributes:
        taken: ``"<images seen>/<tensor>"`` -> array.
    """

    def __init__(self) -> None:
        self.taken: dict[str, np.ndarray] = {}
        self.due = 0

    def __call__(self, learner: Learner, seen: int) -> None:
        if seen < self.due:
            return
        state = learner.state_dict()
        self.taken |= {
            f"{seen}/{name}": tensor.detach().cpu().numpy().copy() for name, tensor in state.items()
        }
        self.due = next_moment(seen)


def by_moment(arrays: dict[str, np.ndarray]) -> dict[int, dict[str, np.ndarray]]:
    """Images seen -> tensor -> array, from what ``Snapshots`` took; in order of time."""
    states: dict[int, dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        seen, _, tensor = name.partition("/")
        states.setdefault(int(seen), {})[tensor] = array
    return dict(sorted(states.items()))
