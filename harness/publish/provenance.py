"""What made a folder of results, written beside them, and whether they are still what their suite asks for.

``provenance.json`` holds the command, the commit, the releases and the processor, the content hash of each dataset, the suite
with everything written out, fingerprints of the code that computed each learner and protocol, a digest of the cells' keys, and
the sha256 of every file. Nothing of it stands in a table, so that tables repeat to the byte. Whether they are stale can be
told from it without a store, and without the data.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from harness import environment
from harness.cells.plan import Cell, Plan, code_version
from harness.data.base import Dataset
from harness.environment import versions
from harness.errors import HarnessError
from harness.files import write_atomically
from harness.report.changes import changes
from harness.storage.store import CellResult

FILE = "provenance.json"
SCHEMA = 1
PRESENTATION = ("tables", "published", "figures", "claims")
"""Keys of a suite that say how numbers are shown, and change none."""
WRITERS = ("harness.report.tables", "harness.report.figures", "harness.report.claims_text")
"""Modules from which all code is reached that makes tables and figures of results."""
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
LISTED = 3
"""Changes that are told one by one."""

Glance = Callable[[str], CellResult | None]


def of_plan(plan: Plan, resolved: dict[str, Any], glance: Glance) -> dict[str, Any]:
    """What results of a plan are made from.

    Args:
        resolved: the suite with everything written out (``suite.expand``).
        glance: cell key -> what its cell says of itself, None where it is not there.
    """
    cells = [*plan.unique, *plan.waiting]
    found = {cell.key: None if cell.behind else glance(cell.key) for cell in cells}
    there = [result for result in found.values() if result is not None]
    matches = {
        key: found[key].log["match"]["value"]
        for key in (c.key for c in cells if c.role == "match")
        if found[key]
    }
    return {
        "schema": SCHEMA,
        "suite": resolved,
        "data": _data(cells),
        "code": _code(cells),
        "versions": versions(),
        "device": cells[0].identity["device"] if cells else "cpu",
        "writers": writers(),
        "commits": _counted(result.git_commit or "unknown" for result in there),
        "chosen": matches,
        "seconds": round(sum(result.wall_s for result in there), 1),
        "cells": _groups(cells, found),
    }


def chosen(then: dict[str, Any] | None, glance: Glance) -> Glance:
    """Cell key -> what it came to: where the store does not know it, what a match chose as it was written down ``then``."""
    known = (then or {}).get("chosen", {})

    def find(key: str) -> CellResult | None:
        return glance(key) or (
            CellResult({}, log={"match": {"value": known[key]}}) if key in known else None
        )

    return find


def writers() -> dict[str, str]:
    """The code and the library that tables and figures depend on beside their numbers."""
    import matplotlib

    return {
        "code": hashlib.sha256("".join(map(code_version, WRITERS)).encode()).hexdigest()[:16],
        "matplotlib": matplotlib.__version__,
    }


def name_of(dataset: dict[str, Any]) -> str:
    """A dataset as cells name it: its kind and every switch of it."""
    switches = " ".join(
        f"{key}={json.dumps(value)}" for key, value in sorted(dataset["config"].items())
    )
    return " ".join(filter(None, [dataset["kind"], switches]))


def _data(cells: Iterable[Cell]) -> dict[str, str]:
    return dict(
        sorted(
            (name_of(cell.identity["dataset"]), cell.identity["dataset"]["content"])
            for cell in cells
        )
    )


def _code(cells: Iterable[Cell]) -> dict[str, Any]:
    """Fingerprints: of what every cell runs through, of each learner, of each protocol."""
    out: dict[str, Any] = {"core": [], "learners": {}, "protocols": {}}
    for cell in cells:
        out["core"] = cell.identity["core"]
        out["learners"][cell.learner] = cell.identity["learner"]["code"]
        if cell.role == "measure":
            kept = out["protocols"].setdefault(cell.protocol, [])
            kept += [code for code in cell.identity["protocol"]["code"] if code not in kept]
    return out


def _counted(words: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for word in sorted(words):
        counts[word] = counts.get(word, 0) + 1
    return counts


def _groups(
    cells: Sequence[Cell], found: dict[str, CellResult | None]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Protocol (``train`` and ``match`` for what comes before) -> learner -> how many cells, how many missing, keys' digest."""
    keys: dict[tuple[str, str], list[str]] = {}
    for cell in cells:
        keys.setdefault((cell.protocol or cell.role, cell.learner), []).append(cell.key)
    out: dict[str, dict[str, dict[str, Any]]] = {}
    for (protocol, learner), own in keys.items():
        there = [result for key in own if (result := found[key]) is not None]
        out.setdefault(protocol, {})[learner] = {
            "cells": len(own),
            "missing": len(own) - len(there),
            "keys": hashlib.sha256("".join(sorted(own)).encode()).hexdigest()[:16],
            "seconds": round(sum(result.wall_s for result in there), 1),
        }
    return out


# ------------------------------------------------------------------------------------------- files


def write(folder: Path, about: dict[str, Any], files: Sequence[Path]) -> Path:
    """Write ``provenance.json``, and remove what an earlier one lists and nobody makes any more.

    Args:
        about: what made the results (``environment.made_by``) and what they are made from (``of_plan``).
        files: all that was written.
    """
    hashes = {path.name: _digest(path) for path in sorted(files)}
    for name in (read(folder) or {}).get("files", {}):
        if name not in hashes and Path(name).name == name:
            (folder / name).unlink(missing_ok=True)
    made_by = [key for key in about if key not in MADE_FROM or key == "data"]
    ordered = {key: about[key] for key in (*made_by, *MADE_FROM)} | {"files": hashes}
    lines = [f" {json.dumps(key)}: {_text(value)}" for key, value in ordered.items()]
    write_atomically(folder / FILE, ("{\n" + ",\n".join(lines) + "\n}\n").encode())
    return folder / FILE


def is_current(folder: Path, command: str, about: dict[str, Any]) -> bool:
    """Whether all that belongs into a folder is there as it is: the same cells, none missing (why it is stands in the tables),
    the same code that shows them, and no file gone or altered.

    Args:
        command, about: as for ``write``.
    """
    then, now = read(folder), json.loads(json.dumps(about))
    if then is None or then["command"] != command or list(_missing(now["cells"])):
        return False
    return (
        all(then[key] == now[key] for key in MADE_FROM)
        and not _gone(then, folder)
        and not _altered(then, folder)
    )


def _text(value: Any, depth: int = 1) -> str:
    """JSON with a line an entry, down to the third level: what changes shows as a line that changes."""
    if not isinstance(value, dict) or not value or depth > 3:
        return json.dumps(value, ensure_ascii=False)
    inner = [
        f"{' ' * (depth + 1)}{json.dumps(key, ensure_ascii=False)}: {_text(each, depth + 1)}"
        for key, each in value.items()
    ]
    return "{\n" + ",\n".join(inner) + "\n" + " " * depth + "}"


def read(folder: Path) -> dict[str, Any] | None:
    """What ``write`` wrote; None where there is nothing.

    Raises:
        HarnessError: damaged, or of another schema.
    """
    path, hint = (
        Path(folder) / FILE,
        "remove it: the results beside it then count as of unknown origin",
    )
    try:
        data = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise HarnessError(f"cannot read it: {error}", where=str(path), hint=hint) from None
    try:
        return TypeAdapter(_Shape).validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        what = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise HarnessError(
            f"not a provenance file of schema {SCHEMA}: {what}", where=str(path), hint=hint
        ) from None


class _Group(TypedDict):
    cells: int
    missing: int
    keys: str
    seconds: float


class _Code(TypedDict):
    core: list[str]
    learners: dict[str, str]
    protocols: dict[str, list[str]]


class _Shape(TypedDict):
    """What is read of it here; the rest is for people."""

    __pydantic_config__ = ConfigDict(extra="allow")

    schema: Literal[1]
    suite: dict[str, Any]
    data: dict[str, str]
    code: _Code
    versions: dict[str, str]
    device: str
    writers: dict[str, str]
    commits: dict[str, int]
    chosen: dict[str, float]
    seconds: float
    cells: dict[str, dict[str, _Group]]
    files: dict[str, str]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# --------------------------------------------------------------------------------------- staleness


def content_hash(then: dict[str, Any] | None) -> Callable[[Dataset], str]:
    """Dataset -> hash of its content, as it was ``then`` where the data is not here, ``""`` where that is unknown too."""
    from harness.data.acquire import content_hash as here

    def find(dataset: Dataset) -> str:
        try:
            return here(dataset)
        except HarnessError:
            named = name_of(
                {"kind": dataset.kind, "config": dataset.config.model_dump(mode="json")}
            )
            return (then or {}).get("data", {}).get(named, "")

    return find


def stale(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Why the numbers are not what would be measured now; nothing where they are."""
    before, after = (
        {key: value for key, value in each["suite"].items() if key not in PRESENTATION}
        for each in (then, now)
    )
    why = [
        *_short("suite: ", changes(before, after)),
        *_data_changes(then["data"], now["data"]),
        *_code_changes(then["code"], now["code"]),
        *_short("", environment.differences(now["versions"], then["versions"])),
    ]
    if then["device"] != now["device"]:
        why.append(f"computed on {then['device']}, asked for on {now['device']}")
    why += _short("", list(_missing(then["cells"])))
    if not why and _keys(then["cells"]) != _keys(now["cells"]):
        why.append("cells: their keys differ")
    return why


def stale_tables(then: dict[str, Any], now: dict[str, Any], folder: Path) -> list[str]:
    """Why tables and figures are to be written anew from the same numbers; nothing where they are not."""
    why = [
        f"suite: {key}" for key in PRESENTATION if then["suite"].get(key) != now["suite"].get(key)
    ]
    why += [
        f"the code that writes tables and figures ({key})"
        for key in now["writers"]
        if then["writers"].get(key) != now["writers"][key]
    ]
    return (
        why
        + _short("gone: ", _gone(then, folder))
        + _short("altered by hand: ", _altered(then, folder))
    )


def _gone(then: dict[str, Any], folder: Path) -> list[str]:
    return [name for name in then["files"] if not (folder / name).is_file()]


def _altered(then: dict[str, Any], folder: Path) -> list[str]:
    there = {name: digest for name, digest in then["files"].items() if (folder / name).is_file()}
    return [name for name, digest in there.items() if _digest(folder / name) != digest]


def _short(prefix: str, words: list[str]) -> list[str]:
    more = [f"and {len(words) - LISTED} more"] if len(words) > LISTED else []
    return [f"{prefix}{'; '.join([*words[:LISTED], *more])}"] if words else []


def _data_changes(then: dict[str, str], now: dict[str, str]) -> list[str]:
    changed = [
        name.partition(" ")[0]
        for name, content in now.items()
        if name in then and then[name] != content
    ]
    return [f"data: the content of {', '.join(changed)}"] if changed else []


def _code_changes(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    what = ["what every cell runs through"] if then["core"] != now["core"] else []
    for group in ("learners", "protocols"):
        before = then[group]
        changed = [
            name for name, code in now[group].items() if name in before and before[name] != code
        ]
        if changed:
            everything = len(changed) > LISTED and len(changed) == len(now[group])
            what.append(f"all {group}" if everything else f"{group} {', '.join(changed)}")
    return [f"code: {'; '.join(what)}"] if what else []


def _missing(cells: dict[str, dict[str, dict[str, Any]]]) -> Iterator[str]:
    for protocol, learners in cells.items():
        for learner, group in learners.items():
            if group["missing"]:
                yield f"{group['missing']} of {group['cells']} cells of {learner} in {protocol} were missing"


def _keys(cells: dict[str, dict[str, dict[str, Any]]]) -> dict[tuple[str, str], str]:
    return {
        (protocol, learner): group["keys"]
        for protocol, learners in cells.items()
        for learner, group in learners.items()
    }
