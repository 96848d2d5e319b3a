"""Files of arrays (safetensors) that anyone may have written."""

from __future__ import annotations

from collections.abc import Container

import numpy as np

from harness.storage.cellfile import CellFile, Damage

SUFFIX = ".safetensors"
VERDICTS = "verdicts.safetensors"
"""The file of arrays that the values of a cell name."""
MOST_HEADER_BYTES = 2**24
"""Largest description of arrays that is accepted; it takes many times as much memory."""


def load(data: bytes) -> dict[str, np.ndarray]:
    """Read a safetensors file.

    Raises:
        Damage: it is no such file, or holds a type that NumPy lacks.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load as load_tensors

    if int.from_bytes(data[:8], "little") > MOST_HEADER_BYTES:
        raise Damage("not a safetensors file of arrays: its header is too large")
    try:
        arrays: dict[str, np.ndarray] = load_tensors(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise Damage(f"not a safetensors file of arrays: {reason}") from None
    return arrays


def check(name: str, cell: CellFile, data: bytes) -> None:
    """Compare a file of a cell with what was recorded, and see that its arrays can be read.

    Raises:
        Damage: it differs, is no file of arrays although its name says so, or lacks an array that
            a value of the cell names.
    """
    cell.files[name].check(data)
    if name.endswith(SUFFIX):
        arrays = load(data)
        if name == VERDICTS:
            check_named(cell, arrays)


def check_files(cell: CellFile) -> None:
    """See that a cell has a file of verdicts if its values name any.

    Raises:
        Damage: it has none.
    """
    if VERDICTS not in cell.files:
        check_named(cell, ())


def check_named(cell: CellFile, arrays: Container[str]) -> None:
    """See that there are the arrays which the values of a cell name.

    Raises:
        Damage: one is missing.
    """
    for value in cell.result["values"]:
        name = value["verdicts"]
        if name is not None and name not in arrays:
            raise Damage(f"it has no array {name!r}, which {value['metric']} names")
