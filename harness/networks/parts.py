"""Parts of a network that others look at: its features before the head, and its connections."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from harness.errors import HarnessError, did_you_mean

WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""Modules whose ``weight`` is a matrix of synapses, (out, in, ...)."""


class Features(nn.Module):
    """What goes into a network's head, or comes out of one of its parts.

    Args:
        network: Images (B, C, H, W) to anything.
        part: Name of the part whose output is wanted; None: the input of the head, which is the
            last linear layer that a forward pass calls.
        example: An image (1, C, H, W), to find the head with.

    Raises:
        HarnessError: There is no such part.
    """

    def __init__(self, network: nn.Module, part: str | None, example: torch.Tensor) -> None:
        super().__init__()
        self.network = network
        self.takes_output = part is not None
        self.part = part or last_linear(network, example)
        parts = dict(network.named_modules())
        if self.part not in parts:
            raise HarnessError(
                f"the network has no part {part!r}", hint=did_you_mean(self.part, parts)
            )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, D); maps are averaged over positions."""
        seen: list[torch.Tensor] = []

        def look(module: nn.Module, given: tuple[Any, ...], returned: Any) -> None:
            seen.append(returned if self.takes_output else given[0])

        with _watched(self.network, [self.part], look):
            self.network(images)
        if not seen:
            raise HarnessError(
                f"a forward pass does not call {self.part!r}", hint="name another part"
            )
        return _flat(seen[-1])


def _flat(activity: torch.Tensor) -> torch.Tensor:
    """Features (B, D) of activity (B, D), (B, C, H, W) or, of a transformer, (B, tokens, D)."""
    if activity.ndim == 4:
        return activity.mean((2, 3))
    if activity.ndim == 3:
        return activity.mean(1)
    return activity.flatten(1)


def last_linear(network: nn.Module, example: torch.Tensor) -> str:
    """Name of the last linear layer that a forward pass calls.

    Raises:
        HarnessError: It calls none.
    """
    called: list[nn.Module] = []
    linear: dict[str, nn.Module] = {
        name: part for name, part in network.named_modules() if isinstance(part, nn.Linear)
    }
    with _watched(network, list(linear), lambda part, *_: called.append(part)), torch.no_grad():
        network(example)
    names = {part: name for name, part in linear.items()}
    if not called:
        raise HarnessError(
            "no linear layer, whose input would be the features, is called",
            hint="name the part whose output is the features, e.g. `features: layer4`",
        )
    return names[called[-1]]


@contextmanager
def _watched(network: nn.Module, names: list[str], look: Any) -> Iterator[None]:
    """Call ``look(part, inputs, output)`` whenever one of the named parts is called."""
    parts = dict(network.named_modules())
    handles = [parts[name].register_forward_hook(look) for name in names]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def connections(network: nn.Module) -> dict[str, tuple[torch.Tensor, bool]]:
    """Weights (pre, post) of every linear and convolution layer, and whether it is linear.

    A convolution's are (inputs of one position, filters), shared by all positions. Those of a
    transposed convolution, an embedding or a recurrent cell are not listed.
    """
    return {
        name: (module.weight.detach().flatten(1).T, isinstance(module, nn.Linear))
        for name, module in network.named_modules()
        if isinstance(module, WEIGHTED)
    }
