"""Two runs, or two learners of one run, number by number: differences with intervals, paired where samples are the same."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from harness.errors import HarnessError, did_you_mean
from harness.metrics.statistics import holm
from harness.report.aggregate import LEVEL
from harness.report.gate import changes, difference
from harness.report.reference import Reference, Row


@dataclass(frozen=True)
class Line:
    """One number of both sides; ``difference`` is b - a with its 95 % interval, ``p`` Holm-corrected over all lines.

    ``paired`` says whether the same images or episodes were compared, ``apart`` how the two were set differently.
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


def runs(a: Reference, b: Reference) -> list[Line]:
    """Every number that both have.

    Raises:
        HarnessError: they have none in common.
    """
    rows = {row.key: row for row in b.rows}
    pairs = [(row, rows[row.key]) for row in a.rows if row.key in rows]
    if not pairs:
        raise HarnessError(f"{a.suite} and {b.suite} have no number in common", where="compare",
                           hint="numbers are matched by protocol, learner, metric and setting; `harness diff` compares suites")
    configs = {name: changes(a.learners.get(name), config) for name, config in b.learners.items() if name in a.learners}
    return _lines(pairs, [row.learner for row, _ in pairs], configs)


def learners(measured: Reference, a: str, b: str) -> list[Line]:
    """Two learners of one run, on every number that both have.

    Raises:
        HarnessError: a learner that is not there, or nothing in common.
    """
    known = list(dict.fromkeys(row.learner for row in measured.rows))
    for name in (a, b):
        if name not in known:
            raise HarnessError(f"unknown learner {name!r}", where="compare", hint=did_you_mean(name, known))
    others = {replace(row, learner="").key: row for row in measured.rows if row.learner == b}
    pairs = [(row, others[key]) for row in measured.rows if row.learner == a and (key := replace(row, learner="").key) in others]
    if not pairs:
        raise HarnessError(f"{a} and {b} have no number in common", where="compare")
    return _lines(pairs, [f"{b} - {a}"] * len(pairs), {})


def _lines(pairs: list[tuple[Row, Row]], names: list[str], configs: dict[str, list[str]]) -> list[Line]:
    found = [_fair(row, other) for row, other in pairs]
    ps = iter(holm([one.p for one in found if one]))
    return [Line(name, row.where, row.metric, _mean(row), _mean(other), *((d.mean, d.low, d.high, float(next(ps)), d.paired, d.n)
                 if d else (None, None, None, None, False, len(row.seeds))),
                 (*configs.get(row.learner, ()), *changes(row.setting, other.setting)))
            for name, (row, other), d in zip(names, pairs, found, strict=True)]


def _fair(row: Row, other: Row) -> Any:
    """The difference; unit by unit only where the units are the same ones."""
    shared = row.seeds.keys() & other.seeds.keys()
    same = row.dataset == other.dataset and all(row.seeds[s].samples == other.seeds[s].samples for s in shared)
    if same:
        return difference(row, other)
    alone = replace(other, seeds={-1 - seed: number for seed, number in other.seeds.items()})  # no seed in common: unpaired
    return difference(row, alone)


def _mean(row: Row) -> float:
    return sum(number.value for number in row.seeds.values()) / len(row.seeds)
