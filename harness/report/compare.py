"""Compare two runs, or two learners of one run, number by number.

Differences have intervals; they are paired where both sides measured the same samples.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.errors import HarnessError, did_you_mean
from harness.metrics.statistics import holm
from harness.report.changes import changes
from harness.report.difference import Difference, difference
from harness.report.pairs import LEVEL
from harness.report.reference import Reference, Row, RowKey, is_plain

Keys = Mapping[str, Sequence[str]]
"""Protocol -> keys of the setting that distinguish its numbers."""


@dataclass(frozen=True)
class Line:
    """One number of both sides.

    Attributes:
        learner, where, metric: The number.
        a, b: Means over seeds.
        difference, low, high: b - a and its 95 % interval; None if it cannot be tested.
        p: Two-sided, Holm-corrected over all lines.
        paired: Whether the same images or episodes were compared.
        n: Units or seeds that the comparison is over.
        apart: How the two sides were set differently.
    """

    learner: str
    where: str
    metric: str
    a: float
    b: float
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    paired: bool
    n: int
    apart: tuple[str, ...] = ()

    @property
    def differs(self) -> bool:
        """Whether a difference is shown."""
        return self.p is not None and self.p <= LEVEL


@dataclass(frozen=True)
class _Pair:
    """One number of both sides, the name that it is printed under, and config changes."""

    name: str
    a: Row
    b: Row
    config_changes: Sequence[str] = ()


def runs(a: Reference, b: Reference) -> list[Line]:
    """Compare every number that both runs have.

    Raises:
        HarnessError: They have no number in common.
    """
    pairs = _matching_rows(a.rows, b.rows, _united(a.keys, b.keys))
    if not pairs:
        raise HarnessError(
            f"{a.suite} and {b.suite} have no number in common",
            where="compare",
            hint="numbers are matched by protocol, learner, metric and setting; "
            "`harness diff` compares suites",
        )
    configs = {}
    for name, config in b.learners.items():
        if name in a.learners:
            configs[name] = changes(a.learners.get(name), config)
    return _lines([_Pair(x.learner, x, y, configs.get(x.learner, ())) for x, y in pairs])


def learners(measured: Reference, a: str, b: str) -> list[Line]:
    """Compare two learners of one run on every number that both have.

    Raises:
        HarnessError: Unknown learner, or no number in common.
    """
    known = list(dict.fromkeys(row.learner for row in measured.rows))
    for name in (a, b):
        if name not in known:
            raise HarnessError(
                f"unknown learner {name!r}", where="compare", hint=did_you_mean(name, known)
            )
    pairs = _matching_rows(
        _without_learner(measured, a), _without_learner(measured, b), measured.keys
    )
    if not pairs:
        raise HarnessError(f"{a} and {b} have no number in common", where="compare")
    return _lines([_Pair(f"{b} - {a}", x, y) for x, y in pairs])


def _without_learner(measured: Reference, learner: str) -> list[Row]:
    """The rows of a learner, without its name, so that they match those of another one."""
    return [replace(row, learner="") for row in measured.rows if row.learner == learner]


# -------------------------------------------------------------------------------------- matching


def _united(a: Keys, b: Keys) -> Keys:
    return {
        protocol: list(dict.fromkeys([*a.get(protocol, ()), *b.get(protocol, ())]))
        for protocol in {**a, **b}
    }


def _matching_rows(a: Sequence[Row], b: Sequence[Row], keys: Keys) -> list[tuple[Row, Row]]:
    """Match the rows of the same number.

    Rows are matched by the keys that distinguish rows on either side. If that leaves several,
    the whole setting and the data must agree.
    """
    a_by_key = _by_key(a, keys)
    b_by_key = _by_key(b, keys)
    matching = []
    for key in a_by_key:
        candidates = list(itertools.product(a_by_key[key], b_by_key.get(key, ())))
        if len(candidates) == 1:
            matching += candidates
            continue
        for x, y in candidates:
            if x.setting == y.setting and x.dataset == y.dataset:
                matching.append((x, y))
    return matching


def _by_key(rows: Sequence[Row], keys: Keys) -> dict[RowKey, list[Row]]:
    """Group rows by what identifies them, given the keys that distinguish numbers."""
    groups: dict[RowKey, list[Row]] = {}
    for row in rows:
        setting = {**dict(row.at), **row.setting}
        at = {}
        for key in keys.get(row.protocol, ()):
            if key in setting and is_plain(setting[key]):
                at[key] = setting[key]
        rest = {key: value for key, value in setting.items() if key not in at}
        row = replace(row, at=tuple(at.items()), setting=rest)
        groups.setdefault(row.key, []).append(row)
    return groups


# ----------------------------------------------------------------------------------- differences


def _lines(pairs: Sequence[_Pair]) -> list[Line]:
    differences = [_fair_difference(pair.a, pair.b) for pair in pairs]
    corrected = iter(holm([found.p for found in differences if found]))
    lines = []
    for pair, found in zip(pairs, differences, strict=True):
        row = pair.a
        line = Line(
            learner=pair.name,
            where=row.where,
            metric=row.metric,
            a=_mean(row),
            b=_mean(pair.b),
            difference=None,
            low=None,
            high=None,
            p=None,
            paired=False,
            n=len(row.seeds),
            apart=(*pair.config_changes, *_setting_changes(row, pair.b)),
        )
        if found:
            line = replace(
                line,
                difference=found.mean,
                low=found.low,
                high=found.high,
                p=float(next(corrected)),
                paired=found.paired,
                n=found.n,
            )
        lines.append(line)
    return lines


def _setting_changes(row: Row, other: Row) -> list[str]:
    """How two numbers were measured differently, in words."""
    data = changes(row.dataset[:12], other.dataset[:12], "data")
    return [*data, *changes(row.setting, other.setting)]


def _fair_difference(row: Row, other: Row) -> Difference | None:
    """The difference; unit by unit only if the units are the same ones."""
    shared = row.seeds.keys() & other.seeds.keys()
    same_samples = all(row.seeds[s].samples == other.seeds[s].samples for s in shared)
    if row.dataset == other.dataset and same_samples:
        return difference(row, other)
    # Without a seed in common, the difference is not paired.
    unshared = {-1 - seed: number for seed, number in other.seeds.items()}
    return difference(row, replace(other, seeds=unshared))


def _mean(row: Row) -> float:
    return sum(number.value for number in row.seeds.values()) / len(row.seeds)
