"""What a board's page shows, as plain values: its templates and its script add nothing but form."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.cells.results import Results
from harness.records import Record, Trust, worst_level
from harness.report.board.charts import charts
from harness.report.derive import with_worst_case
from harness.report.formats import BETTER, captions, is_percent, metric_name
from harness.report.notes import choices
from harness.report.pairs import Pair, Rivals, ranks
from harness.report.pivot import Labels
from harness.report.published import DIFFERENCE, WHOSE
from harness.report.table import Cell, Table
from harness.report.tables import LaidOut, build_all, default_specs, lay_out
from harness.report.wording import cell_text, heading, headings
from harness.suite.specs.published import PublishedSpec
from harness.suite.specs.tables import TableSpec

OURS = "ours"
"""What our own column is called where published numbers stand beside it."""
MOST_PAIRS = 1500
"""Pairs of learners that a table's comparisons hold; of more learners, each is compared with the best ones alone."""


@dataclass(frozen=True)
class Division:
    """The results of one suite, from one source or several, and the tables that it asks for.

    Attributes:
        results: everything measured.
        tables, published: as in the suite.
        description: the suite's.
        origins: learner -> the name of the source that it came from.
    """

    results: Results
    tables: list[TableSpec]
    published: list[PublishedSpec] = field(default_factory=list)
    description: str = ""
    origins: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Refusal:
    """A row of a later source that does not stand on the board."""

    origin: str
    learner: str
    protocol: str
    why: str

    def __str__(self) -> str:
        return f"{self.origin}: {self.learner} in {self.protocol}: {self.why}"


@dataclass(frozen=True)
class Remark:
    """A trust check that did not pass."""

    level: Trust
    where: str
    name: str
    detail: str


@dataclass(frozen=True)
class Shown:
    """One number as it is printed, and as the script sorts and draws it.

    Attributes:
        text, arms: the number and its interval in print.
        value, low, high: in the units of print (accuracies in percent).
        rank: among the learners of its column; None where it is not ranked.
        tied: whether others share its rank.
        bold: the best, or not significantly worse.
    """

    text: str
    arms: str
    value: float | None
    low: float | None
    high: float | None
    rank: int | None
    tied: bool
    bold: bool


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        name: in print.
        learner: place among the division's learners; None where a row is something else.
        trust: worst of its checks; ``"-"``: none were made.
        remarks: the checks that did not pass.
        cells: one a column.
    """

    name: str
    learner: int | None
    trust: Trust
    remarks: list[Remark]
    cells: list[Shown | None]


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        levels: its heading.
        metric, unit: what it measures.
        beside: ``"published"``, ``"difference"`` or ``"band"`` where it was added beside one of ours; else empty.
        ranked: whether its numbers are.
    """

    levels: tuple[str, ...]
    metric: str
    unit: str
    beside: str
    ranked: bool

    @property
    def name(self) -> str:
        """All levels in a line."""
        return ", ".join(filter(None, self.levels)) or self.metric


@dataclass(frozen=True)
class BoardTable:
    """A table, its ranks and its comparisons.

    Attributes:
        name: of its files.
        title: in print.
        row_name: what a row is.
        columns, rows: see there.
        heads: the heading's rows, each a list of (text, columns that it spans); the last row has a text a column.
        first: the column that it is sorted by at first; None: order of the suite.
        notes: how to read it.
        compared: columns that learners are compared in.
        pairs: ``"i,j"`` (learners, i < j) -> difference, low, high, p, won, lost for each of those columns, or None.
        all_pairs: whether every pair is there.
        source: the table that it was made from.
    """

    name: str
    title: str
    row_name: str
    columns: list[Column]
    rows: list[Row]
    heads: list[list[tuple[str, int]]]
    first: int | None
    notes: tuple[str, ...]
    compared: list[int]
    pairs: dict[str, list[list[float | None] | None]]
    all_pairs: bool
    source: Table


@dataclass(frozen=True)
class Tab:
    """A protocol of a suite: its tables, its charts, its conditions."""

    id: str
    suite: str
    protocol: str
    kind: str
    tables: list[BoardTable]
    charts: list[dict[str, Any]]
    block: dict[str, str]


def tabs(division: Division) -> list[Tab]:
    """One tab a protocol that has records or tables."""
    results = with_worst_case(
        replace(division.results, verdicts=functools.cache(division.results.verdicts))
    )
    measured, asked = (
        {record.protocol for record in results.records},
        {spec.protocol for spec in division.tables},
    )
    specs = [
        *division.tables,
        *(spec for spec in default_specs(results) if spec.protocol in measured - asked),
    ]
    shown: dict[str, list[BoardTable]] = {}
    for spec, table in zip(specs, build_all(results, specs, division.published), strict=True):
        shown.setdefault(spec.protocol, []).append(_table(results, lay_out(results, spec), table))
    return [
        Tab(
            f"{results.suite}/{name}",
            results.suite,
            name,
            kind,
            shown[name],
            charts(results, name),
            results.blocks.get(name, {}),
        )
        for name, kind in results.protocols.items()
        if name in shown
    ]


# ------------------------------------------------------------------------------------------------------------ tables


def _table(results: Results, laid: LaidOut, table: Table) -> BoardTable:
    place = {name: i for i, name in enumerate(results.learners)}
    columns = _columns(table)
    of_learners = table.row_keys == ("learner",)
    rivals = {j: _rivals(laid, table, j, results) for j in range(len(columns)) if of_learners}
    rank = {j: _ranks(table, j, *found) for j, found in rivals.items() if found}
    columns = [replace(column, ranked=j in rank) for j, column in enumerate(columns)]
    sharing = {j: Counter(found.values()) for j, found in rank.items()}
    behind: dict[Labels, list[Record]] = {}
    for (labels, _), found in laid.grid.items():
        behind.setdefault(labels, []).extend(found)
    rows = [
        Row(
            " / ".join(filter(None, captions(table.row_keys, labels))),
            place.get(labels[0]) if of_learners else None,
            worst_level(r.trust for r in behind.get(labels, ())),
            _remarks(results, behind.get(labels, ())),
            [
                _shown(cell, rank.get(j, {}).get(i), sharing.get(j, {}))
                for j, cell in enumerate(table.cells[i])
            ],
        )
        for i, labels in enumerate(table.rows)
    ]
    first = max(rank, default=None)
    pairs, everyone = _pairs(rivals, rank.get(first, {}), rows)
    return BoardTable(
        table.name,
        heading(table),
        " / ".join(table.row_keys),
        columns,
        rows,
        _heads([column.levels for column in columns]),
        first,
        table.notes,
        [j for j, found in rivals.items() if found],
        pairs,
        everyone,
        table,
    )


def _columns(table: Table) -> list[Column]:
    heads, out = headings(table), []
    for j, levels in enumerate(heads):
        metric = next((cells[j].metric for cells in table.cells if cells[j]), "")
        beside = dict(zip(table.column_keys, table.columns[j], strict=True)).get(WHOSE) or ""
        unit = "" if not is_percent(metric) else "points" if beside == DIFFERENCE else "%"
        out.append(Column(levels, metric_name(metric) if metric else "", unit, beside, False))
    return out


def _heads(columns: Sequence[tuple[str, ...]]) -> list[list[tuple[str, int]]]:
    """Rows of a heading, neighbours with all their levels so far in common spanned by one; rows that say nothing left out."""
    levels, out = [_to_the_end(column, columns) for column in columns], []
    for depth in range(len(levels[0]) if levels else 0):
        line: list[tuple[str, int]] = []
        for j, column in enumerate(levels):
            joined = (
                depth < len(column) - 1 and j and column[: depth + 1] == levels[j - 1][: depth + 1]
            )
            line = (
                [*line[:-1], (line[-1][0], line[-1][1] + 1)]
                if joined
                else [*line, (column[depth], 1)]
            )
        out.append(line)
    return [line for line in out if any(text for text, _ in line)]


def _to_the_end(column: tuple[str, ...], columns: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """A column's levels with a text in the last: what is its alone moves there; under what it shares, it is called ours."""
    depth = max((d for d, text in enumerate(column) if text), default=len(column) - 1)
    if (
        depth < len(column) - 1
        and sum(other[: depth + 1] == column[: depth + 1] for other in columns) > 1
    ):
        return (*column[:-1], OURS)
    return (*column[:depth], *column[depth + 1 :], column[depth])


def _remarks(results: Results, records: Sequence[Record]) -> list[Remark]:
    """What warned or failed behind a row, failures first, each check once an attack and seed."""
    found = {}
    for record in records:
        for check in results.trust.get(record.cell, ()):
            if check.level in ("FAIL", "WARN"):
                where = " ".join(filter(None, [_attack(record), f"seed {record.seed}"]))
                found[record.cell, check.name] = Remark(
                    check.level, where, check.name, check.detail
                )
    return sorted(found.values(), key=lambda remark: (remark.level, remark.where, remark.name))


def _attack(record: Record) -> str:
    """Which attack a record is of, also where the table calls it clean."""
    attack = record.setting.get("attack")
    return "" if attack in (None, "clean") else attack


def _shown(cell: Cell | None, rank: int | None, sharing: Mapping[int, int]) -> Shown | None:
    if cell is None:
        return None
    text, arms = cell_text(cell)
    scale = 100 if is_percent(cell.metric) else 1
    value, low, high = (
        None if v is None or not math.isfinite(v) else round(scale * v, 6)
        for v in (cell.value, cell.low, cell.high)
    )
    return Shown(
        text,
        arms.strip(),
        value,
        low,
        high,
        rank,
        rank is not None and sharing[rank] > 1,
        cell.bold,
    )


# ------------------------------------------------------------------------------------------------- ranks and comparisons


def _rivals(
    laid: LaidOut, table: Table, j: int, results: Results
) -> tuple[list[int], Rivals] | None:
    """The rows of a column that can be tested against each other, distrusted ones aside; None where there are no two."""
    keys = len(laid.column_keys)
    column, added = (
        table.columns[j][:keys],
        dict(zip(table.column_keys[keys:], table.columns[j][keys:], strict=True)),
    )
    if any(value is not None for key, value in added.items() if key != "metric"):
        return None  # published, or a summary; what measures a single number may have a name only where such stand beside it
    rows = [
        i
        for i, row in enumerate(table.rows)
        if (row, column) in laid.grid
        and i not in table.distrusted
        and all(
            BETTER.get(r.metric) == 1 and r.verdicts is not None for r in laid.grid[row, column]
        )
    ]
    if len(rows) < 2:
        return None
    try:
        return rows, Rivals([laid.grid[table.rows[i], column] for i in rows], results.verdicts)
    except ValueError:  # a partial column: nothing is bold in it, and nothing ranked
        return None


def _ranks(table: Table, j: int, rows: list[int], rivals: Rivals) -> dict[int, int]:
    """Row -> rank; the first are those that the table has bold."""
    cells = [table.cells[i][j] for i in rows]
    top = [k for k, cell in enumerate(cells) if cell is not None and cell.bold]
    return dict(
        zip(
            rows, ranks([cell.value if cell else 0.0 for cell in cells], top, rivals.p), strict=True
        )
    )


def _pairs(
    rivals: dict[int, tuple[list[int], Rivals] | None], rank: dict[int, int], rows: list[Row]
) -> tuple[dict[str, list[list[float | None] | None]], bool]:
    """Comparisons, those with high ranks first where there are too many."""
    columns = [found for found in rivals.values() if found]
    known = sorted(
        {i for found, _ in columns for i in found}, key=lambda i: (rank.get(i, len(rows) + 1), i)
    )
    best = (
        len(known)
        if len(known) * (len(known) - 1) // 2 <= MOST_PAIRS
        else max(1, MOST_PAIRS // len(known))
    )
    out = {}
    for at, i in enumerate(known[:best]):
        for j in known[at + 1 :]:
            one, other = min(i, j), max(i, j)
            out[f"{rows[one].learner},{rows[other].learner}"] = [
                _numbers(found[1].pair(found[0].index(one), found[0].index(other)))
                if one in found[0] and other in found[0]
                else None
                for found in columns
            ]
    return dict(sorted(out.items())), best == len(known)


def _numbers(pair: Pair) -> list[float | None]:
    ends = (None if end is None else round(100 * end, 3) for end in (pair.low, pair.high))
    return [round(100 * pair.difference, 3), *ends, float(f"{pair.p:.3g}"), pair.first, pair.second]


# ------------------------------------------------------------------------------------------------------------ learners


@dataclass(frozen=True)
class Number:
    """A number on a learner's page: where it stands, and the number."""

    tab: Tab
    table: BoardTable
    column: Column
    shown: Shown


@dataclass(frozen=True)
class Profile:
    """A learner's page.

    Attributes:
        name, kind, origin: what it is, and the source that it came from.
        config: key -> value.
        numbers: all that tables show of it.
        remarks: protocol and check, for those that did not pass; ``checked``: how many were made.
        provenance: protocol -> what, where and with what it was measured.
        trainings: curves, one a training of the first seed.
        log_weights: (edges, densities) of the histogram of log w of the first bundle's live synapses.
        fields: receptive fields (units, height, width), each scaled to -1 .. 1.
    """

    name: str
    kind: str
    origin: str
    config: dict[str, Any]
    numbers: list[Number]
    remarks: list[tuple[str, Remark]]
    checked: int
    provenance: list[tuple[str, dict[str, str]]]
    trainings: list[dict[str, Any]]
    log_weights: dict[str, list[float]] | None
    fields: Any

    @property
    def rivalries(self) -> list[tuple[Tab, BoardTable]]:
        """Tables in which it is compared with others."""
        found = {
            (number.tab.id, number.table.name): (number.tab, number.table)
            for number in self.numbers
            if number.table.pairs
        }
        return list(found.values())


def profiles(division: Division, shown: Sequence[Tab]) -> list[Profile]:
    """Every learner's page, in the order of the suite."""
    from harness.report.board.looks import fields, log_weights

    results = division.results
    records: dict[str, list[Record]] = {}
    for record in results.records:
        records.setdefault(record.learner, []).append(record)
    out = []
    for place, name in enumerate(results.learners):
        own = [
            (tab, table, row)
            for tab in shown
            for table in tab.tables
            for row in table.rows
            if row.learner == place
        ]
        remarks = {(tab.protocol, remark): None for tab, _, row in own for remark in row.remarks}
        out.append(
            Profile(
                name,
                results.kinds.get(name, ""),
                division.origins.get(name, ""),
                results.configs.get(name, {}),
                [
                    Number(tab, table, column, cell)
                    for tab, table, row in own
                    for column, cell in zip(table.columns, row.cells, strict=True)
                    if cell
                ],
                list(remarks),
                sum(
                    len(results.trust.get(cell, ()))
                    for cell in {r.cell for r in records.get(name, [])}
                ),
                list(_provenance(records.get(name, []), results)),
                list(_trainings(results, name)),
                log_weights(results, records.get(name, [])),
                fields(results, records.get(name, [])),
            )
        )
    return out


def _provenance(
    records: Sequence[Record], results: Results
) -> Iterator[tuple[str, dict[str, str]]]:
    by_protocol: dict[str, list[Record]] = {}
    for record in records:
        by_protocol.setdefault(record.protocol, []).append(record)
    for protocol, found in by_protocol.items():
        said = {
            "dataset": [f"{r.dataset} {r.dataset_hash[:12]}" for r in found],
            "seeds": [str(r.seed) for r in found],
            "commit": [r.git_commit or "unknown" for r in found],
            "device": [r.device for r in found],
            "versions": [", ".join(f"{k} {v}" for k, v in r.versions.items()) for r in found],
            "measured": sorted(r.created[:10] for r in found),
            "cells": [r.cell for r in found],
            "matched": list(choices(results, protocol, found[0].learner)),
        }
        yield (
            protocol,
            {key: ", ".join(dict.fromkeys(values)) for key, values in said.items() if values},
        )


def _trainings(results: Results, name: str) -> Iterator[dict[str, Any]]:
    """Curves of the first seed's trainings."""
    found = results.trainings.get(name, [])
    first = min((training.seed for training in found), default=0)
    for training in found:
        if training.seed != first or len(training.rows) < 2:
            continue
        keys = [
            key
            for key in dict.fromkeys(key for row in training.rows for key in row)
            if key not in ALONG
        ]
        yield {
            "data": training.data,
            "seed": training.seed,
            "images": training.images_seen,
            "series": {
                key: _course([row for row in training.rows if key in row], key) for key in keys
            },
        }


ALONG = ("epoch", "episodes", "iteration", "iterations")
"""Keys of a training log that say when, not what."""


def _course(rows: Sequence[dict[str, float]], key: str) -> dict[str, Any]:
    """One number over a training, along the log's own count, or row by row."""
    along = next((name for name in ALONG if all(name in row for row in rows)), None)
    points = [
        [float(row[along]) if along else float(i + 1), _four(row[key])]
        for i, row in enumerate(rows)
    ]
    return {
        "along": along or "row of the log",
        "points": [point for point in points if all(map(math.isfinite, point))],
    }


def _four(value: float) -> float:
    return float(f"{value:.4g}")
