"""What an unfinished cell has so far: ``partial/<key>``, removed when the cell is finished."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from harness.errors import StoreError
from harness.storage import tensors
from harness.storage.cellfile import Damage, digest
from harness.storage.pack_format import Files

FOLDER = "partial"
_DIGEST_BYTES = 64


def partial_name(key: str) -> str:
    """The file of a cell, from the root of the store."""
    return f"{FOLDER}/{key}"


class StoredArrays:
    """Arrays of an unfinished cell: the sha256 of the content, then the content.

    Args:
        files: Of the store.
        key: Of the cell.
    """

    def __init__(self, files: Files, key: str) -> None:
        self._files = files
        self._name = partial_name(key)

    def load(self) -> dict[str, np.ndarray]:
        """Read what was saved last; empty if there is nothing, or it is damaged."""
        try:
            content = self._files.read(self._name)
            head, data = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
            return tensors.load(data) if head == digest(data).encode() else {}
        except (OSError, StoreError, Damage):
            return {}

    def save(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Replace what was saved before, in one step.

        Raises:
            StoreError: The disk is full or not writable.
        """
        from safetensors import numpy as safetensors

        # ``ascontiguousarray`` alone makes a number an array of one.
        contiguous = {
            name: np.ascontiguousarray(each).reshape(np.shape(each))
            for name, each in sorted(arrays.items())
        }
        data = safetensors.save(contiguous)
        self._files.write(self._name, digest(data).encode() + data)
