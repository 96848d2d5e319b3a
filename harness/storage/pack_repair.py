"""Repair of damaged packs: undamaged cells get a new index, the rest goes to ``damaged/``."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import Any

from harness.storage import tensors
from harness.storage.cellfile import CELL, Damage, UnknownFormat, decode
from harness.storage.pack_format import (
    COLUMNS,
    FOLDER,
    CellFiles,
    Files,
    arrays_name,
    arrow,
    check_row,
    is_intact,
    write_index,
)

SET_ASIDE = re.compile(r".+-[a-z0-9_]{8}")
"""Names in ``damaged/`` that ``aside`` makes; others are left alone."""


def salvage(files: Files, name: str) -> list[str]:
    """Replace the index of a damaged pack by one of its undamaged cells.

    Damaged cells, and a damaged index, are kept in ``damaged/``.

    Args:
        files: of the store.
        name: of the index.

    Returns:
        Keys of the cells that are lost, as far as the index still names them.
    """
    data = files.read(f"{FOLDER}/{name}")
    columns: dict[str, list] = {column: [] for column in COLUMNS}
    lost = []
    arrays = ""
    for row, arrays in _readable_rows(data):
        cell = _read_cell(files, row, arrays)
        if _is_sound(cell):
            for column in COLUMNS:
                columns[column].append(row[column])
        else:
            lost.append(row["key"])
            others = {member: content for member, content in cell.items() if member != CELL}
            files.install(aside(row["key"]), {**others, CELL: cell[CELL]})
    if not is_intact(name, data) or not (columns["key"] or lost):
        files.write(aside(name), data)
    new_name = write_index(files, columns, arrays) if columns["key"] else None
    if new_name != name:
        files.remove(f"{FOLDER}/{name}")
    return lost


def aside(name: str) -> str:
    """Return a new path in ``damaged/`` for what is set aside."""
    return f"damaged/{name}-{uuid.uuid4().hex[:8]}"


def _read_cell(files: Files, row: dict[str, Any], arrays: str) -> CellFiles:
    """Read all files of a cell; those that cannot be read are empty."""
    cell = {CELL: row["cell"].encode()}
    for member, start, size in zip(row["names"], row["starts"], row["sizes"], strict=True):
        try:
            cell[member] = files.read(f"{FOLDER}/{arrays}", start, size)
        except (OSError, ValueError):
            cell[member] = b""
    return cell


def _is_sound(cell: CellFiles) -> bool:
    """Report whether all files of a cell are there and undamaged."""
    try:
        content = decode(cell[CELL])
        tensors.check_files(content)
        for name in content.files:
            tensors.check(name, content, cell[name])
    except (Damage, UnknownFormat, KeyError):
        return False
    return True


def _readable_rows(data: bytes) -> Iterator[tuple[dict[str, Any], str]]:
    """Readable rows of an index, damaged or not, each with the name of its arrays."""
    pa = arrow()
    try:
        index = pa.parquet.ParquetFile(pa.BufferReader(data))
        arrays = arrays_name(index)
    except Exception:  # reading arbitrary bytes may raise anything
        return
    for group in range(index.num_row_groups):
        try:
            rows = index.read_row_group(group, columns=list(COLUMNS)).to_pylist()
        except Exception:
            continue
        for row in rows:
            if _is_plausible(row):
                yield row, arrays


def _is_plausible(row: dict[str, Any]) -> bool:
    """Report whether a row has values of the right types, and names that are safe in paths."""
    try:
        check_row(row["key"], row["names"], row["starts"], row["sizes"])
    except Damage:
        return False
    return isinstance(row["cell"], str)
