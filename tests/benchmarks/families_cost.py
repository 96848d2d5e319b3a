"""What a training of each learner costs, beside backprop of the same shape.

    python tests/benchmarks/families_cost.py STORE [SUITE]     (SUITE: suites/families/mnist.yaml)

Reads the finished trainings of a store; nothing is run. One row for each learner of the suite, the
cheapest first: seconds of a training, microseconds an image, and that time as a multiple of
backprop's. Backprop is the plain perceptron of the suite whose number of weights is nearest; how
many it has, as a share of the learner's, is printed too. Learners without layers of units, such as
convolutions, have no such control and no ratio.

Times are of the clock. They compare where all trainings had the same machine and the same number of
neighbours.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from harness.learning.perceptron import layer_sizes
from harness.storage.store import CellResult, Store
from harness.suite.load import load
from harness.suite.model import LearnerEntry

SUITE = "suites/families/mnist.yaml"

PIXELS, CLASSES = 784, 10
"""Of MNIST and of the sets in its form."""

WIDTHS = ("hidden", "memories", "width", "cells")
"""Keys with the units of a learner's layers; the first that it has counts."""


@dataclass(frozen=True)
class Cost:
    """Trainings of one learner.

    Attributes:
        learner: Its name in the suite.
        weights: Number of weights; None without layers of units.
        plain: Whether it is backprop on a perceptron without a front.
        seconds: Of a training, the median over seeds.
        per_image: Seconds an image, repeats counted as images.
        seeds: Number of trainings.
    """

    learner: str
    weights: int | None
    plain: bool
    seconds: float
    per_image: float
    seeds: int


def weights_of(config: Mapping[str, Any]) -> int | None:
    """Number of weights of a perceptron with the learner's layers; None if it has none.

    >>> weights_of({"hidden": [100, 50]})
    83900
    """
    if config.get("channels"):
        return None
    widths = next((config[key] for key in WIDTHS if config.get(key)), None)
    if widths is None:
        return None
    sizes = [PIXELS, *layer_sizes(widths), CLASSES]
    return sum(n_in * n_out for n_in, n_out in pairwise(sizes))


def is_of(learner: LearnerEntry, identity: Mapping[str, Any]) -> bool:
    """Whether a training is of this learner, by the keys that both know.

    A store may be older than a key whose default changes nothing.
    """
    trained = identity["learner"]
    if trained["kind"] != learner.cls.kind:
        return False
    theirs, ours = trained["config"], learner.settled
    same_front = theirs.get("front") == ours.get("front")
    return same_front and all(theirs[key] == ours[key] for key in theirs.keys() & ours.keys())


def costs(learners: Iterable[LearnerEntry], trainings: list[CellResult]) -> list[Cost]:
    """One entry for each learner that has a finished training, the cheapest image first."""
    rows = []
    for learner in learners:
        own = [result for result in trainings if is_of(learner, result.identity)]
        seen = [result.log.get("images_seen") or 0 for result in own]
        if not own or not all(seen):
            continue
        config = learner.settled
        rows.append(
            Cost(
                learner.name,
                weights_of(config),
                learner.cls.kind == "mlp" and not config.get("front"),
                statistics.median(result.wall_s for result in own),
                statistics.median(r.wall_s / n for r, n in zip(own, seen, strict=True)),
                len(own),
            )
        )
    return sorted(rows, key=lambda row: row.per_image)


def control(row: Cost, rows: Iterable[Cost]) -> Cost | None:
    """The plain backprop whose number of weights is nearest, by their ratio."""
    plain = [other for other in rows if other.plain and other.weights]
    if row.weights is None or not plain:
        return None
    own = row.weights

    def distance(other: Cost) -> float:
        share = (other.weights or 0) / own
        return max(share, 1 / share)

    return min(plain, key=distance)


def table(rows: list[Cost]) -> str:
    """Tab-separated, a line a learner."""
    lines = ["learner\tseeds\ts a training\tus an image\tx backprop\tbackprop\tits weights"]
    for row in rows:
        own = [row.learner, str(row.seeds), f"{row.seconds:.0f}", f"{row.per_image * 1e6:.0f}"]
        beside = control(row, rows)
        compared = ["-", "-", "-"]
        if beside is not None and beside.weights and row.weights:
            ratio = row.per_image / beside.per_image
            compared = [f"{ratio:.2f}", beside.learner, f"{beside.weights / row.weights:.2f} x"]
        lines.append("\t".join(own + compared))
    return "\n".join(lines)


def main(store: str, suite: str = SUITE) -> None:
    """Print the table."""
    finished = Store(store)
    results = [result for _, result in finished.results(finished.finished())]
    trainings = [result for result in results if result.identity["role"] == "train"]
    print(table(costs(load(suite).learners, trainings)))


if __name__ == "__main__":
    main(*sys.argv[1:])
