"""A table as a value: a pivot of records, each cell with its interval, its n, and whether it is the best or a tie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.records import Trust


@dataclass(frozen=True)
class Cell:
    """One number of a table.

    Attributes:
        metric: which number it is; says how it is printed.
        value, low, high: mean over seeds and its 95 % interval (None where none is defined).
        n, unit: how many units *each seed* was measured on.
        seeds: the seeds it is a mean over.
        best: the highest of its column.
        tie: not significantly lower than the best.
        trust: the worst judgement of any trust check behind it.
    """

    metric: str
    value: float
    low: float | None
    high: float | None
    n: int
    unit: str
    seeds: tuple[int, ...]
    best: bool = False
    tie: bool = False
    trust: Trust = "-"

    @property
    def bold(self) -> bool:
        """The best, or a statistical tie with it."""
        return self.best or self.tie


@dataclass(frozen=True)
class Table:
    """A finished table; a renderer adds nothing to it but form.

    Attributes:
        suite, name, title: whose it is, file name without ending, and heading.
        row_keys, column_keys: what the labels are values of.
        rows, columns: labels, one value a key.
        cells: (rows, columns); None where nothing was measured.
        distrusted: rows in which a trust check failed, marked with a dagger and never bold.
        notes: how to read it, then what is missing or distrusted.
        block: the protocol block, condition -> value.
    """

    suite: str
    name: str
    title: str
    row_keys: tuple[str, ...]
    column_keys: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    columns: tuple[tuple[Any, ...], ...]
    cells: tuple[tuple[Cell | None, ...], ...]
    distrusted: frozenset[int]
    notes: tuple[str, ...]
    block: dict[str, str]
