"""Time of an epoch of the rule's hidden plasticity, relative to backprop and to matrix products.

    python tests/benchmarks/bench_ech.py [--images 10000] [--hidden 400] [--batch 50] [--noise 0.04]
        [--repeats 3]

Backprop uses Adam. All have the same shapes and run in turns; prints the ratios.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from harness.rng import Rng
from harness.rules.competition import Layer
from harness.rules.ech import ECH
from harness.rules.plasticity import learn


def data(images: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random non-negative unit vectors, a fifth of the pixels on, and labels."""
    generator = Rng(0).torch("bench")
    x = torch.rand(images, 784, generator=generator) * (
        torch.rand(images, 784, generator=generator) < 0.2
    )
    return x / x.norm(dim=1, keepdim=True), torch.randint(10, (images,), generator=generator)


def hebbian_epoch(x: torch.Tensor, options: argparse.Namespace) -> Callable[[], None]:
    """An epoch of plastic steps."""
    rates = ECH.Config(noise=options.noise, maintenance=0.003 if options.noise else 0.0)
    weight = 0.01 + 0.09 * torch.rand(1, options.hidden, 784, generator=Rng(0).torch("weight"))
    layer, noise = Layer(weight, torch.zeros(1, options.hidden)), Rng(0).torch("noise")

    def epoch() -> None:
        with torch.no_grad():
            for rows in torch.arange(len(x)).split(options.batch):
                learn(layer, x[rows].unsqueeze(0), 40.0, 0.5, rates, noise)

    return epoch


def products_epoch(x: torch.Tensor, options: argparse.Namespace) -> Callable[[], None]:
    """The two products of each plastic step: drives; responses times inputs."""
    weight, q = torch.rand(1, options.hidden, 784), torch.rand(1, options.batch, options.hidden)
    change = torch.empty_like(weight)

    def epoch() -> None:
        for rows in torch.arange(len(x)).split(options.batch):
            inputs = x[rows].unsqueeze(0)
            torch.bmm(inputs, weight.transpose(1, 2))
            torch.bmm(q.transpose(1, 2), inputs, out=change)

    return epoch


def backprop_epoch(
    x: torch.Tensor, y: torch.Tensor, options: argparse.Namespace
) -> Callable[[], None]:
    """An epoch of Adam on a 784-H-10 network."""
    net = nn.Sequential(nn.Linear(784, options.hidden), nn.ReLU(), nn.Linear(options.hidden, 10))
    adam = torch.optim.Adam(net.parameters())

    def epoch() -> None:
        for rows in torch.arange(len(x)).split(options.batch):
            adam.zero_grad()
            nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
            adam.step()

    return epoch


def timed(function: Callable[[], None]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--hidden", type=int, default=400)
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--noise", type=float, default=0.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    x, y = data(options.images)
    epochs = hebbian_epoch(x, options), backprop_epoch(x, y, options), products_epoch(x, options)
    rounds = [[timed(epoch) for epoch in epochs] for _ in range(options.repeats + 1)][
        1:
    ]  # the first warms up
    ech, adam, products = (statistics.median(times) for times in zip(*rounds, strict=True))
    print(f"ECH {ech:.2f} s, Adam {adam:.2f} s, its matrix products alone {products:.2f} s")
    print(
        f"ratio to Adam {statistics.median(a / b for a, b, _ in rounds):.2f}, "
        f"to its matrix products {statistics.median(a / c for a, _, c in rounds):.2f}"
    )


if __name__ == "__main__":
    main()
