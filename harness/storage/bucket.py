"""Files of a store at a URL that fsspec reads, such as ``s3://bucket/path``.

An object appears complete or not at all, but objects cannot be renamed. A folder of files is
therefore written with ``cell.json`` last: it says that the others are there. Credentials and
endpoints are configured as the fsspec library describes (AWS_PROFILE, AWS_ENDPOINT_URL ...).
"""

from __future__ import annotations

import contextlib
import itertools
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from harness.errors import StoreError
from harness.storage.cellfile import CELL
from harness.storage.lease import Watch, heartbeat

REQUESTS_AT_ONCE = 256
"""Objects that are requested together."""
PROBE = "tmp/probe"
"""Written and removed to learn whether objects can be written."""


class Bucket:
    """Objects of a store; the methods are those of ``harness.storage.folder.Folder``.

    Args:
        url: of the store.

    Raises:
        StoreError: fsspec cannot open the URL.
    """

    remote = True

    def __init__(self, url: str) -> None:
        self.root = url
        self._watch = Watch()
        import fsspec

        try:
            self.fs, path = fsspec.core.url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError, OSError) as error:
            raise StoreError(
                f"cannot open it: {error}", where=url, hint=_hint(url, error)
            ) from None
        self.path = path.rstrip("/")

    def __reduce__(self) -> tuple:
        return Bucket, (self.root,)

    def prepare(self) -> None:
        """Check that objects can be written; there are no folders to create.

        Raises:
            StoreError: they cannot be written.
        """
        self.write(PROBE, b"")
        self.remove(PROBE)

    # ----------------------------------------------------------------------------------- reading

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        """Read an object, or ``length`` bytes of it from ``start``.

        Raises:
            FileNotFoundError: there is no such object.
        """
        if length == 0:
            return b""
        end = None if length is None else start + length
        with self._explaining("read"):
            return self.fs.cat_file(self._at(name), start=start or None, end=end)

    def read_all(self, names: Iterable[str]) -> Iterator[bytes | None]:
        """Read objects, many at once; None for those that do not exist."""
        paths = map(self._at, names)
        while batch := list(itertools.islice(paths, REQUESTS_AT_ONCE)):
            with self._explaining("read"):
                contents = self.fs.cat(batch, on_error="return")
            for path in batch:
                content = contents.get(path)
                if content is None or isinstance(content, FileNotFoundError):
                    yield None
                elif isinstance(content, Exception):
                    with self._explaining("read"):
                        raise content
                else:
                    yield content

    def exists(self, name: str) -> bool:
        """Report whether there is such an object, or one below ``name/``."""
        with self._explaining("read"):
            return self.fs.exists(self._at(name))

    def children(self, folder: str) -> list[str]:
        """List the names in a folder; none if there is no such folder."""
        with self._explaining("read"):
            try:
                paths = self.fs.ls(self._at(folder), detail=False)
            except FileNotFoundError:
                return []
        return sorted({path.rstrip("/").rpartition("/")[2] for path in paths})

    def folders_with(self, name: str, *, inside: str) -> list[str]:
        """List the folders inside a folder that contain an object called ``name``."""
        parts = [path.split("/") for path in self._find(inside)]
        return sorted(part[-2] for part in parts if part[-1] == name)

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the bytes of each object below a folder, by its name from the root."""
        prefix = len(self.path) + 1
        return {path[prefix:]: details["size"] for path, details in self._find(folder).items()}

    def age(self, name: str) -> float:
        """Return the seconds since an object was written; 0 if it is gone."""
        with self._explaining("read"):
            try:
                modified = self.fs.modified(self._at(name))
            except FileNotFoundError:
                return 0.0
        return (datetime.now(UTC) - modified).total_seconds()

    def size(self, name: str) -> int:
        """Return the bytes of an object, or of all objects below a folder."""
        return sum(details["size"] for details in self._find(name).values())

    # ----------------------------------------------------------------------------------- writing

    def write(self, name: str, data: bytes) -> None:
        """Write an object; an older one is replaced.

        Raises:
            StoreError: it cannot be written.
        """
        with self._explaining("write"):
            self.fs.pipe_file(self._at(name), data)

    def install(self, folder: str, files: dict[str, bytes]) -> None:
        """Write a folder of objects in order; the last one says that the others are there.

        Raises:
            StoreError: they cannot be written.
        """
        for name, data in files.items():
            self.write(f"{folder}/{name}", data)

    def remove(self, name: str) -> None:
        """Delete an object or all objects below a folder, if there are any."""
        with self._explaining("write"), contextlib.suppress(FileNotFoundError):
            for path in self._cell_json_first(name):
                self.fs.rm_file(path)

    def move(self, name: str, target: str) -> None:
        """Move an object or all objects below a folder, if there are any."""
        source = self._at(name)
        with self._explaining("write"), contextlib.suppress(FileNotFoundError):
            for path in self._cell_json_first(name):
                self.fs.cp_file(path, self._at(target) + path[len(source) :])
                self.fs.rm_file(path)

    def leftovers(self) -> list[str]:
        """List temporary files of dead processes: an object store has none."""
        return []

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[bool]:
        """Try to take a lock: an object that only one of several writers can create.

        The holder rewrites it as long as it holds the lock; see ``harness.storage.lease``.

        Yields:
            Whether the lock was taken.

        Raises:
            StoreError: objects cannot be written.
        """
        path = self._at(f"locks/{name}")
        token = uuid.uuid4().hex
        if not self._take(path, name, token):
            yield False
            return
        beats = itertools.count(1)
        try:
            with heartbeat(lambda: self.fs.pipe_file(path, f"{token} {next(beats)}".encode())):
                yield True
        finally:
            # Only the owner releases it: another process may have taken over an expired lease.
            with contextlib.suppress(Exception):
                if self.fs.cat_file(path).startswith(token.encode()):
                    self.fs.rm_file(path)

    # ---------------------------------------------------------------------------------- internals

    def _take(self, path: str, name: str, token: str) -> bool:
        with self._explaining("lock"):
            try:
                self.fs.pipe_file(path, f"{token} 0".encode(), mode="create")
            except FileExistsError:
                self._remove_if_expired(path, name)
                return False
            self._watch.forget(name)
            return True

    def _remove_if_expired(self, path: str, name: str) -> None:
        """Remove a lease that has expired: the next process that creates it has the lock."""
        with contextlib.suppress(FileNotFoundError):
            if self._watch.is_stale(name, self.fs.cat_file(path)):
                self.fs.rm_file(path)

    def _at(self, name: str) -> str:
        return f"{self.path}/{name}"

    def _find(self, folder: str) -> dict[str, Any]:
        """Details of each object below a folder, by path."""
        with self._explaining("read"):
            try:
                return self.fs.find(self._at(folder), detail=True)
            except FileNotFoundError:
                return {}

    def _cell_json_first(self, name: str) -> list[str]:
        """Paths in the order of removal: a cell without ``cell.json`` is no longer finished."""
        return sorted(self._find(name), key=lambda path: not path.endswith(f"/{CELL}"))

    @contextlib.contextmanager
    def _explaining(self, action: str) -> Iterator[None]:
        """Turn what the library raises into a StoreError; FileNotFoundError of a read passes."""
        try:
            yield
        except StoreError:
            raise
        except Exception as error:  # each library has error classes of its own
            if action == "read" and isinstance(error, FileNotFoundError):
                raise
            first_line = (str(error).splitlines() or [""])[0]
            raise StoreError(
                f"cannot {action} the store: {type(error).__name__}: {first_line}",
                where=self.root,
                hint="check the address, the network and the credentials; finished cells are kept",
            ) from error


def _hint(url: str, error: Exception) -> str:
    if isinstance(error, OSError):
        return "check the address and the network"
    if url.startswith("s3:"):
        return "pip install 'bioharness[s3]'"
    return "install the fsspec filesystem of that protocol"
