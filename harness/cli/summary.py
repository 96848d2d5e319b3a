"""``harness summary``: learners over all tasks of one or several suites."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli import listing
from harness.cli.app import LOOK, app
from harness.cli.options import SOURCE_HELP, AsJson, DataRoot, Device, Sets, StorePath
from harness.cli.output import counted, err, print_json
from harness.storage.location import DEFAULT_STORE


@app.command(rich_help_panel=LOOK)
def summary(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE", help=f"{SOURCE_HELP}.", show_default=False),
    ],
    metric: Annotated[
        str, typer.Option("--metric", help="One for which higher is better.")
    ] = "accuracy",
    query: Annotated[
        str | None,
        typer.Option("--query", help="Only tasks whose records match a pandas query."),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option("--against", help="Learner that all are compared with; default: the best."),
    ] = None,
    figure: Annotated[
        Path | None,
        typer.Option("--figure", help="Draw performance profiles into this file, .pdf or .png."),
    ] = None,
    store: StorePath = DEFAULT_STORE,
    set_: Sets = None,
    data_root: DataRoot = None,
    device: Device = "cpu",
    as_json: AsJson = False,
) -> None:
    """Compare learners over all tasks of one or several suites.

    A task is a column of a table. For each learner the interquartile mean over tasks and seeds, and
    the probability that it beats another one on a task, with bootstrap intervals over seeds, as
    rliable defines them. Of an attack sweep, the worst case counts, unless --query chooses.

    Example: harness summary results/low-data --against bio --figure profiles.pdf
    """
    from harness.execute.session import RunOptions
    from harness.publish import reading
    from harness.report import over_tasks, over_tasks_figure

    options = RunOptions(store=store, data_root=data_root, device=device)
    found = [reading.results(source, options, sets=set_ or []) for source in sources]
    scores = over_tasks.scores_of(found, metric, query)
    rows = over_tasks.summary(scores, against)
    if figure is not None:
        over_tasks_figure.write(scores, figure)
    if as_json:
        print_json(rows)
    else:
        title = f"{metric} over {counted(len(scores.tasks), 'task')}"
        listing.show([_row(row, metric) for row in rows], title)
        for note in scores.notes():
            err.print(note)


def _row(row: dict[str, Any], metric: str) -> dict[str, str]:
    from harness.report.formats import number

    def interval(low: str, high: str, of: str) -> str:
        return f"{number(of, row[low])} to {number(of, row[high])}" if row[low] is not None else ""

    better = row["better"]
    return {
        "learner": row["learner"],
        "IQM": number(metric, row["iqm"]),
        "95 % interval": interval("low", "high", metric),
        f"beats {row['against']}, %": "" if better is None else number("accuracy", better),
        "95 % interval of it": interval("better_low", "better_high", "accuracy"),
        "seeds": str(row["seeds"]),
    }
