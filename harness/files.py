"""Writing files whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.errors import StoreError

STALE_S = 3600
"""A temporary file that old belongs to a process that was killed."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside ``path`` that takes its place when the block ends well, and is removed when it does not.

    The folder is made if need be; a reader sees the old file or the new one, never half of it.

    Raises:
        StoreError: where the folder cannot be made or written.
    """
    make_folder(path.parent)
    try:
        _sweep(path)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(handle)
        try:
            yield Path(name)
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise _explained(error, path) from error


def write_atomically(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data``, whole or not at all: see ``replacing``."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


@contextlib.contextmanager
def installing(target: Path) -> Iterator[Path]:
    """A folder beside ``target`` whose files are moved there when the block ends well, and removed when it does not.

    Where ``target`` is not there yet, it appears with all of its files at once.

    Raises:
        StoreError: where folders cannot be made or written.
    """
    make_folder(target.parent)
    _sweep(target, "incoming", shutil.rmtree)
    try:
        staging = Path(
            tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".incoming", dir=target.parent)
        )
        try:
            yield staging
            os.chmod(staging, 0o755)
            if not target.exists():
                os.rename(staging, target)
                return
            for file in sorted(path for path in staging.rglob("*") if path.is_file()):
                place = target / file.relative_to(staging)
                place.parent.mkdir(parents=True, exist_ok=True)
                os.replace(file, place)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise _explained(error, target) from error


@contextlib.contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Keep other processes out of the block meanwhile, where the file system can lock."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, ImportError):
            import fcntl

            lock.parent.mkdir(parents=True, exist_ok=True)
            fcntl.flock(
                stack.enter_context(lock.open("w")), fcntl.LOCK_EX
            )  # released by the kernel, even after kill -9
        yield


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
    hint = (
        "free some space and run again"
        if error.errno == errno.ENOSPC
        else "choose a folder that can be written"
    )
    return StoreError(f"cannot write it: {error.strerror}", where=str(path), hint=hint)


def _sweep(path: Path, ending: str = "tmp", remove: Callable[[Path], None] = Path.unlink) -> None:
    for left in path.parent.glob(f".{path.name}.*.{ending}"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > STALE_S:
                remove(left)
