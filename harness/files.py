"""Writing files whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import time
from pathlib import Path

from harness.errors import StoreError

STALE_S = 3600
"""A temporary file that old belongs to a process that was killed."""


def write_atomically(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data``, its folder made if need be; a reader sees the old file or the new one, never half of it.

    Raises:
        StoreError: where the folder cannot be made or written.
    """
    make_folder(path.parent)
    try:
        _sweep(path)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise _explained(error, path) from error


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, if it is not there.

    Raises:
        StoreError: where it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _explained(error, folder) from error


def _explained(error: OSError, path: Path) -> StoreError:
    hint = "free some space and run again" if error.errno == errno.ENOSPC else "choose a folder that can be written"
    return StoreError(f"cannot write it: {error.strerror}", where=str(path), hint=hint)


def _sweep(path: Path) -> None:
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > STALE_S:
                left.unlink()
