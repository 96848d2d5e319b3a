"""The idx format of the MNIST family: a short big-endian header, then uint8 values; gzipped or raw."""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from pathlib import Path

import numpy as np

from harness.errors import DataError

LARGEST = 1 << 27
"""Bytes of an idx file, unpacked; MNIST's training images are 47 million."""


def read_idx(path: Path, sha256: str | None = None) -> np.ndarray:
    """The array in an idx file of uint8 values.

    Args:
        path: a raw or a gzipped file, told apart by its first two bytes.
        sha256: what the raw bytes must hash to; None: anything goes.

    Raises:
        DataError: the file is damaged, of another type, or not the expected one.
    """
    raw = _raw_bytes(path)
    if len(raw) < 4 or raw[:3] != b"\x00\x00\x08":
        raise DataError("not an idx file of uint8 values", where=str(path), hint="fetch it again")
    dimensions = raw[3]
    shape = (
        tuple(int(n) for n in np.frombuffer(raw, ">u4", dimensions, 4))
        if len(raw) >= 4 + 4 * dimensions
        else ()
    )
    header = 4 + 4 * dimensions
    if len(raw) != header + math.prod(shape) or len(shape) != dimensions:
        raise DataError(
            f"damaged: the header promises {shape}, the file holds {len(raw)} bytes",
            where=str(path),
            hint="fetch it again",
        )
    if sha256 is not None and (found := hashlib.sha256(raw).hexdigest()) != sha256:
        raise DataError(
            f"not the expected content: sha256 {found[:16]}..., expected {sha256[:16]}...",
            where=str(path),
            hint="it may belong to another data set of the MNIST family; fetch the right one",
        )
    return np.frombuffer(raw, np.uint8, offset=header).reshape(shape)


def _raw_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            gzipped = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if gzipped else path.open("rb") as file:
            raw = file.read(LARGEST + 1)
        if len(raw) > LARGEST:
            raise OSError(f"more than {LARGEST} bytes, unpacked")
        return raw
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"cannot be read: {error}", where=str(path), hint="fetch it again"
        ) from error
