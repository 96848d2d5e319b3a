"""Forged submissions whose keys and hashes are right."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from harness.publish import archive, arrays, contents
from harness.publish.contents import ARRAYS, CELLS, SUITE, Contents
from harness.publish.manifest import MANIFEST
from harness.storage.cellfile import cell_key

Arrays = dict[str, np.ndarray]
Edit = Callable[[Any], None]


def nothing(_: Any) -> None:
    """Change nothing."""


def forged(
    source: Path,
    target: Path,
    *,
    identity: Edit = nothing,
    values: Edit = nothing,
    verdicts: Edit = nothing,
    seeds: list[int] | None = None,
    attacks: tuple[str, ...] = (),
    learner: str = "random",
    suite: bool | str = False,
) -> Path:
    """Copy the cells of one learner to a submission of another learner, ``zzz``, and change them.

    Args:
        source: an honest submission.
        target: the file to write.
        identity, values, verdicts: change the identity, the values and the arrays of each
            measurement in place.
        seeds: seeds that the protocols claim to have.
        attacks: labels of the only attacks whose sweeps are copied; all if empty.
        learner: whose cells are copied; its config gets another width.
        suite: text of the suite; True for that of the honest submission.
    """
    loaded = contents.load(source)
    own = [cell for cell in loaded.manifest.cells if cell.learner == learner]
    results, own_arrays, names = {}, {}, []
    keys: dict[str, str] = {}
    for cell in sorted(own, key=lambda cell: ("train", "measure", "trust").index(cell.role)):
        result = copy.deepcopy(loaded.cells.read(cell.key))
        attack = result.identity.get("setting", {}).get("attack")
        if attacks and attack and attack not in attacks:
            continue
        _rename(result.identity, keys)
        held = dict(loaded.cells.arrays(cell.key))
        if cell.role in ("measure", "trust"):
            identity(result.identity)
        if cell.role == "measure":
            values(result.values)
            verdicts(held)
        keys[cell.key] = cell_key(result.identity)
        results[keys[cell.key]] = result
        own_arrays[keys[cell.key]] = held
        names.append(cell.model_copy(update={"key": keys[cell.key], "learner": "zzz"}))
    manifest = _manifest(loaded, names, seeds, learner)
    text = loaded.suite if suite is True else suite or ""
    return _written(target, manifest, text, results, own_arrays)


def _rename(identity: dict[str, Any], keys: dict[str, str]) -> None:
    identity["learner"]["config"]["width"] = 77
    for part in ("training", "measured"):
        if identity.get(part) in keys:
            identity[part] = keys[identity[part]]


def _manifest(loaded: Contents, names: list, seeds: list[int] | None, learner: str) -> Any:
    manifest = loaded.manifest
    outline = manifest.learners[learner]
    outline = outline.model_copy(update={"config": {**outline.config, "width": 77}})
    protocols = {
        name: each.model_copy(update={"seeds": seeds or each.seeds})
        for name, each in manifest.protocols.items()
    }
    return manifest.model_copy(
        update={"cells": names, "learners": {"zzz": outline}, "protocols": protocols}
    )


def _written(
    target: Path, manifest: Any, suite: str, results: dict, held: dict[str, Arrays]
) -> Path:
    """Write all arrays, also those that no report would read."""
    writer = arrays.ArrayWriter()
    lines = []
    for key, result in results.items():
        line = {"key": key, "result": asdict(result)}
        line["arrays"] = {name: writer.add(array) for name, array in held[key].items()}
        lines.append(json.dumps(line) + "\n")
    files = {ARRAYS: writer.to_bytes(), CELLS: "".join(lines).encode(), SUITE: suite.encode()}
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    manifest = manifest.model_copy(update={"files": hashes})
    archive.write(target, {MANIFEST: manifest.model_dump_json().encode(), **files})
    return target
