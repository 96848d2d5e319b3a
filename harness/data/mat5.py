"""Arrays of bytes in MATLAB files of level 5, as SVHN is published. Nothing else is read.

A file is a header of 128 bytes and a sequence of elements; each is a tag (type and length) and its
data, padded to 8 bytes. An array is an element whose data are elements again: flags, dimensions,
name, values. It may be compressed by zlib. (MathWorks, MAT-File Format, level 5.)
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator

import numpy as np

from harness.errors import DataError

HEADER = 128
UINT8, UINT32 = 2, 6
INT8, INT32 = 1, 5
MATRIX, COMPRESSED = 14, 15
BYTES_CLASS = 9
"""Class of an array of uint8 values."""


def read_bytes_arrays(content: bytes, where: str, most: int) -> dict[str, np.ndarray]:
    """Read all arrays of uint8 values of a MATLAB file.

    Args:
        content: the file.
        where: the name of the file in errors.
        most: bytes that all arrays may have together.

    Returns:
        The arrays by name, in MATLAB's order of dimensions.

    Raises:
        DataError: If the file is damaged, of another level, or has larger arrays.
    """
    if not content.startswith(b"MATLAB 5.0 MAT-file") or content[126:128] != b"IM":
        raise DataError(
            "not a MATLAB file of level 5 (little-endian)",
            where=where,
            hint="fetch it again; files of other levels can be saved with -v6 or -v7",
        )
    arrays: dict[str, np.ndarray] = {}
    left = most
    try:
        for kind, data in _elements(content[HEADER:]):
            raw = data
            if kind == COMPRESSED:
                raw = _decompressed(data, left)
                ((kind, raw),) = _elements(raw)
            left -= len(raw)
            if kind == MATRIX:
                named = _array(raw)
                arrays.update([named] if named else [])
    except (ValueError, struct.error, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"cannot be read: {error}", where=where, hint="fetch it again") from error
    return arrays


def _elements(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Split bytes into elements: type and data."""
    start = 0
    while start < len(content):
        kind, size = struct.unpack_from("<II", content, start)
        if kind >> 16:
            # Up to four bytes of data are packed into the tag.
            size = kind >> 16
            kind &= 0xFFFF
            first = start + 4
            start += 8
        else:
            first = start + 8
            # Compressed elements are not padded.
            start = first + size + (-size % 8 if kind != COMPRESSED else 0)
        if first + size > len(content):
            raise ValueError(f"cut off: an element promises {size} bytes")
        yield kind, content[first : first + size]


def _decompressed(data: bytes, most: int) -> bytes:
    unpacker = zlib.decompressobj()
    raw = unpacker.decompress(data, most + 1)
    if len(raw) > most:
        raise ValueError(f"more than {most} bytes are packed into it")
    if not unpacker.eof:
        raise ValueError("cut off: compressed data without an end")
    return raw


def _array(data: bytes) -> tuple[str, np.ndarray] | None:
    """The name and the values of an array; None for other types than uint8."""
    elements = list(_elements(data))
    if len(elements) < 4 or [kind for kind, _ in elements[:3]] != [UINT32, INT32, INT8]:
        raise ValueError("an array without flags, dimensions and name")
    (_, flags), (_, dimensions), (_, name), (kind, values), *_ = elements
    if not flags or flags[0] != BYTES_CLASS:
        return None
    shape = tuple(int(extent) for extent in np.frombuffer(dimensions, "<i4"))
    if kind != UINT8 or min(shape, default=-1) < 0 or len(values) != math.prod(shape):
        raise ValueError(f"{len(values)} values do not fit the shape {shape}")
    return name.decode("ascii"), np.frombuffer(values, np.uint8).reshape(shape, order="F")
