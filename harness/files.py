"""Writing files whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.errors import StoreError

STALE_S = 3600
"""Age in seconds at which a temporary file counts as left behind by a killed process."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file that replaces ``path`` if the block succeeds, and is removed if not.

    The folder is created if needed. A reader sees the old file or the new one, never a part of it.

    Raises:
        StoreError: the folder cannot be created or written.
    """
    make_folder(path.parent)
    try:
        _remove_leftovers(path, "tmp", Path.unlink)
        temporary = _beside(path, "tmp")
        temporary.touch(exist_ok=False)
        try:
            mode = (path if path.exists() else temporary).stat().st_mode
            yield temporary
            # Libraries may have put a private file of their own there.
            temporary.chmod(stat.S_IMODE(mode))
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise _cannot_write(error, path) from error


def write_atomically(path: Path, data: bytes) -> None:
    """Replace the content of ``path`` whole or not at all; see ``replacing``."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Replace the content of ``path`` by UTF-8 text; see ``replacing``.

    A name of a file that is not UTF-8 is escaped.
    """
    write_atomically(path, text.encode("utf-8", errors="backslashreplace"))


@contextlib.contextmanager
def installing(target: Path) -> Iterator[Path]:
    """Yield a folder whose files are moved to ``target`` if the block succeeds.

    If ``target`` does not exist yet, it appears with all of its files at once. If the block fails,
    the files are removed.

    Raises:
        StoreError: a folder cannot be created or written.
    """
    make_folder(target.parent)
    _remove_leftovers(target, "incoming", shutil.rmtree)
    try:
        staging = _beside(target, "incoming")
        staging.mkdir()
        try:
            yield staging
            if target.exists():
                _move_files(staging, target)
            else:
                os.rename(staging, target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise _cannot_write(error, target) from error


def _beside(path: Path, suffix: str) -> Path:
    """A new hidden name in the folder of ``path``.

    Files and folders get the permissions that the umask leaves; those of ``tempfile`` are always
    private.
    """
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.{suffix}")


def _move_files(source: Path, target: Path) -> None:
    for file in sorted(path for path in source.rglob("*") if path.is_file()):
        destination = target / file.relative_to(source)
        destination.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file, destination)


@contextlib.contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Keep other processes out of the block while this one is in it.

    Args:
        lock: file to lock; created if needed. On a file system without locks nothing is kept out.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, ImportError):
            import fcntl

            lock.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(lock.open("wb"))
            fcntl.flock(file, fcntl.LOCK_EX)  # released by the kernel, even after kill -9
        yield


def make_folder(folder: Path) -> None:
    """Create a folder, and those above it, if it does not exist.

    Raises:
        StoreError: it cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(error, folder) from error


def _cannot_write(error: OSError, path: Path) -> StoreError:
    if error.errno == errno.ENOSPC:
        hint = "free some space and run again"
    else:
        hint = "choose a folder that can be written"
    return StoreError(f"cannot write it: {error.strerror}", where=str(path), hint=hint)


def _remove_leftovers(path: Path, suffix: str, remove: Callable[[Path], None]) -> None:
    """Remove temporary files or folders of ``path`` that a killed process left behind."""
    for leftover in path.parent.glob(f".{path.name}.*.{suffix}"):
        with contextlib.suppress(OSError):
            if time.time() - leftover.stat().st_mtime > STALE_S:
                remove(leftover)
