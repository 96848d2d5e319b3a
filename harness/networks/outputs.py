"""A network as attacks and protocols need it: images in [0, 1] to logits (B, classes)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import nn

from harness.errors import HarnessError

Output = Literal["logits", "probabilities", "log-probabilities", "one-logit"] | int | str
"""What a network returns. A number or another name says which entry of it the logits are."""


class Prepared(nn.Module):
    """A network that normalises its input itself and returns logits.

    Args:
        network: Takes normalised images (B, C, H, W).
        output: What it returns: logits; probabilities, whose logarithm is taken; one logit of the
            second of two classes; or a collection, of which ``output`` is the index or the key.
        mean: Of each channel, (C,); empty for no normalisation.
        std: Of each channel, (C,).
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self,
        network: nn.Module,
        output: Output = "logits",
        mean: Sequence[float] = (),
        std: Sequence[float] = (),
    ) -> None:
        super().__init__()
        self.network = network
        self.output = output
        self.normalises = bool(mean)
        self.register_buffer("mean", torch.tensor(mean or [0.0])[:, None, None])
        self.register_buffer("std", torch.tensor(std or [1.0])[:, None, None])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (B, C, H, W) in [0, 1] to logits (B, classes)."""
        if self.normalises:
            images = (images - self.mean) / self.std
        return as_logits(self.network(images), self.output)


def as_logits(returned: Any, output: Output) -> torch.Tensor:
    """Turn what a network returned into logits (B, classes).

    >>> as_logits(torch.tensor([[2.0], [-1.0]]), "one-logit").tolist()
    [[0.0, 2.0], [0.0, -1.0]]
    >>> as_logits({"scores": torch.tensor([[1.0, 3.0]])}, "scores").tolist()
    [[1.0, 3.0]]

    Raises:
        HarnessError: It is not what ``output`` says.
    """
    named = output in ("logits", "probabilities", "log-probabilities", "one-logit")
    if not named or not isinstance(returned, torch.Tensor):
        returned = _entry(returned, output)
    if not isinstance(returned, torch.Tensor):
        raise _not(returned, output)
    if output == "probabilities":
        # Zero probabilities would give infinite logits, and no gradient.
        return returned.clamp_min(torch.finfo(returned.dtype).tiny).log()
    if output == "one-logit":
        second = returned.reshape(len(returned), 1)
        return torch.cat([torch.zeros_like(second), second], dim=1)
    return returned


def _entry(returned: Any, name: Output) -> Any:
    """The entry that holds the logits: by index, by key, or an attribute such as ``logits``."""
    try:
        if isinstance(name, int):
            return returned[name]
        if isinstance(returned, Mapping):
            return returned[name]
        return getattr(returned, name)
    except (LookupError, TypeError, AttributeError):
        raise _not(returned, name) from None


def _not(returned: Any, output: Output) -> HarnessError:
    what = f"a {type(returned).__name__}"
    hint = "output: logits, probabilities, log-probabilities, one-logit, an index, or a key"
    if isinstance(returned, Mapping):
        what = f"a {type(returned).__name__} with {', '.join(map(repr, list(returned)[:5]))}"
        hint = "name the entry that holds logits, e.g. `output: logits`"
    elif isinstance(returned, Sequence):
        what = f"a {type(returned).__name__} of {len(returned)}"
        hint = "say which entry holds logits, e.g. `output: 0`"
    return HarnessError(f"the network returns {what}, not {output!r}", hint=hint)
