"""The difference of one number between two runs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from harness.metrics.means import unpaired_gap
from harness.records import CROSSED
from harness.report.pairs import unit_gap
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


def difference(before: Row, now: Row, *, fixed_seeds: bool = False) -> Difference | None:
    """Compute ``now - before``.

    Paired by unit on the seeds that both have, if both stored as many units. Otherwise the means
    of the seeds are compared: learners that were trained again differ by more than their units
    show.

    Args:
        before: The number of one run.
        now: The same number of another.
        fixed_seeds: Whether a paired difference is a statement about these seeds only. Otherwise
            its interval allows for other seeds too.

    Returns:
        The difference; None for a single seed per side, which does not show how seeds differ.
    """
    pairs = _unit_pairs(before, now)
    if pairs:
        return _paired(pairs, before, fixed_seeds)
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


def _paired(pairs: list[_UnitPair], row: Row, fixed_seeds: bool) -> Difference:
    """Compare unit by unit.

    Units that are the same in every seed, such as test images, count once, with their mean over
    seeds. Otherwise each seed has its own.
    """
    now = [pair.now for pair in pairs]
    before = [pair.before for pair in pairs]
    found = unit_gap(now, before, row.unit, fixed_seeds=fixed_seeds)
    crossed = row.unit in CROSSED and len({len(units) for units in now}) == 1
    gather = np.mean if crossed else np.concatenate
    gaps = gather(now, axis=0) - gather(before, axis=0)
    spread = float(np.std(gaps, ddof=1))
    return Difference(
        found.mean, found.low, found.high, found.p, True, len(gaps), unit_name(row), spread
    )


def _unpaired(before: Row, now: Row) -> Difference | None:
    """Compare the means of seeds, and of the images where both sides have the same ones."""
    old = [number.value for number in before.seeds.values()]
    new = [number.value for number in now.seeds.values()]
    n = len(new)
    if sorted(old) == sorted(new):
        spread = float(np.std(old)) * math.sqrt(2)
        return Difference(0.0, 0.0, 0.0, 1.0, False, n, "seed", spread)
    if min(len(old), n) < 2:
        return None
    found = unpaired_gap(new, old, _shared_unit_gaps(before, now))
    spread = math.sqrt(np.var(old, ddof=1) + np.var(new, ddof=1))
    return Difference(found.mean, found.low, found.high, found.p, False, n, "seed", spread)


def _shared_unit_gaps(before: Row, now: Row) -> np.ndarray | None:
    """Difference on each image, means over the seeds of a side; None unless images are the same."""
    numbers = [*before.seeds.values(), *now.seeds.values()]
    measured_on = {(number.n, number.samples) for number in numbers}
    if now.unit not in CROSSED or now.dataset != before.dataset or len(measured_on) > 1:
        return None
    means = []
    for row in (now, before):
        units = [number.units for number in row.seeds.values() if number.units is not None]
        if len(units) < len(row.seeds) or len(units[0]) < 2:
            return None
        means.append(np.mean(units, axis=0))
    return np.asarray(means[0] - means[1])


def unit_name(row: Row) -> str:
    """What a number is over, in the plural."""
    return "images" if row.unit == "sample" else f"{row.unit}s"
