"""Time of an input gradient of convolutional networks: layout of attacks against plain layout.

    python tests/benchmarks/layout.py

Plain: 256 rows at once, memory layout as in the network. One thread, CPU time, the best of five.
"""

from __future__ import annotations

import time

import torch
from torch import nn

from harness.attacks.engine.losses import LOSSES
from harness.attacks.engine.memory_layout import channels_last, rows_per_pass
from harness.attacks.engine.victim import Victim


def two_layers() -> nn.Module:
    """16 and 32 channels."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(1568, 10),
    )


def four_blocks() -> nn.Module:
    """Conv4: four times 64 channels with batch norm."""
    blocks = [
        part
        for n_in in (1, 64, 64, 64)
        for part in (
            nn.Conv2d(n_in, 64, 3, padding=1),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
    ]
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(64, 10))


def took(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, rows: int) -> float:
    """Process time of the gradients of all images."""
    victim, best = Victim(model, rows), float("inf")
    for _ in range(5):
        start = time.process_time()
        for part, right in zip(images.split(rows), labels.split(rows), strict=True):
            victim.gradient(part, right, None, LOSSES["ce"])
        best = min(best, time.process_time() - start)
    return best


def main() -> None:
    """One line a network."""
    torch.set_num_threads(1)
    images, labels = torch.rand(512, 1, 28, 28), torch.randint(0, 10, (512,))
    for make in (two_layers, four_blocks):
        model = make().eval().requires_grad_(False)
        found = took(model, images, labels, 256)
        with channels_last(model, images):
            laid = took(model, images, labels, rows_per_pass(model, images, 256))
        print(
            f"{make.__name__:12} as found {found:.3f} s, laid out {laid:.3f} s: {laid / found:.2f}"
        )


if __name__ == "__main__":
    main()
