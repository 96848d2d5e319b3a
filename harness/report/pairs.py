"""Every learner against every other on one number: differences with intervals, ranks with ties."""

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
from harness.records import CROSSED
from harness.report.aggregate import MANY_SEEDS, Verdicts, units_of, wider
from harness.report.resample import resampled_means
from harness.report.ties import LEVEL, Candidates, enough_draws
from harness.rng import Rng


@dataclass(frozen=True)
class Pair:
    """One number of two learners, compared on the same seeds and units.

    Attributes:
        difference, low, high: Mean of the first minus the second, and its 95 % interval; the
            bounds are None if no interval is defined.
        p: Two-sided p that the difference is zero; not corrected.
        first, second: On how many units (over all seeds) only one was right, or more often right.
    """

    difference: float
    low: float | None
    high: float | None
    p: float
    first: int
    second: int


class Rivals:
    """Learners whose number is a mean over shared units.

    The tests are those of ``ties.same_as_best``, the intervals those of claims. One resample
    of seeds serves all pairs, which makes comparing all of them affordable.

    Args:
        candidates: The records of each learner, one per seed; all over the same seeds, and
            over equally many units.
        verdicts: Reads the stored units.

    Raises:
        ValueError: The learners differ in their seeds or their number of units.
    """

    def __init__(self, candidates: Candidates, verdicts: Verdicts) -> None:
        measured_on = {tuple((r.seed, r.n, r.unit) for r in seeds) for seeds in candidates}
        if len(measured_on) > 1:
            raise ValueError("rivals must be measured on the same seeds and units")
        self.first = candidates[0][0]
        units = [[units_of(record, verdicts) for record in seeds] for seeds in candidates]
        self.units = np.array(units, np.float64)
        """(learners, seeds, units)."""
        self.means = self.units.mean(axis=2)
        self.pair = lru_cache(maxsize=None)(self._pair)

    @property
    def _seeds(self) -> int:
        return self.units.shape[1]

    @cached_property
    def resampled(self) -> np.ndarray:
        """Means of every learner over the same resampled seeds and units, (draws, learners)."""
        chunks = resampled_means(
            list(self.units.swapaxes(0, 1)),
            Rng(0).numpy("pairs bootstrap"),
            enough_draws(len(self.units) - 1),
            crossed=self.first.unit in CROSSED,
        )
        return np.concatenate(list(chunks))

    def _pair(self, i: int, j: int) -> Pair:
        gaps = self.units[i] - self.units[j]
        low, high = self._interval(i, j, gaps)
        return Pair(
            difference=float(gaps.mean()),
            low=low,
            high=high,
            p=self.p(i, j),
            first=int((gaps > 0).sum()),
            second=int((gaps < 0).sum()),
        )

    def _interval(self, i: int, j: int, gaps: np.ndarray) -> tuple[float | None, float | None]:
        """95 % interval of a difference: over units for one seed, else over seeds."""
        if self._seeds == 1:
            return t_interval(gaps[0])
        interval = t_interval(gaps.mean(axis=1))
        if self._seeds < MANY_SEEDS:
            return interval
        # For an interval DRAWS are enough; there are more if p has to become very small.
        drawn = self.resampled[:DRAWS, i] - self.resampled[:DRAWS, j]
        low, high = np.quantile(drawn, [0.025, 0.975])
        return wider(interval, (float(low), float(high)))

    def p(self, i: int, j: int) -> float:
        """Two-sided p that learners ``i`` and ``j`` are equal; not corrected."""
        if self._seeds == 1:
            a, b = self.units[i, 0], self.units[j, 0]
            return mcnemar_exact(a, b) if self.first.unit == "sample" else paired_t(a, b)[3]
        drawn = self.resampled[:, i] - self.resampled[:, j]
        tail = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
        bootstrap_p = min(1.0, 2 * (tail + 1) / (len(drawn) + 1))
        return max(bootstrap_p, paired_t(self.means[i], self.means[j])[3])


def ranks(means: Sequence[float], top: Sequence[int], p: Callable[[int, int], float]) -> list[int]:
    """Rank learners by their means; those not significantly worse than the best of a group tie.

    Args:
        means: Of each learner.
        top: The learners of rank 1, as a table marks them.
        p: Two-sided p that two learners are equal.

    Returns:
        Rank of each learner, from 1; after a group of k, the next rank is k higher.

    >>> ranks([0.9, 0.8, 0.5, 0.49], [0, 1], lambda i, j: 0.4 if {i, j} == {2, 3} else 0.001)
    [1, 1, 3, 3]
    """

    def tied_with(best: int, rest: list[int]) -> list[int]:
        if best in top:
            return [i for i in rest if i in top]
        corrected = holm([p(best, i) for i in rest])
        return [i for i, value in zip(rest, corrected, strict=True) if value > LEVEL]

    shared = ranks_with_ties(means, tied_with)
    return [1 + int((shared < own).sum()) for own in shared]
