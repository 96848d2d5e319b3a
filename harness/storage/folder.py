"""Files of a store in a folder, of this machine or on a network file system that several machines mount."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from harness.errors import StoreError
from harness.storage.lease import Watch, beating, machine

STALE_S = 24 * 3600
"""Half-written files that old belong to processes that were killed, on whatever machine they ran."""


class Folder:
    """Names are relative to the root, with slashes. Whatever appears in it appears whole."""

    remote = False

    def __init__(self, root: Path):
        self.root = root
        self._watch = Watch()

    def __reduce__(self) -> tuple:
        return Folder, (self.root,)

    def prepare(self) -> None:
        """Create the folders."""
        with self._explaining():
            for folder in ("cells", "locks", "tmp", "failures"):
                (self.root / folder).mkdir(parents=True, exist_ok=True)

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        """A file, or a part of it.

        Raises:
            FileNotFoundError: there is none.
        """
        path = f"{self.root}/{name}"  # many small files are read: no Path is made for each
        if length is None:
            with open(path, "rb", buffering=0) as handle:
                return handle.read()
        with open(path, "rb") as handle:
            handle.seek(start)
            return handle.read(length)

    def read_all(self, names: Iterable[str]) -> Iterator[bytes | None]:
        """Files one by one; None where there is none."""
        for name in names:
            try:
                yield self.read(name)
            except OSError:
                yield None

    def exists(self, name: str) -> bool:
        """Whether there is such a file or folder."""
        return os.path.exists(self.root / name) or self._appeared(name)

    def children(self, folder: str) -> list[str]:
        """Names in a folder; none where it is not there."""
        try:
            return sorted(os.listdir(self.root / folder))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def holding(self, folder: str, name: str) -> list[str]:
        """The folders in a folder that hold a file of that name."""
        base = f"{self.root / folder}{os.sep}"
        return [
            child
            for child in self.children(folder)
            if os.path.isfile(f"{base}{child}{os.sep}{name}")
        ]

    def age(self, name: str) -> float:
        """Seconds since it was last changed; 0 where it is gone."""
        try:
            return time.time() - (self.root / name).stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def size(self, name: str) -> int:
        """Bytes of a file, or of all files in a folder; 0 where it is gone."""
        path = self.root / name
        with contextlib.suppress(FileNotFoundError):
            return (
                sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
                if path.is_dir()
                else path.stat().st_size
            )
        return 0

    def write(self, name: str, data: bytes) -> None:
        """Put a file in place, whole or not at all; an older one is replaced.

        Raises:
            StoreError: disk full, folder not writable.
        """
        with self._explaining(), self._staging() as staging:
            _write(staging / "file", data)
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(staging / "file", self.root / name)

    def install(self, folder: str, files: dict[str, bytes]) -> None:
        """Put a folder of files in place, whole or not at all; of two writers the first wins.

        A folder there that lacks the file named last is half of one, and is moved aside.

        Raises:
            StoreError: disk full, folder not writable; nothing half written stays.
        """
        with self._explaining(), self._staging() as staging:
            for name, data in files.items():
                _write(staging / name, data)
            (self.root / folder).parent.mkdir(parents=True, exist_ok=True)
            while True:
                try:
                    staging.rename(self.root / folder)
                    return
                except OSError as error:
                    if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                        raise
                if self.exists(f"{folder}/{list(files)[-1]}"):
                    return
                self.move(
                    folder, f"damaged/{Path(folder).name}-{uuid.uuid4().hex[:8]}"
                )  # half a folder

    def remove(self, name: str) -> None:
        """Delete a file or folder, at once for whoever looks; nothing happens where it is gone."""
        if not self.exists(name):
            return
        with self._explaining(), self._staging() as staging, contextlib.suppress(FileNotFoundError):
            (self.root / name).rename(staging / "gone")

    def move(self, name: str, target: str) -> None:
        """Move a file or folder to a new place; nothing happens where it is gone."""
        with self._explaining(), contextlib.suppress(FileNotFoundError):
            (self.root / target).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).rename(self.root / target)

    def leftovers(self) -> list[str]:
        """Half-written files of processes that are dead: of this machine at once, of others when they are a day old."""
        return [
            f"tmp/{name}"
            for name in self.children("tmp")
            if _is_dead(name) or self.age(f"tmp/{name}") > STALE_S
        ]

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[bool]:
        """Try to take a lock: yields whether it is ours.

        A kernel lock (flock), which ends with its holder however that ends. Where the kernels of several machines do not show
        each other their locks (network file systems, by type and mount options), who has made the file holds it; it says which
        machine that is and is touched as long as it is held: see ``harness.storage.lease``.
        """
        path = self.root / "locks" / name
        with self._explaining():
            handle, new = _open_lock(path)
        try:
            if not self._take(handle, path, name, new):
                yield False
                return
            try:
                with beating(lambda: os.utime(handle)):
                    yield True
            finally:
                with contextlib.suppress(OSError):
                    path.unlink()  # while it is held: who has it open by now will see that it is no longer there
        finally:
            os.close(handle)

    def _take(self, handle: int, path: Path, name: str, new: bool) -> bool:
        shown = True  # whether processes of this machine see each other's locks
        try:
            fcntl.flock(
                handle, fcntl.LOCK_EX | (0 if new else fcntl.LOCK_NB)
            )  # of a new file others let go at once
        except BlockingIOError:
            return False
        except OSError:
            shown = False
        state = os.fstat(handle)
        try:
            if os.stat(path).st_ino != state.st_ino:
                return False  # its holder has just finished
        except FileNotFoundError:
            return False
        holder = os.pread(handle, 200, 0)
        if (
            not new
            and not (shown and holder == machine().encode())
            and not self._watch.is_stale(name, (holder, state.st_mtime_ns))
        ):
            return False
        self._watch.forget(name)
        with self._explaining():
            os.ftruncate(handle, 0)
            os.pwrite(handle, machine().encode(), 0)
        return True

    def _appeared(self, name: str) -> bool:
        """Whether it is there after all: network file systems remember for some time that a name was missing, and ask again when
        the folder is opened.
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
        (self.root / "tmp").mkdir(parents=True, exist_ok=True)
        folder = Path(
            tempfile.mkdtemp(prefix=f"{_processes()}-{os.getpid()}-", dir=self.root / "tmp")
        )
        folder.chmod(0o755)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            hint = (
                "free some space and run the same command again: finished cells are kept"
                if error.errno == errno.ENOSPC
                else "choose another folder with --store, or mend its permissions"
            )
            raise StoreError(
                f"cannot write the store: {error.strerror}", where=str(self.root), hint=hint
            ) from error


@lru_cache
def _processes() -> str:
    """Among which processes a process id says who is meant: containers of one machine have numbers of their own."""
    try:
        return f"{machine()[:8]}.{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return "unknown"


def _is_dead(name: str) -> bool:
    """Whether a temporary folder belongs to a process, of those that can be seen from here, that is no more."""
    where, _, rest = name.partition("-")
    pid = rest.partition("-")[0]
    return (
        where == _processes() != "unknown" and pid.isdigit() and not os.path.exists(f"/proc/{pid}")
    )


def _open_lock(path: Path) -> tuple[int, bool]:
    """(descriptor, whether the file was made just now, which of any number of machines that try one alone does)."""
    while True:
        with contextlib.suppress(FileExistsError):
            return os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666), True
        with contextlib.suppress(FileNotFoundError):  # its holder has just finished
            return os.open(path, os.O_RDWR), False


def _write(path: Path, data: bytes) -> None:
    with open(path, "wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())
