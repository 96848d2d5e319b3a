"""The tabs of a board: one per protocol, with its tables and charts."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness.cells.results import Results
from harness.records import Record, worst_level
from harness.report.board.charts import charts
from harness.report.board.headings import heading_rows
from harness.report.board.model import BoardTable, Column, Division, Remark, Row, Shown, Tab
from harness.report.board.per_image import per_image
from harness.report.board.ranking import Ranking, comparisons, rank_columns
from harness.report.coverage import planned_seeds
from harness.report.derived import with_derived
from harness.report.formats import captions, is_percent, metric_name
from harness.report.grid import Labels
from harness.report.numbers import finite, rounded
from harness.report.pivot import Pivot, pivot
from harness.report.printed import PrintedTable, lay_out
from harness.report.published import DIFFERENCE, WHOSE
from harness.report.table import Table
from harness.report.tables import build_all, default_specs

NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1", "l0": "L0"}
"""Norm of a setting -> how it is printed."""

NO_THREAT = "none"
"""Threat model of images as they are."""


def tabs(division: Division) -> list[Tab]:
    """Make one tab for each protocol that has records or tables."""
    results = replace(division.results, verdicts=functools.cache(division.results.verdicts))
    results = with_derived(results)
    measured = {record.protocol for record in results.records}
    asked = {spec.protocol for spec in division.tables}
    added = [spec for spec in default_specs(results) if spec.protocol in measured - asked]
    specs = [*division.tables, *added]
    tables: dict[str, list[BoardTable]] = {}
    for spec, table in zip(specs, build_all(results, specs, division.published), strict=True):
        board_table = _board_table(results, spec.protocol, pivot(results, spec), table)
        tables.setdefault(spec.protocol, []).append(board_table)
    return [
        Tab(
            protocol=protocol,
            kind=kind,
            tables=tables[protocol],
            charts=charts(results, protocol),
            block=results.blocks.get(protocol, {}),
            datasets=_datasets(results, protocol),
            threats=threats(results, protocol),
        )
        for protocol, kind in results.protocols.items()
        if protocol in tables
    ]


def _datasets(results: Results, protocol: str) -> tuple[str, ...]:
    records = [record for record in results.records if record.protocol == protocol]
    return tuple(dict.fromkeys(record.dataset for record in records))


def threats(results: Results, protocol: str) -> tuple[str, ...]:
    """What the images of a protocol are exposed to: norms of attacks, corruptions, or nothing."""
    found: dict[str, None] = {}
    for record in results.records:
        if record.protocol != protocol:
            continue
        norm = record.setting.get("norm")
        if isinstance(norm, str):
            found[NORMS.get(norm, norm)] = None
        if record.setting.get("support"):
            found["poisoned support set"] = None
        if "corruption" in results.protocols[protocol]:
            found["corruptions"] = None
    return tuple(found) or (NO_THREAT,)


def _board_table(results: Results, protocol: str, pivoted: Pivot, table: Table) -> BoardTable:
    printed = lay_out(table)
    planned = planned_seeds(results, protocol)
    rankings = rank_columns(pivoted, table, results.verdicts, planned)
    rows = _rows(results, pivoted, printed, rankings)
    columns = _columns(printed, rankings)
    first = _first(table, rankings)
    pairs, all_pairs = comparisons(rankings, first, [row.learner for row in rows])
    return BoardTable(
        name=table.name,
        title=printed.title,
        row_name=printed.corner,
        columns=columns,
        rows=rows,
        heads=heading_rows([column.levels for column in columns]),
        first=first,
        notes=table.notes,
        compared=list(rankings),
        pairs=pairs,
        all_pairs=all_pairs,
        images=per_image(results, protocol, rankings[first]) if first is not None else None,
        source=printed,
    )


def _first(table: Table, rankings: Mapping[int, Ranking]) -> int | None:
    """The column to sort by: the last one of the metric that leads the table.

    The strongest attack and the largest number of classes come last among the columns of a metric.
    """
    if not rankings:
        return None
    leading = table.metric(min(rankings))
    return max(j for j in rankings if table.metric(j) == leading)


def _columns(printed: PrintedTable, rankings: dict[int, Ranking]) -> list[Column]:
    table = printed.table
    columns = []
    for j, levels in enumerate(printed.headings):
        metric = table.metric(j)
        keys = dict(zip(table.column_keys, table.columns[j], strict=True))
        beside = keys.get(WHOSE) or ""
        unit = ""
        if is_percent(metric):
            unit = "points" if beside == DIFFERENCE else "%"
        columns.append(
            Column(
                levels=levels,
                metric=metric_name(metric) if metric else "",
                unit=unit,
                beside=beside,
                ranked=j in rankings,
            )
        )
    return columns


def _rows(
    results: Results, pivoted: Pivot, printed: PrintedTable, rankings: dict[int, Ranking]
) -> list[Row]:
    table = printed.table
    positions = {name: i for i, name in enumerate(results.learners)}
    records: dict[Labels, list[Record]] = {}
    for (row, _), found in pivoted.grid.items():
        records.setdefault(row, []).extend(found)
    rows = []
    for i, labels in enumerate(table.rows):
        behind = records.get(labels, [])
        cells = [_shown(printed, i, j, rankings.get(j)) for j in range(len(table.columns))]
        rows.append(
            Row(
                name=" / ".join(filter(None, captions(table.row_keys, labels))),
                learner=positions.get(labels[0]) if pivoted.of_learners else None,
                trust=worst_level(record.trust for record in behind),
                remarks=_remarks(results, behind),
                cells=cells,
            )
        )
    return rows


def _shown(printed: PrintedTable, row: int, column: int, ranking: Ranking | None) -> Shown | None:
    cell = printed.table.cells[row][column]
    if cell is None:
        return None
    scale = 100 if is_percent(cell.metric) else 1
    text = printed.cells[row][column]
    return Shown(
        text=text.number,
        error=text.error,
        value=rounded(finite(cell.value), scale, 6),
        low=rounded(finite(cell.low), scale, 6),
        high=rounded(finite(cell.high), scale, 6),
        rank=ranking.ranks.get(row) if ranking else None,
        tied=ranking.is_tied(row) if ranking else False,
        bold=cell.bold,
    )


def _remarks(results: Results, records: Sequence[Record]) -> list[Remark]:
    """The checks of a row that warned or failed, failures first, once per attack and seed."""
    remarks: dict[tuple[str, str], Remark] = {}
    for record in records:
        for check in results.trust.get(record.cell, ()):
            if check.level in ("FAIL", "WARN"):
                where = " ".join(filter(None, [_attack(record), f"seed {record.seed}"]))
                remark = Remark(check.level, where, check.name, check.detail)
                remarks[record.cell, check.name] = remark
    return sorted(remarks.values(), key=lambda remark: (remark.level, remark.where, remark.name))


def _attack(record: Record) -> str:
    """The attack of a record; empty if it has none, or if its table calls it clean."""
    attack = record.setting.get("attack")
    return "" if attack in (None, "clean") else str(attack)
