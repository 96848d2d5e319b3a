"""A snapshot of what measuring must not change, and the comparison afterwards."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.lazy import nn, torch


@dataclass(frozen=True)
class Found:
    """A network and the global random states at one moment.

    Attributes:
        parts: what is compared -> its state, as values that compare with ``==``.
    """

    parts: dict[str, Any]

    @classmethod
    def of(cls, model: nn.Module) -> Found:
        """The state of things now."""
        return cls(
            {
                "training flags": [module.training for module in model.modules()],
                "requires_grad": [parameter.requires_grad for parameter in model.parameters()],
                "param.grad": [
                    None if p.grad is None else (id(p.grad), _digest(p.grad))
                    for p in model.parameters()
                ],
                "weights and buffers": [
                    _digest(value) for value in (*model.parameters(), *model.buffers())
                ],
                "torch's random state": _digest(torch.get_rng_state()),
                "numpy's random state": _numpy_state(),
                "Python's random state": hash(random.getstate()),
            }
        )

    def changed(self, model: nn.Module) -> list[str]:
        """What is no longer as it was."""
        now = Found.of(model).parts
        return [what for what, state in self.parts.items() if now[what] != state]


def _digest(tensor: torch.Tensor) -> str:
    return hashlib.blake2b(
        tensor.detach().cpu().contiguous().numpy().tobytes(), digest_size=16
    ).hexdigest()


def _numpy_state() -> tuple:
    name, keys, *rest = np.random.get_state()
    return (name, keys.tobytes(), *rest)
