"""Tables, figures and claims of a suite: shown on the terminal, or written to a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cli.output import out
from harness.storage.location import is_url

if TYPE_CHECKING:
    from harness.cells.plan import Plan
    from harness.cells.results import Results
    from harness.execute.session import RunOptions


def default_folder(store: str, suite_name: str) -> Path:
    """Where the tables of a suite go if no folder is named: into its store, if that is a folder."""
    root = "results" if is_url(store) else store.removeprefix("file://")
    return Path(root) / "tables" / suite_name


def show(plan: Plan, results: Results, *, whole: bool = False) -> None:
    """Print the tables and claims of a suite.

    Args:
        plan: the cells that were measured.
        results: what they measured.
        whole: print all columns and conditions, however narrow the terminal.
    """
    from harness.report import claims, claims_text, render, tables

    suite = plan.suite
    for table in tables.build_all(results, suite.tables, suite.published):
        out.print(render.to_rich(table, whole=whole), soft_wrap=False)
        out.print()
    if suite.claims:
        out.print(claims_text.to_rich(claims.decide(results, suite.claims)))
        out.print()


def write(
    plan: Plan,
    results: Results,
    folder: Path,
    options: RunOptions,
    *,
    suite: Path,
    sets: Sequence[str],
) -> list[Path]:
    """Write tables, figures, claims, records and their provenance.

    Args:
        plan: the cells that were measured.
        results: what they measured.
        folder: where the files go.
        options: names the store of the cells.
        suite: the suite as it was named on the command line; recorded with the results.
        sets: overrides of the suite; recorded too.

    Returns:
        The files written; none if the folder is up to date.
    """
    from harness.publish import folder as results_folder
    from harness.publish import provenance, staleness
    from harness.suite.expand import expand

    overrides = [f"--set {each}" for each in sets]
    command = " ".join(["harness run", str(suite), *overrides, f"--out {folder}"])
    about = provenance.of_plan(plan, expand(plan.suite), options.open_store().read)
    if staleness.is_current(folder, command, about):
        return []
    return results_folder.write(plan.suite, results, folder, command, about)
