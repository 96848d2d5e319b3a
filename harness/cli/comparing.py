"""``harness compare``: two runs, or two learners of one run, number by number."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.app import READ, app
from harness.cli.options import SOURCE_HELP, AsJson, DataRoot, Device, Sets, StorePath
from harness.cli.output import grid, out, print_json
from harness.storage.location import DEFAULT_STORE

if TYPE_CHECKING:
    from harness.report.compare import Line


@app.command(rich_help_panel=READ)
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
        _print(lines, f"A: {a}, B: {b}")


def _print(lines: list[Line], title: str) -> None:
    rows = [_row(line) for line in lines]
    if any(line.apart for line in lines):
        for row, line in zip(rows, lines, strict=True):
            row["set differently"] = "; ".join(line.apart)
    out.print(grid(rows, title))
    out.print(
        "paired: over images or episodes and, with several seeds, over seeds; "
        "an interval covers both"
    )


def _row(line: Line) -> dict[str, Any]:
    from harness.report.formats import number

    difference = interval = p = ""
    if line.difference is not None:
        difference = number(line.metric, line.difference)
    if line.low is not None and line.high is not None:
        interval = f"{number(line.metric, line.low)} to {number(line.metric, line.high)}"
    if line.p is not None:
        p = f"{line.p:.2g}{' *' if line.differs else ''}"
    return {
        "learner": line.learner,
        "number": line.where,
        "A": number(line.metric, line.a),
        "B": number(line.metric, line.b),
        "B - A": difference,
        "95 % interval": interval,
        "p (Holm)": p,
        "over": f"{line.n}, paired" if line.paired else f"{line.n} seeds",
    }
