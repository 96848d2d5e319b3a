"""Finished cells under today's keys, where code changed and results did not.

Every edit of code that a cell reaches changes its key. Where an edit changes no result (a
refactoring that passed the exact check of ``suites/ci.yaml``), finished cells need not be computed
again: their content is written under the new keys. Whoever runs the command vouches for that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from harness.cells.cell import Cell
from harness.cells.entries import note_code
from harness.cells.likeness import finished_likenesses, planned_likenesses
from harness.cells.plan import Lookup, Plan, candidate, make
from harness.data.base import Dataset
from harness.errors import HarnessError
from harness.execute.session import DEFAULTS, RunOptions
from harness.protocols.support_attack import KNOWN
from harness.publish import contents, provenance, staleness, submission
from harness.publish import folder as results_folder
from harness.publish.contents import Cells
from harness.publish.folder import folder_of
from harness.publish.submission import MEASURED
from harness.storage.store import CellResult, Store
from harness.suite import load as suites
from harness.suite.expand import expand
from harness.suite.model import Suite

MADE_IN_MEASURING = (KNOWN,)
"""Trust checks that measuring makes itself; all others belong to a trust cell."""

CHECKED_EPISODES = 4
"""Episodes with a log of their own in a measurement of attacked episodes."""

Results = dict[str, CellResult]
"""Key of a finished cell -> what it holds."""


@dataclass(frozen=True)
class Rekeyed:
    """A finished cell under a new key.

    Attributes:
        cell: as it is planned now.
        older: key that its content was found under.
        result: what it holds, with the identity of ``cell``.
    """

    cell: Cell
    older: str
    result: CellResult


def rekey(make_plan: Callable[[Lookup], Plan], results: Results) -> list[Rekeyed]:
    """Every cell of a suite that can be taken from a finished one which differs in its code alone.

    Args:
        make_plan: lays out the suite with today's code, given where outcomes of matches are found.
        results: finished cells; not changed.
    """
    known = dict(results)
    moved: list[Rekeyed] = []
    while True:
        plan = make_plan(known.get)
        new = list(_rekeyed(plan, known))
        if not new:
            return moved
        moved += new
        # A match that is known now may lead to cells that could not be planned before.
        known |= {each.cell.key: each.result for each in new}


def _rekeyed(plan: Plan, results: Results) -> Iterator[Rekeyed]:
    planned = planned_likenesses(plan.cells)
    older = finished_likenesses(results.items())
    for cell in plan.unique:
        if cell.key in results:
            continue
        key = older.get(planned.get(cell.key, ""))
        if key is None and cell.role == "trust" and cell.needs is not None:
            # Schema 1 made the checks as a part of measuring.
            measured = older.get(planned.get(cell.needs, ""))
            if measured is not None and _is_schema_1(results[measured]):
                key = measured
        if key is not None:
            yield Rekeyed(cell, key, _under_identity(results[key], cell))


def _is_schema_1(result: CellResult) -> bool:
    return "code" not in result.identity


def _under_identity(result: CellResult, cell: Cell) -> CellResult:
    """A result as a cell of today holds it."""
    if _is_schema_1(result) and cell.role in ("measure", "trust"):
        result = _split_checks(result, cell)
    result = replace(result, identity=cell.identity)
    if cell.role == "match":
        value = result.log["match"]["value"]
        return replace(result, log={**result.log, "training": candidate(cell, value).key})
    return result


def _split_checks(result: CellResult, cell: Cell) -> CellResult:
    """Take a measurement of schema 1 as one of today, or as the trust cell that was part of it."""
    own = [check for check in result.trust if check["name"] in MADE_IN_MEASURING]
    others = [check for check in result.trust if check["name"] not in MADE_IN_MEASURING]
    if cell.role == "trust":
        return replace(result, values=[], trust=others, log={}, wall_s=0.0)
    return replace(result, trust=own, log=_log(others, cell) if others else {})


def _log(checks: list[dict[str, Any]], cell: Cell) -> dict[str, Any]:
    """What later trust checks need of a measurement, read from the checks that were made."""
    outside = 0.0
    changed: list[str] = []
    for check in checks:
        if check["name"] == "inside the budget and the box":
            number = re.search(r"outside the box by ([-+.e\d]+)", check["detail"])
            outside = float(number[1]) if number else 0.0
        if check["name"] == "model left as found" and check["level"] != "PASS":
            changed = check["detail"].split(", ")
    if cell.identity["protocol"]["kind"] == "attacked_episodes":
        return {"outside": [outside] * CHECKED_EPISODES, "changed": [changed] * CHECKED_EPISODES}
    return {"outside": outside, "changed": changed}


# ---------------------------------------------------------------- stores and folders of results


def rekey_store(suite: Suite, store: Store, device: str = "cpu") -> list[Rekeyed]:
    """Write cells of a suite under today's keys, where a store has them under those of other code.

    The older cells stay; ``harness store gc`` removes them.

    Args:
        suite: whose cells are wanted.
        store: is read and written.
        device: torch device name that the cells were computed on.

    Returns:
        what was written.
    """
    moved = rekey(partial(_laid_out, suite, device, None), dict(store.results(store.finished())))
    for each in moved:
        arrays = {}
        if each.cell.role != "trust":
            names = [name for name in store.members(each.older) if name.endswith(".safetensors")]
            arrays = {name: store.arrays(each.older, name) for name in names}
        note_code(each.cell.identity, store)
        store.write(each.cell.key, each.result, arrays)
    return moved


def rekey_folder(path: Path, options: RunOptions = DEFAULTS) -> Path:
    """Rewrite a folder of results whose ``measured.zip`` was computed by other, equal code.

    Args:
        path: file of the suite.
        options: where datasets are, and the device.

    Returns:
        the folder.

    Raises:
        HarnessError: it has no measurements, or they lack a cell that the suite asks for.
    """
    folder = folder_of(path)
    then = _recorded(folder)
    suite = suites.load(path, data_root=options.data_folder)
    older = contents.load(folder / MEASURED)
    keys = {cell.key for cell in older.manifest.cells}
    content_hash = staleness.content_hash(then)
    make_plan = partial(_laid_out, suite, options.device, content_hash)
    moved = {each.cell.key: each for each in rekey(make_plan, dict(older.cells.results(keys)))}
    results = {key: each.result for key, each in moved.items()}
    plan = make_plan(results.get)
    missing = [cell for cell in plan.unique if cell.key not in results] + plan.waiting
    if missing:
        raise HarnessError(
            f"{len(missing)} cells of the suite have no older equal, such as: {missing[0].title}",
            where=str(folder / MEASURED),
            hint="`harness paper` computes them",
        )

    def load_arrays(key: str, name: str) -> dict[str, np.ndarray]:
        is_measured = moved[key].cell.role in ("measure", "judge")
        return older.cells.arrays(moved[key].older, name) if is_measured else {}

    cells = Cells(results, load_arrays)
    submission.write(plan, cells, submission.suite_text(path), folder / MEASURED)
    about = provenance.of_plan(plan, expand(suite), results.get)
    measured = submission.read(folder / MEASURED).results
    # The older file may be of another schema; what it lists and nothing makes any more is removed.
    (folder / provenance.FILE).unlink()
    kept = [folder / MEASURED]
    written = results_folder.write(suite, measured, folder, then["command"], about, kept)
    for name in then["files"].keys() - {path.name for path in [*written, *kept]}:
        if Path(name).name == name:
            (folder / name).unlink(missing_ok=True)
    return folder


def _laid_out(
    suite: Suite, device: str, content_hash: Callable[[Dataset], str] | None, lookup: Lookup
) -> Plan:
    return make(suite, device=device, content_hash=content_hash, lookup=lookup)


def _recorded(folder: Path) -> dict[str, Any]:
    """The provenance of a folder, of any schema: only what every schema has is used."""
    try:
        recorded = json.loads((folder / provenance.FILE).read_text(encoding="utf-8"))
        return {key: recorded[key] for key in ("command", "data", "chosen", "files")}
    except (OSError, ValueError, KeyError) as error:
        raise HarnessError(
            f"cannot read where its results came from: {error}",
            where=str(folder / provenance.FILE),
            hint="`harness paper` writes it",
        ) from None
