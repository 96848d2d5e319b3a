"""Files that a learner opens without declaring them: their content is in no cell's key.

Python reports every ``open`` to an audit hook, from whichever library it comes. A library that
opens files in native code (safetensors, HDF5) does not report them.
"""

from __future__ import annotations

import contextlib
import os
import site
import sys
import sysconfig
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from harness.learning.files import File
from harness.records import TrustCheck

CHECK = "declared files"
"""Name of the trust check that warns of them."""

SHOWN = 3
"""Files that a warning names."""

SYSTEM = ("/proc", "/sys", "/dev", "/etc", "/usr")

CODE = (".py", ".pyc", ".pyi", ".so", ".pyd", ".dll", ".dylib")
"""Endings of code, whose version is in the key (``harness.cells.code``) or in that of libraries."""


@dataclass(eq=False)
class Opened:
    """The files that one thread has opened while it was watched.

    Attributes:
        thread: Which thread; a store keeps its locks alive in another one.
        read, written: Paths as they were given.
    """

    thread: int
    read: dict[str, None] = field(default_factory=dict)  # a set that keeps its order
    written: set[str] = field(default_factory=set)

    def undeclared(self, declared: Iterable[File], ours: Iterable[str | Path]) -> list[str]:
        """Paths of the files that were read and not declared, in the order of reading.

        Args:
            declared: Files that the learner's config names.
            ours: Folders that the harness itself reads: of the store, datasets and their cache.
        """
        known = {os.path.realpath(file.path) for file in declared if file.path is not None}
        known |= {os.path.realpath(path) for path in self.written}
        neutral = (*_neutral_folders(), *map(os.path.realpath, ours))
        read = dict.fromkeys(map(os.path.realpath, self.read))
        return [path for path in read if path not in known and _matters(path, neutral)]


def _matters(path: str, neutral: Iterable[str]) -> bool:
    """Whether a file is neither code nor in a folder whose content is known otherwise."""
    if path.endswith(CODE) or not os.path.isfile(path):
        return False
    return not any(path.startswith(folder + os.sep) for folder in neutral)


_watching: list[Opened] = []
"""Those whose blocks have not ended; an audit hook cannot be removed, so it looks here."""


@contextlib.contextmanager
def watched() -> Iterator[Opened]:
    """Note every file that this thread opens in the block."""
    _install()
    opened = Opened(threading.get_ident())
    _watching.append(opened)
    try:
        yield opened
    finally:
        _watching.remove(opened)


def warning(paths: list[str]) -> list[TrustCheck]:
    """The trust check that names undeclared files; empty if there are none."""
    if not paths:
        return []
    names = ", ".join(map(_short, paths[:SHOWN]))
    if len(paths) > SHOWN:
        names += f" and {len(paths) - SHOWN} more"
    detail = f"opened {names}, which its config does not declare: a change there goes unnoticed"
    return [TrustCheck(CHECK, "WARN", detail)]


def warning_in(checks: Iterable[dict[str, Any]]) -> str:
    """The detail of that check among the trust checks of a cell; empty if it is not there."""
    return next((check["detail"] for check in checks if check["name"] == CHECK), "")


def _short(path: str) -> str:
    """A path below the current folder as it is seen from there; any other whole."""
    with contextlib.suppress(OSError, ValueError):
        relative = os.path.relpath(path, os.path.realpath(os.getcwd()))
        if not relative.startswith(os.pardir):
            return relative
    return path


@cache
def _install() -> None:
    """Install the audit hook, once a process: it stays until the process ends."""
    sys.addaudithook(_hook)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching or event != "open":
        return
    path, mode, flags = arguments
    if not isinstance(path, str | bytes | os.PathLike):
        return  # an open file, by its number
    name = os.path.abspath(os.fsdecode(path))
    for opened in _watching:
        if opened.thread != threading.get_ident():
            continue
        if _reads(mode, flags):
            opened.read[name] = None
        else:
            opened.written.add(name)


def _reads(mode: Any, flags: Any) -> bool:
    """Whether a file is opened to read what it holds already."""
    if isinstance(mode, str):
        return mode[:1] not in ("w", "a", "x")
    if not isinstance(flags, int):
        return True
    created = flags & os.O_CREAT and flags & os.O_EXCL
    return not created and flags & os.O_ACCMODE != os.O_WRONLY


@cache
def _neutral_folders() -> tuple[str, ...]:
    """Folders of Python, installed packages, this package and the operating system."""
    libraries = [*sysconfig.get_paths().values(), *site.getsitepackages()]
    ours = Path(__file__).resolve().parents[1]
    folders = [*SYSTEM, *libraries, site.getusersitepackages(), sys.prefix, sys.base_prefix]
    folders += [str(ours), str(ours.parent / "baselines")]
    return tuple({os.path.realpath(folder) for folder in folders} - {os.sep})
