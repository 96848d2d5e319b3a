"""What commands print: answers to stdout, progress and remarks to stderr."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console

if TYPE_CHECKING:
    from harness.cells.cell import Cell
    from harness.cells.plan import Plan


def _console(*, stderr: bool) -> Console:
    # Names and files of users are printed as they are: `module:X:` is no emoji, `[a]` no style.
    return Console(stderr=stderr, soft_wrap=not stderr, markup=False, emoji=False, highlight=False)


out = _console(stderr=False)
err = _console(stderr=True)


def counted(number: int, noun: str) -> str:
    """A number of things in words.

    >>> counted(1, "cell"), counted(0, "cell")
    ('1 cell', '0 cells')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


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
