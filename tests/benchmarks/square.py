"""Square of this package against that of torchattacks: what each leaves, over seeds of both.

    python tests/benchmarks/square.py [queries] [images] [seeds] [folder of cifar-10-batches-bin]

The networks of ``autoattack.py``, each at two budgets: a random search is compared by means,
because one seed of it moves a verdict or two. CPU time of all seeds, on one thread.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from autoattack import Subject, subjects

from harness.attacks.engine.sweep import sweep
from harness.attacks.square import Square
from harness.rng import Rng


def ours(subject: Subject, queries: int, seed: int) -> float:
    """Accuracy that our Square leaves."""
    model, images, labels, norm, eps = subject
    attack = Square.of(norm=norm, eps=[eps], queries=queries)
    return sweep(model, images, labels, np.arange(len(images)), attack, Rng(seed)).worst[0].mean()


def peer(subject: Subject, queries: int, seed: int) -> float:
    """Accuracy that torchattacks' Square leaves."""
    import torchattacks

    model, images, labels, norm, eps = subject
    attack = torchattacks.Square(
        model, norm=norm.capitalize(), eps=eps, n_queries=queries, seed=seed
    )
    adversarial = attack(images, labels)
    with torch.no_grad():
        clean = model(images).argmax(1) == labels
        return (clean & (model(adversarial).argmax(1) == labels)).float().mean().item()


def timed(attack, subject: Subject, queries: int, seeds: int) -> tuple[float, float, float]:
    """Mean accuracy over seeds, its standard error, and CPU seconds."""
    began = time.process_time()
    left = [attack(subject, queries, seed) for seed in range(seeds)]
    error = np.std(left, ddof=1) / seeds**0.5
    return float(np.mean(left)), float(error), time.process_time() - began


if __name__ == "__main__":
    torch.set_num_threads(1)
    queries, images, seeds = (
        int(word) for word in [*sys.argv[1:4], *(1000, 200, 3)[len(sys.argv[1:4]) :]]
    )
    default = Path(os.environ.get("HARNESS_DATA", ".")) / "cifar-10-batches-bin"
    folder = Path(sys.argv[4]) if len(sys.argv) > 4 else default
    print(f"{queries} queries, {images} images, mean of {seeds} seeds: accuracy left, %")
    for name, made in subjects(images, folder).items():
        subject = made()
        for times in (0.5, 1):
            model, pixels, labels, norm, eps = subject
            at = (model, pixels, labels, norm, times * eps)
            mine, my_error, my_time = timed(ours, at, queries, seeds)
            theirs, their_error, their_time = timed(peer, at, queries, seeds)
            print(
                f"{name}, eps {times * eps:.3g}: ours {100 * mine:.1f} ±{100 * my_error:.1f}, "
                f"torchattacks {100 * theirs:.1f} ±{100 * their_error:.1f}, "
                f"CPU time {my_time / their_time:.2f} of it",
                flush=True,
            )
