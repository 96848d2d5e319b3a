"""How many 5-way 1-shot 15-query episodes are drawn per CPU second, against a loop over episodes and classes.

Run by hand: ``python tests/benchmarks/bench_episodes.py``. Both sides are timed in the same run, in turn; indices only.
"""

from __future__ import annotations

import random
import time

import numpy as np

from harness.data.base import Images
from harness.data.episodes import sample
from harness.rng import Rng

WAYS, SHOTS, QUERIES = 5, 1, 15


def loop(items_of_class: dict[int, list[int]], episodes: int) -> list[list[int]]:
    """As the task samplers of few-shot libraries do it: one episode at a time, one class at a time."""
    drawn = []
    for _ in range(episodes):
        rows: list[int] = []
        for label in random.sample(list(items_of_class), WAYS):
            rows += random.sample(items_of_class[label], SHOTS + QUERIES)
        drawn.append(rows)
    return drawn


def rate(function, episodes: int, repeats: int = 5) -> float:
    """Episodes per CPU second, the median of ``repeats``."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function(episodes)
        times.append(time.process_time() - start)
    return episodes / float(np.median(times))


def main() -> None:
    for classes, each in ((423, 20), (10, 1000)):
        labels = np.repeat(np.arange(classes), each)
        images = Images(np.zeros((len(labels), 1, 1, 1), np.uint8), labels, np.arange(len(labels)), classes)
        items = {label: np.flatnonzero(labels == label).tolist() for label in range(classes)}
        asked = dict(ways=WAYS, shots=SHOTS, queries=QUERIES, rng=Rng(0))
        ours = rate(lambda n, images=images, asked=asked: sample(images, episodes=n, **asked), 20_000)
        theirs = rate(lambda n, items=items: loop(items, n), 5_000)
        print(f"{classes} classes x {each}: {ours:,.0f} episodes per CPU second, loop {theirs:,.0f}, ratio {ours / theirs:.0f}")


if __name__ == "__main__":
    main()
