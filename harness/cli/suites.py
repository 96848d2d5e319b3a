"""Commands on suite files that compute nothing: ``validate``, ``diff``, exports."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.app import DATA, RUN, START, app
from harness.cli.options import AsJson, DataRoot, Sets, SuitePath
from harness.cli.output import out, print_json
from harness.errors import HarnessError


@dataclass(frozen=True)
class _Validation:
    """What ``validate`` says of one suite file.

    Attributes:
        path: the file.
        summary: what the suite contains; empty if it has faults.
        faults: everything that is wrong with it.
        absent: its datasets that are not on this machine, and the commands that get them.
    """

    path: Path
    summary: str
    faults: Sequence[HarnessError]
    absent: Mapping[str, str] = field(default_factory=dict)


@app.command(rich_help_panel=START)
def validate(
    suites: Annotated[
        list[Path], typer.Argument(metavar="SUITE", help="Suite files.", show_default=False)
    ],
    set_: Sets = None,
    data_root: DataRoot = None,
    no_plugins: Annotated[
        bool,
        typer.Option("--no-plugins", help="Import no module that a suite names: it is a fault."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check suite files.

    Each fault is named with file:line:column and what is allowed. Exit status 2 if there is one.
    A dataset that is not on this machine is no fault: the command that gets it is printed.

    A kind such as `package.module:Class` is imported, which runs its code: check a suite of a
    stranger with --no-plugins, which replaces no ${NAME} by a variable of the environment either.

    Example: harness validate suites/*.yaml
    """
    validations = [
        _validate(path, set_ or [], data_root, plugins=not no_plugins) for path in suites
    ]
    if as_json:
        print_json([_to_dict(each) for each in validations])
    else:
        for each in validations:
            _print_validation(each)
    if any(each.faults for each in validations):
        raise typer.Exit(2)


def _validate(
    path: Path, sets: Sequence[str], data_root: Path | None, *, plugins: bool
) -> _Validation:
    from harness.data import inventory
    from harness.suite import load

    try:
        # Without plugins it may be the suite of a stranger, which reads no variables either.
        suite = load.load(
            path, sets=sets, data_root=data_root, plugins=plugins, environment=plugins
        )
    except HarnessError as error:
        faults = getattr(error, "faults", ()) or (error,)
        return _Validation(path, "", faults)
    learners = _count(suite.learners, "learner")
    protocols = _count(suite.protocols, "protocol")
    trained_on = [entry.dataset for entry in suite.protocols]
    measured_on = [entry.protocol.measured_on(entry.dataset) for entry in suite.protocols]
    absent = inventory.absent([*trained_on, *measured_on])
    return _Validation(path, f"{learners}, {protocols}", (), absent)


def _count(things: Sized, word: str) -> str:
    plural = "" if len(things) == 1 else "s"
    return f"{len(things)} {word}{plural}"


def _print_validation(validation: _Validation) -> None:
    for fault in validation.faults:
        print(fault, file=sys.stderr)
    if not validation.faults:
        print(f"{validation.path}: good: {validation.summary}")
    if validation.absent:
        datasets = ", ".join(f"{name} ({how})" for name, how in validation.absent.items())
        print(f"  not on this machine: {datasets}")


def _to_dict(validation: _Validation) -> dict[str, object]:
    faults = [
        {"where": fault.where, "message": fault.message, "hint": fault.hint}
        for fault in validation.faults
    ]
    return {
        "suite": str(validation.path),
        "good": not faults,
        "says": validation.summary,
        "absent": dict(validation.absent),
        "faults": faults,
    }


@app.command(rich_help_panel=RUN)
def diff(
    a: Annotated[Path, typer.Argument(metavar="A.yaml", help="A suite file.", show_default=False)],
    b: Annotated[Path, typer.Argument(metavar="B.yaml", help="Another.", show_default=False)],
    data_root: DataRoot = None,
    as_json: AsJson = False,
) -> None:
    """Show how two suites differ once everything is written out.

    Compares them with the suites that they extend, with defaults, and with every key of every
    entry. Exit status 1 if they differ.

    Example: harness diff suites/quickstart.yaml suites/ci.yaml
    """
    from harness import api
    from harness.report.changes import changes

    before = api.resolved(a, data_root=data_root)
    after = api.resolved(b, data_root=data_root)
    differences = changes(before, after)
    if as_json:
        print_json(differences)
    else:
        out.print("\n".join(differences) or "no difference")
    if differences:
        raise typer.Exit(1)


@app.command(rich_help_panel=DATA)
def episodes(
    suite: SuitePath,
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for the lists.")],
    testbed: Annotated[
        Path | None,
        typer.Option("--testbed", help="Import this CSV of easyfsl instead of drawing episodes."),
    ] = None,
    set_: Sets = None,
    data_root: DataRoot = None,
) -> None:
    """Write a suite's few-shot episodes as JSON lists.

    Use them to measure the same episodes in other code, or as `episodes_from` of a suite.

    Example: harness episodes suites/quickstart.yaml --out episodes
    """
    from harness import api

    written = api.episodes(suite, out_dir, testbed=testbed, sets=set_ or [], data_root=data_root)
    for path in written:
        print(path)


@app.command(rich_help_panel=DATA)
def streams(
    suite: SuitePath,
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for the files.")],
    set_: Sets = None,
    data_root: DataRoot = None,
) -> None:
    """Write a suite's streams of tasks as JSON files.

    Use them to learn the same tasks in other code, or as `streams_from` of a suite.

    Example: harness streams suites/continual/split-mnist5k.yaml --out streams
    """
    from harness import api

    written = api.streams(suite, out_dir, sets=set_ or [], data_root=data_root)
    for path in written:
        print(path)
