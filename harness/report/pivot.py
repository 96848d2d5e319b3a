"""Sorting records into rows and columns, so that no cell ever mixes two different measurements."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from operator import attrgetter
from typing import Any

from harness.cells.results import Results
from harness.errors import HarnessError
from harness.metrics.catalogue import METRICS
from harness.records import WORST, Record
from harness.report.formats import CLEAN, MEAN

Labels = tuple[Any, ...]
Grid = dict[tuple[Labels, Labels], list[Record]]
"""(row labels, column labels) -> records, one a seed, in order of seeds."""

_SEPARATING = ("dataset", "metric", "learner")
"""Fields that make two records different measurements, beside what is in their setting."""

_measurement = attrgetter(*_SEPARATING)

_FIELDS = (*_SEPARATING, "seed")

_OF_THE_ATTACK = ("attack", "eps", "norm", "config")
"""Keys of a setting that say how something was attacked."""


def fold_clean(
    records: list[Record], rows: tuple[str, ...], columns: tuple[str, ...]
) -> list[Record]:
    """At eps 0 all attacks are the same: one label ``clean`` (the worst of them, should they disagree).

    What stands across from eps in the table is kept, so that a row per attack has its own clean number; and so is all
    that is not the attack's, such as the ways of an episode.
    """
    across = columns if "eps" in rows else rows
    clean: dict[tuple, Record] = {}
    for record in records:
        if _is_clean(record):
            at = (
                record.learner,
                record.seed,
                record.dataset,
                record.metric,
                str(_without_attack(record, across)),
            )
            if at not in clean or (
                record.setting["attack"] == WORST and clean[at].setting["attack"] != WORST
            ):
                clean[at] = record
    kept = [r for r in records if not _is_clean(r)]
    return kept + [
        replace(r, setting={"attack": CLEAN, "eps": 0} | _without_attack(r, across))
        for r in clean.values()
    ]


def _without_attack(record: Record, kept: tuple[str, ...]) -> dict[str, Any]:
    """A record's setting without what says how it was attacked, except for some keys; in order of keys."""
    return {k: v for k, v in sorted(record.setting.items()) if k in kept or k not in _OF_THE_ATTACK}


def _is_clean(record: Record) -> bool:
    return "attack" in record.setting and record.setting.get("eps") == 0


def _field(record: Record, key: str) -> Any:
    """What a record has at ``key``; lists become text, so that it can label a column."""
    value = getattr(record, key) if key in _FIELDS else record.setting.get(key)
    return value if isinstance(value, _LABELS) else str(value)


_LABELS = (str, int, float, type(None))


def labels(record: Record, keys: Iterable[str]) -> Labels:
    """What a record has at each of ``keys``: its place along an axis of a table."""
    return tuple([_field(record, key) for key in keys])


def _along(records: list[Record], keys: tuple[str, ...]) -> Iterable[Labels]:
    """``labels`` of many records, key by key."""
    columns = [
        map(attrgetter(key), records)
        if key in _FIELDS
        else [_field(record, key) for record in records]
        for key in keys
    ]
    return zip(*columns, strict=True) if keys else itertools.repeat(())


def numbers_of(
    results: Results, protocol: str, metric: str, setting: dict[str, Any], learner: str
) -> list[Record]:
    """A learner's records of one number, one a seed: of those that have the setting, the summary of all.

    Raises:
        HarnessError: several numbers have the setting, and none of them sums up the others.
    """
    found = [
        r
        for r in results.records
        if r.protocol == protocol
        and r.metric == metric
        and r.learner == learner
        and all(r.setting.get(key) == value for key, value in setting.items())
    ]
    found.sort(key=lambda r: (r.seed, len(r.setting)))
    chosen = []
    for _, same in itertools.groupby(found, key=lambda r: r.seed):
        first, *others = same
        rivals = [r for r in others if len(r.setting) == len(first.setting)]
        if rivals:
            differing = [
                key
                for key in first.setting
                if any(r.setting.get(key) != first.setting[key] for r in rivals)
            ]
            raise HarnessError(
                f"{setting or 'no setting'} fits {1 + len(rivals)} numbers of {metric} of {learner}",
                where=f"protocol {protocol}",
                hint=f"say which {' and '.join(differing)} in its `setting`",
            )
        chosen.append(first)
    return chosen


def group(records: list[Record], rows: tuple[str, ...], columns: tuple[str, ...]) -> Grid:
    """Records by the labels of their row and column."""
    grid: Grid = defaultdict(list)
    records = sorted(records, key=attrgetter("seed"))
    for record, *place in zip(
        records, _along(records, rows), _along(records, columns), strict=False
    ):
        grid[tuple(place)].append(record)
    return dict(grid)


def distinguish(
    records: list[Record], rows: tuple[str, ...], columns: tuple[str, ...]
) -> tuple[tuple[str, ...], list[Record]]:
    """Add columns until no cell holds two records of one seed; a breakdown beside its own summary is dropped.

    Raises:
        HarnessError: two records that nothing tells apart have different values.
    """
    records, key = list({id(r): r for r in records}.values()), None
    while True:
        columns, dropped = (*columns, *([key] if key else [])), set()
        for found in group(records, rows, columns).values():
            key, out = _told_apart(found, {*rows, *columns})
            dropped |= out
            if key:  # everything is grouped anew with it
                break
        records = [r for r in records if id(r) not in dropped]
        if key is None:
            return columns, records


def _told_apart(cell: list[Record], used: set[str]) -> tuple[str | None, set[int]]:
    """The key without which one cell holds two records of a seed (None: it does not), and those to be dropped from it."""
    dropped: set[int] = set()
    while _clashes(cell):
        keys = [*sorted({k for r in cell for k in r.setting}), *_SEPARATING]
        fields = {k: _values(cell, k) for k in keys if k not in used}
        differing = [k for k, found in fields.items() if len({*map(str, found)}) > 1]
        shared = [k for k in differing if None not in fields[k]]
        out = set() if shared else _breakdowns(cell) or _repeated(cell, differing)
        if not out:
            return (shared or differing)[0], dropped
        dropped |= out
        cell = [r for r in cell if id(r) not in out]
    return None, dropped


def _values(cell: list[Record], key: str) -> list[Any]:
    """What the records of a cell have at a key."""
    return [*map(attrgetter(key), cell)] if key in _FIELDS else [r.setting.get(key) for r in cell]


def _breakdowns(cell: list[Record]) -> set[int]:
    """What of a cell is a part of what another of the same seed says."""
    of_seed: dict[int, list[Record]] = {}
    for record in cell:
        of_seed.setdefault(record.seed, []).append(record)
    return {
        id(r)
        for same in of_seed.values()
        for r in same
        for s in same
        if len(s.setting) < len(r.setting) and _is_summary(s, r)
    }


def _is_summary(record: Record, of: Record) -> bool:
    """Whether ``of`` is what ``record`` is, in one part of it."""
    return record.setting.items() < of.setting.items() and _measurement(record) == _measurement(of)


def _repeated(clash: list[Record], differing: list[str]) -> set[int]:
    """What of ``clash`` says once more what another of the same seed says; nothing as long as a key tells them apart."""
    first: dict[int, Record] = {}
    if differing:
        return set()
    for record in clash:
        known = first.setdefault(record.seed, record)
        if (known.value, known.low, known.high, known.n) != (
            record.value,
            record.low,
            record.high,
            record.n,
        ):
            raise HarnessError(
                f"two results for {record.metric} of {record.learner}, seed {record.seed}, {record.setting}: "
                f"{known.value:g} over {known.n} and {record.value:g} over {record.n}",
                where=f"table of {record.protocol}",
                hint=f"they come from the cells {known.cell} and {record.cell}; "
                "remove the one that is out of date",
            )
    return {id(r) for r in clash} - {id(r) for r in first.values()}


def _clashes(cell: list[Record]) -> bool:
    """Whether a cell holds two records of one seed."""
    return len({r.seed for r in cell}) < len(cell)


def ordered(values: set[Labels], keys: tuple[str, ...], learners: list[str]) -> list[Labels]:
    """Labels in reading order, whatever the order of records: learners as in the suite, numbers ascending."""
    place = {name: i for i, name in enumerate(learners)}
    metrics = {name: i for i, name in enumerate(METRICS)}

    def rank(key: str, value: Any) -> tuple[float, float, str]:
        if value is None or value == CLEAN:
            return (0, 0, "")
        if value in (WORST, MEAN):
            return (3, 0, "")
        known = {"learner": place, "metric": metrics}.get(key, {})
        if value in known:
            return (1, known[value], "")
        return (2, 0, value) if isinstance(value, str) else (1, value, "")

    return sorted(values, key=lambda value: [rank(k, v) for k, v in zip(keys, value, strict=True)])
