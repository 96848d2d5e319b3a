"""Speed-up of adapting to many episodes together instead of one by one, for each kind of head.

    python tests/benchmarks/bench_adapt.py [--episodes 64] [--ways 5] [--shots 1] [--repeats 5]

Prints ms per episode.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from harness.learning.bodies import Conv4
from harness.learning.learner import Learner
from harness.registry import learners
from harness.rng import Rng

SHAPE, CLASSES = (1, 28, 28), 10
CASES = {
    "ridge head": ("random-features", {}),
    "mlp from scratch": ("mlp", {}),
    "protonet": ("protonet", {"width": 32}),
    "maml, perceptron": ("maml", {"backbone": "mlp"}),
    "anil, conv4": ("anil", {"backbone": "conv4", "width": 32}),
    "baseline++": ("baseline++", {"width": 32}),
    "relation-net": ("relation-net", {"width": 32}),
    "maml, conv4": ("maml", {"backbone": "conv4", "width": 32}),
}


def milliseconds(work: Callable[[], object], repeats: int) -> float:
    """Median wall-clock time of a call, after one that is not counted."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def compare(learner: Learner, options: argparse.Namespace) -> tuple[float, float]:
    """Milliseconds an episode (adapting and 5 queries a class): one by one, together."""
    generator, ways = Rng(0).torch("bench"), options.ways
    support = torch.rand(options.episodes, ways * options.shots, *SHAPE, generator=generator)
    queries = torch.rand(options.episodes, ways * 5, *SHAPE, generator=generator)
    labels = torch.arange(ways).repeat_interleave(options.shots).repeat(options.episodes, 1)

    def one_by_one() -> None:
        for x, y, q in zip(support, labels, queries, strict=True):
            learner.adapt(x, y, ways)(q)

    with torch.no_grad():
        alone = milliseconds(one_by_one, options.repeats)
        together = milliseconds(
            lambda: learner.adapt_many(support, labels, ways)(queries), options.repeats
        )
    return alone / options.episodes, together / options.episodes


def folding(repeats: int) -> None:
    """Time with batch normalisation folded into convolutions: forward and input gradient."""
    generator = Rng(0).torch("bench")
    body, images = Conv4(1, 64, generator).eval(), torch.rand(128, *SHAPE, generator=generator)

    def gradient(module: torch.nn.Module) -> None:
        x = images.clone().requires_grad_()
        torch.autograd.grad(module(x).sum(), x)

    for name, work in (("forward", lambda module: module(images)), ("input gradient", gradient)):
        with torch.set_grad_enabled(name != "forward"):
            plain, folded = (
                milliseconds(lambda m=m, w=work: w(m), repeats) for m in (body, body.folded())
            )
        print(
            f"{'conv4 ' + name:24}{plain:10.1f} ms a batch plain"
            f"{folded:10.1f} folded {plain / folded:7.2f}x"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (("episodes", 64), ("ways", 5), ("shots", 1), ("repeats", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name, (kind, switches) in CASES.items():
        cls = learners[kind]
        alone, together = compare(cls(cls.Config(**switches), SHAPE, CLASSES, Rng(0)), options)
        print(
            f"{name:24}{alone:10.2f} ms one by one"
            f"{together:10.2f} together {alone / together:7.2f}x"
        )
    folding(options.repeats)


if __name__ == "__main__":
    main()
