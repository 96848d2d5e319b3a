"""Help with writing suites: ``list`` and ``schema`` say what is allowed, ``new`` writes a start."""

from __future__ import annotations

import textwrap
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli import listing
from harness.cli.app import START, app, group
from harness.cli.options import AsJson
from harness.cli.output import err, out, print_json
from harness.errors import HarnessError


class Kind(StrEnum):
    """What ``harness list`` can list."""

    learners = "learners"
    bodies = "bodies"
    fronts = "fronts"
    datasets = "datasets"
    attacks = "attacks"
    protocols = "protocols"
    suites = "suites"


@app.command("list", rich_help_panel=START)
def list_(
    what: Annotated[
        Kind, typer.Argument(metavar="WHAT", show_default=False, help=f"{', '.join(Kind)}.")
    ],
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            show_default=False,
            help="One of them; lists its keys with defaults and allowed values.",
        ),
    ] = None,
    grep: Annotated[
        str | None,
        typer.Option("--grep", metavar="TEXT", help="Only lines with this text, in any case."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List what a suite can name, or the keys of one entry.

    Learners are grouped by family. `suites` lists the suites that come with the harness.

    Example: harness list learners ech
    """
    if what is Kind.suites:
        rows = _suites(name)
        title = "suites"
    elif name is None:
        rows = _entries(what)
        title = what.value
    else:
        rows, title = _keys(what, name)
    if grep:
        rows = [row for row in rows if grep.lower() in " ".join(map(str, row.values())).lower()]
    if as_json:
        print_json(rows)
    elif name is not None and out.is_terminal:
        _print_keys(rows, title)
    else:
        grouped = name is None and what is Kind.learners
        listing.show(rows, title, group="family" if grouped else "")


def _suites(name: str | None) -> list[dict[str, Any]]:
    from harness.suite import shipped

    if name is not None:
        raise HarnessError(
            "a suite has no keys to list",
            where=name,
            hint=f"`harness plan {name}` lists its cells",
        )
    return [{"name": each, "description": _description(each)} for each in shipped.names()]


def _description(suite: str) -> str:
    from harness.suite import marked_yaml, shipped

    top = marked_yaml.read(shipped.locate(suite)).value
    return str(top.get("description", ""))


def _entries(what: Kind) -> list[dict[str, Any]]:
    from harness import registry

    entries = getattr(registry, what.value)
    rows = [
        {
            "name": name,
            "description": entries.describe(name),
            "keys": ", ".join(entries[name].Config.model_fields),
        }
        for name in entries
    ]
    if what is not Kind.learners:
        return rows
    order = list(registry.FAMILIES)
    rows = [{**row, "family": entries.family(row["name"])} for row in rows]
    return sorted(rows, key=lambda row: order.index(row["family"]))


def _keys(what: Kind, name: str) -> tuple[list[dict[str, Any]], str]:
    from harness import registry
    from harness.suite.schema import keys_of

    entries = getattr(registry, what.value)
    return keys_of(entries[name].Config), f"{name}: {entries.describe(name)}"


def _print_keys(rows: list[dict[str, Any]], title: str) -> None:
    """Print keys as they stand in a suite, each with what is allowed and what it is."""
    out.print(title, style="bold", soft_wrap=False)
    starts = [f"  {row['key']}: {row['default']}" for row in rows]
    width = min(max(map(len, starts), default=0), 30) + listing.GAP
    for row, start in zip(rows, starts, strict=True):
        for line in _wrapped(f"{start.ljust(width)}{row['allowed']}", width):
            out.print(line)
        for line in _wrapped(" " * 6 + row["description"], 6):
            out.print(line, style="dim")


def _wrapped(text: str, indent: int) -> list[str]:
    """Lines of a text that fit the terminal, all but the first indented."""
    return textwrap.wrap(
        text, max(out.width, 40), subsequent_indent=" " * indent, break_on_hyphens=False
    )


@app.command(rich_help_panel=START)
def schema() -> None:
    """Print the JSON Schema of a suite, for editors.

    Example: harness schema > suite.schema.json
    """
    from harness.suite.schema import suite_schema

    print_json(suite_schema())


new = group("Write a suite, a learner or a project to start from.")
app.add_typer(new, name="new", rich_help_panel=START)


@new.command("suite")
def new_suite(
    path: Annotated[
        Path, typer.Argument(metavar="NAME.yaml", help="The file to write.", show_default=False)
    ],
) -> None:
    """Write a commented suite that runs without changes.

    It measures a rule beside its controls, under attack and on few examples.

    Example: harness new suite mine.yaml
    """
    from harness.suite import scaffold

    _print_written(scaffold.suite(path))


@new.command("learner")
def new_learner(
    path: Annotated[
        Path, typer.Argument(metavar="NAME.py", help="The file to write.", show_default=False)
    ],
) -> None:
    """Write a learner, and a suite that measures it.

    The learner is a small Hebbian rule that runs; replace it by your own.

    Example: harness new learner my_rule.py
    """
    from harness.suite import scaffold

    _print_written(scaffold.learner(path))


@new.command("project")
def new_project(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The folder to write.", show_default=False)
    ],
) -> None:
    """Write a project: a rule, a suite with bars, a workflow for CI.

    It runs as it is, on embedded data.

    Example: harness new project my-rule
    """
    from harness.suite import scaffold

    for path in scaffold.project(folder):
        print(path)
    err.print(f"run it: cd {folder} && harness check suite.yaml")


def _print_written(files: list[Path]) -> None:
    for path in files:
        print(path)
    err.print(f"run it: harness run {files[-1]}")
