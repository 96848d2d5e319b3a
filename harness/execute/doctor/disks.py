"""Checks of folders that are written: the dataset cache and the store."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from harness.data.cache import cache_folder
from harness.execute.doctor.finding import Finding, Level
from harness.storage.layout import is_store
from harness.storage.store import Store

LITTLE_SPACE = 2**30
NO_SPACE = 50 * 2**20
"""Bytes free on a disk below which there is a warning, or a failure."""
MAX_SKEW_S = 60.0
"""Seconds by which the clock of a file system may differ from this machine's."""


def cache() -> Iterator[Finding]:
    """Check whether the dataset cache can be written."""
    folder = cache_folder()
    if folder is None:
        problem = "this user has no home"
    elif fault := _write_error(folder):
        problem = f"{folder}: {fault}"
    else:
        yield from free_space("cache", folder, "datasets are then built again by every process")
        return
    detail = f"{problem}; datasets are built again by every process"
    yield Finding("WARN", "cache", detail, "set HARNESS_CACHE")


def store(store: Store) -> Iterator[Finding]:
    """Check whether a store can be written, has locks, and agrees about the time."""
    root = store.root
    if isinstance(root, str):
        yield Finding("PASS", "store", f"{root}: {len(store.finished())} cells finished")
        return
    if not is_store(store.files):
        yield Finding(
            "FAIL", "store", f"{root}: not a store, and not empty", "choose another with --store"
        )
        return
    if fault := _write_error(root):
        yield Finding(
            "FAIL",
            "store",
            f"{root}: {fault}",
            "choose another folder with --store, or fix its permissions",
        )
        return
    detail = f"{root}: does not exist yet, can be created"
    if root.is_dir():
        detail = f"{root}: can be written; {len(store.finished())} cells finished"
    yield Finding("PASS", "store", detail)
    yield from free_space("store", root, "cells that do not fit are lost")
    yield from _locks_and_clock(root)


def _locks_and_clock(root: Path) -> Iterator[Finding]:
    with tempfile.TemporaryFile(dir=_existing(root)) as file:
        skew = os.fstat(file.fileno()).st_mtime - time.time()
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            detail = f"{root}: files cannot be locked here ({error.strerror})"
            yield Finding("FAIL", "locks", detail, "choose a local folder")
    if abs(skew) > MAX_SKEW_S:
        yield Finding(
            "WARN",
            "clock",
            f"the clock of {root} is {skew:.0f} s from this machine's",
            "set the clocks: leftovers of killed runs are recognised by their age",
        )


def free_space(name: str, folder: Path, consequence: str) -> Iterator[Finding]:
    """Check the free space of a folder's disk.

    Args:
        name: of what the folder is for.
        folder: need not exist.
        consequence: of a full disk, in words.
    """
    free = shutil.disk_usage(_existing(folder)).free
    level: Level = "PASS"
    if free < NO_SPACE:
        level = "FAIL"
    elif free < LITTLE_SPACE:
        level = "WARN"
    hint = "" if level == "PASS" else f"free some: {consequence}"
    yield Finding(level, f"{name} space", f"{free / 2**30:.1f} GiB free at {folder}", hint)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if path.exists())


def _write_error(folder: Path) -> str | None:
    """Why nothing can be written into a folder, which need not exist yet; None if it can."""
    try:
        with tempfile.TemporaryFile(dir=_existing(folder)) as file:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.strerror or str(error)
    return None
