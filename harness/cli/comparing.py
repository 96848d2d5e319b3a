"""``harness compare``: two runs, or two learners of one run, number by number."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli import listing
from harness.cli.app import LOOK, app
from harness.cli.options import SOURCE_HELP, AsJson, DataRoot, Device, Sets, StorePath
from harness.cli.output import counted, err, out, print_json
from harness.storage.location import DEFAULT_STORE

if TYPE_CHECKING:
    from harness.report.compare import Line

SMALLEST_P = 0.001
"""Smaller p values are printed as less than this."""


@app.command(rich_help_panel=LOOK)
def compare(
    a: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help=f"{SOURCE_HELP}, or a reference file. With --suite, a learner.",
            show_default=False,
        ),
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="Like A.", show_default=False)],
    suite: Annotated[
        str | None,
        typer.Option(
            "--suite", help="Compare two learners of this suite, or of any source that A can be."
        ),
    ] = None,
    store: StorePath = DEFAULT_STORE,
    store_b: Annotated[
        str | None,
        typer.Option("--store-b", help="Store of B's finished cells; default: --store."),
    ] = None,
    set_: Sets = None,
    data_root: DataRoot = None,
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Compare two runs, or two learners, with intervals.

    A number is compared with that of the same protocol, learner, metric and setting, in pairs
    where images and episodes are the same. A store has no names: if A or B is one, both go by
    kinds, keys and datasets. References and submissions can be of a commit, in git's notation
    COMMIT:PATH.

    Example: harness compare HEAD~5:results/reference/ci.json suites/ci.yaml
    """
    from harness.execute.session import RunOptions
    from harness.publish import reading, sources
    from harness.report import compare as comparing

    sets = set_ or []
    options = RunOptions(store=store, data_root=data_root, device=device)
    if suite:
        measured = reading.measured(suite, options, sets=sets)
        lines = comparing.learners(measured, a, b)
    else:
        options_b = RunOptions(store=store_b or store, data_root=data_root, device=device)
        names = "store" not in {sources.find(side).kind for side in (a, b)}
        lines = comparing.runs(
            reading.measured(a, options, sets=sets, names=names),
            reading.measured(b, options_b, sets=sets, names=names),
        )
    if as_json:
        print_json([asdict(line) for line in lines])
    else:
        _print(lines, f"A: {a}", f"B: {b}")


def _print(lines: list[Line], a: str, b: str) -> None:
    """Print one row a number, the largest effects first, then what could not be tested.

    Args:
        lines: numbers of both sides.
        a: heading of one side: a title over a table on a terminal, and a column's into a pipe.
        b: heading of the other.
    """
    from harness.report.pairs import LEVEL

    several = len({line.learner for line in lines}) > 1
    tested = [line for line in lines if line.p is not None]
    rest = [line for line in lines if line.p is None]
    tested.sort(key=_effect, reverse=True)
    headings = ("A", "B") if out.is_terminal else (a, b)
    rows = [_row(line, headings, several=several) for line in [*tested, *rest]]
    listing.show(rows, f"{a}, {b}", essential="B - A")
    if tested:
        paired = "images or episodes that both sides measured, where they did"
        err.print(
            f"*: a difference is shown, p <= {LEVEL:g} by Holm over all rows; paired over {paired}"
        )
    if rest:
        err.print(f"{counted(len(rest), 'row')} without an interval: their spread is not known")
    for note in dict.fromkeys(note for line in lines for note in line.apart):
        err.print(f"set differently: {note}")


def _effect(line: Line) -> float:
    """How large a difference is beside its interval: its sign does not matter."""
    if line.difference is None or line.low is None or line.high is None:
        return 0.0
    return abs(line.difference) / max(line.high - line.low, 1e-12)


def _row(line: Line, headings: tuple[str, str], *, several: bool) -> dict[str, Any]:
    from harness.report.formats import number

    name = f"{line.learner}: {line.where}" if several else line.where
    values = (number(line.metric, line.a), number(line.metric, line.b))
    return {
        "number": name,
        **dict(zip(headings, values, strict=True)),
        "B - A": _difference(line),
        "95 % interval": _interval(line),
        "p": _p(line),
        "over": f"{line.n}, paired" if line.paired else counted(line.n, "seed"),
    }


def _difference(line: Line) -> str:
    from harness.report.formats import has_difference, number

    if not has_difference(line.metric):
        return ""
    return f"{number(line.metric, line.b - line.a)}{' *' if line.differs else ''}"


def _interval(line: Line) -> str:
    from harness.report.formats import has_difference, number

    if line.low is None or line.high is None or not has_difference(line.metric):
        return ""
    return f"{number(line.metric, line.low)} to {number(line.metric, line.high)}"


def _p(line: Line) -> str:
    if line.p is None:
        return ""
    return "< 0.001" if line.p < SMALLEST_P else f"{line.p:.2g}"
