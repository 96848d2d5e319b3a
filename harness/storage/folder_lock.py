"""Locks as files in a folder, between the processes of one machine or of several.

On one machine a lock is a kernel lock (flock), which ends with its holder, however that ends.

Network file systems may not show one machine the kernel locks of another, depending on their type
and mount options. There the process that created the file holds the lock: it writes its machine
into the file and touches the file as long as it holds the lock (see ``harness.storage.lease``).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from harness.storage.lease import Watch, heartbeat, machine_id


@contextlib.contextmanager
def try_lock(path: Path, watch: Watch) -> Iterator[bool]:
    """Try to take a lock without waiting for it.

    Args:
        path: the lock's file; removed when the lock is released.
        watch: remembers the locks of other machines between attempts.

    Yields:
        Whether the lock was taken.

    Raises:
        OSError: the folder cannot be written.
    """
    handle, is_new = _open(path)
    try:
        if not _take(handle, path, is_new, watch):
            yield False
            return
        try:
            with heartbeat(lambda: os.utime(handle)):
                yield True
        finally:
            # Unlink before unlocking: who has opened the file by now will see that it is gone.
            with contextlib.suppress(OSError):
                path.unlink()
    finally:
        os.close(handle)


def _open(path: Path) -> tuple[int, bool]:
    """Open or create a lock file.

    Returns:
        The descriptor, and whether this call created the file: of all machines that try, one does.
    """
    while True:
        with contextlib.suppress(FileExistsError):
            return os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666), True
        with contextlib.suppress(FileNotFoundError):  # released since the first attempt
            return os.open(path, os.O_RDWR | os.O_NOFOLLOW), False


def _take(handle: int, path: Path, is_new: bool, watch: Watch) -> bool:
    """Take an open lock file, if nobody holds it."""
    kernel_lock = _lock_in_kernel(handle, wait=is_new)
    if kernel_lock is False:
        return False
    state = os.fstat(handle)
    try:
        if os.stat(path).st_ino != state.st_ino:
            return False  # released and created again since it was opened
    except FileNotFoundError:
        return False  # just released
    if not is_new:
        holder = os.pread(handle, 200, 0)
        died_here = kernel_lock is True and holder == machine_id().encode()
        if not died_here and not watch.is_stale(path.name, (holder, state.st_mtime_ns)):
            return False
    watch.forget(path.name)
    os.ftruncate(handle, 0)
    os.pwrite(handle, machine_id().encode(), 0)
    return True


def _lock_in_kernel(handle: int, *, wait: bool) -> bool | None:
    """Take the kernel's lock on a file.

    Args:
        wait: for a file that was just created; others that opened it let go at once.

    Returns:
        True if it was taken, False if another process holds it, None if the file system has no
        locks.
    """
    mode = fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB
    try:
        fcntl.flock(handle, mode)
        return True
    except BlockingIOError:
        return False
    except OSError:
        return None
