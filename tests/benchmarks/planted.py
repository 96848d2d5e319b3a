"""How the trust checks judge networks with planted flaws, and networks without flaws.

    python tests/benchmarks/planted.py [planted | honest]      (one thread)

For each flaw, at each eps in %: the true robust accuracy (the best of all attacks that can be run),
that of a naive sweep (PGD-20 on cross-entropy) with the checks that refuse it, and that of PGD with
the keys that the checks ask for (with 500 queries of Square where the network jumps). For each of
twenty honest networks: checks that failed and that warned.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

sys.path.append(str(Path(__file__).resolve().parent.parent / "attacks"))

from flaws import ADAPTED, AROUND, INSIDE, adapted, judged, remarks, train, truth
from honest import HONEST, honest, mnist5k

EPS, IMAGES = [0.05, 0.1], 300


def percent(accuracy: np.ndarray) -> str:
    """``"50.3 / 8.0"``."""
    return " / ".join(f"{100 * value:.1f}" for value in accuracy)


def planted() -> None:
    """One line a flaw."""
    (images, labels), (x, y) = mnist5k()
    x, y = x[:IMAGES], y[:IMAGES]
    sound = train(
        nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10)),
        images,
        labels,
    )
    print(
        "| flaw | truth | naive | refused by | adapted | remarks on it |\n"
        "| :--- | ---: | ---: | :--- | ---: | :--- |"
    )
    for name in ADAPTED:
        net = AROUND[name](sound) if name in AROUND else train(INSIDE[name](784), images, labels)
        result, checks = judged(net, x, y, "pgd", eps=EPS, steps=20, loss=["ce"])
        refused = ", ".join(remarks(checks, "FAIL")) or "warned: " + ", ".join(
            remarks(checks, "WARN")
        )
        accuracy, after = adapted(name, net, x, y, EPS)
        said = "; ".join(
            f"{level} {', '.join(remarks(after, level))}"
            for level in ("FAIL", "WARN")
            if remarks(after, level)
        )
        print(
            f"| {name} | {percent(truth(name, net, sound, x, y, EPS))} "
            f"| {percent(result.accuracy())} | {refused} "
            f"| {percent(accuracy)} | {said or 'none'} |",
            flush=True,
        )


def sound() -> None:
    """One line an honest network and grid."""
    print("| network | eps | accuracy | FAIL | WARN |\n| :--- | :--- | :--- | :--- | :--- |")
    for name in HONEST:
        net, eps, x, y = honest(name)
        result, checks = judged(net, x, y, "pgd", eps=eps, steps=20, loss=["ce", "margin"])
        failed, warned = (", ".join(remarks(checks, level)) or "none" for level in ("FAIL", "WARN"))
        print(
            f"| {name} | {', '.join(map(str, eps))} | {percent(result.accuracy())} "
            f"| {failed} | {warned} |",
            flush=True,
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    for part in sys.argv[1:] or ["planted", "honest"]:
        {"planted": planted, "honest": sound}[part]()
