"""The arrays of many cells in one safetensors file, in little space.

Equal arrays are stored once, because all learners of a suite are measured on the same images.
Verdicts (uint8, 0 or 1) are stored as bits, and int64 in as few bytes as the values need.
A tensor's name says how to restore the array:

* ``7``: array number 7, stored unchanged;
* ``8/bits/600x100``: one bit for each element of a uint8 array of that shape;
* ``9/int64``: an int64 array, stored as a smaller integer type.
"""

from __future__ import annotations

import hashlib
import math
import re

import numpy as np

from harness.errors import HarnessError
from harness.storage import tensors
from harness.storage.cellfile import Damage

MOST_BYTES = 2**27
"""Largest size of all restored arrays of a file together."""
MOST_ELEMENTS = 2**22
"""Largest number of units behind one number."""

_NAME = re.compile(r"\d{1,9}(?:/bits/(?P<shape>\d{1,10}(?:x\d{1,10}){0,7})|/(?P<wide>int64))?")


class ArrayWriter:
    """Collects arrays and writes them into one safetensors file.

    >>> writer = ArrayWriter()
    >>> writer.add(np.array([[1, 0, 1]], np.uint8)), writer.add(np.array([3, 500]))
    ('0/bits/1x3', '1/int64')
    >>> writer.add(np.array([3, 500]))  # an equal array is stored once
    '1/int64'
    """

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._tensors: dict[str, np.ndarray] = {}

    def add(self, array: np.ndarray) -> str:
        """Add an array, unless an equal one has been added.

        Returns:
            The name of its tensor in the file.
        """
        content = np.ascontiguousarray(array)
        digest = hashlib.sha256(content.tobytes())
        digest.update(f"{content.dtype.str} {content.shape}".encode())
        known = digest.hexdigest()
        if known not in self._names:
            suffix, tensor = _shrunk(content)
            name = f"{len(self._names)}{suffix}"
            self._names[known] = name
            self._tensors[name] = tensor
        return self._names[known]

    def to_bytes(self) -> bytes:
        """Return the file. The same arrays in the same order give the same bytes.

        Raises:
            HarnessError: no reader would accept that much.
        """
        from safetensors.numpy import save

        _check_size(self._tensors)
        return save(self._tensors)


class ArrayReader:
    """Restores arrays from the file of an ``ArrayWriter``.

    Each is restored once, however many cells share it.

    Args:
        data: the file.

    Raises:
        HarnessError: not such a file, or too large when restored.
    """

    def __init__(self, data: bytes) -> None:
        self._tensors = load(data)
        self._restored: dict[str, np.ndarray] = {}
        _check_size(self._tensors)

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def __getitem__(self, name: str) -> np.ndarray:
        """Return the array that ``ArrayWriter.add`` gave this name."""
        if name not in self._restored:
            array = _restored(name, self._tensors[name])
            array.flags.writeable = False
            self._restored[name] = array
        return self._restored[name]


def load(data: bytes) -> dict[str, np.ndarray]:
    """Read a safetensors file.

    Raises:
        HarnessError: it is damaged, or holds a type that NumPy lacks.
    """
    try:
        return tensors.load(data)
    except Damage as damage:
        raise HarnessError(str(damage)) from None


def _check_size(stored: dict[str, np.ndarray]) -> None:
    size = sum(_restored_bytes(name, tensor) for name, tensor in stored.items())
    if size > MOST_BYTES:
        raise HarnessError(
            f"its arrays would take {size / 2**20:.0f} MiB; "
            f"the limit is {MOST_BYTES / 2**20:.0f} MiB"
        )


def _shrunk(array: np.ndarray) -> tuple[str, np.ndarray]:
    """Return the suffix of a tensor's name and the tensor that an array is stored as."""
    if array.size == 0 or array.ndim == 0:
        return "", array
    if array.dtype == np.uint8 and array.max() <= 1:
        shape = "x".join(map(str, array.shape))
        return f"/bits/{shape}", np.packbits(array)
    if array.dtype == np.int64:
        smallest = np.promote_types(
            np.min_scalar_type(int(array.min())), np.min_scalar_type(int(array.max()))
        )
        if smallest.kind in "iu" and smallest.itemsize < array.itemsize:
            return "/int64", array.astype(smallest)
    return "", array


def _restored(name: str, tensor: np.ndarray) -> np.ndarray:
    shape = _shape_of_bits(name, tensor)
    if shape is not None:
        return np.unpackbits(tensor, count=math.prod(shape)).reshape(shape)
    return tensor.astype(np.int64) if name.endswith("/int64") else tensor


def _restored_bytes(name: str, tensor: np.ndarray) -> int:
    shape = _shape_of_bits(name, tensor)
    if shape is not None:
        return math.prod(shape)
    return tensor.size * 8 if name.endswith("/int64") else tensor.nbytes


def _shape_of_bits(name: str, tensor: np.ndarray) -> tuple[int, ...] | None:
    """Return the shape of an array that is stored as bits, None for any other.

    Raises:
        HarnessError: the name is not one that ``ArrayWriter`` gives to such a tensor.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise HarnessError(f"unexpected tensor {name[:80]!r}")
    if match["wide"] and tensor.dtype.kind not in "iu":
        raise HarnessError(f"tensor {name!r} does not hold integers")
    if match["shape"] is None:
        return None
    shape = tuple(map(int, match["shape"].split("x")))
    packed_bytes = -(-math.prod(shape) // 8)
    if tensor.dtype != np.uint8 or tensor.shape != (packed_bytes,):
        raise HarnessError(f"tensor {name!r} does not hold that many bits")
    return shape
