"""Finished cells under the keys that today's code gives them, where code changed and results did not.

Every edit of code that a cell reaches changes its key. Where an edit changes no result (a refactoring that
passed the exact check of ``suites/ci.yaml``), finished cells need not be computed again: their content
is written under the new keys. That the code is equal is the word of whoever runs the command.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from harness.cells.cell import Cell
from harness.cells.likeness import finished_likenesses, planned_likenesses
from harness.cells.plan import Lookup, Plan, candidate
from harness.protocols.support_attack import KNOWN
from harness.storage.store import CellResult

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
    """A measurement of schema 1 as a measurement of today, or as the trust cell that was a part of it."""
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
