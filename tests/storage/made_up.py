"""Made-up cells."""

from __future__ import annotations

import hashlib
import json

import numpy as np

from harness.storage.cellfile import CELL, cell_key
from harness.storage.store import SNAPSHOTS, VERDICTS, WEIGHTS, CellResult, Store


def a_cell(
    number: int = 0, role: str = "measure", training: str | None = None
) -> tuple[str, CellResult]:
    """A key and its result."""
    identity = {
        "seed": number,
        "role": role,
        "learner": {"kind": "mlp", "config": {}, "code": "0"},
        "device": "cpu",
        "dataset": {"kind": "digits", "config": {}, "content": "0"},
    }
    if role == "measure":
        identity |= {
            "protocol": {"kind": "classification", "code": []},
            "training": training,
            "setting": {"images": 10},
        }
    else:
        identity |= {"splitting": "standard", "labelled": True, "snapshots": False}
    value = dict(
        metric="accuracy",
        value=number / 7 % 1,
        low=None,
        high=None,
        n=3,
        unit="sample",
        setting=None,
        verdicts="correct",
    )
    values = [value] if role == "measure" else []
    return cell_key(identity), CellResult(
        identity, values, log={"rows": [], "images_seen": 5}, wall_s=1.5, versions={"torch": "2"}
    )


def arrays(number: int = 0, role: str = "measure") -> dict[str, dict[str, np.ndarray]]:
    """The arrays of a cell."""
    numbers = np.random.default_rng(number).integers(0, 2, 30).astype(np.uint8)
    if role == "measure":
        return {VERDICTS: {"correct": numbers, "margin": np.linspace(0, number, 5)}}
    return {
        WEIGHTS: {"w": numbers.astype(np.float32)},
        SNAPSHOTS: {"1/w": numbers.astype(np.float32)},
    }


def fill(
    store: Store, count: int = 3, role: str = "measure", first: int = 0
) -> dict[str, CellResult]:
    """Write cells; key -> result."""
    cells = {}
    for number in range(first, first + count):
        key, cells[key] = a_cell(number, role)
        store.write(key, cells[key], arrays(number, role))
    return cells


def write_format_1(store: Store, key: str, result: CellResult, content: dict[str, bytes]) -> None:
    """A cell as releases before format 2 wrote it."""
    body = result.__dict__
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    files = {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}
    text = json.dumps(
        {"result": body, "files": files, "sha256": hashlib.sha256(canonical).hexdigest()}, indent=1
    )
    for name, data in {**content, CELL: text.encode()}.items():
        path = store.root / "cells" / key / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
