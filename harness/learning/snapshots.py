"""States of a learner during training, taken at the same numbers of images for every learner."""

from __future__ import annotations

import numpy as np

from harness.learning.learner import Learner


def next_moment(seen: int) -> int:
    """The first moment after ``seen`` images: 100, 316, 1000, 3162, ..., two per decade.

    >>> [next_moment(0), next_moment(100), next_moment(999), next_moment(1000)]
    [100, 316, 1000, 3162]
    """
    half_decades = 4
    while int(10 ** (half_decades / 2)) <= seen:
        half_decades += 1
    return int(10 ** (half_decades / 2))


class Snapshots:
    """A ``watch`` callback that keeps the initial state and the first state after each moment.

    Attributes:
        taken: ``"<images seen>/<tensor>"`` -> array.
        due: Images seen at which the next state is taken.
    """

    def __init__(self) -> None:
        self.taken: dict[str, np.ndarray] = {}
        self.due = 0

    def __call__(self, learner: Learner, seen: int) -> None:
        """Keep the learner's state if a moment has passed."""
        if seen < self.due:
            return
        for name, tensor in learner.state_dict().items():
            self.taken[f"{seen}/{name}"] = tensor.detach().cpu().numpy().copy()
        self.due = next_moment(seen)


def by_moment(arrays: dict[str, np.ndarray]) -> dict[int, dict[str, np.ndarray]]:
    """Group the arrays that ``Snapshots`` took.

    Returns:
        {images seen: {tensor: array}}, in order of time.
    """
    states: dict[int, dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        seen, _, tensor = name.partition("/")
        states.setdefault(int(seen), {})[tensor] = array
    return dict(sorted(states.items()))
