"""How the trust checks judge networks with planted flaws, and networks without flaws.

    python tests/benchmarks/planted.py [planted | masks | honest]      (two processes)

For each flaw, at each eps in %: the true robust accuracy (the best of all attacks that can be run),
that of a naive sweep (PGD-20 on cross-entropy) with the checks that refuse it, and that of PGD with
the keys that the checks ask for (with 500 queries of Square where the network jumps). For each
mask: the same, with an attack that sees past it. For each of thirty honest networks: checks that
failed and that warned.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch import nn

sys.path.append(str(Path(__file__).resolve().parent.parent / "attacks"))

from flaws import ADAPTED, AROUND, INSIDE, adapted, judged, remarks, train, truth
from honest import HONEST, conv, honest, learned, mnist5k
from masks import NAMES, Mask, masks, naive
from masks import adapted as past_mask
from masks import truth as behind_mask

EPS, IMAGES, MASKED = [0.05, 0.1], 300, 150
PROCESSES = 2


def percent(accuracy: np.ndarray) -> str:
    """``"50.3 / 8.0"``."""
    return " / ".join(f"{100 * value:.1f}" for value in accuracy)


@cache
def perceptron() -> nn.Module:
    """The network that flaws are put around."""
    layers = [nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10)]
    return train(nn.Sequential(*layers), *mnist5k()[0])


@cache
def relatives() -> dict[str, nn.Module]:
    """Small networks to transfer from, as the plan of a suite trains them."""
    return {"cnn": conv(8, seed=5), "prototypes": learned("prototypes", hidden=100)}


@cache
def masked() -> dict[str, Mask]:
    """Every mask, around one network."""
    return masks(conv(8), *mnist5k()[0])


def planted(name: str) -> str:
    """One line for a flaw."""
    train_set, (x, y) = mnist5k()
    x, y = x[:IMAGES], y[:IMAGES]
    sound = perceptron()
    net = AROUND[name](sound) if name in AROUND else train(INSIDE[name](784), *train_set)
    result, checks = judged(net, x, y, "pgd", eps=EPS, steps=20, loss=["ce"])
    failed = ", ".join(remarks(checks, "FAIL"))
    refused = failed or "warned: " + ", ".join(remarks(checks, "WARN"))
    accuracy, after = adapted(name, net, x, y, EPS)
    levels = [level for level in ("FAIL", "WARN") if remarks(after, level)]
    left = "; ".join(f"{level} {', '.join(remarks(after, level))}" for level in levels)
    real = truth(name, net, sound, x, y, EPS)
    return (
        f"| {name} | {percent(real)} | {percent(result.accuracy())} | {refused} "
        f"| {percent(accuracy)} | {left or 'none'} |"
    )


def hidden(name: str) -> str:
    """One line for a mask."""
    x, y = mnist5k()[1]
    x, y = x[:MASKED], y[:MASKED]
    mask = masked()[name]
    result, checks = naive(mask, x, y, EPS, relatives())
    return (
        f"| {name} | {percent(behind_mask(mask, x, y, EPS))} | {percent(result)} "
        f"| {', '.join(remarks(checks, 'FAIL'))} | {percent(past_mask(mask, x, y, EPS))} |"
    )


def sound(name: str) -> str:
    """One line for an honest network and its grid."""
    net, eps, x, y = honest(name)
    keys = {"eps": eps, "steps": 20, "loss": ["ce", "margin"], "relatives": relatives()}
    result, checks = judged(net, x, y, "pgd", **keys)
    failed, warned = (", ".join(remarks(checks, level)) or "none" for level in ("FAIL", "WARN"))
    accuracy = percent(result.accuracy())
    return f"| {name} | {', '.join(map(str, eps))} | {accuracy} | {failed} | {warned} |"


PARTS: dict[str, tuple[Callable[[str], str], Iterable[str], str]] = {
    "planted": (
        planted,
        ADAPTED,
        "| flaw | truth | naive | refused by | adapted | remarks on it |\n"
        "| :--- | ---: | ---: | :--- | ---: | :--- |",
    ),
    "masks": (
        hidden,
        NAMES,
        "| mask | truth | naive | FAIL of the naive sweep | adapted |\n"
        "| :--- | ---: | ---: | :--- | ---: |",
    ),
    "honest": (
        sound,
        HONEST,
        "| network | eps | accuracy | FAIL | WARN |\n| :--- | :--- | :--- | :--- | :--- |",
    ),
}
"""Name -> what makes a line, what there is a line for, and the heading."""


def main(parts: list[str]) -> None:
    """Print the lines of each part, in order, as they are made."""
    start = time.perf_counter()
    spawned = get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, spawned, torch.set_num_threads, (1,)) as pool:
        for part in parts or list(PARTS):
            line, names, heading = PARTS[part]
            print(heading, flush=True)
            for row in pool.map(line, names):
                print(row, flush=True)
    print(f"{time.perf_counter() - start:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
