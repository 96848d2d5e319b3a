"""Sorting records into rows and columns, so that no cell ever mixes two different measurements."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from harness.records import Record
from harness.report.derive import CLEAN, WORST
from harness.report.formats import METRICS

Labels = tuple[Any, ...]
Grid = dict[tuple[Labels, Labels], list[Record]]
"""(row labels, column labels) -> records, one a seed, in order of seeds."""

_FIELDS = ("learner", "dataset", "seed", "metric")


def fold_clean(records: list[Record]) -> list[Record]:
    """At eps 0 all attacks are the same: one column ``clean`` (the worst of them, should they disagree)."""
    clean: dict[tuple, Record] = {}
    for record in records:
        if record.setting.get("eps") == 0 and "attack" in record.setting:
            at = (record.learner, record.seed, record.dataset, record.metric)
            if at not in clean or (record.setting["attack"] == WORST and clean[at].setting["attack"] != WORST):
                clean[at] = record
    kept = [r for r in records if r.setting.get("eps") != 0]
    return kept + [replace(r, setting={"attack": CLEAN, "eps": 0}) for r in clean.values()]


def _field(record: Record, key: str) -> Any:
    """What a record has at ``key``; lists become text, so that it can label a column."""
    value = getattr(record, key) if key in _FIELDS else record.setting.get(key)
    return value if value is None or isinstance(value, str | int | float) else str(value)


def labels(record: Record, keys: Iterable[str]) -> Labels:
    return tuple(_field(record, key) for key in keys)


def group(records: list[Record], rows: tuple[str, ...], columns: tuple[str, ...]) -> Grid:
    """Records by the labels of their row and column."""
    grid: Grid = {}
    for record in sorted(records, key=lambda r: r.seed):
        grid.setdefault((labels(record, rows), labels(record, columns)), []).append(record)
    return grid


def distinguish(records: list[Record], rows: tuple[str, ...],
                 columns: tuple[str, ...]) -> tuple[tuple[str, ...], list[Record]]:
    """Add columns until no cell holds two records of one seed; a breakdown beside its own summary is dropped."""
    while True:
        clash = _clash(group(records, rows, columns))
        if not clash:
            return columns, records
        taken = {*rows, *columns}
        keys = sorted({k for r in clash for k in r.setting} | {"dataset", "metric"})
        differing = [k for k in keys if k not in taken and len({str(_field(r, k)) for r in clash}) > 1]
        shared = [k for k in differing if all(_field(r, k) is not None for r in clash)]
        if shared:
            columns = (*columns, shared[0])
        elif differing:
            dropped = {id(r) for r in clash if _field(r, differing[0]) is not None}
            records = [r for r in records if id(r) not in dropped]
        else:  # one measurement twice: the later record stands
            records = list({(r.seed, labels(r, (*rows, *columns))): r for r in records}.values())


def _clash(grid: Grid) -> list[Record]:
    """The records of one cell that holds two of one seed."""
    return next((found for found in grid.values() if len({r.seed for r in found}) < len(found)), [])


def ordered(values: set[Labels], keys: tuple[str, ...], learners: list[str]) -> list[Labels]:
    """Labels in reading order, whatever the order of records: learners as in the suite, numbers ascending."""
    place = {name: i for i, name in enumerate(learners)}
    metrics = {name: i for i, name in enumerate(METRICS)}

    def rank(key: str, value: Any) -> tuple[float, float, str]:
        if value is None or value == CLEAN:
            return (0, 0, "")
        if value == WORST:
            return (3, 0, "")
        known = {"learner": place, "metric": metrics}.get(key, {})
        if value in known:
            return (1, known[value], "")
        return (2, 0, value) if isinstance(value, str) else (1, value, "")

    return sorted(values, key=lambda value: [rank(k, v) for k, v in zip(keys, value, strict=True)])
