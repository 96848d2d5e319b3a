"""Find the finished cell that differs from a planned one in code alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.cells.cell import Cell, Identity
from harness.cells.code import changed
from harness.cells.entries import code_definitions
from harness.cells.plan import Plan
from harness.storage.code_records import read_record
from harness.storage.store import CellResult, Store

Lookup = Callable[[str], Identity | None]
"""Key of a cell -> its identity, or None where the cell is unknown."""


def likeness(identity: Identity, lookup: Lookup) -> str | None:
    """Hash everything in an identity but code; None where a cell that it builds on is unknown.

    Args:
        identity: of a cell, of this schema or of schema 1 (code hashed by module, trust checks
            part of measuring).
        lookup: finds the training, target or measurement that the cell builds on.
    """
    plain = {
        key: value
        for key, value in identity.items()
        if key not in ("schema", "code", "core", "training", "measured", "match", "relatives")
    }
    plain["learner"] = _without_code(identity["learner"])
    if "protocol" in identity:
        plain["protocol"] = _without_code(identity["protocol"])
    if "setting" in identity:
        plain["setting"] = {k: v for k, v in identity["setting"].items() if k != "trust"}
    below = {
        "training": identity.get("training") if identity["role"] != "match" else None,
        "measured": identity.get("measured"),
    }
    if "match" in identity:
        search = dict(identity["match"]["search"])
        target = search["target"]
        if isinstance(target, str):
            below["target"] = target
            search["target"] = None
        plain["search"] = search
    for name, key in below.items():
        if key is None:
            continue
        other = lookup(key)
        found = None if other is None else likeness(other, lookup)
        if found is None:
            return None
        plain[name] = found
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _without_code(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "code"}


def planned_likenesses(cells: Iterable[Cell]) -> dict[str, str]:
    """Key of each planned cell -> its likeness."""
    identities = {cell.key: cell.identity for cell in cells}
    found = {}
    for key, identity in identities.items():
        like = likeness(identity, identities.get)
        if like is not None:
            found[key] = like
    return found


def finished_likenesses(results: Iterable[tuple[str, CellResult]]) -> dict[str, str]:
    """Likeness -> key of the newest finished cell that has it."""
    by_key = dict(results)
    newest: dict[str, str] = {}

    def lookup(key: str) -> Identity | None:
        return by_key[key].identity if key in by_key else None

    for key in sorted(by_key, key=lambda key: by_key[key].created):
        like = likeness(by_key[key].identity, lookup)
        if like is not None:
            newest[like] = key
    return newest


@dataclass(frozen=True)
class Stale:
    """A planned, unfinished cell for which older code has computed the same thing.

    Attributes:
        cell: the planned cell.
        older: key of the finished one.
        changes: definitions that differ, in words; empty where the older code is not known.
    """

    cell: Cell
    older: str
    changes: list[str]


def stale_cells(plan: Plan, store: Store) -> Iterator[Stale]:
    """List cells that must be computed again because code changed, and which definitions did."""
    planned = planned_likenesses(plan.cells)
    finished = set(store.finished())
    older = finished_likenesses(store.results(finished))
    for cell in plan.unique:
        key = older.get(planned.get(cell.key, ""))
        if cell.key in finished or key is None:
            continue
        before = store.read(key)
        code = before.identity.get("code", "") if before else ""
        then = read_record(store, code) if code else {}
        changes = changed(then, code_definitions(cell.identity)) if then else []
        yield Stale(cell, key, changes)
