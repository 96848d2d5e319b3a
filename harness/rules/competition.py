"""Competitive layers: how E layers of neurons respond to an input, for rules that train them.

All functions act on E layers at once that do not influence each other: E = 1 in ordinary training,
E = episodes in few-shot adaptation.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.lazy import torch
from harness.rules.surprise import Traces

RESOLUTION = 2.0**-24
"""Half the distance from 1 to the next float32."""


@dataclass
class Layer:
    """E competitive layers of H neurons on n inputs.

    Attributes:
        weight: w, (E, H, n); positive where a synapse exists, 0 elsewhere.
        threshold: Homeostatic threshold b, (E, H).
        step: Number of plastic steps taken.
        traces: What its synapses remember, where plasticity reads it.
    """

    weight: torch.Tensor
    threshold: torch.Tensor
    step: int = 0
    traces: Traces | None = None
    _scratch: tuple[torch.Tensor, torch.Tensor] | None = field(default=None, repr=False)

    @property
    def live(self) -> torch.Tensor:
        """Bool (E, H, n): the synapses that exist."""
        return self.weight > 0

    def scratch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Two work arrays of the weights' shape, reused in every step."""
        if self._scratch is None:
            self._scratch = (torch.empty_like(self.weight), torch.empty_like(self.weight))
        return self._scratch


def uniform_weights(*size: int, generator: torch.Generator) -> torch.Tensor:
    """Initial excitatory weights, w ~ U(0.01, 0.1)."""
    return 0.01 + 0.09 * torch.rand(*size, generator=generator)


def drive(layer: Layer, inputs: torch.Tensor, scaling: bool = True) -> torch.Tensor:
    """The drive u_j = w_j . x of each neuron, divided by |w_j| with synaptic scaling.

    Args:
        layer: E layers.
        inputs: x, (E, B, n).
        scaling: Whether to divide by the length of the neuron's weights.

    Returns:
        u, (E, B, H).
    """
    u = torch.bmm(inputs, layer.weight.transpose(1, 2))
    if scaling:
        length = torch.linalg.vector_norm(layer.weight, dim=2).add_(1e-12)
        u.div_(length.unsqueeze(1))
    return u


def compete(layer: Layer, u: torch.Tensor, temperature: float) -> torch.Tensor:
    """The soft winner-take-all response q = softmax_j(T (u - b)), (E, B, H), resolved."""
    above_threshold = u - layer.threshold.unsqueeze(1)
    return resolved(torch.softmax(above_threshold.mul_(temperature), dim=2))


def resolved(q: torch.Tensor) -> torch.Tensor:
    """Set responses to 0, in place, that are too small to change their sum in single precision.

    Learning cannot notice the difference. Networks under attack are not resolved: the gradient
    through small responses may be all that an attack has to follow.

    Args:
        q: Non-negative, with sum 1 over the last axis.

    Returns:
        ``q``.
    """
    return torch.threshold_(q, RESOLUTION, 0.0)
