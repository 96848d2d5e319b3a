"""The numbers of a submission, counted again from its verdicts.

Whoever makes a file can write any number into it. So each number is compared with the verdicts
that it is the mean of, and its interval is the one that this release computes from them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from harness.cells.results import Results
from harness.errors import HarnessError
from harness.metrics.catalogue import SHARES, SIGNED
from harness.metrics.statistics import interval_over_streams, share_interval, wilson
from harness.protocols.corruption import CLEAN, relative_drop
from harness.publish.arrays import MOST_ELEMENTS
from harness.records import FROM_VERDICTS, Record, Unit

ROUNDING = 1e-6
"""How far a number may be from the mean of its verdicts, which may be stored as float32."""

Interval = tuple[float, float] | tuple[None, None]


def recounted(results: Results) -> Results:
    """Check every number against its verdicts, and compute its interval again.

    Raises:
        HarnessError: a number is not the mean of its verdicts, or they are missing or out of range.
    """
    counts = _Counts(results.verdicts)
    records = [_recounted(record, counts) for record in results.records]
    return replace(results, records=records)


@dataclass(frozen=True)
class _Count:
    """What an array of verdicts amounts to.

    Attributes:
        units: float64 (n,).
        mean: of the units.
        interval: 95 % interval of the mean.
    """

    units: np.ndarray
    mean: float
    interval: Interval


class _Counts:
    """Counts arrays of verdicts, each once: learners and cells may share them."""

    def __init__(self, verdicts: Callable[[str, str], np.ndarray]) -> None:
        self._verdicts = verdicts
        self._counts: dict[tuple[int, Unit], tuple[np.ndarray, _Count]] = {}

    def of(self, record: Record, name: str) -> _Count:
        """Count an array of a record's cell.

        Raises:
            HarnessError: it is missing, or is not an array of verdicts or shares.
        """
        try:
            array = self._verdicts(record.cell, name)
        except KeyError:
            raise _fault(record, "no verdicts behind") from None
        key = (id(array), record.unit)
        if key not in self._counts:
            # The array is kept, so that no other one gets its id.
            self._counts[key] = (array, _count(record, array))
        return self._counts[key][1]


def _count(record: Record, array: np.ndarray) -> _Count:
    if array.ndim != 1 or not 0 < array.size <= MOST_ELEMENTS or array.dtype.kind not in "biuf":
        raise _fault(record, "no list of verdicts behind")
    units = np.asarray(array, np.float64)
    # Written so that NaN, which compares as False, is refused.
    lowest = -1.0 if record.metric in SIGNED else 0.0
    is_in_range = bool(units.min() >= lowest and units.max() <= 1)
    is_judged = record.unit == "sample"
    if not is_in_range or (is_judged and not np.isin(units, (0, 1)).all()):
        raise _fault(record, "verdicts out of range behind")
    return _Count(units, float(units.mean()), interval(units, record.unit, lowest))


def interval(units: np.ndarray, unit: Unit, lowest: float = 0.0) -> Interval:
    """The 95 % interval that protocols give to a mean of units.

    Args:
        units: float64 (n,), within [0, 1]; a sample is one verdict, the others are shares.
        unit: what they are.
        lowest: the lowest possible mean.
    """
    if unit == "sample":
        return wilson(round(float(units.sum())), len(units))
    if unit == "stream":
        return interval_over_streams(units, lowest)
    return share_interval(units)


def _recounted(record: Record, counts: _Counts) -> Record:
    if record.metric == "relative_drop":
        return _recounted_drop(record, counts)
    if record.verdicts is None:
        if record.metric in FROM_VERDICTS:
            raise _fault(record, "no verdicts behind")
        if record.metric in SHARES and not -ROUNDING <= record.value <= 1 + ROUNDING:
            raise HarnessError(f"cell {record.cell}: {record.metric} {record.value:g} is no share")
        return record
    count = counts.of(record, record.verdicts)
    return _replaced(record, len(count.units), count.mean, count.interval)


def _recounted_drop(record: Record, counts: _Counts) -> Record:
    """Count a drop again, from the verdicts without and with corruption."""
    clean = counts.of(record, CLEAN).units
    corrupted = counts.of(record, str(record.setting.get("corruption"))).units
    if clean.shape != corrupted.shape or not clean.any():
        raise _fault(record, "other verdicts behind")
    drop, low, high = relative_drop(clean, corrupted)
    bounds: Interval = (None, None) if low is None or high is None else (low, high)
    return _replaced(record, len(clean), drop, bounds)


def _replaced(record: Record, n: int, value: float, bounds: Interval) -> Record:
    if record.n != n or abs(record.value - value) > ROUNDING:
        raise HarnessError(
            f"cell {record.cell}: {record.metric} {record.value:g} over {record.n} "
            f"of {record.learner} is not the mean of its verdicts"
        )
    low, high = (_kept(*pair) for pair in zip((record.low, record.high), bounds, strict=True))
    return replace(record, low=low, high=high)


def _kept(stated: float | None, counted: float | None) -> float | None:
    """The stated bound if it is the counted one but for rounding, so that files repeat."""
    if stated is None or counted is None:
        return counted
    return stated if math.isclose(stated, counted, abs_tol=ROUNDING) else counted


def _fault(record: Record, what: str) -> HarnessError:
    return HarnessError(
        f"cell {record.cell}: {what} {record.metric} of {record.learner}",
    )
