"""Whether a folder of results is what its suite asks for now. Needs neither store nor data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import environment
from harness.cells.code import changed
from harness.data import acquire
from harness.data.base import Dataset
from harness.errors import HarnessError
from harness.publish.provenance import (
    MADE_FROM,
    Groups,
    ReadCell,
    file_hash,
    name_of,
    read,
)
from harness.report.changes import changes
from harness.storage.store import CellResult

PRESENTATION = ("tables", "published", "figures", "claims", "expect")
"""Keys of a suite that say how numbers are shown, and change none of them."""
NAMED = ("learners", "protocols")
"""Keys of a suite that hold entries by name."""
MOST_LISTED = 3
"""Changes that are listed one by one."""

Provenance = dict[str, Any]
"""The content of a ``provenance.json``, or of ``provenance.of_plan``."""


# -------------------------------------------------------------- planning without store or data


def content_hash(then: Provenance | None) -> Callable[[Dataset], str]:
    """Return a function that finds the content hash of a dataset.

    Where the dataset is not on this machine, the hash recorded ``then`` is used, or ``""``.
    """
    recorded: dict[str, str] = then["data"] if then else {}

    def find(dataset: Dataset) -> str:
        try:
            return acquire.content_hash(dataset)
        except HarnessError:
            config = dataset.config.model_dump(mode="json")
            return recorded.get(name_of({"kind": dataset.kind, "config": config}), "")

    return find


def recorded_choices(then: Provenance | None, read_cell: ReadCell) -> ReadCell:
    """Return ``read_cell``, extended by the matches that were recorded ``then``."""
    recorded: dict[str, Any] = then["chosen"] if then else {}

    def find(key: str) -> CellResult | None:
        result = read_cell(key)
        if result is None and key in recorded:
            return CellResult({}, log={"match": {"value": recorded[key]}})
        return result

    return find


# ------------------------------------------------------------------------------------- comparing


def is_current(folder: Path, command: str, about: Provenance) -> bool:
    """Return whether a folder already holds everything that would be written now.

    That is: the same cells, none of them missing (tables print why one is), the same code that
    shows them, and no file removed or altered.

    Args:
        folder: the folder of results.
        command: the command line that writes it.
        about: ``provenance.of_plan`` of the results.
    """
    then = read(folder)
    now = json.loads(json.dumps(about))  # as it would be read back
    if then is None or then["command"] != command or _missing_cells(now["cells"]):
        return False
    if any(then[key] != now[key] for key in MADE_FROM):
        return False
    return not _removed_files(then, folder) and not _altered_files(then, folder)


def of_numbers(then: Provenance, now: Provenance) -> list[str]:
    """Return why the numbers differ from what would be measured now; empty if they do not.

    Args:
        then: recorded with the results.
        now: what the suite asks for, ``provenance.of_plan``.
    """
    reasons = _listed("suite: ", changes(_measured_part(then), _measured_part(now)))
    reasons += _changed_data(then["data"], now["data"])
    reasons += _changed_code(then["code"], now["code"])
    reasons += _listed("", environment.differences(now["versions"], then["versions"]))
    if then["device"] != now["device"]:
        reasons.append(f"computed on {then['device']}, asked for on {now['device']}")
    reasons += _listed("", _missing_cells(then["cells"]))
    if not reasons and _key_digests(then["cells"]) != _key_digests(now["cells"]):
        reasons.append("cells: their keys differ")
    return reasons


def is_of_suite(then: Provenance, now: Provenance) -> bool:
    """Return whether a suite asks for what was measured, by whatever code and on whatever data.

    Keys that learners and protocols did not have then are taken to have their defaults.
    """
    before = _measured_part(then)
    after = _measured_part(now)
    same_names = all(before[group].keys() == after[group].keys() for group in NAMED)
    return same_names and _agree(before, after) and not _missing_cells(then["cells"])


def _agree(before: Any, after: Any) -> bool:
    """Whether two nested values agree in everything that the first one has."""
    if isinstance(before, dict) and isinstance(after, dict):
        return all(key in after and _agree(before[key], after[key]) for key in before)
    if isinstance(before, list) and isinstance(after, list):
        return len(before) == len(after) and all(map(_agree, before, after))
    return bool(before == after)


def of_tables(then: Provenance, now: Provenance, folder: Path) -> list[str]:
    """Return why tables and figures have to be rewritten from the same numbers; empty if not."""
    reasons = [
        f"suite: {key}" for key in PRESENTATION if then["suite"].get(key) != now["suite"].get(key)
    ]
    for key, version in now["writers"].items():
        if then["writers"].get(key) != version:
            reasons.append(f"the code that writes tables and figures ({key})")
    reasons += _listed("removed: ", _removed_files(then, folder))
    reasons += _listed("altered by hand: ", _altered_files(then, folder))
    return reasons


def _measured_part(about: Provenance) -> dict[str, Any]:
    return {key: value for key, value in about["suite"].items() if key not in PRESENTATION}


def _removed_files(then: Provenance, folder: Path) -> list[str]:
    return [name for name in then["files"] if not (folder / name).is_file()]


def _altered_files(then: Provenance, folder: Path) -> list[str]:
    removed = _removed_files(then, folder)
    return [
        name
        for name, digest in then["files"].items()
        if name not in removed and file_hash(folder / name) != digest
    ]


def _listed(prefix: str, changes: list[str]) -> list[str]:
    """Return one line with the first changes and the number of the others; none for no change."""
    if not changes:
        return []
    shown = changes[:MOST_LISTED]
    if len(changes) > MOST_LISTED:
        shown.append(f"and {len(changes) - MOST_LISTED} more")
    return [prefix + "; ".join(shown)]


def _changed_data(then: dict[str, str], now: dict[str, str]) -> list[str]:
    changed = [
        name.partition(" ")[0]
        for name, content in now.items()
        if name in then and then[name] != content
    ]
    return [f"data: the content of {', '.join(changed)}"] if changed else []


def _changed_code(then: dict[str, str], now: dict[str, str]) -> list[str]:
    """Return the definitions that differ; a definition that only moved is the same."""
    return _listed("code: ", changed(then, now))


def _missing_cells(groups: Groups) -> list[str]:
    return [
        f"{group['missing']} of {group['cells']} cells of {learner} in {protocol} were missing"
        for protocol, learners in groups.items()
        for learner, group in learners.items()
        if group["missing"]
    ]


def _key_digests(groups: Groups) -> dict[tuple[str, str], str]:
    return {
        (protocol, learner): group["keys"]
        for protocol, learners in groups.items()
        for learner, group in learners.items()
    }
