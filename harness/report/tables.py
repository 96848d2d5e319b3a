"""From results to tables: build what a suite asks for, and write it in every format."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.cells.results import Results
from harness.files import write_text
from harness.records import Record, worst_level
from harness.report import notes
from harness.report.aggregate import Verdicts, aggregate
from harness.report.bold import compared, mark_best, mean_ranks, with_mean_ranks
from harness.report.brackets import BRACKET
from harness.report.cortex_notes import beside_cortex
from harness.report.coverage import Coverage, coverage, left_out_columns, partial_columns
from harness.report.derived import with_derived
from harness.report.grid import Labels, Place
from harness.report.pairs import Comparable
from harness.report.pivot import Pivot, pivot
from harness.report.printed import lay_out
from harness.report.published import with_published
from harness.report.render import FORMATS
from harness.report.table import Cell, Table
from harness.suite.specs.published import PublishedSpec
from harness.suite.specs.tables import TableSpec

DEFAULT_COLUMNS = {
    "attack_sweep": ["attack", "eps"],
    "few_shot": ["ways", "shots"],
    "biology": ["metric"],
    "attacked_episodes": ["ways", "shots", "attack", "eps"],
    "low_data": ["per_class"],
    "corruption": ["corruption"],
    "smoothing": ["radius"],
    "continual": ["strategy"],
}
"""Kind of protocol -> the columns of its table in a suite that asks for none."""


def default_specs(results: Results) -> list[TableSpec]:
    """One table per protocol, for a suite that asks for none; another one if it has brackets."""
    specs = []
    for name, kind in results.protocols.items():
        plain: dict[str, Any] = {"protocol": name, "columns": DEFAULT_COLUMNS.get(kind, [])}
        specs.append(TableSpec.model_validate(plain))
        if any(record.metric == BRACKET and record.protocol == name for record in results.records):
            brackets = {**plain, "metric": BRACKET, "name": f"{name}-brackets"}
            specs.append(TableSpec.model_validate(brackets))
    return specs


def build_all(
    results: Results, specs: Sequence[TableSpec], published: Sequence[PublishedSpec] = ()
) -> list[Table]:
    """Build all tables of a suite, or one per protocol if it asks for none.

    Tables of the same name are numbered: ``few``, ``few-2``.
    """
    cached = replace(results, verdicts=functools.cache(results.verdicts))
    cached = with_derived(cached)
    tables: list[Table] = []
    names: set[str] = set()
    for spec in specs or default_specs(cached):
        table = build(cached, spec)
        table = with_published(table, [p for p in published if p.protocol == spec.protocol])
        name = _free_name(table.name, names)
        names.add(name)
        tables.append(replace(table, name=name))
    return tables


def _free_name(name: str, taken: Collection[str]) -> str:
    """``name``, or the first of ``name-2``, ``name-3``, ... that is free."""
    if name not in taken:
        return name
    numbered = (f"{name}-{i}" for i in itertools.count(2))
    return next(each for each in numbered if each not in taken)


def write_tables(
    results: Results,
    specs: Sequence[TableSpec],
    folder: Path,
    published: Sequence[PublishedSpec] = (),
) -> list[Path]:
    """Write every table in every format. The same results give the same bytes.

    Returns:
        The files written.
    """
    written = []
    for table in build_all(results, specs, published):
        printed = lay_out(table)
        for ending, renderer in FORMATS.values():
            path = Path(folder) / f"{table.name}{ending}"
            write_text(path, renderer(printed))
            written.append(path)
    return written


def build(results: Results, spec: TableSpec) -> Table:
    """Build the table that ``spec`` asks for. Deterministic.

    Keys of a setting that ``spec`` does not name become further columns, where different
    measurements would otherwise share a cell: nothing is averaged silently.
    """
    results = with_derived(results)
    pivoted = pivot(results, spec)
    covered = coverage(results, spec.protocol, pivoted)
    cells = {place: _cell(records, results.verdicts) for place, records in pivoted.grid.items()}
    comparisons: dict[Labels, Comparable[Labels]] = {}
    if pivoted.of_learners:  # Rows of other keys are other tasks, not rivals.
        rows = [row for i, row in enumerate(pivoted.rows) if i not in pivoted.distrusted]
        comparisons = compared(pivoted.grid, rows, pivoted.columns, covered.planned)
        mark_best(cells, pivoted.grid, comparisons, results.verdicts)
    table = Table(
        suite=results.suite,
        name=spec.name or spec.protocol,
        title=spec.title or f"{results.suite}: {spec.protocol}",
        row_keys=pivoted.row_keys,
        column_keys=pivoted.column_keys,
        rows=pivoted.rows,
        columns=pivoted.columns,
        cells=tuple(
            tuple(cells.get((row, column)) for column in pivoted.columns) for row in pivoted.rows
        ),
        distrusted=pivoted.distrusted,
        notes=_notes(results, spec, pivoted, covered, comparisons, cells),
        block=dict(results.blocks.get(spec.protocol, {})),
    )
    if spec.ranks and pivoted.of_learners:
        means = mean_ranks(pivoted.grid, comparisons, results.verdicts)
        return with_mean_ranks(table, means)
    return table


def _cell(records: list[Record], verdicts: Verdicts) -> Cell:
    first = records[0]
    mean = aggregate(records, verdicts)
    return Cell(
        metric=first.metric,
        value=mean.value,
        low=mean.low,
        high=mean.high,
        n=first.n,
        unit=first.unit,
        seeds=tuple(record.seed for record in records),
        trust=worst_level(record.trust for record in records),
    )


def _notes(
    results: Results,
    spec: TableSpec,
    pivoted: Pivot,
    covered: Coverage,
    comparisons: dict[Labels, Comparable[Labels]],
    cells: dict[Place, Cell],
) -> tuple[str, ...]:
    """All notes under a table, in order."""
    shown = [(cells[place], records) for place, records in pivoted.grid.items()]
    return (
        *notes.unmeasured(pivoted.missing, pivoted.metrics),
        *notes.reading(shown, distrusted=bool(pivoted.distrusted)),
        *notes.one_seed(shown, of_learners=pivoted.of_learners),
        *notes.partial(partial_columns(pivoted, covered), covered.planned),
        *notes.left_out(left_out_columns(pivoted, comparisons)),
        *notes.remarks(pivoted.measured, results),
        *beside_cortex(pivoted, cells, results.blocks.get(spec.protocol, {})),
        *notes.matched(results, spec.protocol),
        *notes.failed_checks(pivoted.failed, results),
        *notes.warned_checks(pivoted.measured, results),
        *notes.failures(results, spec.protocol),
    )
