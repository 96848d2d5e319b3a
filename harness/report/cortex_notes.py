"""Notes under tables of the biology audit: what was measured in cortex, and who is inside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from harness.metrics.cortex import BY_METRIC, CONDITION, Reference
from harness.report.formats import captions, metric_name, number
from harness.report.grid import Labels, Place
from harness.report.pivot import Pivot
from harness.report.table import Cell

INSIDE = "●"
OUTSIDE = "○"


def has_references(block: Mapping[str, str]) -> bool:
    """Whether numbers of a protocol are shown beside cortex.

    Numbers that were measured before the audit knew of references are printed as they were.
    """
    return CONDITION in block


def beside_cortex(
    pivoted: Pivot, cells: Mapping[Place, Cell], block: Mapping[str, str]
) -> Iterator[str]:
    """Yield a note for each reference: its value and source, and a mark for each row."""
    if not has_references(block):
        return
    shown: dict[str, dict[Labels, Cell]] = {}
    for (row, column), cell in cells.items():
        if cell.metric in BY_METRIC and _is_of_network(pivoted.column_keys, column):
            shown.setdefault(cell.metric, {})[row] = cell
    for metric, of_rows in shown.items():
        reference = BY_METRIC[metric]
        marks = [
            mark(reference, cell.value, _name(pivoted, row))
            for row, cell in of_rows.items()
            if reference.low is not None
        ]
        note = f"Cortex, {metric_name(metric)}: {text(reference)}"
        yield f"{note}: {', '.join(marks)}." if marks else f"{note}."


def text(reference: Reference) -> str:
    """The value, its range and its source in one phrase.

    >>> text(BY_METRIC["live_share"])[:37]
    '11.6 (5.0 to 20.0), Song et al. 2005;'
    """

    def printed(value: float | None) -> str:
        return "" if value is None else number(reference.metric, value)

    spread = ""
    if reference.low is not None:
        spread = f" ({printed(reference.low)} to {printed(reference.high)})"
    found = reference.words or printed(reference.value)
    return f"{found}{spread}, {reference.source}; {reference.recorded}"


def mark(reference: Reference, value: float, name: str) -> str:
    """A name with a mark: inside the range of a reference, or on which side of it.

    >>> mark(BY_METRIC["spectrum_exponent"], 1.5, "mlp")
    '○ mlp (above)'
    """
    standing = reference.standing(value)
    return f"{INSIDE} {name}" if standing == "inside" else f"{OUTSIDE} {name} ({standing})"


def _is_of_network(keys: tuple[str, ...], column: Labels) -> bool:
    """Whether a column is of whole networks, not of one bundle or comparison."""
    return all(label is None for key, label in zip(keys, column, strict=True) if key != "metric")


def _name(pivoted: Pivot, row: Labels) -> str:
    return " / ".join(filter(None, captions(pivoted.row_keys, row)))
