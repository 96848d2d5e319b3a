"""Writing files whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from harness.errors import StoreError


def write_atomically(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data``; a reader sees the old file or the new one, never half of it.

    Raises:
        StoreError: where the folder cannot be made or written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        hint = "free some space and run again" if error.errno == errno.ENOSPC else "choose a folder that can be written"
        raise StoreError(f"cannot write it: {error.strerror}", where=str(path), hint=hint) from error
