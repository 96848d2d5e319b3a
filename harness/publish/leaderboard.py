"""What a board shows: the results of a suite from its store, and submissions merged with them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.cells import collect
from harness.cells.results import Results
from harness.errors import HarnessError
from harness.execute import session
from harness.execute.session import DEFAULTS, Run, RunOptions
from harness.publish import provenance, submission
from harness.publish.manifest import Manifest
from harness.publish.merging import merge
from harness.publish.sources import Source, find
from harness.publish.submission import MEASURED
from harness.report.board.model import Division, Refusal
from harness.suite.model import Suite

RESULTS = "results"
"""Folder of all committed folders of results."""

PAPER, QUICKSTART = "paper", "quickstart"
"""Folder of the suites that published claims are tested with, and the suite to start with."""


_PAPER = re.compile(r"harness paper [A-Za-z0-9_][\w./-]*\.ya?ml")
"""A command that a board passes on. A folder of results from elsewhere may name any other."""

_FOLDER = re.compile(r"\bsuites/((?:[\w.-]+/)+[\w.-]+)\.ya?ml\b")
"""A suite in a folder below ``suites/``."""


@dataclass(frozen=True)
class Board:
    """The content of a board.

    Attributes:
        divisions: one for each suite, in the order of their first sources.
        refused: rows that are not shown.
    """

    divisions: list[Division]
    refused: list[Refusal] = field(default_factory=list)


def gather(sources: Sequence[str | Path | Run], options: RunOptions = DEFAULTS) -> Board:
    """Read sources and merge those that measured the same suite.

    A submission that is not accepted is one line among the refused; the others stay.

    Args:
        sources: suites, submissions and folders of results, see ``harness.publish.sources``; and
            finished runs.
        options: the store is where the cells of suites are.

    Raises:
        HarnessError: a suite cannot be read or has no results, or no submission is accepted.
    """
    divisions: dict[str, Division] = {}
    refused: list[Refusal] = []
    names = [each.plan.suite.name if isinstance(each, Run) else each for each in sources]
    for source, path, origin in zip(sources, names, origins(names), strict=True):
        try:
            division = _read(source, origin, options)
        except HarnessError as error:
            if len(sources) == 1 or find(path).kind != "submission":
                raise
            refused.append(Refusal(origin, "", "", error.message))
            continue
        if not division.results.records:
            raise HarnessError(
                "it has no results yet",
                where=str(path),
                hint=f"`harness run {path}` computes them",
            )
        name = division.results.suite
        if name in divisions:
            divisions[name], more = merge(divisions[name], division)
            refused += more
        else:
            divisions[name] = division
    if not divisions:
        raise HarnessError(
            f"none of {len(sources)} submissions is accepted: {refused[0]}",
            hint="name each alone to see why",
        )
    return Board(list(divisions.values()), refused)


def committed(root: Path = Path(RESULTS)) -> list[str]:
    """Return every folder of results with its measurements.

    Those of ``paper/`` come first, then others with claims, the quickstart, and the rest by path.

    Raises:
        HarnessError: there is none.
    """
    folders = [path.parent for path in root.rglob(MEASURED)]
    if not folders:
        raise HarnessError(
            f"no folder of results with a {MEASURED}",
            where=f"{root}/",
            hint="name a suite or a submission: `harness board SUITE.yaml`",
        )

    def place(folder: Path) -> tuple[bool, bool, bool, Path]:
        is_paper = folder.parent.name == PAPER
        has_claims = (folder / "claims.json").is_file()
        return (not is_paper, not has_claims, folder.name != QUICKSTART, folder)

    return [folder.as_posix() for folder in sorted(folders, key=place)]


def origins(sources: Sequence[str | Path]) -> list[str]:
    """Return a short name for each source: its file name, and the folders needed to tell it apart.

    >>> origins(["a/mine.zip", "b/mine.zip"])
    ['a/mine', 'b/mine']
    """
    stems = [Path(source).with_suffix("") for source in sources]
    deepest = max((len(stem.parts) for stem in stems), default=0)
    for depth in range(1, deepest):
        names = ["/".join(stem.parts[-depth:]) for stem in stems]
        if len(set(names)) == len(set(stems)):
            return names
    return [str(stem) for stem in stems]


def _read(path: str | Path | Run, origin: str, options: RunOptions) -> Division:
    if isinstance(path, Run):
        return _division(origin, path.results, path.plan.suite, "harness.run, from Python")
    source = find(path)
    if source.kind == "submission":
        packed = submission.read(source.file)
        return _division(origin, packed.results, packed.manifest, _command(path, source))
    if source.kind == "store":
        raise HarnessError(
            "a store does not know the names of its cells",
            where=str(path),
            hint=f"name the suite and its store: `harness board SUITE.yaml --store {path}`",
        )
    if source.kind == "reference":
        raise HarnessError(
            "a reference has no tables to show on a board",
            where=str(path),
            hint="name its suite, or a submission",
        )
    plan = session.plan(path, options)
    results = collect.collect(plan, options.open_store())
    command = f"harness run {shlex.quote(str(path))}"
    return _division(origin, results, plan.suite, command)


def _command(path: str | Path, source: Source) -> str:
    """How to measure a submission again: the command that made its folder, or a sample of it."""
    file = source.file
    if isinstance(file, Path) and file.name == MEASURED:
        made = _made_by(file.parent)
        if _PAPER.fullmatch(made):
            return made
    return f"harness verify {shlex.quote(str(path))}"


def _made_by(folder: Path) -> str:
    """The command that made a folder of results; empty if that is not recorded."""
    try:
        about = provenance.read(folder)
    except HarnessError:  # numbers come from the measurements beside it, which are whole
        return ""
    return str(about["command"]) if about else ""


def _division(origin: str, results: Results, suite: Manifest | Suite, command: str) -> Division:
    folder = _FOLDER.search(command)
    return Division(
        results,
        list(suite.tables),
        list(suite.published),
        suite.description,
        dict.fromkeys(results.learners, origin),
        dict.fromkeys(results.learners, command),
        path=folder[1] if folder else "",
    )
