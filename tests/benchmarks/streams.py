"""What the protocol of streams costs beside training: ten experiences of split-CIFAR-100.

    python tests/benchmarks/streams.py [passes]      (HARNESS_DATA has CIFAR-FS, which is CIFAR-100)

Learners see 512 frozen features of each image (random rectified units), in ten tasks of ten
classes; five sixths of the images of a class are trained on, the others tested on. Printed: CPU
seconds in the learner's own training and, as shares of it, the tests on all test images after each
task, and the rest.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.base import Loaded
from harness.errors import DataError
from harness.learning.learner import Learner, silent
from harness.protocols.base import Context
from harness.protocols.continual import Continual
from harness.protocols.continual_run import Walk
from harness.registry import datasets, learners
from harness.rng import Rng

UNITS = 512
AT_HAND = {"train_images": 150}
"""Of each class that others are trained on, where CIFAR-FS is not complete."""
TRAINING = ("fit", "go_on", "settle")
CASES = [
    ("naive", "mlp", {"hidden": [400], "batch_size": 32}),
    ("replay-2000", "mlp", {"hidden": [400], "batch_size": 32}),
    ("naive", "prototypes", {"hidden": 400}),
]


class Clock:
    """CPU seconds within functions that it wraps; a call within a call counts once."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.inside = False

    def wrapped(self, function: Callable) -> Callable:
        """The function, timed."""

        def timed(*args: Any, **keys: Any) -> Any:
            if self.inside:
                return function(*args, **keys)
            self.inside = True
            start = time.process_time()
            try:
                return function(*args, **keys)
            finally:
                self.seconds += time.process_time() - start
                self.inside = False

        return timed


def embedded(folder: Path) -> tuple[Any, Loaded]:
    """CIFAR-100 as features: what the data set says of itself, and the data."""
    cifar = datasets["cifar-fs"]
    root = Path(os.environ["HARNESS_DATA"])
    try:
        loaded = cifar(cifar.Config(), root).build()
    except DataError:
        loaded = cifar(cifar.Config(**AT_HAND), root).build()
    weight = np.random.default_rng(0).standard_normal((3072, UNITS)).astype(np.float32) / 55
    parts, labels, splits, first = [], [], [], 0
    for name in ("train", "val", "test"):
        images = loaded.split("classes", name)
        pixels = images.pixels.reshape(len(images), -1).astype(np.float32) / 255
        parts.append(np.maximum(pixels @ weight, 0))
        labels.append(images.known_labels + first)
        first += images.n_classes
        split = np.full(len(images), "train", dtype="<U5")
        for label in np.unique(images.known_labels):
            rows = np.flatnonzero(images.known_labels == label)
            split[rows[5 * len(rows) // 6 :]] = "test"
        splits.append(split)
    file = folder / "features.npz"
    arrays = {"features": parts, "labels": labels, "split": splits}
    np.savez(file, **{name: np.concatenate(array) for name, array in arrays.items()})
    cls = datasets["features"]
    dataset = cls(cls.Config(file=str(file)))
    return dataset.facts(), dataset.build()


def measure(facts: Any, data: Loaded, passes: int, strategy: str, kind: str, keys: dict) -> None:
    """Print the line of one learner."""
    config = {"dataset": "any", "classes_per_task": 10, "orders": [1], "passes": passes}
    protocol = Continual(
        Continual.Config.model_validate({**config, "strategies": [strategy]}), facts
    )
    (setting,) = protocol.settings()
    cls: type[Learner] = learners[kind]
    learner = cls(cls.Config(**keys), facts.image_shape, setting.ways, Rng(0))
    training, testing = Clock(), Clock()
    before = {name: getattr(cls, name) for name in TRAINING}
    judged = Walk._judged
    for name, function in before.items():
        setattr(cls, name, training.wrapped(function))
    Walk._judged = testing.wrapped(judged)  # type: ignore[method-assign]
    start = time.process_time()
    try:
        found = Continual.measure(learner, data, setting, Context(Rng(1), "cpu", 256, silent))
    finally:
        total = time.process_time() - start
        for name, function in before.items():
            setattr(cls, name, function)
        Walk._judged = judged  # type: ignore[method-assign]
    rest = total - training.seconds - testing.seconds
    accuracy = next(value.value for value in found.values if value.metric == "accuracy")
    shares = [100 * part / training.seconds for part in (testing.seconds, rest)]
    print(
        f"{kind}, {strategy}: training {training.seconds:.1f} s, tests {shares[0]:.1f} %, "
        f"rest {shares[1]:.1f} %; accuracy {100 * accuracy:.1f} %",
        flush=True,
    )


def main(passes: int) -> None:
    """Every learner."""
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        facts, data = embedded(Path(folder))
        for strategy, kind, keys in CASES:
            measure(facts, data, passes, strategy, kind, keys)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
