"""Every learner against every other on one number, from the same verdicts: differences with intervals, and ranks with ties."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from harness.metrics.statistics import (
    DRAWS,
    holm,
    mcnemar_exact,
    paired_t,
    ranks_with_ties,
    t_interval,
)
from harness.records import CROSSED, Record
from harness.report.aggregate import LEVEL, MANY_SEEDS, Verdicts, enough_draws
from harness.report.resample import resampled
from harness.rng import Rng


@dataclass(frozen=True)
class Pair:
    """One number of two learners on the same seeds and units.

    Attributes:
        difference, low, high: mean of the first minus the second with its 95 % interval; None where none is defined.
        p: two-sided, that the difference is zero; not corrected.
        first, second: units (images or episodes, over all seeds) on which only one, or it more, was right.
    """

    difference: float
    low: float | None
    high: float | None
    p: float
    first: int
    second: int


class Rivals:
    """Learners whose number is the mean of units that they share.

    The tests are those of ``aggregate.same_as_best``, the intervals those of claims; where seeds are resampled, one resample
    serves all pairs, which is what makes all pairs affordable.

    Args:
        candidates: records, one a seed, of each learner; all over the same seeds, and equally many units.
        verdicts: where the units are read from.

    Raises:
        ValueError: they do not share their seeds or their number of units.
    """

    def __init__(self, candidates: Sequence[Sequence[Record]], verdicts: Verdicts):
        if len({tuple((r.seed, r.n, r.unit) for r in seeds) for seeds in candidates}) > 1:
            raise ValueError("rivals are measured on the same seeds and units")
        self.first = candidates[0][0]
        self.units = np.array(
            [[verdicts(r.cell, r.verdicts) for r in seeds] for seeds in candidates], np.float64
        )
        self.means = self.units.mean(axis=2)
        self.pair = lru_cache(maxsize=None)(self._pair)

    @cached_property
    def resampled(self) -> np.ndarray:
        """Means of every learner over the same resampled seeds and units, (draws, learners)."""
        generator, draws = Rng(0).numpy("pairs bootstrap"), enough_draws(len(self.units) - 1)
        return np.concatenate(
            [
                *resampled(
                    self.units.swapaxes(0, 1), generator, draws, crossed=self.first.unit in CROSSED
                )
            ]
        )

    def _pair(self, i: int, j: int) -> Pair:
        gaps = self.units[i] - self.units[j]
        mean, found = float(gaps.mean()), (int((gaps > 0).sum()), int((gaps < 0).sum()))
        if len(gaps) == 1:
            p = (
                mcnemar_exact(self.units[i, 0], self.units[j, 0])
                if self.first.unit == "sample"
                else self.p(i, j)
            )
            return Pair(mean, *t_interval(gaps[0]), p, *found)
        low, high = t_interval(gaps.mean(axis=1))
        if len(gaps) >= MANY_SEEDS:
            ends = np.quantile(
                self.resampled[:DRAWS, i] - self.resampled[:DRAWS, j], [0.025, 0.975]
            )
            low, high = min(low, float(ends[0])), max(high, float(ends[1]))
        return Pair(mean, low, high, self.p(i, j), *found)

    def p(self, i: int, j: int) -> float:
        """Two-sided p that learners ``i`` and ``j`` are equal; not corrected."""
        if len(self.units[i]) == 1:
            return (
                mcnemar_exact if self.first.unit == "sample" else lambda a, b: paired_t(a, b)[3]
            )(self.units[i, 0], self.units[j, 0])
        drawn = self.resampled[:, i] - self.resampled[:, j]
        tail = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
        p = min(1.0, 2 * (tail + 1) / (len(drawn) + 1))
        return max(p, paired_t(self.means[i], self.means[j])[3])


def ranks(means: Sequence[float], top: Sequence[int], p: Callable[[int, int], float]) -> list[int]:
    """Ranks from the highest mean down, equal for those not significantly worse than the best of their group.

    Args:
        means: of each learner.
        top: those of rank 1, as a table marks them.
        p: two-sided p that two learners are equal.

    Returns:
        rank of each, 1 and up; after a group of k the next rank is k higher.

    >>> ranks([0.9, 0.8, 0.5, 0.49], [0, 1], lambda i, j: 0.4 if {i, j} == {2, 3} else 0.001)
    [1, 1, 3, 3]
    """

    def alike(best: int, rest: list[int]) -> list[int]:
        if best in top:
            return [i for i in rest if i in top]
        return [
            i
            for i, corrected in zip(rest, holm([p(best, i) for i in rest]), strict=True)
            if corrected > LEVEL
        ]

    shared = ranks_with_ties(means, alike)
    return [1 + int((shared < own).sum()) for own in shared]
