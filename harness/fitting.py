"""What learners share when they are fitted: labels that must be there, balanced subsets, state that is a dict of tensors."""

from __future__ import annotations

import numpy as np

from harness.data.base import Images
from harness.errors import HarnessError
from harness.lazy import torch
from harness.learner import Budget, Learner


def labels_of(train: Images, learner: Learner) -> np.ndarray:
    """The labels (N,), or an error that says why the learner cannot do without them."""
    if train.labels is None:
        raise HarnessError(f"{learner.kind!r} cannot learn from images without labels",
                           hint=f"regimes it knows: {', '.join(sorted(learner.regimes))}")
    return train.labels


def balanced_rows(labels: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """``count`` rows, as many of each class as can be, drawn without replacement; ascending."""
    if count >= len(labels):
        return np.arange(len(labels))
    shuffled = generator.permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    sizes = np.bincount(labels)
    rank = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # 0, 1, 2 ... within each class
    return np.sort(by_class[np.lexsort((generator.random(len(labels)), rank))[:count]])


class TensorLearner(Learner):
    """A learner whose whole state is ``self.tensors``, a dict from name to tensor, and whether it was fitted."""

    tensors: dict[str, torch.Tensor]

    def state_dict(self) -> dict[str, torch.Tensor]:
        """All that ``fit`` learned."""
        return {**self.tensors, "fitted": torch.tensor(self.fitted)}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Take up a state; the learner then behaves as the one that gave it."""
        self.fitted = bool(state["fitted"])
        self.tensors = {name: value.to(self.device) for name, value in state.items() if name != "fitted"}


UNLIMITED = Budget()
"""What a learner is given where nobody set a budget."""
