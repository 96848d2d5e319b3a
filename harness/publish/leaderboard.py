"""What stands on a board: a suite's results from one store, or from many submissions laid together.

The first source of a suite's name defines its conditions. Rows of later ones join where they were measured under the same: the
same data, the same protocol block, trust checks that were made and did not fail. Every other row is refused, and it is said why.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.cells import collect
from harness.cells.results import Results
from harness.errors import HarnessError
from harness.execute import session
from harness.execute.session import DEFAULTS, RunOptions
from harness.publish import submission
from harness.publish.manifest import Manifest
from harness.publish.sources import find
from harness.records import Record, worst_level
from harness.report.board.model import Division, Refusal
from harness.suite.model import Suite

OWN = ("heads",)
"""Conditions of a protocol block that speak of single learners."""


@dataclass(frozen=True)
class Board:
    """Divisions in the order of their first sources, and the rows that were refused."""

    divisions: list[Division]
    refused: list[Refusal] = field(default_factory=list)


def gather(sources: Sequence[str | Path], options: RunOptions = DEFAULTS) -> Board:
    """Read suites (with what the store holds of them) and submissions, and lay them together.

    Args:
        sources: suite files, submissions, and folders of results with their ``measured.zip``; see ``harness.publish.sources``.

    Raises:
        HarnessError: a source that cannot be read or has no results.
    """
    divisions: dict[str, Division] = {}
    refused: list[Refusal] = []
    for path, origin in zip(sources, origins(sources), strict=True):
        entry = _read(path, origin, options)
        if not entry.results.records:
            raise HarnessError(
                "nothing of it has been measured",
                where=str(path),
                hint=f"`harness run {path}` does",
            )
        name = entry.results.suite
        if name not in divisions:
            divisions[name] = entry
            continue
        divisions[name], more = merge(divisions[name], entry)
        refused += more
    return Board(list(divisions.values()), refused)


def origins(sources: Sequence[str | Path]) -> list[str]:
    """What each source is called: its name without the ending, behind as many of its folders as tell it from the others."""
    bare = [Path(source).with_suffix("") for source in sources]
    for depth in range(1, max((len(path.parts) for path in bare), default=0)):
        names = ["/".join(path.parts[-depth:]) for path in bare]
        if len(set(names)) == len(set(bare)):
            return names
    return list(map(str, bare))


def _read(path: str | Path, origin: str, options: RunOptions) -> Division:
    source = find(path)
    if source.kind == "submission":
        packed = submission.read(source.at)
        return _division(origin, packed.results, packed.manifest)
    if source.kind == "store":
        raise HarnessError(
            "a store does not say which names its cells have",
            where=str(path),
            hint=f"name the suite and its store: `harness board SUITE.yaml --store {path}`",
        )
    if source.kind == "reference":
        raise HarnessError(
            "a reference has no tables that could stand on a board",
            where=str(path),
            hint="name its suite, or a submission",
        )
    layout = session.plan(path, options)
    return _division(origin, collect.collect(layout, options.open_store()), layout.suite)


def _division(origin: str, results: Results, asked: Manifest | Suite) -> Division:
    return Division(
        results,
        list(asked.tables),
        list(asked.published),
        asked.description,
        dict.fromkeys(results.learners, origin),
    )


def merge(board: Division, other: Division) -> tuple[Division, list[Refusal]]:
    """``board`` with the rows of ``other`` that were measured as its own, and those that were not.

    A learner that the board has already, with the same config, is not shown twice; another one of the same name gets the name
    of its source behind its own.
    """
    origin = next(iter(other.origins.values()))
    own, found = board.results, other.results
    taken: set[tuple[str, str]] = set()
    refused, names = [], {}
    for learner in found.learners:
        alike = learner in own.learners and (own.kinds[learner], own.configs[learner]) == (
            found.kinds[learner],
            found.configs[learner],
        )
        names[learner] = (
            learner if alike or learner not in own.learners else f"{learner} ({origin})"
        )
        for protocol in found.protocols:
            row = _row(found, learner, protocol)
            why = (
                row
                and next(_known(own, learner, row, alike), None)
                or row
                and next(_faults(own, found, protocol, row), None)
            )
            if why:
                refused.append(Refusal(origin, learner, protocol, why))
            elif row and not (alike and _row(own, learner, protocol)):
                taken |= {(learner, record.cell) for record in row}
    return _joined(board, other, names, taken), refused


def _row(results: Results, learner: str, protocol: str) -> list[Record]:
    return [r for r in results.records if (r.learner, r.protocol) == (learner, protocol)]


def _known(own: Results, learner: str, row: list[Record], alike: bool) -> Iterator[str]:
    """Why a row of a learner that the board has is refused; nothing where both measured the same numbers."""
    there = _row(own, learner, row[0].protocol) if alike else []
    if there and _numbers(there) != _numbers(row):
        yield "the board has this learner with other numbers"


def _numbers(row: list[Record]) -> set[tuple]:
    return {(str(sorted(r.setting.items())), r.seed, r.metric, r.value, r.n) for r in row}


def _faults(own: Results, found: Results, protocol: str, row: list[Record]) -> Iterator[str]:
    """Why a row was not measured as those of the board were."""
    if own.protocols.get(protocol) != found.protocols[protocol]:
        yield f"the board's {own.suite} has no protocol {protocol!r} of kind {found.protocols[protocol]!r}"
        return
    rivals = [r for r in own.records if r.protocol == protocol]
    ours, theirs = ({(r.dataset, r.dataset_hash) for r in records} for records in (rivals, row))
    if rivals and not theirs <= ours:
        yield f"data {_hashes(theirs)}, the board's is {_hashes(ours)}"
    here, there = (
        {k: v for k, v in results.blocks[protocol].items() if k not in OWN}
        for results in (own, found)
    )
    for key in [*here, *(key for key in there if key not in here)]:
        if here.get(key) != there.get(key):
            yield f"protocol block: {key}: {there.get(key, 'not said')}; the board's: {here.get(key, 'not said')}"
    yield from _distrust(found, rivals, row)


def _hashes(found: set[tuple[str, str]]) -> str:
    return ", ".join(f"{name} {digest[:12]}" for name, digest in sorted(found))


def _distrust(found: Results, rivals: list[Record], row: list[Record]) -> Iterator[str]:
    failed = {
        check.name: check.detail
        for r in row
        for check in found.trust.get(r.cell, ())
        if check.level == "FAIL"
    }
    if failed:
        yield "trust check failed: " + "; ".join(
            f"{name}: {detail}" for name, detail in sorted(failed.items())
        )
    elif any(r.trust != "-" for r in rivals) and worst_level(r.trust for r in row) == "-":
        yield "no trust checks were made, the board's rows have them"


def _joined(
    board: Division, other: Division, names: dict[str, str], taken: set[tuple[str, str]]
) -> Division:
    own, found, cells = board.results, other.results, {cell for _, cell in taken}
    records = [
        replace(r, learner=names[r.learner]) for r in found.records if (r.learner, r.cell) in taken
    ]
    new = list(dict.fromkeys(r.learner for r in records if r.learner not in own.learners))
    was = {names[learner]: learner for learner in found.learners}
    results = replace(
        own,
        records=own.records + records,
        learners=own.learners + new,
        blocks={
            name: _with_heads(block, found.blocks.get(name, {}), names, new)
            for name, block in own.blocks.items()
        },
        verdicts=lambda cell, name: (found if cell in cells else own).verdicts(cell, name),
        trust=own.trust | {cell: checks for cell, checks in found.trust.items() if cell in cells},
        configs=own.configs | {name: found.configs[was[name]] for name in new},
        kinds=own.kinds | {name: found.kinds[was[name]] for name in new},
        matches={
            protocol: own.matches.get(protocol, {})
            | {
                name: found.matches[protocol][was[name]]
                for name in new
                if was[name] in found.matches.get(protocol, {})
            }
            for protocol in own.protocols
        },
        trainings=own.trainings
        | {name: found.trainings[was[name]] for name in new if was[name] in found.trainings},
    )
    return replace(
        board,
        results=results,
        origins=board.origins | {name: other.origins[was[name]] for name in new},
    )


def _with_heads(
    block: dict[str, str], other: dict[str, str], names: dict[str, str], new: list[str]
) -> dict[str, str]:
    """A protocol block that also says which heads the new learners have."""
    said = [
        f"{names[name]} {head}"
        for name, _, head in (part.partition(" ") for part in other.get("heads", "").split(", "))
        if names.get(name) in new
    ]
    return (
        block | {"heads": ", ".join(filter(None, [block.get("heads", ""), *said]))}
        if said
        else block
    )
