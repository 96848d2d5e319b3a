"""Each learner's training with and without subnormal numbers, in CPU seconds.

    python tests/benchmarks/subnormals.py [--dataset glyphs] [LEARNER...]

One thread, one training each way. The ratio depends on the processor.
"""

from __future__ import annotations

import argparse
import time
from contextlib import nullcontext

import torch

from harness import registry
from harness.arithmetic import flushed_subnormals
from harness.data import acquire
from harness.environment import environment
from harness.learning.learner import Budget
from harness.rng import Rng

SPLITTINGS = {"glyphs": "alphabets"}


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("learners", nargs="*", help="all that can be trained, if left out")
    parser.add_argument("--dataset", default="glyphs")
    parser.add_argument("--images", type=int, help="budget of a training; no limit if left out")
    options = parser.parse_args()
    torch.set_num_threads(1)
    dataset = registry.datasets[options.dataset]
    data, _ = acquire.load(dataset(dataset.Config(), None))
    train = data.split(SPLITTINGS.get(options.dataset, "standard"), "train")
    here = environment()
    print(f"{here['processor']}, {here['instructions']}, {options.dataset}: {len(train)} images")
    print(f"{'learner':<24}{'as it is':>10}{'flushed':>10}{'ratio':>8}")
    for name in options.learners or sorted({*registry.learners} - {"network"}):
        learner = registry.learners[name]
        if learner.absent():
            continue
        seconds = []
        for context in (nullcontext(), flushed_subnormals()):
            made = learner(learner.Config(), train.shape, train.n_classes, Rng(0).child("learner"))
            with context:
                start = time.process_time()
                made.fit(train, budget=Budget(options.images))
                seconds.append(time.process_time() - start)
        print(f"{name:<24}{seconds[0]:>10.1f}{seconds[1]:>10.1f}{seconds[0] / seconds[1]:>8.2f}")


if __name__ == "__main__":
    main()
