"""Files of arrays (safetensors) that anyone may have written."""

from __future__ import annotations

import numpy as np

from harness.storage.cellfile import Damage, Member

SUFFIX = ".safetensors"
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


def check(name: str, member: Member, data: bytes) -> None:
    """Compare a file of a cell with what was recorded, and see that its arrays can be read.

    Raises:
        Damage: it differs, or is no file of arrays although its name says so.
    """
    member.check(data)
    if name.endswith(SUFFIX):
        load(data)
