"""``provenance.json``: what made a folder of results.

It holds the command, the commit, library releases, the processor, the content hash of each dataset,
the suite with every default, the versions of the code of each learner and protocol, a digest of the
cell keys, and the sha256 of every file. None of it is printed in a table, so that tables repeat to
the byte. ``harness.publish.staleness`` compares it with what the suite asks for now.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from harness.cells.cell import Cell
from harness.cells.code import version
from harness.cells.entries import code_definitions
from harness.cells.plan import Plan
from harness.environment import versions
from harness.errors import HarnessError
from harness.files import write_text
from harness.storage.store import CellResult

FILE = "provenance.json"
SCHEMA = 2
WRITERS = (
    "harness.publish.folder:write_records",
    "harness.report.claims_text:write",
    "harness.report.figures:write_figures",
    "harness.report.saved_sheets:write_sheets",
    "harness.report.tables:write_tables",
)
"""Definitions that reach all code which makes tables and figures from results."""
MADE_FROM = (
    "schema",
    "suite",
    "data",
    "code",
    "versions",
    "device",
    "writers",
    "commits",
    "chosen",
    "seconds",
    "cells",
)
"""Keys that say what results are made from, in the order in which they are written."""
DEEPEST_LEVEL = 3
"""Level of nesting down to which every entry has its own line."""

Groups = dict[str, dict[str, dict[str, Any]]]
"""Protocol, or ``train`` and ``match`` -> learner -> counts, seconds and digest of its cells."""
ReadCell = Callable[[str], CellResult | None]
"""Key of a cell -> its result, None if it is not finished."""


def of_plan(plan: Plan, resolved: dict[str, Any], read_cell: ReadCell) -> dict[str, Any]:
    """Return what the results of a plan are made from.

    Args:
        plan: the suite as cells.
        resolved: the suite with every default written out (``suite.expand``).
        read_cell: reads finished cells.
    """
    cells = [*plan.unique, *plan.waiting]
    results: dict[str, CellResult] = {}
    for cell in cells:
        # The key of a cell behind a match that has not been made is not final.
        result = None if cell.behind else read_cell(cell.key)
        if result is not None:
            results[cell.key] = result
    return {
        "schema": SCHEMA,
        "suite": resolved,
        "data": _data(cells),
        "code": _code(cells),
        "versions": versions(),
        "device": cells[0].identity["device"] if cells else "cpu",
        "writers": writers(),
        "commits": _commits(results.values()),
        "chosen": _chosen(cells, results),
        "seconds": _seconds(results.values()),
        "cells": _groups(cells, results),
    }


def writers() -> dict[str, str]:
    """Return the versions of the code and of the library that write tables and figures."""
    import matplotlib

    return {"code": version(WRITERS), "matplotlib": matplotlib.__version__}


def name_of(dataset: dict[str, Any]) -> str:
    """Return a dataset's name in this file: its kind and all of its keys.

    >>> name_of({"kind": "digits", "config": {"size": 8}})
    'digits size=8'
    """
    keys = sorted(dataset["config"].items())
    return " ".join([dataset["kind"], *(f"{key}={json.dumps(value)}" for key, value in keys)])


def _data(cells: Iterable[Cell]) -> dict[str, str]:
    contents: dict[str, set[str]] = defaultdict(set)
    for cell in cells:
        dataset = cell.identity["dataset"]
        contents[name_of(dataset)].add(dataset["content"])
    lines: dict[str, str] = {}
    for name, hashes in contents.items():
        # Two folders of images may have equal keys, of which their paths are none.
        is_unique = len(hashes) == 1
        lines |= {name if is_unique else f"{name} #{each[:8]}": each for each in hashes}
    return dict(sorted(lines.items()))


def _code(cells: Iterable[Cell]) -> dict[str, str]:
    """Return every definition that some result depends on, with its hash."""
    definitions: dict[str, str] = {}
    for cell in cells:
        definitions |= code_definitions(cell.identity)
    return dict(sorted(definitions.items()))


def _commits(results: Iterable[CellResult]) -> dict[str, int]:
    """Return how many cells each commit computed."""
    counts = Counter(result.git_commit or "unknown" for result in results)
    return dict(sorted(counts.items()))


def _chosen(cells: Iterable[Cell], results: dict[str, CellResult]) -> dict[str, Any]:
    """Return the value that each match chose, by the key of its cell."""
    return {
        cell.key: results[cell.key].log["match"]["value"]
        for cell in cells
        if cell.role == "match" and cell.key in results
    }


def _seconds(results: Iterable[CellResult]) -> float:
    return round(sum(result.wall_s for result in results), 1)


def _groups(cells: Sequence[Cell], results: dict[str, CellResult]) -> Groups:
    keys: dict[tuple[str, str], list[str]] = {}
    for cell in cells:
        keys.setdefault((cell.protocol or cell.role, cell.learner), []).append(cell.key)
    groups: Groups = {}
    for (protocol, learner), own in keys.items():
        finished = [results[key] for key in own if key in results]
        groups.setdefault(protocol, {})[learner] = {
            "cells": len(own),
            "missing": len(own) - len(finished),
            "keys": hashlib.sha256("".join(sorted(own)).encode()).hexdigest()[:16],
            "seconds": _seconds(finished),
        }
    return groups


# ------------------------------------------------------------------------------------------- files


def write(folder: Path, about: dict[str, Any], files: Sequence[Path]) -> Path:
    """Write ``provenance.json``, and remove files of the previous one that are no longer made.

    Args:
        folder: the folder of results.
        about: ``environment.made_by`` and ``of_plan`` of the results.
        files: all files that belong to the folder.

    Returns:
        The file written.
    """
    hashes = {path.name: file_hash(path) for path in sorted(files)}
    previous = read(folder) or {}
    for name in previous.get("files", {}):
        is_inside = Path(name).name == name
        if name not in hashes and is_inside:
            (folder / name).unlink(missing_ok=True)
    made_by = [key for key in about if key not in MADE_FROM or key == "data"]
    ordered = {key: about[key] for key in (*made_by, *MADE_FROM)}
    ordered["files"] = hashes
    lines = [f" {json.dumps(key)}: {_text(value)}" for key, value in ordered.items()]
    write_text(folder / FILE, "{\n" + ",\n".join(lines) + "\n}\n")
    return folder / FILE


def _text(value: Any, level: int = 1) -> str:
    """Return JSON with a line for each entry, so that a change is a changed line."""
    if not isinstance(value, dict) or not value or level > DEEPEST_LEVEL:
        return json.dumps(value, ensure_ascii=False)
    indent = " " * (level + 1)
    lines = [
        f"{indent}{json.dumps(key, ensure_ascii=False)}: {_text(entry, level + 1)}"
        for key, entry in value.items()
    ]
    return "{\n" + ",\n".join(lines) + "\n" + " " * level + "}"


def read(folder: Path) -> dict[str, Any] | None:
    """Read the ``provenance.json`` of a folder; None if there is none.

    Raises:
        HarnessError: it is damaged, or of another schema.
    """
    path = Path(folder) / FILE
    hint = "remove it: the results in its folder then count as of unknown origin"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise HarnessError(f"cannot read it: {error}", where=str(path), hint=hint) from None
    try:
        return dict(TypeAdapter(_Shape).validate_python(data))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise HarnessError(
            f"not a provenance file of schema {SCHEMA}: {place}: {first['msg']}",
            where=str(path),
            hint=hint,
        ) from None


def file_hash(path: Path) -> str:
    """Return the sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


class _Group(TypedDict):
    cells: int
    missing: int
    keys: str
    seconds: float


@with_config(ConfigDict(extra="allow"))
class _Shape(TypedDict):
    """The keys that are read again; all others are for people."""

    schema: Literal[2]
    suite: dict[str, Any]
    data: dict[str, str]
    code: dict[str, str]
    versions: dict[str, str]
    device: str
    writers: dict[str, str]
    commits: dict[str, int]
    chosen: dict[str, float]
    seconds: float
    cells: dict[str, dict[str, _Group]]
    files: dict[str, str]
