"""Reading arrays from pickle files without running what a pickle asks for.

A pickle is a program: it may name any function of any module and have it called. Here every name is
refused except the few that numpy needs to rebuild arrays. Even those are not numpy's own functions
but recorders, which only keep their arguments. When the whole file has been read, the recorded
arguments are checked and made into arrays.
"""

from __future__ import annotations

import io
import math
import mmap
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import DataError

TYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8")
"""Types of values that an array may have."""
DEPTH = 3
"""Containers that may be nested."""


def read_pickled(source: Path | bytes, where: str) -> Any:
    """Read lists, tuples, dicts, numbers, strings and numpy arrays from a pickle of any protocol.

    Tuples become lists, and numpy scalars become numbers. Pickles of Python 2 are read too.

    Args:
        source: the file (memory-mapped) or its bytes.
        where: the name of the file in errors.

    Raises:
        DataError: If the pickle is damaged or asks for anything that is not data.
    """
    try:
        return _read(source)
    except _Refused as error:
        raise DataError(
            f"refused: this pickle asks for {error}, which a plain file of arrays does not need",
            where=where,
            hint="nothing in it was executed; get the file from a source that you trust",
        ) from error
    # Damaged pickles cause errors of all kinds, MemoryError and RecursionError among them.
    except Exception as error:
        raise DataError(
            f"not a readable pickle of arrays: {type(error).__name__}: {error}",
            where=where,
            hint="fetch it again",
        ) from error


def _read(source: Path | bytes) -> Any:
    if isinstance(source, bytes):
        return _convert(_Reader(io.BytesIO(source)).load(), DEPTH, {})
    with (
        source.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
    ):
        return _convert(_Reader(mapped).load(), DEPTH, {})


class _Refused(Exception):
    """A pickle asks for more than data."""


class _Recorded:
    """Something that numpy would have built."""

    def value(self) -> Any:
        """Check the recorded arguments, and build the array, number or type that they describe."""
        raise NotImplementedError


class _Type(_Recorded):
    """A dtype."""

    def __init__(self, name: Any, *_: Any) -> None:
        self.name = name
        self.order = "|"

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]

    def value(self) -> np.dtype:
        if self.name not in TYPES:
            raise _Refused(f"values of type {self.name!r}"[:120])
        return np.dtype(self.name).newbyteorder(self.order)


class _Array(_Recorded):
    """An array; its content arrives with its state."""

    def __setstate__(self, state: Any) -> None:
        _, self.shape, self.type, self.is_fortran, self.raw = state

    def value(self) -> Any:
        if not isinstance(self.type, _Type):
            raise _Refused("an array without a type")
        dtype = self.type.value()
        shape = tuple(self.shape)
        # Python 2 wrote bytes as text.
        raw = self.raw.encode("latin1") if isinstance(self.raw, str) else self.raw
        is_shape = all(type(extent) is int and extent >= 0 for extent in shape)
        if (
            not is_shape
            or not isinstance(raw, (bytes, bytearray))
            or len(raw) != math.prod(shape) * dtype.itemsize
        ):
            raise ValueError(f"the content of an array does not fit its shape {shape}")
        array = np.frombuffer(raw, dtype).reshape(shape, order="F" if self.is_fortran else "C")
        return array if shape else array.item()


def _recorders() -> dict[tuple[str, str], Callable[..., Any]]:
    """A recorder for each name that may be used, by (module, name).

    A pickle can set attributes of the classes that it reaches. The classes are therefore made for
    each file, so that no file can change how the next one is read.
    """

    class Type(_Type):
        pass

    class Array(_Array):
        pass

    def reconstruct(*_: Any) -> Array:
        return Array()

    def from_buffer(raw: Any, dtype: Any, shape: Any, order: Any) -> Array:
        array = Array()
        array.__setstate__((1, shape, dtype, order == "F", raw))
        return array

    def scalar(dtype: Any, raw: Any) -> Array:
        return from_buffer(raw, dtype, (), "C")

    def array_type(name: Any, *_: Any) -> Type:
        return Type(name)

    return {
        ("numpy", "dtype"): array_type,
        ("numpy", "ndarray"): _refuse_bare_array,
        ("numpy.core.multiarray", "_reconstruct"): reconstruct,
        ("numpy.core.multiarray", "scalar"): scalar,
        ("numpy.core.numeric", "_frombuffer"): from_buffer,
        ("_codecs", "encode"): _encode,
    }


def _refuse_bare_array(*_: Any) -> None:
    """``numpy.ndarray`` is only ever an argument of ``_reconstruct``, never called."""
    raise _Refused("a bare array")


def _encode(text: Any, encoding: Any) -> bytes:
    """Python 3 writes bytes for protocols 0 to 2 as text with its encoding."""
    if encoding != "latin1" or not isinstance(text, str):
        raise _Refused("an encoding")
    return text.encode("latin1")


# Python's own unpickler, because the C one allocates whatever length a file names (a memo slot of
# 2**31, say).
class _Reader(pickle._Unpickler):
    """An unpickler that knows the recorders and nothing else."""

    def __init__(self, file: Any) -> None:
        super().__init__(file, encoding="latin1")  # Python 2 wrote the bytes of arrays as text
        self._recorders = _recorders()

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        """Look up a name that the pickle uses."""
        key = (module.replace("numpy._core.", "numpy.core."), name)
        if key not in self._recorders:
            raise _Refused(".".join(key)[:120])
        return self._recorders[key]

    def persistent_load(self, pid: Any) -> Any:
        """Refuse objects outside the file."""
        raise _Refused("an object outside the file")

    def get_extension(self, code: int) -> Any:
        """Refuse extension codes, which name functions by number."""
        raise _Refused(f"extension {code}")


def _load_bytearray8(reader: Any) -> None:
    """Read a bytearray; Python's own version first allocates the length that the file claims."""
    (size,) = struct.unpack("<Q", reader.read(8))
    reader.append(bytearray(reader.read(size)))


_Reader.dispatch = {**pickle._Unpickler.dispatch, pickle.BYTEARRAY8[0]: _load_bytearray8}


def _convert(value: Any, depth: int, known: dict[tuple[int, int], Any]) -> Any:
    """Replace recorded arrays in nested containers by real ones.

    Args:
        value: what the pickle holds.
        depth: containers that may still be nested.
        known: results by identity and depth. A small file may refer to one list a million times.
    """
    if value is None or type(value) in (bool, int, float, str, bytes, bytearray):
        return value
    key = (id(value), depth)
    if key not in known:
        known[key] = _convert_object(value, depth, known)
    return known[key]


def _convert_object(value: Any, depth: int, known: dict[tuple[int, int], Any]) -> Any:
    if isinstance(value, _Recorded):
        return value.value()
    if type(value) is dict and depth:
        return {key: _convert(item, depth - 1, known) for key, item in value.items()}
    if type(value) in (list, tuple) and depth:
        return [_convert(item, depth - 1, known) for item in value]
    raise _Refused(f"an object of type {type(value).__name__}")
