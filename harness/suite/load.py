"""Reading a suite: everything needed to reproduce its tables, checked before anything runs."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.errors import SuiteError
from harness.registry import without_plugins
from harness.suite import shipped
from harness.suite.check import check
from harness.suite.explain import Problem
from harness.suite.marked_yaml import Mark, Source
from harness.suite.model import Suite
from harness.suite.tree import resolved

SuiteLike = str | Path | Mapping[str, Any]
"""A suite file, the name of a shipped suite, or a suite as a mapping."""

SHOWN = 3
"""Number of further faults whose places the message names."""


def load(
    suite: SuiteLike,
    *,
    sets: Sequence[str] = (),
    data_root: Path | None = None,
    plugins: bool = True,
    environment: bool = True,
) -> Suite:
    """Read and check a suite.

    Every entry is validated against the config model that its ``kind`` registered, and combinations
    are checked against the facts of the datasets. No data is read.

    Args:
        suite: the YAML file, the name of a suite that comes with the harness, or a mapping.
        sets: overrides, ``key.key=value``.
        data_root: folder of the datasets that are not embedded.
        plugins: whether to import the modules that the suite names; if not, each is a fault.
        environment: whether ``${NAME}`` is replaced by a variable; if not, it is text.

    Raises:
        SuiteError: the first fault, with file:line:column, what is allowed, and the
            number of further faults.
    """
    origin = suite if isinstance(suite, Mapping) else _file(suite)
    if plugins:
        _make_importable(Path.cwd() if isinstance(origin, Mapping) else origin.resolve().parent)
    with contextlib.nullcontext() if plugins else without_plugins():
        overrides = [sets] if isinstance(sets, str) else sets
        tree = resolved(origin, overrides, environment=environment)
        checked, problems = check(tree, data_root)
    if problems:
        raise _error(problems, tree)
    assert checked is not None
    return checked if isinstance(origin, Mapping) else replace(checked, file=origin)


def _file(name: str | Path) -> Path:
    path = shipped.locate(name)
    if path.suffix.lower() == ".zip":
        raise SuiteError(
            "a submission, not a suite",
            where=str(path),
            hint="`harness records`, `trust`, `compare`, `board` and `verify` read submissions",
        )
    return path


def _make_importable(folder: Path) -> None:
    """Let a suite name ``my_module:MyLearner`` of a file beside it, behind everything installed.

    The folder of our own packages comes first. Otherwise a folder beside the suite with the name of
    one of them would be imported instead, here and in workers.
    """
    packages = Path(__file__).resolve().parents[2]
    for place in (str(packages), str(folder)):
        if place not in sys.path:
            sys.path.append(place)


def _error(problems: list[Problem], tree: Source) -> SuiteError:
    """The first problem in order of place; all of them are its ``faults``."""
    placed = [(tree.where(problem.path, key=problem.at_key), problem) for problem in problems]
    placed.sort(key=lambda pair: (pair[0], not pair[1].at_key))
    mark, first = placed[0]
    hints = [first.hint] if first.hint else []
    others = sorted({str(place) for place, _ in placed[1:]})
    if others:
        dots = " ..." if len(others) > SHOWN else ""
        hints.append(f"and {len(others)} more: {', '.join(others[:SHOWN])}{dots}")
    error = SuiteError(first.message, where=str(mark), hint="; ".join(hints) or None)
    error.faults = tuple(_fault(place, problem) for place, problem in placed)
    return error


def _fault(place: Mark, problem: Problem) -> SuiteError:
    return SuiteError(problem.message, where=str(place), hint=problem.hint or None)
