"""Brackets of robust accuracy, proven to attacked, and what a proof costs.

    python tests/benchmarks/bounds.py [test images]

Networks of ``mnist5k``, split ``standard``, seed 0, one thread. The attack is PGD-20 with the
margin loss and one target for every wrong class. The last lines are the CPU time of CROWN on a
natural 784-400-10 network and 1,000 images, at one budget.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
from torch import nn

from harness.attacks.engine.sweep import sweep
from harness.attacks.pgd import PGD
from harness.bounds.prove import Prover
from harness.data.base import Images
from harness.registry import datasets, learners
from harness.rng import Rng

LEARNERS = {
    "nearest mean": ("nearest-mean", {}),
    "backprop": ("mlp", {}),
    "L1 backprop, 3e-4": ("mlp", {"l1": 3e-4}),
    "adversarial, eps 0.05": ("mlp", {"adversarial_eps": 0.05}),
    "certified, eps 0.1": ("mlp", {"certified_eps": 0.1, "epochs": 40}),
    "prototypes (k-means)": ("prototypes", {}),
    "the rule": ("ech", {}),
    "the rule, T 40": ("ech", {"code_temperature": 40}),
}

GRIDS = {"linf": [0.02, 0.05, 0.1], "l2": [0.5, 1.0], "l1": [2.0]}

CROWN_IMAGES = 1000


def digits(images: int) -> tuple[Images, Images]:
    """Training images, and the first of a fixed draw of test images."""
    data = datasets["mnist5k"](datasets["mnist5k"].Config()).build()
    test = data.split("standard", "test")
    rows = np.random.default_rng(0).permutation(len(test))
    return data.split("standard", "train"), test.take(rows[:images])


def trained(kind: str, keys: dict, train: Images) -> nn.Module:
    """The classifier of a learner with some keys of its config."""
    learner = learners[kind]
    made = learner(learner.Config(**keys), train.shape, train.n_classes, Rng(0).child("bounds"))
    made.fit(train)
    return made.classifier()


def brackets(name: str, network: nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
    """Print proven and attacked accuracy of one network at every budget."""
    prover = Prover.of(network, x)
    clean = float((network(x).argmax(1) == y).float().mean())
    cells = []
    cost = 0.0
    for norm, grid in GRIDS.items():
        start = time.process_time()
        proofs = prover.prove_grid(x, y, grid, norm)
        cost += time.process_time() - start
        attack = PGD.of(norm=norm, eps=grid, steps=20, loss=["margin"], targets=9, sweep="bisect")
        attacked = sweep(network, x, y, np.arange(len(x)), attack, Rng(0)).worst
        for proof, stands in zip(proofs, attacked, strict=True):
            proven = proof.proven.numpy()
            assert not (proven & ~stands).any(), f"{name}: proven and broken at {norm} {proof.eps}"
            cells.append(f"{proven.mean():.3f} - {stands.mean():.3f}")
    budgets = sum(map(len, GRIDS.values()))
    cost_ms = 1000 * cost / len(x) / budgets
    print(f"| {name} | {prover.method} | {clean:.3f} | {' | '.join(cells)} | {cost_ms:.1f} |")


def crown_time(network: nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
    """Print the CPU time of one budget in each norm."""
    prover = Prover.of(network, x)
    for norm, grid in GRIDS.items():
        start = time.process_time()
        prover.prove(x, y, grid[0], norm)
        seconds = time.process_time() - start
        print(f"CROWN, 784-400-10, {len(x)} images, {norm} {grid[0]}: {seconds:.2f} CPU s")


def main(images: int) -> None:
    """The table, then the times."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    train, test = digits(images)
    x, y = test.tensor(), torch.from_numpy(test.labels)
    columns = [f"{norm} {eps:g}" for norm, grid in GRIDS.items() for eps in grid]
    print(f"| network | method | clean | {' | '.join(columns)} | ms an image |")
    print("| :--- | :--- " + "| ---: " * (len(columns) + 2) + "|")
    networks = {}
    for name, (kind, keys) in LEARNERS.items():
        networks[name] = trained(kind, keys, train)
        brackets(name, networks[name], x, y)
    many = train.take(np.arange(CROWN_IMAGES))
    crown_time(networks["backprop"], many.tensor(), torch.from_numpy(many.labels))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
