"""How the trust checks judge networks with planted flaws, and networks without flaws.

    python tests/benchmarks/planted.py [planted | masks | honest]      (one thread)

For each flaw, at each eps in %: the true robust accuracy (the best of all attacks that can be run),
that of a naive sweep (PGD-20 on cross-entropy) with the checks that refuse it, and that of PGD with
the keys that the checks ask for (with 500 queries of Square where the network jumps). For each
mask: the same, with an attack that sees past it. For each of thirty honest networks: checks that
failed and that warned.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

sys.path.append(str(Path(__file__).resolve().parent.parent / "attacks"))

from flaws import ADAPTED, AROUND, INSIDE, adapted, judged, remarks, train, truth
from honest import HONEST, conv, honest, learned, mnist5k
from masks import adapted as past_mask
from masks import masks, naive
from masks import truth as behind_mask

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


def relatives() -> dict[str, nn.Module]:
    """Small networks to transfer from, as the plan of a suite trains them."""
    return {"cnn": conv(8, seed=5), "prototypes": learned("prototypes", hidden=100)}


def hidden() -> None:
    """One line a mask."""
    train_set, (x, y) = mnist5k()
    x, y = x[:IMAGES], y[:IMAGES]
    others = relatives()
    known: dict[int, np.ndarray] = {}
    print(
        "| mask | truth | naive | FAIL of the naive sweep | adapted |\n"
        "| :--- | ---: | ---: | :--- | ---: |"
    )
    for name, mask in masks(conv(8), *train_set).items():
        result, checks = naive(mask, x, y, EPS, others)
        behind = mask.seen_through() if mask.seen_through else mask
        if id(behind) not in known:  # most masks are around one network
            known[id(behind)] = behind_mask(mask, x, y, EPS)
        print(
            f"| {name} | {percent(known[id(behind)])} | {percent(result)} "
            f"| {', '.join(remarks(checks, 'FAIL'))} | {percent(past_mask(mask, x, y, EPS))} |",
            flush=True,
        )


def sound() -> None:
    """One line an honest network and grid."""
    print("| network | eps | accuracy | FAIL | WARN |\n| :--- | :--- | :--- | :--- | :--- |")
    others = relatives()
    for name in HONEST:
        net, eps, x, y = honest(name)
        keys = {"eps": eps, "steps": 20, "loss": ["ce", "margin"], "relatives": others}
        result, checks = judged(net, x, y, "pgd", **keys)
        failed, warned = (", ".join(remarks(checks, level)) or "none" for level in ("FAIL", "WARN"))
        print(
            f"| {name} | {', '.join(map(str, eps))} | {percent(result.accuracy())} "
            f"| {failed} | {warned} |",
            flush=True,
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    for part in sys.argv[1:] or ["planted", "masks", "honest"]:
        {"planted": planted, "masks": hidden, "honest": sound}[part]()
