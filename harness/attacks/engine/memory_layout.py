"""Memory layout of convolutional networks on a CPU: channels last, and few rows a pass, for speed.

With 16 and 32 channels on 28 x 28 pixels a gradient took 0.46 of its time, with 64 channels in four
layers 0.47 (``python tests/benchmarks/layout.py``). A network's numbers are always those of this
layout, whichever layout its parameters had before.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness.attacks.engine.random_state import isolated_random_state
from harness.batching import padded
from harness.lazy import nn, torch

IN_CACHE = 64
"""Rows whose activations fit a core's cache in a small convolutional network."""


def rows_per_pass(model: nn.Module, images: torch.Tensor, batch_size: int) -> int:
    """How many rows to process at once: fewer than ``batch_size`` for convolutional networks."""
    return min(batch_size, IN_CACHE) if _kernels(model, images) else batch_size


@contextmanager
def channels_last(model: nn.Module, images: torch.Tensor) -> Iterator[None]:
    """Store the kernels (tensors of four axes) channels-last; restore them afterwards.

    Networks on a GPU are not changed, and neither are networks that do not run in this layout
    because they take a ``view`` of a convolution's output.
    """
    kernels = [(kernel, kernel.data) for kernel in _kernels(model, images)]
    try:
        for kernel, data in kernels:
            # contiguous() would not change kernels of one channel, nor the layout of activations.
            layout = torch.empty_like(data, memory_format=torch.channels_last)
            kernel.data = layout.copy_(data)
        if kernels and not _runs(model, images[:1]):
            _restore(kernels)
        yield
    finally:
        _restore(kernels)


def _kernels(model: nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
    if images.device.type != "cpu":
        return []
    return [tensor for tensor in (*model.parameters(), *model.buffers()) if tensor.dim() == 4]


def _runs(model: nn.Module, images: torch.Tensor) -> bool:
    """Whether the network runs in this layout; errors of other kinds are raised later."""
    inputs = padded(images).clone().requires_grad_()
    with isolated_random_state(0), torch.enable_grad():
        try:
            logits = model(inputs)
            if logits.requires_grad:
                torch.autograd.grad(logits.sum(), inputs, allow_unused=True)
        except RuntimeError as error:
            return "view" not in str(error)
    return True


def _restore(kernels: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    for kernel, data in kernels:
        kernel.data = data
