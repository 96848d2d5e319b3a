"""Merges the results of two sources that measured one suite.

The first source defines the conditions. A row of another source is accepted if it was measured
under the same ones: the same data, the same protocol block, the same seeds, settings, images and
episodes, and trust checks that were made and did not fail. Every other row is refused, with a
reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from harness.cells.results import Matched, Results
from harness.publish.comparable import Rivals
from harness.records import Record, worst_level
from harness.report.board.model import Division, Refusal

PER_LEARNER = ("heads",)
"""Conditions of a protocol block that concern single learners, and may differ."""

Names = Mapping[str, str]
"""Names of learners in one source -> their names in the other."""


def merge(board: Division, other: Division) -> tuple[Division, list[Refusal]]:
    """Add the rows of ``other`` that were measured under the conditions of ``board``.

    A learner with the same name and config as one on the board is not added twice. One that shares
    only the name is renamed to ``NAME (SOURCE)``.

    Returns:
        The merged division, and the rows that were refused.
    """
    own, theirs = board.results, other.results
    origin = next(iter(other.origins.values()))
    rivals = {protocol: Rivals(own, protocol) for protocol in own.protocols}
    names: dict[str, str] = {}
    accepted: set[tuple[str, str]] = set()  # learner and cell, in the names of the other source
    refused: list[Refusal] = []
    for learner in theirs.learners:
        is_known = _is_same_learner(own, theirs, learner)
        is_free = learner not in own.learners
        names[learner] = learner if is_known or is_free else f"{learner} ({origin})"
        for protocol in theirs.protocols:
            row = _row(theirs, learner, protocol)
            if not row:
                continue
            known_row = _row(own, learner, protocol) if is_known else []
            reason = _reason_to_refuse(own, theirs, rivals, row, known_row)
            if reason:
                refused.append(Refusal(origin, learner, protocol, reason))
            elif not known_row:
                accepted |= {(learner, record.cell) for record in row}
    return _merged(board, other, names, accepted), refused


def _is_same_learner(own: Results, theirs: Results, learner: str) -> bool:
    return (
        learner in own.learners
        and own.kinds[learner] == theirs.kinds[learner]
        and own.configs[learner] == theirs.configs[learner]
    )


def _row(results: Results, learner: str, protocol: str) -> list[Record]:
    return [
        record
        for record in results.records
        if record.learner == learner and record.protocol == protocol
    ]


# --------------------------------------------------------------------------------------- conditions


def _reason_to_refuse(
    own: Results,
    theirs: Results,
    rivals: Mapping[str, Rivals],
    row: list[Record],
    known_row: list[Record],
) -> str:
    """Return the first reason to refuse a row; ``""`` if there is none.

    Args:
        own: results on the board.
        theirs: results of the other source.
        rivals: protocol -> the board's rows.
        row: records of one learner and protocol of the other source.
        known_row: records that the board has of the same learner and protocol.
    """
    if known_row and _numbers(known_row) != _numbers(row):
        return "the board has this learner with other numbers"
    protocol = row[0].protocol
    kind = theirs.protocols[protocol]
    if own.protocols.get(protocol) != kind:
        return f"the board's {own.suite} has no protocol {protocol!r} of kind {kind!r}"
    on_board = rivals[protocol]
    difference = (
        _different_data(on_board.records, row)
        or _different_block(own.blocks[protocol], theirs.blocks[protocol])
        or on_board.difference(theirs, row)
    )
    if difference:
        return f"not comparable: {difference}"
    return _distrusted(theirs, on_board.records, row)


def _numbers(row: list[Record]) -> set[tuple[str, int, str, float, int]]:
    return {
        (str(sorted(record.setting.items())), record.seed, record.metric, record.value, record.n)
        for record in row
    }


def _different_data(rivals: list[Record], row: list[Record]) -> str:
    own = {(record.dataset, record.dataset_hash) for record in rivals}
    theirs = {(record.dataset, record.dataset_hash) for record in row}
    if not rivals or theirs <= own:
        return ""
    return f"data {_short_hashes(theirs)}, the board's is {_short_hashes(own)}"


def _short_hashes(datasets: set[tuple[str, str]]) -> str:
    return ", ".join(f"{name} {digest[:12]}" for name, digest in sorted(datasets))


def _different_block(own: dict[str, str], theirs: dict[str, str]) -> str:
    for key in [*own, *theirs]:
        if key not in PER_LEARNER and own.get(key) != theirs.get(key):
            here, there = own.get(key, "not stated"), theirs.get(key, "not stated")
            return f"protocol block: {key}: {there}; the board's: {here}"
    return ""


def _distrusted(theirs: Results, rivals: list[Record], row: list[Record]) -> str:
    failed = {
        check.name: check.detail
        for record in row
        for check in theirs.trust.get(record.cell, ())
        if check.level == "FAIL"
    }
    if failed:
        details = "; ".join(f"{name}: {detail}" for name, detail in sorted(failed.items()))
        return f"trust check failed: {details}"
    rivals_were_checked = any(record.trust != "-" for record in rivals)
    if rivals_were_checked and worst_level(record.trust for record in row) == "-":
        return "no trust checks were made, but the board's rows have them"
    return ""


# ------------------------------------------------------------------------------------------ merging


def _merged(
    board: Division, other: Division, names: Names, accepted: set[tuple[str, str]]
) -> Division:
    own, theirs = board.results, other.results
    cells = {cell for _, cell in accepted}
    records = [
        replace(record, learner=names[record.learner])
        for record in theirs.records
        if (record.learner, record.cell) in accepted
    ]
    original = {names[learner]: learner for learner in theirs.learners}
    added = {
        record.learner: original[record.learner]
        for record in records
        if record.learner not in own.learners
    }

    def verdicts(cell: str, name: str) -> np.ndarray:
        source = theirs if cell in cells else own
        return source.verdicts(cell, name)

    results = replace(
        own,
        records=own.records + records,
        learners=own.learners + list(added),
        blocks=_merged_blocks(own, theirs, added),
        verdicts=verdicts,
        trust=own.trust | {cell: theirs.trust[cell] for cell in theirs.trust if cell in cells},
        configs=own.configs | {name: theirs.configs[was] for name, was in added.items()},
        kinds=own.kinds | {name: theirs.kinds[was] for name, was in added.items()},
        matches=_merged_matches(own, theirs, added),
        trainings=own.trainings
        | {name: theirs.trainings[was] for name, was in added.items() if was in theirs.trainings},
    )
    origins = board.origins | {name: other.origins[was] for name, was in added.items()}
    commands = board.commands | {
        name: other.commands[was] for name, was in added.items() if was in other.commands
    }
    return replace(board, results=results, origins=origins, commands=commands)


def _merged_blocks(own: Results, theirs: Results, added: Names) -> dict[str, dict[str, str]]:
    """Return the board's protocol blocks, extended by the heads of the added learners.

    Args:
        own: results on the board.
        theirs: results of the other source.
        added: name of each added learner on the board -> its name in the other source.
    """
    blocks = {}
    for protocol, block in own.blocks.items():
        heads = _heads(theirs.blocks.get(protocol, {}), added)
        if heads:
            own_heads = [block["heads"]] if block.get("heads") else []
            block = block | {"heads": ", ".join(own_heads + heads)}
        blocks[protocol] = block
    return blocks


def _heads(block: dict[str, str], added: Names) -> list[str]:
    """Return ``NAME HEAD`` for each added learner that a protocol block lists."""
    renamed = {was: name for name, was in added.items()}
    heads = []
    for part in block.get("heads", "").split(", "):
        learner, _, head = part.partition(" ")
        if learner in renamed:
            heads.append(f"{renamed[learner]} {head}")
    return heads


def _merged_matches(
    own: Results, theirs: Results, added: Names
) -> dict[str, dict[str, list[Matched]]]:
    merged: dict[str, dict[str, list[Matched]]] = {}
    for protocol in own.protocols:
        merged[protocol] = dict(own.matches.get(protocol, {}))
        found: Mapping[str, Sequence[Matched]] = theirs.matches.get(protocol, {})
        for name, was in added.items():
            if was in found:
                merged[protocol][name] = list(found[was])
    return merged
