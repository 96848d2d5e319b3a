"""AutoAttack of this package against that of torchattacks: verdicts and CPU time.

    python tests/benchmarks/autoattack.py [images] [folder of cifar-10-batches-bin]

Four networks: a perceptron, a LeNet and an adversarially trained convolutional network on
``mnist5k``, and a small ResNet on CIFAR-10 (the binary batches; skipped without them). torchattacks
is run as it comes, with 10 steps for APGD and FAB, and with the 100 steps of the published standard
version. One thread; networks in the memory layout in which they were trained.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from sweep import conv, digits, mlp, train
from torch import nn

from harness.attacks.autoattack import AutoAttack
from harness.attacks.engine.parts import shares
from harness.attacks.engine.sweep import sweep
from harness.rng import Rng

Subject = tuple[nn.Module, torch.Tensor, torch.Tensor, str, float]
"""Network, images, labels, norm, eps."""

IMAGES = 100


def lenet() -> nn.Module:
    """LeNet-5 with rectified units, untrained."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )


class Block(nn.Module):
    """A residual block of two convolutions, which halves the image if it widens it."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        stride = 1 if before == after else 2
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, 1, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.shortcut = nn.Identity() if stride == 1 else nn.Conv2d(before, after, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, before, H, W) to (B, after, H / stride, W / stride)."""
        return torch.relu(self.body(x) + self.shortcut(x))


def resnet() -> nn.Module:
    """ResNet-8 for 32 x 32 pixels, untrained."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        Block(16, 16),
        Block(16, 32),
        Block(32, 64),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def cifar(folder: Path, part: str, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random images of one of the official binary batches, and their labels."""
    records = np.fromfile(folder / f"{part}.bin", np.uint8).reshape(-1, 3073)
    chosen = records[np.random.default_rng(0).permutation(len(records))[:number]]
    pixels = torch.tensor(chosen[:, 1:].reshape(-1, 3, 32, 32) / 255, dtype=torch.float32)
    return pixels, torch.tensor(chosen[:, 0].astype(np.int64))


def subjects(number: int, folder: Path) -> dict[str, Callable[[], Subject]]:
    """Name -> function that trains the network."""
    images, labels = digits()
    seen = images[:4000], labels[:4000]
    held_out = images[4000 : 4000 + number], labels[4000 : 4000 + number]
    made = {
        "perceptron": lambda: (train(mlp(), *seen), *held_out, "linf", 0.03),
        "LeNet": lambda: (train(lenet(), *seen), *held_out, "linf", 0.08),
        "conv, adversarial": lambda: (train(conv(), *seen, 0.1), *held_out, "linf", 0.12),
        "LeNet, L2": lambda: (train(lenet(), *seen), *held_out, "l2", 1.2),
    }
    if not (folder / "test_batch.bin").exists():
        print(f"ResNet skipped: no test_batch.bin in {folder}")
        return made

    def on_cifar() -> Subject:
        model = train(resnet(), *cifar(folder, "data_batch_1", 6000))
        return model, *cifar(folder, "test_batch", number // 3), "linf", 1 / 255

    return {**made, "ResNet on CIFAR-10": on_cifar}


def peer(subject: Subject, steps: int | None) -> np.ndarray:
    """Which images withstand torchattacks' AutoAttack; with ``steps`` for APGD and FAB."""
    import torchattacks

    model, images, labels, norm, eps = subject
    kind = norm.capitalize()
    attack = torchattacks.AutoAttack(model, kind, eps, n_classes=10, seed=0)
    if steps:
        for part in attack._autoattack.attacks[:3]:
            part.steps = steps
    adversarial = attack(images, labels)
    model.zero_grad(set_to_none=True)
    with torch.no_grad():
        clean = model(images).argmax(1) == labels
        return (clean & (model(adversarial).argmax(1) == labels)).numpy()


def ours(subject: Subject) -> tuple[np.ndarray, str]:
    """Which images withstand ours, and what each part took, in words."""
    model, images, labels, norm, eps = subject
    attack = AutoAttack.of(norm=norm, eps=[eps])
    result = sweep(model, images, labels, np.arange(len(images)), attack, Rng(0))
    (taken,) = shares(result.correct, result.objectives)
    words = ", ".join(f"{part} {100 * share:.1f}" for part, share in taken.items())
    return result.worst[0], words


def timed(function: Callable) -> tuple:
    """A function's result, and the CPU time that it took."""
    start = time.process_time()
    result = function()
    return result, time.process_time() - start


def compare(name: str, subject: Subject) -> None:
    """Print a network's lines."""
    (standing, words), seconds = timed(lambda: ours(subject))
    number = len(standing)
    print(f"{name}, {number} images, {subject[3]} eps {subject[4]:.4g}")
    print(f"  ours               {100 * standing.mean():6.2f} %  {seconds:6.1f} s  ({words})")
    for label, steps in {"as it comes": None, "100 steps": 100}.items():
        theirs, taken = timed(lambda steps=steps: peer(subject, steps))
        only_ours = int((theirs & ~standing).sum())
        only_theirs = int((standing & ~theirs).sum())
        print(
            f"  torchattacks, {label:12} {100 * theirs.mean():6.2f} %  {taken:6.1f} s  "
            f"time ratio {seconds / taken:.2f}; broken by ours only {only_ours}, "
            f"by theirs only {only_theirs}",
            flush=True,
        )


def main(number: int, folder: Path) -> None:
    """Every network."""
    torch.set_num_threads(1)
    for name, make in subjects(number, folder).items():
        torch.manual_seed(0)
        compare(name, make())


if __name__ == "__main__":
    arguments = sys.argv[1:]
    root = Path(os.environ.get("HARNESS_DATA", "."))
    main(
        int(arguments[0]) if arguments else IMAGES,
        Path(arguments[1]) if len(arguments) > 1 else root / "cifar-10-batches-bin",
    )
