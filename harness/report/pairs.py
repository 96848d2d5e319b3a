"""Where learners are compared: differences with intervals, the best of several, and ranks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from harness.metrics.means import Estimate, gap_ps, mean_gap
from harness.metrics.statistics import ranks_with_ties, shown_worse
from harness.records import CROSSED, Record
from harness.report.aggregate import Verdicts, units_of
from harness.report.formats import BETTER

LEVEL = 0.05
"""A difference counts if its corrected p is at most this."""

TOGETHER = 64
"""Learners that are compared at once; their units fit a cache."""

Signature = tuple[tuple[int, int, str], ...]
"""Seed, number of units and kind of unit of each record of a number."""

Key = TypeVar("Key")


def unit_gap(
    a: Sequence[np.ndarray],
    b: Sequence[np.ndarray],
    unit: str,
    *,
    fixed_seeds: bool = False,
    level: float = 0.95,
) -> Estimate:
    """The difference of two numbers on the same seeds and units.

    Args:
        a: Units of the first, (n,) per seed.
        b: Units of the second, in the same order of seeds and units.
        unit: What a unit is, as in a record.
        fixed_seeds: Whether the statement is about these seeds only.
        level: Confidence level.
    """
    gaps = [x - y for x, y in zip(a, b, strict=True)]
    return mean_gap(
        gaps,
        crossed=unit in CROSSED and len({len(gap) for gap in gaps}) == 1,
        verdicts=unit == "sample",
        exact=unit == "stream",  # learners that no order changes are certain to differ
        fixed_seeds=fixed_seeds,
        level=level,
    )


# ---------------------------------------------------------------------- what can be compared


@dataclass(frozen=True)
class Comparable(Generic[Key]):
    """The numbers of a column that are compared, and why others are not.

    Attributes:
        keys: Those that are measured on the same seeds and units; empty if fewer than two are.
        left_out: Key -> the reason.
    """

    keys: list[Key]
    left_out: dict[Key, str]


def comparable(column: Mapping[Key, Sequence[Record]], planned: Sequence[int]) -> Comparable[Key]:
    """Choose the numbers that are measured on the same seeds and units.

    Those over the planned seeds are preferred, then the largest group. So one number with an
    additional seed or without verdicts is left out, and the others are still compared.

    Args:
        column: Key -> records, one per seed.
        planned: The seeds that every number should be over.
    """
    groups: dict[Signature, list[Key]] = defaultdict(list)
    left_out: dict[Key, str] = {}
    for key, records in column.items():
        if any(record.metric not in BETTER for record in records):
            continue
        if any(record.verdicts is None for record in records):
            left_out[key] = "no stored verdicts"
            continue
        groups[tuple((record.seed, record.n, record.unit) for record in records)].append(key)

    def preference(signature: Signature) -> tuple[bool, int, int]:
        seeds = [seed for seed, _, _ in signature]
        return seeds == list(planned), len(groups[signature]), len(seeds)

    shared = [signature for signature, keys in groups.items() if len(keys) > 1]
    if not shared:
        return Comparable([], {})
    chosen = max(shared, key=preference)
    for signature, keys in groups.items():
        if signature != chosen:
            left_out |= dict.fromkeys(keys, _why_apart(signature, chosen))
    return Comparable(groups[chosen], left_out)


def _why_apart(signature: Signature, chosen: Signature) -> str:
    seeds = ", ".join(str(seed) for seed, _, _ in signature)
    common = ", ".join(str(seed) for seed, _, _ in chosen)
    if seeds != common:
        return f"seed {seeds}, the others have seed {common}"
    return f"{signature[0][1]} units, the others have {chosen[0][1]}"


# ------------------------------------------------------------------------------------- rivals


@dataclass(frozen=True)
class Pair:
    """One number of two learners, compared on the same seeds and units.

    Attributes:
        difference, low, high: Mean of the first minus the second, and its 95 % interval.
        p: Two-sided p that the difference is zero; not corrected.
        first, second: On how many units (over all seeds) only one was right, or more often right.
    """

    difference: float
    low: float
    high: float
    p: float
    first: int
    second: int


class Rivals:
    """Learners whose number is a mean over shared units.

    Args:
        candidates: The records of each learner, one per seed; all over the same seeds, and
            over equally many units.
        verdicts: Reads the stored units.
        sign: 1 if higher values are better, -1 if lower ones are.

    Raises:
        ValueError: The learners differ in their seeds or their number of units.
    """

    def __init__(
        self, candidates: Sequence[Sequence[Record]], verdicts: Verdicts, *, sign: int = 1
    ) -> None:
        measured_on = {tuple((r.seed, r.n, r.unit) for r in seeds) for seeds in candidates}
        if len(measured_on) > 1:
            raise ValueError("rivals must be measured on the same seeds and units")
        self.unit = candidates[0][0].unit
        self.units = [[units_of(record, verdicts) for record in seeds] for seeds in candidates]
        """(n,) for each learner and seed."""
        self.scores = [sign * sum(r.value for r in seeds) / len(seeds) for seeds in candidates]
        """Of each learner, higher is better."""

    def pair(self, i: int, j: int) -> Pair:
        """Compare two learners."""
        gaps = np.concatenate([x - y for x, y in zip(self.units[i], self.units[j], strict=True)])
        found = unit_gap(self.units[i], self.units[j], self.unit)
        first = int((gaps > 0).sum())
        second = int((gaps < 0).sum())
        return Pair(found.mean, found.low, found.high, found.p, first, second)

    def p(self, i: int, j: int) -> float:
        """Two-sided p that two learners are equal; not corrected."""
        return unit_gap(self.units[i], self.units[j], self.unit).p

    def _ps(self, best: int, others: list[int]) -> list[float]:
        """``p`` of one learner and each of others, at once where seeds have as many units each."""
        lengths = {len(of_seed) for of_seed in self.units[best]}
        if len(lengths) > 1 or min(lengths) < 2 or self.unit == "stream":
            return [self.p(best, i) for i in others]
        first = np.stack(self.units[best])
        ps: list[float] = []
        for start in range(0, len(others), TOGETHER):
            few = others[start : start + TOGETHER]
            gaps = first - np.stack([self.units[i] for i in few])
            ps.extend(gap_ps(gaps, crossed=self.unit in CROSSED, verdicts=self.unit == "sample"))
        return ps

    def best(self) -> tuple[list[int], list[int]]:
        """The best learners, several if equal, and those that are not shown to be worse.

        With a probability of at least 95 %, they include all learners that are truly the best
        (``shown_worse``).
        """
        top = max(self.scores)
        equal = [i for i, score in enumerate(self.scores) if score == top]
        others = [i for i in range(len(self.scores)) if i != equal[0]]
        tied = self._tied_with(equal[0], others)
        return equal, [i for i in tied if i not in equal]

    def ranks(self) -> np.ndarray:
        """Rank of each learner, 1 is the best; a group of ties shares its mean rank.

        A group is the best of those left and all that are not shown to be worse.
        """
        return ranks_with_ties(self.scores, self._tied_with)

    def _tied_with(self, best: int, others: list[int]) -> list[int]:
        """Those of ``others`` that are not shown to be worse than the best of all of them."""
        worse = shown_worse(self._ps(best, others), LEVEL)
        return [i for i, is_worse in zip(others, worse, strict=True) if not is_worse]


def places(ranks: np.ndarray) -> list[int]:
    """Competition ranks from shared ones: after a group of k, the next rank is k higher.

    >>> places(np.array([1.5, 1.5, 3.5, 3.5]))
    [1, 1, 3, 3]
    """
    return [1 + int((ranks < own).sum()) for own in ranks]
