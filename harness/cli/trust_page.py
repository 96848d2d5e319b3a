"""The trust report on a terminal: a summary of all rows, then a page for each that needs one."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.cli import listing
from harness.cli.output import counted, err, out

if TYPE_CHECKING:
    from harness.records import TrustCheck
    from harness.report.trusted import Row

STYLES = {"FAIL": "bold red", "WARN": "yellow", "PASS": "green", "-": "dim"}
"""Level -> how it looks."""

INDENT = 6


def show(rows: Sequence[Row], *, whole: bool) -> None:
    """Print all rows, then what was found in each that did not pass.

    Into a pipe every check is one tab-separated line.

    Args:
        rows: The sweeps, or other measurements, with their checks.
        whole: Show the checks that passed too.
    """
    if not out.is_terminal:
        listing.show([line for row in rows for line in _lines(row, whole=whole)], "trust")
    else:
        listing.show([_summary(row) for row in rows], "Trust")
        for row in rows:
            if whole or row.remarks:
                _page(row, whole=whole)
    failed, warned = (sum(row.level == level for row in rows) for level in ("FAIL", "WARN"))
    err.print(f"{counted(len(rows), 'measurement')}: {failed} failed, {warned} warned")


def _summary(row: Row) -> dict[str, Any]:
    return {"trust": row.level, **_name(row), "check": ", ".join(c.name for c in row.remarks)}


def _name(row: Row) -> dict[str, Any]:
    return {
        "learner": row.learner,
        "protocol": row.protocol,
        "attack": row.attack,
        "seed": row.seed,
    }


def _lines(row: Row, *, whole: bool) -> list[dict[str, Any]]:
    """The checks of a row for a pipe; one line without a check if none is to be shown."""
    checks = _shown(row, whole=whole)
    named = [(check.level, check.name, check.detail) for check in checks] or [(row.level, "", "")]
    return [
        {"trust": level, **_name(row), "check": name, "found": detail}
        for level, name, detail in named
    ]


def _shown(row: Row, *, whole: bool) -> Sequence[TrustCheck]:
    return row.checks if whole else row.remarks


def _page(row: Row, *, whole: bool) -> None:
    """Print one row: the verdict, then each check with its number and what to do."""
    from harness.report.trust_words import REMEDIES, VERDICTS, asks

    title = " · ".join(filter(None, [row.learner, row.protocol, row.attack, f"seed {row.seed}"]))
    out.print()
    out.print(title, style="bold")
    out.print(f"{row.level}: {VERDICTS[row.level]}", style=STYLES[row.level])
    for check in _shown(row, whole=whole):
        out.print(f"{check.level:4}  {check.name}", style=STYLES[check.level])
        _indented(check.detail)
        _indented(f"expected: {asks(check.name)}" if asks(check.name) else "")
        if check.level != "PASS":
            _indented(f"to do: {REMEDIES[check.name]}" if check.name in REMEDIES else "")


def _indented(text: str) -> None:
    for line in textwrap.wrap(text, max(40, out.width - INDENT), break_on_hyphens=False):
        out.print(" " * INDENT + line, soft_wrap=True)
