"""The records that a table asks for, sorted into its rows and columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from harness.cells.results import Results
from harness.metrics.catalogue import SHOWN_WITH
from harness.records import Record
from harness.report.derive import ATTACKED
from harness.report.derived import with_derived
from harness.report.grid import (
    Grid,
    Labels,
    distinguish,
    fold_clean,
    group,
    label_of,
    labels_of,
    ordered,
)
from harness.suite.specs.tables import TableSpec


@dataclass(frozen=True)
class Pivot:
    """The records of a table, each in its cell.

    Attributes:
        row_keys, column_keys, rows, columns: As in ``Table``, before published numbers are added.
        grid: Place -> records, one per seed.
        measured: All records of the metrics that the table shows, breakdowns included.
        missing: Metrics that the table asks for and nobody measured.
        metrics: All metrics that were measured.
    """

    row_keys: tuple[str, ...]
    column_keys: tuple[str, ...]
    rows: tuple[Labels, ...]
    columns: tuple[Labels, ...]
    grid: Grid
    measured: list[Record]
    missing: tuple[str, ...]
    metrics: tuple[str, ...]

    @property
    def of_learners(self) -> bool:
        """Whether each row is a learner, so that rows can be compared."""
        return self.row_keys == ("learner",)

    @cached_property
    def failed(self) -> list[Record]:
        """The records with a failed trust check."""
        return [
            record for records in self.grid.values() for record in records if record.trust == "FAIL"
        ]

    @cached_property
    def distrusted(self) -> frozenset[int]:
        """Positions of the rows with a failed trust check."""
        positions = {row: i for i, row in enumerate(self.rows)}
        return frozenset(positions[labels_of(record, self.row_keys)] for record in self.failed)


def pivot(results: Results, spec: TableSpec) -> Pivot:
    """Sort the records that ``spec`` asks for into rows and columns.

    Keys of a setting that ``spec`` does not name become further columns, where different
    measurements would otherwise share a cell: nothing is averaged silently.
    """
    results = with_derived(results)
    row_keys = (spec.rows,) if isinstance(spec.rows, str) else tuple(spec.rows)
    of_protocol = [record for record in results.records if record.protocol == spec.protocol]
    present = sorted({record.metric for record in of_protocol})
    wanted = _wanted_metrics(spec, present, {*row_keys, *spec.columns})
    measured = [record for record in of_protocol if record.metric in wanted]

    column_keys, records = distinguish(measured, row_keys, tuple(spec.columns))
    if results.protocols.get(spec.protocol) in ATTACKED:
        records = fold_clean(records, row_keys, column_keys)
        column_keys, records = distinguish(records, row_keys, column_keys)

    records = [record for record in records if _is_wanted(record, spec)]
    grid = group(records, row_keys, column_keys)
    rows = {row for row, _ in grid} | _failed_rows(results, spec)
    columns = {column for _, column in grid}
    return Pivot(
        row_keys=row_keys,
        column_keys=column_keys,
        rows=tuple(ordered(rows, row_keys, results.learners)),
        columns=tuple(ordered(columns, column_keys, results.learners)),
        grid=grid,
        measured=measured,
        missing=tuple(metric for metric in wanted if metric not in present),
        metrics=tuple(present),
    )


def _is_wanted(record: Record, spec: TableSpec) -> bool:
    """Whether a record has the values that ``only`` of a table names."""
    for key, wanted in spec.only.items():
        if label_of(record, key) not in (wanted if isinstance(wanted, list) else [wanted]):
            return False
    return True


def _wanted_metrics(spec: TableSpec, present: Sequence[str], keys: set[str]) -> Sequence[str]:
    """The metrics that a table shows."""
    if isinstance(spec.metric, str):
        return [spec.metric]
    if spec.metric is not None:
        return _with_companions(spec.metric, present)
    if "metric" in keys:
        return present
    return ["accuracy"] if "accuracy" in present else present[:1]


def _with_companions(wanted: Sequence[str], present: Sequence[str]) -> list[str]:
    """Add the metrics without which some metrics would mislead, where they were measured."""
    metrics = list(wanted)
    for metric, companions in SHOWN_WITH.items():
        if metric in wanted and {*companions} <= {*present}:
            metrics += [each for each in companions if each not in wanted]
    return metrics


def _failed_rows(results: Results, spec: TableSpec) -> set[Labels]:
    """Rows of learners with failed cells: a learner without any number still has its row."""
    if spec.rows not in ("learner", ["learner"]):
        return set()
    return {(learner,) for learner, protocol, _, _ in results.failures if protocol == spec.protocol}
