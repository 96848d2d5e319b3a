"""The difference of one number between two runs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from harness.metrics.statistics import mcnemar_exact, paired_shares, paired_t, welch
from harness.records import CROSSED
from harness.report.reference import Row


@dataclass(frozen=True)
class Difference:
    """The mean of now minus before.

    Attributes:
        mean, low, high: The difference and its 95 % interval.
        p: Two-sided p that it is zero; not corrected.
        paired: Whether the same units were compared.
        n, unit: What it is over.
        spread: Standard deviation of a unit's difference.
    """

    mean: float
    low: float
    high: float
    p: float
    paired: bool
    n: int
    unit: str
    spread: float


class _UnitPair(NamedTuple):
    """The units of one seed, in both runs."""

    before: np.ndarray
    now: np.ndarray


def difference(before: Row, now: Row) -> Difference | None:
    """Compute ``now - before``.

    Paired by unit on the seeds that both have, if both stored as many units. Otherwise the means
    of the seeds are compared: learners that were trained again differ by more than their units
    show.

    Returns:
        The difference; None for a single seed per side, which does not show how seeds differ.
    """
    pairs = _unit_pairs(before, now)
    if pairs:
        return _paired(pairs, before)
    return _unpaired(before, now)


def _unit_pairs(before: Row, now: Row) -> list[_UnitPair]:
    """The units of shared seeds; empty if any of them cannot be paired."""
    pairs = []
    for seed in sorted(before.seeds.keys() & now.seeds.keys()):
        old = before.seeds[seed].units
        new = now.seeds[seed].units
        if old is None or new is None or len(old) != len(new) or len(old) < 2:
            return []
        pairs.append(_UnitPair(old, new))
    return pairs


def _paired(pairs: list[_UnitPair], row: Row) -> Difference:
    """Compare unit by unit.

    Units that are the same in every seed, such as test images, count once, with their mean over
    seeds. Otherwise each seed has its own.
    """
    crossed = row.unit in CROSSED and len({len(pair.now) for pair in pairs}) == 1
    if crossed:
        now = np.mean([pair.now for pair in pairs], axis=0)
        before = np.mean([pair.before for pair in pairs], axis=0)
    else:
        now = np.concatenate([pair.now for pair in pairs])
        before = np.concatenate([pair.before for pair in pairs])
    if row.unit == "sample" and len(pairs) == 1:
        mean, low, high = paired_shares(now, before)
        p = mcnemar_exact(now, before)
    else:
        mean, low, high, p = paired_t(now, before)
    spread = float(np.std(now - before, ddof=1))
    return Difference(mean, low, high, p, True, len(now), unit_name(row), spread)


def _unpaired(before: Row, now: Row) -> Difference | None:
    """Compare the means of seeds (Welch)."""
    old = [number.value for number in before.seeds.values()]
    new = [number.value for number in now.seeds.values()]
    n = len(new)
    if sorted(old) == sorted(new):
        spread = float(np.std(old)) * math.sqrt(2)
        return Difference(0.0, 0.0, 0.0, 1.0, False, n, "seed", spread)
    if min(len(old), n) < 2:
        return None
    mean, low, high, p = welch(new, old)
    spread = math.sqrt(np.var(old, ddof=1) + np.var(new, ddof=1))
    return Difference(mean, low, high, p, False, n, "seed", spread)


def unit_name(row: Row) -> str:
    """What a number is over, in the plural."""
    return "images" if row.unit == "sample" else f"{row.unit}s"
