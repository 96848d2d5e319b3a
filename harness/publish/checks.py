"""Whether a submission measured what it claims to have measured.

Hashes reveal damage, not dishonesty: whoever makes a file can hash anything.
So the key of each cell is recomputed from what the cell says that it measured, and what it says
is compared with the protocol block that is printed with its numbers.
"""

from __future__ import annotations

import re
from typing import Any

from pydantic import TypeAdapter, ValidationError

from harness.cells.matching import Match
from harness.errors import HarnessError
from harness.publish.contents import Cells
from harness.publish.manifest import CellName, LearnerOutline, Manifest
from harness.records import FROM_VERDICTS
from harness.storage.cellfile import cell_key
from harness.storage.schema import first_fault
from harness.storage.store import CellResult
from harness.suite.specs.match import Search

_STRENGTHS = {
    "steps": re.compile(r"(\d+) steps?\b"),
    "restarts": re.compile(r"(\d+) restarts?\b"),
}
"""Keys of an attack -> where a protocol block states them, see ``Attack.words``."""
_IMAGES = re.compile(r"(\d+) images\b")
_FIRST = re.compile(r"(\d+)\b")
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
            _check_protocol(cell, cells.read(cell.key), manifest)
        except ValidationError as error:
            raise _malformed(cell, first_fault(error)) from None
        except (KeyError, TypeError, ValueError) as error:
            raise _malformed(cell, str(error)) from None


def _is_measured(cell: CellName) -> bool:
    """Return whether a cell belongs to a protocol."""
    return cell.role in ("measure", "judge", "trust")


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


def _check_protocol(cell: CellName, result: CellResult, manifest: Manifest) -> None:
    if not _is_measured(cell):
        return
    identity = result.identity
    protocol = manifest.protocols.get(cell.protocol)
    if protocol is None or identity["protocol"]["kind"] != protocol.kind:
        raise HarnessError(
            f"cell {cell.key} is not of the protocol that it is named after, {cell.protocol[:60]!r}"
        )
    if identity["seed"] not in protocol.seeds:
        raise HarnessError(
            f"cell {cell.key} has seed {identity['seed']}, but {cell.protocol} has "
            f"{', '.join(map(str, protocol.seeds[:10]))}"
        )
    _check_attack(cell, identity["setting"], protocol.block)
    for value in result.values:
        if value["metric"] in FROM_VERDICTS:
            _check_count(cell, value, identity["setting"], protocol.block)


def _check_attack(cell: CellName, setting: dict[str, Any], block: dict[str, str]) -> None:
    """Compare the strength of an attack with that in the protocol block, which is printed."""
    words = block.get(str(setting.get("attack")), "")
    config = setting.get("config", {})
    for key, pattern in _STRENGTHS.items():
        stated = pattern.search(words)
        if stated and key in config and config[key] != int(stated[1]):
            raise HarnessError(
                f"cell {cell.key} was attacked with {key} {str(config[key])[:20]}, "
                f"but the protocol block says {stated[0]}"
            )


def _check_count(
    cell: CellName, value: dict[str, Any], setting: dict[str, Any], block: dict[str, str]
) -> None:
    """Compare the number of images or episodes with that in the protocol block."""
    planned: Any = None
    if "episode" in value["unit"]:
        planned = setting.get("episodes")
    else:
        stated = _IMAGES.search(block.get("split", "")) or _FIRST.match(block.get("images", ""))
        planned = stated and int(stated[1])
    if planned is not None and value["n"] != planned:
        raise HarnessError(
            f"cell {cell.key} has {value['metric']} over {value['n']} {value['unit']}s, "
            f"but the protocol block says {planned}"
        )
