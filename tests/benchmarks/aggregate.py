"""CPU time of intervals over seeds: ``python tests/benchmarks/aggregate.py [--records 100000]``.

Records of several seeds with 300 units each are averaged with their intervals, and every learner
is compared with the best of its column. Beside it is what was used before: a bootstrap over seeds
and units with 4,000 draws, timed on some of the numbers and scaled.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import numpy as np

from harness.records import Record
from harness.report.aggregate import aggregate
from harness.report.pairs import Rivals

UNITS = 300
COLUMNS = 10
DRAWS = 4000
SAMPLED = 50
"""Numbers whose bootstrap is timed."""

Number = list[Record]
"""The records of one number, one per seed."""


def made_up(records: int, seeds: int) -> tuple[list[list[Number]], dict[tuple, np.ndarray]]:
    """Columns of numbers, and the verdicts behind them; half are images, half episodes."""
    draw = np.random.default_rng(0)
    learners = records // (COLUMNS * seeds)
    columns: list[list[Number]] = []
    arrays: dict[tuple, np.ndarray] = {}
    for column in range(COLUMNS):
        unit = "sample" if column % 2 else "episode"
        numbers = []
        for learner in range(learners):
            skill = 0.9 - 0.4 * learner / learners
            number = []
            for seed in range(seeds):
                units = (draw.random(UNITS) < skill).astype(np.uint8)
                if unit == "episode":
                    units = draw.binomial(75, skill, UNITS) / 75
                cell = f"{column}/{learner}/{seed}"
                arrays[cell, "units"] = units
                number.append(_record(cell, learner, seed, unit, float(units.mean())))
            numbers.append(number)
        columns.append(numbers)
    return columns, arrays


def _record(cell: str, learner: int, seed: int, unit: str, value: float) -> Record:
    return Record(
        suite="made-up",
        cell=cell,
        learner=f"l{learner}",
        dataset="digits",
        protocol="p",
        setting={},
        seed=seed,
        metric="accuracy",
        value=value,
        low=None,
        high=None,
        n=UNITS,
        unit=unit,
        verdicts="units",
        trust="-",
        wall_s=0.0,
        device="cpu",
        versions={},
        dataset_hash="",
        git_commit="",
        created="",
    )


def bootstrap(seeds: Sequence[np.ndarray], *, crossed: bool) -> tuple[float, float]:
    """The interval that was used before, from the definition of the resampling."""
    draw = np.random.default_rng(0)
    s, n = len(seeds), len(seeds[0])
    if crossed:
        columns, counts = np.unique(np.stack(seeds), axis=1, return_counts=True)
        of_seeds = draw.multinomial(s, np.full(s, 1 / s), size=DRAWS) / s
        of_columns = draw.multinomial(n, counts / n, size=DRAWS) / n
        means = np.einsum("ds,sc,dc->d", of_seeds, columns, of_columns, optimize=True)
    else:
        chosen = draw.integers(s, size=(DRAWS, s))
        of_seeds = np.empty(chosen.shape)
        for seed, values in enumerate(seeds):
            distinct, counts = np.unique(values, return_counts=True)
            times = int((chosen == seed).sum())
            of_seeds[chosen == seed] = draw.multinomial(n, counts / n, size=times) @ distinct / n
        means = of_seeds.mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of a call in seconds."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    """Print the CPU seconds of both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    columns, arrays = made_up(options.records, options.seeds)
    numbers = [number for column in columns for number in column]

    def verdicts(cell: str, name: str) -> np.ndarray:
        return arrays[cell, name]

    def resample_some() -> None:
        for number in numbers[:: max(1, len(numbers) // SAMPLED)]:
            units = [verdicts(record.cell, "units") for record in number]
            bootstrap(units, crossed=number[0].unit == "sample")

    aggregate(numbers[0], verdicts)  # imports
    Rivals(columns[0][:2], verdicts).best()
    averaged = cpu_seconds(lambda: [aggregate(number, verdicts) for number in numbers])
    compared = cpu_seconds(lambda: [Rivals(column, verdicts).best() for column in columns])
    sampled = len(numbers[:: max(1, len(numbers) // SAMPLED)])
    before = cpu_seconds(resample_some) * len(numbers) / sampled
    print(
        f"{len(numbers) * options.seeds} records of {options.seeds} seeds: "
        f"intervals {averaged:.1f} CPU s, compared with the best {compared:.1f}; "
        f"by bootstrap {before:.0f} CPU s for the intervals alone"
    )


if __name__ == "__main__":
    main()
