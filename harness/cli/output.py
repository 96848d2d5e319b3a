"""What commands print: answers to stdout, progress and remarks to stderr."""

from __future__ import annotations

import json
import re
import sysconfig
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

import harness

if TYPE_CHECKING:
    from harness.cells.cell import Cell
    from harness.cells.plan import Plan


def _console(*, stderr: bool) -> Console:
    # Names and files of users are printed as they are: `module:X:` is no emoji, `[a]` no style.
    return Console(stderr=stderr, soft_wrap=not stderr, markup=False, emoji=False, highlight=False)


FRAME = re.compile(r'^  File "(.+)", line (\d+), in (.+)$', re.M)
"""A line of a traceback."""

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


def print_failures(plan: Plan, failed: Mapping[str, str], store: str) -> None:
    """Print each error once: its cell, how many need that cell, and the file with its traceback.

    Args:
        plan: the cells of the run.
        failed: key of a cell -> last line of its error.
        store: folder or URL of the store.
    """
    from harness.storage.store import Store

    opened = Store(store)
    cells = {cell.key: cell for cell in [*plan.relatives, *plan.cells, *plan.waiting]}
    causes = Counter(_cause(key, cells, failed) for key in cells)
    for key, cell in cells.items():
        if not causes[key]:
            continue
        err.print(f"FAILED {cell.title}: {failed[key]}", style="red")
        dependents = causes[key] - 1
        if dependents:
            needs = "needs it" if dependents == 1 else "need it"
            err.print(f"       and {counted(dependents, 'cell')} that {needs}", style="red")
        failure = opened.failure(key)
        if failure:
            path, trace = failure
            err.print(f"       traceback: {path}")
            own = own_line(trace)
            if own:
                err.print(f"       raised at: {own}")


def _cause(key: str, cells: Mapping[str, Cell], failed: Mapping[str, str]) -> str | None:
    """The cell whose error made this one fail, perhaps its own; None if it did not fail."""
    from harness.execute.base import prerequisites

    cell = cells[key]
    before = next((each for each in [*prerequisites(cell), cell.behind] if each in failed), None)
    if before is not None and before in cells:
        return _cause(before, cells, failed)
    return key if key in failed else None


def own_line(trace: str) -> str | None:
    """The innermost line of a traceback that is in code of the user, not of a package.

    >>> own_line('  File "/home/me/my_rule.py", line 65, in _learn')
    '/home/me/my_rule.py:65 (_learn)'
    """
    packages = [
        Path(harness.__file__).parent,
        Path(harness.__file__).parents[1] / "baselines",
        *map(Path, (sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))),
    ]
    for file, line, function in reversed(FRAME.findall(trace)):
        is_own = not any(Path(file).is_relative_to(folder) for folder in packages)
        if is_own and not file.startswith("<"):
            return f"{file}:{line} ({function})"
    return None
