"""Arrays out of pickle files, without running what a pickle asks for.

A pickle is a program: it may name any function of any module and have it called. Here every name but the few by which
numpy arrays are put together is refused, and those few are not numpy's own functions but plain recorders: what they
recorded is looked at, and made into an array, only when the whole file has been read.
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


def read_pickled(source: Path | bytes, where: str) -> Any:
    """Lists, tuples, dicts, numbers, strings and numpy arrays from a pickle of any protocol (Python 2's too).

    Args:
        source: the file (read through a memory map), or its bytes.
        where: named in errors.

    Raises:
        DataError: it is damaged, or asks for anything that is not data.
    """
    try:
        if isinstance(source, bytes):
            return _plain(_Reader(io.BytesIO(source)).load())
        with (
            source.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        ):
            return _plain(_Reader(mapped).load())
    except _Refused as error:
        raise DataError(
            f"refused: this pickle asks for {error}, and is no plain file of arrays",
            where=where,
            hint="nothing in it was executed; get the file from a source that you trust",
        ) from error
    except Exception as error:  # a damaged pickle brings up any kind of error, MemoryError and RecursionError among them
        raise DataError(
            f"not a readable pickle of arrays: {type(error).__name__}: {error}",
            where=where,
            hint="fetch it again",
        ) from error


class _Refused(Exception):
    """A pickle that wants more than data."""


class _Recorded:
    """Something of numpy's that a file has described."""

    def numpy(self) -> np.ndarray | np.dtype:
        """What was described, after it has been looked at."""
        raise NotImplementedError


# Python's own unpickler, not the C one: that allocates whatever length a file names (a memo slot of 2**31, say).
class _Reader(pickle._Unpickler):
    """An unpickler that knows four functions, all of them here; new ones for each file, so that a file cannot alter them."""

    def __init__(self, file: Any):
        super().__init__(file, encoding="latin1")  # Python 2 wrote the bytes of arrays as text
        self._known = _recorders()

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        """The recorder for a name by which numpy puts arrays together."""
        module = module.replace("numpy._core.", "numpy.core.")
        if (module, name) not in self._known:
            raise _Refused(f"{module}.{name}"[:120])
        return self._known[module, name]

    def persistent_load(self, _: Any) -> Any:
        """Objects outside the file are refused."""
        raise _Refused("an object outside the file")

    def get_extension(self, code: int) -> Any:
        """Extension codes name functions by number."""
        raise _Refused(f"extension {code}")

    def load_bytearray8(self) -> None:
        """Bytes that are there, where Python's own makes room for as many as are promised."""
        (size,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(size)))

    dispatch = pickle._Unpickler.dispatch | {pickle.BYTEARRAY8[0]: load_bytearray8}


def _recorders() -> dict[tuple[str, str], Callable[..., Any]]:
    class Type(_Recorded):
        """A dtype."""

        def __init__(self, name: Any, *_: Any):
            self.name, self.order = name, "|"

        def __setstate__(self, state: Any) -> None:
            self.order = state[1]

        def numpy(self) -> np.dtype:
            if self.name not in TYPES:
                raise _Refused(f"values of type {self.name!r}"[:120])
            return np.dtype(self.name).newbyteorder(self.order)

    class Array(_Recorded):
        """An array whose content comes with its state."""

        def __setstate__(self, state: Any) -> None:
            _, self.shape, self.type, self.fortran, self.raw = state

        def numpy(self) -> np.ndarray:
            if not isinstance(self.type, Type):
                raise _Refused("an array without a type")
            kind, shape = self.type.numpy(), tuple(self.shape)
            raw = self.raw.encode("latin1") if isinstance(self.raw, str) else self.raw
            if (
                not isinstance(raw, (bytes, bytearray))
                or not all(type(n) is int and n >= 0 for n in shape)
                or len(raw) != math.prod(shape) * kind.itemsize
            ):
                raise ValueError(f"an array of shape {shape} that holds something else")
            return np.frombuffer(raw, kind).reshape(shape, order="F" if self.fortran else "C")

    def from_buffer(raw: Any, kind: Any, shape: Any, order: Any) -> Array:
        array = Array()
        array.__setstate__((1, shape, kind, order == "F", raw))
        return array

    def scalar(kind: Any, raw: Any) -> Array:
        return from_buffer(raw, kind, (), "C")

    def encode(text: Any, encoding: Any) -> bytes:
        if encoding != "latin1" or not isinstance(text, str):
            raise _Refused("an encoding")
        return text.encode("latin1")

    def array_class(*_: Any) -> None:
        raise _Refused("a bare array")

    return {
        ("numpy", "dtype"): lambda name, *_: Type(name),
        ("numpy", "ndarray"): array_class,
        ("numpy.core.multiarray", "_reconstruct"): lambda *_: Array(),
        ("numpy.core.multiarray", "scalar"): scalar,
        ("numpy.core.numeric", "_frombuffer"): from_buffer,
        ("_codecs", "encode"): encode,
    }


def _plain(value: Any) -> Any:
    """``value`` with what the recorders recorded made into arrays and numbers, at most three containers deep."""
    return _made(value, 3, {})


def _made(value: Any, depth: int, known: dict[tuple[int, int], Any]) -> Any:
    """``known``: what has been made, by identity: a file may refer to one list a million times from another."""
    if value is None or type(value) in (bool, int, float, str, bytes, bytearray):
        return value
    if (id(value), depth) not in known:
        known[id(value), depth] = _container(value, depth, known)
    return known[id(value), depth]


def _container(value: Any, depth: int, known: dict[tuple[int, int], Any]) -> Any:
    if isinstance(value, _Recorded):
        array = value.numpy()
        return array if getattr(array, "shape", ()) else array.item()
    if type(value) is dict and depth:
        return {key: _made(item, depth - 1, known) for key, item in value.items()}
    if type(value) in (list, tuple) and depth:
        return [_made(item, depth - 1, known) for item in value]
    raise _Refused(f"an object of type {type(value).__name__}")
