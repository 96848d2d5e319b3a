"""Two runs, or two learners of one run, number by number: differences with intervals, paired where samples are the same."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

from harness.errors import HarnessError, did_you_mean
from harness.metrics.statistics import holm, paired_t
from harness.report.gate import Difference, changes, difference
from harness.report.reference import Reference, Row, is_plain
from harness.report.ties import LEVEL


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
    pairs = _pairs(a.rows, b.rows, _united(a.keys, b.keys))
    if not pairs:
        raise HarnessError(
            f"{a.suite} and {b.suite} have no number in common",
            where="compare",
            hint="numbers are matched by protocol, learner, metric and setting; `harness diff` compares suites",
        )
    configs = {
        name: changes(a.learners.get(name), config)
        for name, config in b.learners.items()
        if name in a.learners
    }
    return _lines(pairs, [row.learner for row, _ in pairs], configs)


def learners(measured: Reference, a: str, b: str) -> list[Line]:
    """Two learners of one run, on every number that both have.

    Raises:
        HarnessError: a learner that is not there, or nothing in common.
    """
    known = list(dict.fromkeys(row.learner for row in measured.rows))
    for name in (a, b):
        if name not in known:
            raise HarnessError(
                f"unknown learner {name!r}", where="compare", hint=did_you_mean(name, known)
            )
    one, other = (
        [replace(row, learner="") for row in measured.rows if row.learner == name]
        for name in (a, b)
    )
    pairs = _pairs(one, other, measured.keys)
    if not pairs:
        raise HarnessError(f"{a} and {b} have no number in common", where="compare")
    return _lines(pairs, [f"{b} - {a}"] * len(pairs), {})


def _united(a: dict[str, list[str]], b: dict[str, list[str]]) -> dict[str, list[str]]:
    return {
        protocol: list(dict.fromkeys([*a.get(protocol, ()), *b.get(protocol, ())]))
        for protocol in {**a, **b}
    }


def _pairs(a: list[Row], b: list[Row], keys: dict[str, list[str]]) -> list[tuple[Row, Row]]:
    """Rows of the same number: told by what tells the rows of either side apart, and where that leaves several, by all of the
    setting and the data.
    """
    ours, theirs = _by_key(a, keys), _by_key(b, keys)
    found = []
    for key in (key for key in ours if key in theirs):
        every = list(itertools.product(ours[key], theirs[key]))
        found += (
            every
            if len(every) == 1
            else [(x, y) for x, y in every if (x.setting, x.dataset) == (y.setting, y.dataset)]
        )
    return found


def _by_key(rows: list[Row], keys: dict[str, list[str]]) -> dict[tuple, list[Row]]:
    """Rows by what they are known by, once some keys of the setting count as telling them apart."""
    found: dict[tuple, list[Row]] = {}
    for row in rows:
        whole = {**dict(row.at), **row.setting}
        at = {key: whole[key] for key in keys.get(row.protocol, ()) if is_plain(whole.get(key, ()))}
        row = replace(
            row,
            at=tuple(at.items()),
            setting={key: value for key, value in whole.items() if key not in at},
        )
        found.setdefault(row.key, []).append(row)
    return found


def _lines(
    pairs: list[tuple[Row, Row]], names: list[str], configs: dict[str, list[str]]
) -> list[Line]:
    found = [_fair(row, other) for row, other in pairs]
    ps = iter(holm([one.p for one in found if one]))
    return [
        Line(
            name,
            row.where,
            row.metric,
            _mean(row),
            _mean(other),
            *(
                (d.mean, d.low, d.high, float(next(ps)), d.paired, d.n)
                if d
                else (None, None, None, None, False, len(row.seeds))
            ),
            (*configs.get(row.learner, ()), *_apart(row, other)),
        )
        for name, (row, other), d in zip(names, pairs, found, strict=True)
    ]


def _apart(row: Row, other: Row) -> list[str]:
    """How two numbers were measured differently, in words."""
    return [
        *changes(row.dataset[:12], other.dataset[:12], "data"),
        *changes(row.setting, other.setting),
    ]


def _fair(row: Row, other: Row) -> Difference | None:
    """The difference; unit by unit only where the units are the same ones."""
    shared = row.seeds.keys() & other.seeds.keys()
    same = row.dataset == other.dataset and all(
        row.seeds[s].samples == other.seeds[s].samples for s in shared
    )
    if same:
        return _over_seeds(row, other, difference(row, other))
    alone = replace(
        other, seeds={-1 - seed: number for seed, number in other.seeds.items()}
    )  # no seed in common: unpaired
    return difference(row, alone)


def _over_seeds(row: Row, other: Row, found: Difference | None) -> Difference | None:
    """Of several seeds the wider interval and the larger p of two: over units, as if there were no other seeds than these, and
    over seeds. Learners that are alike differ from seed to seed, and units alone would call that a difference.
    """
    shared = sorted(row.seeds.keys() & other.seeds.keys())
    if found is None or not found.paired or len(shared) < 2:
        return found
    _, low, high, p = paired_t(
        *([side.seeds[seed].value for seed in shared] for side in (other, row))
    )
    return replace(found, low=min(low, found.low), high=max(high, found.high), p=max(p, found.p))


def _mean(row: Row) -> float:
    return sum(number.value for number in row.seeds.values()) / len(row.seeds)
