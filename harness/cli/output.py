"""What commands print: answers to stdout, progress and remarks to stderr."""

from __future__ import annotations

import json
import re
import sysconfig
from collections.abc import Iterable, Mapping
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


def print_failures(cells: Iterable[Cell], failed: Mapping[str, str], store: str) -> None:
    """Print each failed cell, why it failed, and the file with its traceback.

    Args:
        cells: cells of a plan; repetitions are printed once.
        failed: key of a cell -> last line of its error.
        store: folder or URL of the store.
    """
    from harness.storage.store import Store

    opened = Store(store)
    failures = {cell.key: cell for cell in cells if cell.key in failed}
    for key, cell in failures.items():
        err.print(f"FAILED {cell.title}: {failed[key]}", style="red")
        failure = opened.failure(key)
        if failure:
            path, trace = failure
            err.print(f"       traceback: {path}")
            own = own_line(trace)
            if own:
                err.print(f"       raised at: {own}")


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
