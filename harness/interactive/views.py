"""Results as tables, frames, figures and pages: the reading commands of the terminal for Python.

A source is whatever results can be read from: a finished run, a suite (its file or a mapping) with
its store, a store, a submission, a folder of results.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import api
from harness.errors import remark
from harness.execute.session import Run, RunOptions
from harness.publish import leaderboard, reading, sources
from harness.publish.reading import Readable
from harness.report import compare as comparing
from harness.report import over_tasks, over_tasks_figure, trusted
from harness.report.board.site import write_site
from harness.report.figures import draw
from harness.report.frames import of_rows
from harness.report.table import Tables
from harness.report.tables import build_all
from harness.storage.location import DEFAULT_STORE
from harness.storage.store import Store

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def table(source: Readable, *, sets: Sequence[str] = (), **options: Any) -> Tables:
    """Build the tables that a suite asks for, or one for each protocol.

    ``print`` shows them, and so does a notebook; ``table(...)[0].frame()`` is a pandas frame.

    Args:
        source: What to read.
        sets: Overrides of a suite, ``key.key=value``.
        options: ``store``, ``data_root`` and ``device`` of a suite, as in ``harness.run``.

    Raises:
        HarnessError: The source cannot be read.
    """
    found = reading.read(source, RunOptions(**options), sets=sets)
    return Tables(build_all(found.results, found.tables, found.published))


def trust(source: Readable, *, sets: Sequence[str] = (), **options: Any) -> pd.DataFrame:
    """Say which results are reliable: a row for each trust check of each measurement.

    ``level`` is PASS, WARN or FAIL, and ``detail`` has the number behind it.

    Args:
        source: What to read; of a store, all cells.
        sets: As for ``table``.
        options: As for ``table``.

    Raises:
        HarnessError: The source cannot be read, or has nothing with trust checks.
    """
    if isinstance(source, str | Path) and sources.find(source).kind == "store":
        rows = trusted.of_store(Store(source))
    else:
        rows = trusted.of_results(reading.results(source, RunOptions(**options), sets=sets))
    return of_rows(
        {
            "learner": row.learner,
            "protocol": row.protocol,
            "attack": row.attack,
            "seed": row.seed,
            "cell": row.cell,
            "check": check.name,
            "level": check.level,
            "detail": check.detail,
        }
        for row in rows
        for check in row.checks
    )


def compare(
    a: Readable, b: Readable, *, suite: Readable | None = None, **options: Any
) -> pd.DataFrame:
    """Compare two sources, or two learners of one, number by number with intervals.

    Args:
        a: A source or a reference file; with ``suite``, the name of a learner.
        b: Like ``a``.
        suite: A source that has both learners.
        options: Keyword arguments of ``harness.measured``: ``store``, ``sets``, ``device``, ...

    Returns:
        A row for each number that both have: ``difference`` is b - a, with its 95 % interval and
        its Holm-corrected p.

    Raises:
        HarnessError: A source cannot be read, or both have no number in common.
    """
    if suite is not None:
        lines = comparing.learners(api.measured(suite, **options), str(a), str(b))
    else:
        stores = [sources.find(side).kind for side in (a, b) if isinstance(side, str | Path)]
        names = "store" not in stores
        lines = comparing.runs(
            api.measured(a, names=names, **options), api.measured(b, names=names, **options)
        )
    return of_rows({**asdict(line), "apart": "; ".join(line.apart)} for line in lines)


def summary(
    *given: Readable,
    metric: str = "accuracy",
    query: str | None = None,
    against: str | None = None,
    figure: str | Path | None = None,
    sets: Sequence[str] = (),
    **options: Any,
) -> pd.DataFrame:
    """Compare learners over all tasks of one or several sources, as rliable defines it.

    Args:
        given: What to read.
        metric: One for which higher is better.
        query: A pandas query on records, which chooses the tasks.
        against: Learner that all are compared with; the best one if None.
        figure: File for performance profiles, ``.pdf`` or ``.png``; not drawn if None.
        sets: As for ``table``.
        options: As for ``table``.

    Returns:
        A row for each learner, the best first: interquartile mean, and the probability that it
        beats ``against`` on a task, with 95 % intervals.

    Raises:
        HarnessError: A source cannot be read, or learners share no tasks.
    """
    found = [reading.results(source, RunOptions(**options), sets=sets) for source in given]
    scores = over_tasks.scores_of(found, metric, query)
    rows = over_tasks.summary(scores, against)
    if figure is not None:
        over_tasks_figure.write(scores, Path(figure))
    return of_rows(rows)


def board(
    *given: str | Path | Run,
    folder: str | Path = "site",
    store: str | Path = DEFAULT_STORE,
    data_root: Path | None = None,
    device: str = "cpu",
) -> Path:
    """Write a leaderboard as a static site, and return its page.

    Rows that are refused are named in a warning each.

    Args:
        given: Finished runs, suite files, submissions, and folders of results.
        folder: Where the site goes.
        store: Of the cells of suite files, as ``data_root`` and ``device``.
        data_root: Folder of the datasets that are not embedded; HARNESS_DATA if None.
        device: Torch device that suites were run on.

    Raises:
        HarnessError: A source cannot be read or has no results.
    """
    options = RunOptions(store=store, data_root=data_root, device=device)
    gathered = leaderboard.gather(given, options)
    written = write_site(gathered.divisions, gathered.refused, Path(folder))
    for row in gathered.refused:
        remark(f"refused: {row}")
    return written[0]


def plot(
    source: Readable, name: str | None = None, *, sets: Sequence[str] = (), **options: Any
) -> Figure:
    """Draw a figure of a suite, such as accuracy over eps with intervals.

    Args:
        source: What to read.
        name: Of the figure: a protocol's, as ``harness run`` names its file, e.g. ``robust`` or
            ``biology-weights``; the first that there is if None.
        sets: As for ``table``.
        options: As for ``table``.

    Raises:
        HarnessError: The source cannot be read, or has no such figure.
    """
    found = reading.read(source, RunOptions(**options), sets=sets)
    if "IPython" in sys.modules:
        import matplotlib.pyplot  # noqa: F401 - tells a notebook how to show figures
    return draw(found.results, found.figures, name)
