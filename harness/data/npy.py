"""Numpy's .npy format, read without numpy's parser, which evaluates headers and may unpickle."""

from __future__ import annotations

import math
import re
import struct

import numpy as np

MAGIC = b"\x93NUMPY"
LONGEST = 4096
"""Most bytes of what is before the values; numpy writes 128 for arrays of plain types."""
TYPES = re.compile(r"[<>|=]?(?:[uif][1248]|b1)")
"""Types of plain numbers; pickled objects are none."""
HEADER = re.compile(
    r"\{'descr': '(?P<type>[^']+)', 'fortran_order': (?P<fortran>True|False), "
    r"'shape': \((?P<shape>(?:\d+,? ?)*)\),? ?\}\s*"
)


class Header:
    """What precedes the values of an array.

    Args:
        content: the first ``LONGEST`` bytes of the file, or more.

    Attributes:
        start: position of the first value.
        dtype: type of the values.
        shape: extents of the array.
        is_fortran: whether the first index changes fastest.

    Raises:
        ValueError: If it is no .npy file of plain numbers.
    """

    def __init__(self, content: bytes) -> None:
        if not content.startswith(MAGIC) or len(content) < 12:
            raise ValueError("not a .npy array")
        version = content[6]
        first = 10 if version == 1 else 12
        (size,) = struct.unpack_from("<H" if version == 1 else "<I", content, 8)
        self.start = first + size
        match = HEADER.fullmatch(content[first : self.start].decode("latin1"))
        if self.start > LONGEST or match is None:
            raise ValueError("not a .npy array of plain numbers")
        if not TYPES.fullmatch(match["type"]):
            raise ValueError(f"values of type {match['type']!r}; pickled objects are not read")
        self.dtype = np.dtype(match["type"])
        self.shape = tuple(int(extent) for extent in re.findall(r"\d+", match["shape"]))
        self.is_fortran = match["fortran"] == "True"


def read_npy(content: bytes) -> np.ndarray:
    """Read the array of a .npy file.

    Raises:
        ValueError: If it is damaged, or does not hold plain numbers.
    """
    header = Header(content)
    size = math.prod(header.shape) * header.dtype.itemsize
    if len(content) != header.start + size:
        raise ValueError(f"cut off: {len(content) - header.start} bytes of values, not {size}")
    values = np.frombuffer(content, header.dtype, offset=header.start)
    return values.reshape(header.shape, order="F" if header.is_fortran else "C")
