"""How a convolutional network lies in memory while it is attacked on a CPU: channels last, and few rows at once.

Both change time alone: with 16 and 32 channels on 28 x 28 pixels a gradient took 0.46 of its time, with 64 channels in four
layers 0.47 (``python tests/benchmarks/layout.py``). The numbers that a network gives are then those of one layout, whichever
its parameters were found in.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness.attacks.engine.sealed import sealed
from harness.batching import padded
from harness.lazy import nn, torch

IN_CACHE = 64
"""Rows of which the activations of small convolutions stay in a core's cache; of perceptrons many more do."""


def rows_at_once(model: nn.Module, images: torch.Tensor, batch_size: int) -> int:
    """How many rows to push through a network: ``batch_size``, or fewer where its activations would leave the cache."""
    return min(batch_size, IN_CACHE) if _kernels(model, images) else batch_size


@contextmanager
def channels_last(model: nn.Module, images: torch.Tensor) -> Iterator[None]:
    """Kernels (parameters and buffers of four axes) lie with channels last inside, and as they were outside.

    A network that cannot be run so (it takes ``view`` of what a convolution gave) is left alone, and so is one on a GPU.
    """
    kernels = [(kernel, kernel.data) for kernel in _kernels(model, images)]
    try:
        for kernel, data in kernels:
            # contiguous() would leave kernels of one channel as they are, and with them the activations
            kernel.data = torch.empty_like(data, memory_format=torch.channels_last).copy_(data)
        if kernels and not _runs(model, images[:1]):
            _put_back(kernels)
        yield
    finally:
        _put_back(kernels)


def _kernels(model: nn.Module, images: torch.Tensor) -> list[torch.Tensor]:
    if images.device.type != "cpu":
        return []
    return [tensor for tensor in (*model.parameters(), *model.buffers()) if tensor.dim() == 4]


def _runs(model: nn.Module, images: torch.Tensor) -> bool:
    """Whether logits and input gradient can be had; a network that cannot be run in any layout says so later."""
    inputs = padded(images).clone().requires_grad_()
    with sealed(0), torch.enable_grad():
        try:
            logits = model(inputs)
            if logits.requires_grad:
                torch.autograd.grad(logits.sum(), inputs, allow_unused=True)
        except RuntimeError as error:
            return "view" not in str(error)
    return True


def _put_back(kernels: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    for kernel, data in kernels:
        kernel.data = data
