"""The idx format of MNIST: a short big-endian header, then uint8 values; gzipped or raw."""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from harness.errors import DataError

LARGEST = 1 << 27
"""Most bytes of an idx file after unpacking; MNIST's training images are 47 million."""
UINT8 = b"\x00\x00\x08"
"""The first three bytes of an idx file of uint8 values; the fourth is the number of dimensions."""


def read_idx(path: Path, sha256: str | None = None) -> np.ndarray:
    """Read the array of an idx file of uint8 values.

    Args:
        path: a raw or a gzipped file; its first two bytes tell which.
        sha256: the hash that the raw bytes must have; None accepts any content.

    Raises:
        DataError: If the file is damaged, has another type, or is not the expected one.
    """
    return parse_idx(_read_raw(path), str(path), sha256)


def parse_idx(raw: bytes, where: str, sha256: str | None = None) -> np.ndarray:
    """Read the array in the unpacked bytes of an idx file; see ``read_idx``.

    Args:
        raw: the bytes.
        where: the name of the file in errors.
        sha256: the hash that they must have; None accepts any content.

    Raises:
        DataError: If they are damaged, have another type, or are not the expected ones.
    """
    if len(raw) < 4 or raw[:3] != UINT8:
        raise DataError("not an idx file of uint8 values", where=where, hint="fetch it again")
    dimensions = raw[3]
    header = 4 + 4 * dimensions
    shape: tuple[int, ...] = ()
    if len(raw) >= header:
        shape = tuple(int(extent) for extent in np.frombuffer(raw, ">u4", dimensions, 4))
    if len(shape) != dimensions or len(raw) != header + math.prod(shape):
        raise DataError(
            f"damaged: the header promises {shape}, the file has {len(raw)} bytes",
            where=where,
            hint="fetch it again",
        )
    if sha256 is not None:
        actual = hashlib.sha256(raw).hexdigest()
        if actual != sha256:
            raise DataError(
                f"not the expected content: sha256 {actual[:16]}..., expected {sha256[:16]}...",
                where=where,
                hint="it may belong to another dataset of the MNIST family; fetch the right one",
            )
    return np.frombuffer(raw, np.uint8, offset=header).reshape(shape)


def write_idx(path: Path, array: np.ndarray) -> None:
    """Write a uint8 array as a gzipped idx file.

    The same array gives the same bytes: neither a time nor the file's name is stored.

    Args:
        path: the file, replaced if it exists.
        array: uint8, of any shape.
    """
    header = UINT8 + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes(), compresslevel=9, mtime=0))


def _read_raw(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            is_gzipped = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if is_gzipped else path.open("rb") as file:
            raw = file.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"cannot be read: {error}", where=str(path), hint="fetch it again"
        ) from error
    if len(raw) > LARGEST:
        raise DataError(
            f"cannot be read: more than {LARGEST} bytes after unpacking",
            where=str(path),
            hint="fetch it again",
        )
    return raw
