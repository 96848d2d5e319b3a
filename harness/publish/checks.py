"""Whether a submission measured what it claims to have measured.

Hashes reveal damage, not dishonesty: whoever makes a file can hash anything.
So the key of each cell is recomputed from what the cell says that it measured,
and each number from the verdicts that it is the mean of.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from harness.cells.matching import Match
from harness.cells.results import Results
from harness.errors import HarnessError
from harness.publish.contents import Cells
from harness.publish.manifest import CellName, LearnerOutline, Manifest, first_fault
from harness.records import Record
from harness.storage.cellfile import cell_key
from harness.suite.specs.match import Search

ROUNDING = 1e-6
"""How far a number may be from the mean of its verdicts, which may be stored as float32."""


class _Dataset(TypedDict):
    kind: str
    content: str


class _Identity(TypedDict):
    """The parts of a cell's identity that are read here; the others only enter its key."""

    role: str
    seed: int
    dataset: _Dataset


class _MeasureIdentity(_Identity):
    setting: dict[str, Any]
    training: str | None


class _TrainIdentity(_Identity):
    splitting: str
    labelled: bool
    budget: int | None


_MEASURE = TypeAdapter(_MeasureIdentity)
_TRAIN = TypeAdapter(_TrainIdentity)
_SEARCH = TypeAdapter(Search)
_MATCH = TypeAdapter(Match)


def check_identities(manifest: Manifest, cells: Cells) -> None:
    """Check that each cell belongs to its key, and to the learner and protocol in its name.

    Raises:
        HarnessError: one does not.
    """
    for cell in manifest.cells:
        identity = cells.read(cell.key).identity
        try:
            if cell_key(identity) != cell.key:
                raise HarnessError(f"cell {cell.key} is not what its key is a hash of")
            _check_learner(cell, identity, manifest, cells)
            _check_protocol(cell, identity, manifest)
            shape = _MEASURE if _is_measured(cell) else _TRAIN
            shape.validate_python(identity, strict=True)
        except ValidationError as error:
            raise _malformed(cell, first_fault(error)) from None
        except (KeyError, TypeError, ValueError) as error:
            raise _malformed(cell, str(error)) from None


def _is_measured(cell: CellName) -> bool:
    """Return whether a cell belongs to a protocol."""
    return cell.role in ("measure", "trust")


def _malformed(cell: CellName, reason: str) -> HarnessError:
    return HarnessError(f"the identity of cell {cell.key} is malformed: {reason}")


def _check_learner(
    cell: CellName, identity: dict[str, Any], manifest: Manifest, cells: Cells
) -> None:
    learner = manifest.learners.get(cell.learner)
    belongs = (
        learner is not None
        and identity["role"] == cell.role
        and identity["learner"]["kind"] == learner.kind
        and identity["learner"]["config"] in _configs(cell, learner, manifest, cells)
    )
    if not belongs:
        raise HarnessError(
            f"cell {cell.key} is not of the learner that it is named after, {cell.learner[:60]!r}"
        )


def _configs(
    cell: CellName, learner: LearnerOutline, manifest: Manifest, cells: Cells
) -> list[dict[str, Any]]:
    """Return the configs that a cell of a learner may have."""
    if learner.match is None:
        return [] if cell.role == "match" else [learner.config]
    key = _SEARCH.validate_python(learner.match).key
    if cell.role == "match":
        return [learner.config]
    configs = []
    for other in manifest.cells:
        if (other.role, other.learner) == ("match", cell.learner):
            match = _MATCH.validate_python(cells.read(other.key).log["match"])
            configs.append({**learner.config, key: match.value})
    return configs


def _check_protocol(cell: CellName, identity: dict[str, Any], manifest: Manifest) -> None:
    if not _is_measured(cell):
        return
    protocol = manifest.protocols.get(cell.protocol)
    if protocol is None or identity["protocol"]["kind"] != protocol.kind:
        raise HarnessError(
            f"cell {cell.key} is not of the protocol that it is named after, {cell.protocol[:60]!r}"
        )


def check_numbers(results: Results) -> None:
    """Check that every number with verdicts is their mean.

    Raises:
        HarnessError: one is not, or its verdicts are missing.
    """
    for record in results.records:
        if record.verdicts is not None:
            _check_number(record, record.verdicts, results)


def _check_number(record: Record, name: str, results: Results) -> None:
    try:
        units = np.asarray(results.verdicts(record.cell, name), np.float64)
    except KeyError:
        raise HarnessError(
            f"cell {record.cell}: no verdicts behind {record.metric} of {record.learner}"
        ) from None
    # Written so that NaN, which compares as False, is refused.
    agrees = units.shape == (record.n,) and abs(units.mean() - record.value) <= ROUNDING
    if not agrees:
        raise HarnessError(
            f"cell {record.cell}: {record.metric} {record.value:g} over {record.n} "
            f"of {record.learner} is not the mean of its verdicts"
        )
