"""What commands print: answers to stdout, progress and remarks to stderr."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console

if TYPE_CHECKING:
    from rich.table import Table

    from harness.cells.cell import Cell
    from harness.cells.plan import Plan


def _console(*, stderr: bool) -> Console:
    # Names and files of users are printed as they are: `module:X:` is no emoji, `[a]` no style.
    return Console(stderr=stderr, soft_wrap=not stderr, markup=False, emoji=False, highlight=False)


out = _console(stderr=False)
err = _console(stderr=True)


def grid(rows: Sequence[Mapping[str, Any]], title: str) -> Table:
    """Lay out rows as a table without lines; the keys of the first row are the columns."""
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for key in rows[0] if rows else ():
        table.add_column(key, overflow="fold")
    for row in rows:
        table.add_row(*map(_text, row.values()))
    return table


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    print(json.dumps(value, indent=2, default=str))


def print_skipped(plan: Plan, console: Console) -> None:
    """Print which learners a protocol does not measure, and why."""
    for entry in plan.suite.protocols:
        for learner, reason in entry.skipped.items():
            console.print(f"not in {entry.name}: {learner}, because {reason}")


def print_failures(cells: Iterable[Cell], failed: Mapping[str, str], store: str) -> None:
    """Print each failed cell, why it failed, and the file with its traceback.

    Args:
        cells: cells of a plan; repetitions are printed once.
        failed: key of a cell -> last line of its error.
        store: folder or URL of the store.
    """
    from harness.storage.store import Store

    failures = {cell.key: cell for cell in cells if cell.key in failed}
    for key, cell in failures.items():
        err.print(f"FAILED {cell.title}: {failed[key]}", style="red")
        trace = Store(store).failure(key)
        if trace:
            err.print(f"       traceback: {trace}")
