"""The code of a cell: which definitions it starts from, found from its identity alone."""

from __future__ import annotations

from typing import Any

from harness.cells.code import CARRIERS, Versions, definitions, entry_of, version
from harness.cells.modules import place_of
from harness.fronts.learner import split_front
from harness.learning.at_hand import is_class_at_hand
from harness.learning.body import bodies_in
from harness.learning.code_names import code_names_in
from harness.registry import bodies, checks, fronts, learners, protocols
from harness.storage.code_records import has_record, write_record
from harness.storage.store import Store

RUNS = "harness.cells.run"
"""The module whose functions carry out a cell, one for each role."""


def code_version(identity: dict[str, Any]) -> str:
    """Hash of all code that can change the result of a cell.

    Args:
        identity: of the cell; its key ``code``, if there, is ignored.
    """
    return version(entries_of(identity))


def code_definitions(identity: dict[str, Any]) -> Versions:
    """Every definition that can change the result of a cell, with its hash."""
    return definitions(entries_of(identity))


def entries_of(identity: dict[str, Any]) -> tuple[str, ...]:
    """The definitions that the code of a cell is followed from."""
    role = identity["role"]
    entries = {*CARRIERS, f"{RUNS}:global_state", f"{RUNS}:{role}"}
    kind = identity["learner"]["kind"]
    if not is_class_at_hand(kind):  # its own code is hashed in its kind
        entries.add(entry_of(learners[kind]))
        front, _ = split_front(learners[kind], identity["learner"]["config"])
        if front is not None:
            entries.add(entry_of(fronts[front["kind"]]))
    for name in code_names_in(identity["learner"]):
        place = place_of(name)
        if place is not None:
            entries.add(str(place))
    entries |= {entry_of(bodies[name]) for name in bodies_in(identity["learner"]["config"])}
    if role in ("measure", "judge", "trust"):
        protocol = protocols[identity["protocol"]["kind"]]
        setting = protocol.setting_type.from_identity(identity["setting"])
        entries.add(f"{entry_of(protocol)}.{role}")
        entries.add(entry_of(protocol.setting_type))
        entries |= {entry_of(cls) for cls in protocol.code(setting)}
    if role == "trust":
        entries |= {entry_of(checks[name]) for name in checks}
    return tuple(sorted(entries))


def note_code(identity: dict[str, Any], store: Store) -> None:
    """Store the definitions behind a cell's code version, for ``harness plan --why``."""
    code = identity["code"]
    if not has_record(store, code):
        write_record(store, code, code_definitions(identity))
