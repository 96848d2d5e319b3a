"""Files of a store in a folder, on this machine or on a network file system of several machines."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from harness.errors import StoreError
from harness.storage.folder_lock import try_lock
from harness.storage.lease import Watch, machine_id

STALE_S = 24 * 3600
"""Temporary files older than this belong to killed processes, on whatever machine they ran."""
PREPARED = {"cells", "locks", "tmp", "failures"}
"""Folders that every prepared store has."""
_STAGING = re.compile(r"(?P<processes>[^/]+)-(?P<pid>\d+)-[a-z0-9_]{8}")
"""Names of the folders in ``tmp`` that this class makes; other files there are left alone."""


class Folder:
    """Files of a store, named by their paths from the root, with slashes.

    Files and folders of files appear complete or not at all.

    Args:
        root: the store's folder.
    """

    remote = False

    def __init__(self, root: Path) -> None:
        self.root = root
        self._watch = Watch()

    def __reduce__(self) -> tuple:
        return Folder, (self.root,)

    def prepare(self) -> None:
        """Create the store's folders.

        Raises:
            StoreError: they cannot be created, or one is a link that may lead out of the store.
        """
        with self._explaining():
            for name in sorted(PREPARED):
                Path(self._inside(name)).mkdir(parents=True, exist_ok=True)

    # ----------------------------------------------------------------------------------- reading

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        """Read a file, or ``length`` bytes of it from ``start``.

        Raises:
            FileNotFoundError: there is no such file.
        """
        path = self._inside(name)
        if length is None:
            with open(path, "rb", buffering=0) as handle:
                return handle.read()
        with open(path, "rb") as handle:
            # A wrong length must not reserve memory.
            length = min(length, os.fstat(handle.fileno()).st_size)
            handle.seek(start)
            return handle.read(length)

    def read_all(self, names: Iterable[str]) -> Iterator[bytes | None]:
        """Read files one by one; None for those that cannot be read."""
        for name in names:
            try:
                yield self.read(name)
            except OSError:
                yield None

    def exists(self, name: str) -> bool:
        """Report whether there is such a file or folder."""
        try:
            path = self._inside(name)
        except OSError:
            return False
        return os.path.exists(path) or self._exists_after_refresh(name)

    def children(self, folder: str) -> list[str]:
        """List the names in a folder, without links; none if there is no such folder.

        Raises:
            StoreError: the folder is a link.
        """
        try:
            with os.scandir(self._inside(folder)) as entries:
                return sorted(entry.name for entry in entries if not entry.is_symlink())
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise StoreError(
                f"cannot read the store: {error.strerror}", where=f"{self.root}/{folder}"
            ) from None

    def folders_with(self, name: str, *, inside: str) -> list[str]:
        """List the folders inside a folder that contain a file called ``name``."""
        base = f"{self.root / inside}{os.sep}"
        return [
            child
            for child in self.children(inside)
            if os.path.isfile(f"{base}{child}{os.sep}{name}")
        ]

    def age(self, name: str) -> float:
        """Return the seconds since a file was last changed; 0 if it is gone."""
        try:
            return time.time() - (self.root / name).lstat().st_mtime
        except FileNotFoundError:
            return 0.0

    def size(self, name: str) -> int:
        """Return the bytes of a file, or of all files in a folder; 0 if it is gone."""
        path = self.root / name
        try:
            if not path.is_dir() or path.is_symlink():
                return path.lstat().st_size
            return sum(file.lstat().st_size for file in path.rglob("*") if file.is_file())
        except FileNotFoundError:
            return 0

    # ----------------------------------------------------------------------------------- writing

    def write(self, name: str, data: bytes) -> None:
        """Write a file completely or not at all; an older one is replaced.

        Raises:
            StoreError: the disk is full, or the folder is not writable.
        """
        with self._explaining(), self._staging() as staging:
            _write(staging / "file", data)
            target = self._target(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(staging / "file", target)

    def install(self, folder: str, files: dict[str, bytes]) -> None:
        """Write a folder of files completely or not at all; of two writers the first wins.

        An existing folder without the last of ``files`` is incomplete; it is moved to ``damaged/``.

        Raises:
            StoreError: the disk is full, or the folder is not writable; nothing half written stays.
        """
        last = list(files)[-1]
        with self._explaining(), self._staging() as staging:
            target = self._target(folder)
            for name, data in files.items():
                _write(staging / name, data)
            target.parent.mkdir(parents=True, exist_ok=True)
            while not _rename_folder(staging, target):
                if self.exists(f"{folder}/{last}"):
                    return
                self.move(folder, f"damaged/{target.name}-{uuid.uuid4().hex[:8]}")

    def remove(self, name: str) -> None:
        """Delete a file or folder in one step, if it is there; of a link, the link."""
        if not self.exists(name) and not os.path.lexists(self.root / name):
            return
        # Renamed into a temporary folder, it is gone at once for every reader.
        with self._explaining(), self._staging() as staging, contextlib.suppress(FileNotFoundError):
            self._target(name).rename(staging / "gone")

    def move(self, name: str, target: str) -> None:
        """Move a file or folder, if it is there."""
        with self._explaining(), contextlib.suppress(FileNotFoundError):
            new = self._target(target)
            new.parent.mkdir(parents=True, exist_ok=True)
            self._target(name).rename(new)

    def leftovers(self) -> list[str]:
        """List temporary folders of dead processes.

        Those of this machine count at once, those of other machines after STALE_S. Files that this
        class did not make are not listed.
        """
        ours = [name for name in self.children("tmp") if _STAGING.fullmatch(name)]
        return [
            f"tmp/{name}" for name in ours if _is_dead(name) or self.age(f"tmp/{name}") > STALE_S
        ]

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[bool]:
        """Try to take a lock; see ``harness.storage.folder_lock``.

        Yields:
            Whether the lock was taken.

        Raises:
            StoreError: the folder is not writable.
        """
        with contextlib.ExitStack() as held:
            with self._explaining():
                path = Path(self._inside(f"locks/{name}"))
                taken = held.enter_context(try_lock(path, self._watch))
            yield taken

    # ---------------------------------------------------------------------------------- internals

    def _inside(self, name: str) -> str:
        """The path of a file or folder, which no link leads to.

        A store may come from anywhere, and a link in it may lead anywhere.

        Raises:
            OSError: it or a folder on the way is a link, or the name leads out of the store.
        """
        path = str(self.root)  # not a Path: that costs time where many small files are read
        for part in name.split("/") if name else ():
            path = f"{path}/{part}"
            if part in ("", ".", "..") or os.path.islink(path):
                raise OSError(errno.ELOOP, f"{name} cannot be a link, nor inside one", path)
        return path

    def _target(self, name: str) -> Path:
        """The path of what is written, moved or removed; only the last part may be a link.

        Raises:
            OSError: a folder on the way is a link, or the name leads out of the store.
        """
        folder, _, last = name.rpartition("/")
        if last in ("", ".", ".."):
            raise OSError(errno.ELOOP, f"{name!r} is no name in a store")
        return Path(self._inside(folder)) / last

    def _exists_after_refresh(self, name: str) -> bool:
        """Look again after opening each folder on the way.

        Network file systems remember for some time that a name was missing, and ask the server
        again when its folder is opened.
        """
        folder = str(self.root)
        try:
            for part in name.split("/")[:-1]:
                folder = f"{folder}/{part}"
                os.close(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))
        except OSError:
            return False
        return os.path.exists(self.root / name)

    @contextlib.contextmanager
    def _staging(self) -> Iterator[Path]:
        """A temporary folder on the store's file system, removed after the block."""
        Path(self._inside("tmp")).mkdir(parents=True, exist_ok=True)
        prefix = f"{_process_space()}-{os.getpid()}-"
        folder = self.root / "tmp" / f"{prefix}{secrets.token_hex(4)}"
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def _explaining(self) -> Iterator[None]:
        """Turn errors of the operating system into a StoreError with a hint."""
        try:
            yield
        except OSError as error:
            hint = "choose another folder with --store, or fix its permissions"
            if error.errno == errno.ENOSPC:
                hint = "free some space and run the same command again: finished cells are kept"
            if error.errno == errno.ELOOP:
                hint = "move the whole store, or link its folder"
            raise StoreError(
                f"cannot write the store: {error.strerror}", where=str(self.root), hint=hint
            ) from error


@lru_cache
def _process_space() -> str:
    """Name the set of processes in which a process id is unique.

    Containers of one machine number their processes independently.
    """
    try:
        return f"{machine_id()[:8]}.{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return "unknown"


def _is_dead(name: str) -> bool:
    """Report whether a temporary folder belongs to a process that is known to have ended."""
    parts = _STAGING.fullmatch(name)
    if parts is None or _process_space() == "unknown":
        return False
    visible = parts["processes"] == _process_space()
    return visible and not os.path.exists(f"/proc/{parts['pid']}")


def _rename_folder(source: Path, target: Path) -> bool:
    """Rename a folder; False if ``target`` exists and has files."""
    try:
        source.rename(target)
    except OSError as error:
        # A link or a file in its place is no folder.
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            return False
        raise
    return True


def _write(path: Path, data: bytes) -> None:
    with open(path, "wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())
