"""The state that an attack must leave unchanged: of the network, and of global generators."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.lazy import nn, torch


@dataclass(frozen=True)
class NetworkState:
    """A network and the global random generators at one moment.

    Attributes:
        parts: name of a part -> a value that is equal exactly if the part is unchanged.
    """

    parts: dict[str, Any]

    @classmethod
    def of(cls, model: nn.Module) -> NetworkState:
        """Record the current state."""
        parameters = list(model.parameters())
        weights = [*parameters, *model.buffers()]
        return cls(
            {
                "training flags": [module.training for module in model.modules()],
                "requires_grad": [parameter.requires_grad for parameter in parameters],
                "param.grad": [_gradient_state(parameter) for parameter in parameters],
                "weights and buffers": [_digest(tensor) for tensor in weights],
                "torch's random state": _digest(torch.get_rng_state()),
                "numpy's random state": _numpy_state(),
                "Python's random state": hash(random.getstate()),
            }
        )

    def changed(self, model: nn.Module) -> list[str]:
        """Names of the parts that differ between this state and the current one."""
        now = NetworkState.of(model).parts
        return [name for name, state in self.parts.items() if now[name] != state]


def _gradient_state(parameter: nn.Parameter) -> tuple[int, str] | None:
    if parameter.grad is None:
        return None
    # The identity too: replacing a gradient by an equal copy breaks code that holds on to it.
    return id(parameter.grad), _digest(parameter.grad)


def _digest(tensor: torch.Tensor) -> str:
    content = tensor.detach().cpu().contiguous().numpy().tobytes()
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _numpy_state() -> tuple[Any, ...]:
    state: Any = np.random.get_state()
    name, keys, *rest = state
    return (name, keys.tobytes(), *rest)
