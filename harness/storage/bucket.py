"""Files of a store at a URL that fsspec reads: ``s3://bucket/path`` and the like.

An object appears whole or not at all, but nothing can be renamed: of a folder of files the one that says that the rest is there
comes last. Credentials and endpoints are the library's own business (AWS_PROFILE, AWS_ENDPOINT_URL ...).
"""

from __future__ import annotations

import contextlib
import itertools
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from harness.errors import StoreError
from harness.storage.lease import Watch, beating

AT_ONCE = 256
"""Objects that are asked for at once."""


class Bucket:
    """What ``harness.storage.folder.Folder`` is for folders."""

    remote = True

    def __init__(self, url: str):
        self.root = url
        self._watch = Watch()
        import fsspec

        try:
            self.fs, path = fsspec.core.url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError, OSError) as error:
            hint = "install the fsspec filesystem of that protocol"
            if isinstance(error, OSError):
                hint = "look at the address and the network"
            elif url.startswith("s3:"):
                hint = "pip install 'bioharness[s3]'"
            raise StoreError(f"cannot open it: {error}", where=url, hint=hint) from None
        self.path = path.rstrip("/")

    def __reduce__(self) -> tuple:
        return Bucket, (self.root,)

    def prepare(self) -> None:
        """Make sure that it can be written; an object store has no folders to make."""
        self.write("tmp/probe", b"")
        self.remove("tmp/probe")

    def read(self, name: str, start: int = 0, length: int | None = None) -> bytes:
        """An object, or a part of it."""
        with self._explaining("read"):
            end = None if length is None else start + length
            return (
                b""
                if length == 0
                else self.fs.cat_file(self._at(name), start=start or None, end=end)
            )

    def read_all(self, names: Iterable[str]) -> Iterator[bytes | None]:
        """Objects, many at once; None where there is none."""
        names = iter(names)
        while some := [self._at(name) for name in itertools.islice(names, AT_ONCE)]:
            with self._explaining("read"):
                found = self.fs.cat(some, on_error="return")
            for path in some:
                content = found.get(path)
                if isinstance(content, Exception) and not isinstance(content, FileNotFoundError):
                    with self._explaining("read"):
                        raise content
                yield None if isinstance(content, Exception) else content

    def exists(self, name: str) -> bool:
        """Whether there is such an object, or one whose name goes on from it with a slash."""
        with self._explaining("read"):
            return self.fs.exists(self._at(name))

    def children(self, folder: str) -> list[str]:
        """Names in a folder; none where it is not there."""
        with self._explaining("read"):
            try:
                return sorted(
                    {
                        path.rstrip("/").rpartition("/")[2]
                        for path in self.fs.ls(self._at(folder), detail=False)
                    }
                )
            except FileNotFoundError:
                return []

    def holding(self, folder: str, name: str) -> list[str]:
        """The folders in a folder that hold an object of that name."""
        parts = [path.split("/") for path in self._find(folder)]
        return sorted(part[-2] for part in parts if part[-1] == name)

    def sizes(self, folder: str) -> dict[str, int]:
        """Bytes of each object below a folder, by its name from the root."""
        skipped = len(self.path) + 1
        return {path[skipped:]: found["size"] for path, found in self._find(folder).items()}

    def age(self, name: str) -> float:
        """Seconds since it was last written; 0 where it is gone."""
        with self._explaining("read"):
            try:
                return (datetime.now(UTC) - self.fs.modified(self._at(name))).total_seconds()
            except FileNotFoundError:
                return 0.0

    def size(self, name: str) -> int:
        """Bytes of an object or of all below a folder."""
        return sum(found["size"] for found in self._find(name).values())

    def write(self, name: str, data: bytes) -> None:
        """Put an object in place; an older one is replaced."""
        with self._explaining("write"):
            self.fs.pipe_file(self._at(name), data)

    def install(self, folder: str, files: dict[str, bytes]) -> None:
        """Put a folder of objects in place, the last named last: it is what says that they are there."""
        for name, data in files.items():
            self.write(f"{folder}/{name}", data)

    def remove(self, name: str) -> None:
        """Delete an object or all below a folder, that which says that they are there first."""
        with self._explaining("write"), contextlib.suppress(FileNotFoundError):
            for path in self._last_first(name):
                self.fs.rm_file(path)

    def move(self, name: str, target: str) -> None:
        """Copy an object or all below a folder, then delete it."""
        source = self._at(name)
        with self._explaining("write"), contextlib.suppress(FileNotFoundError):
            for path in self._last_first(name):
                self.fs.cp_file(path, self._at(target) + path[len(source) :])
                self.fs.rm_file(path)

    def leftovers(self) -> list[str]:
        """An object store keeps nothing half written under a name."""
        return []

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[bool]:
        """Try to take a lock: yields whether it is ours.

        An object that only one of several writers can create, written anew as long as it is held; see ``harness.storage.lease``.
        """
        path, token = self._at(f"locks/{name}"), uuid.uuid4().hex
        if not self._take(path, name, token):
            yield False
            return
        beats = itertools.count(1)
        try:
            with beating(lambda: self.fs.pipe_file(path, f"{token} {next(beats)}".encode())):
                yield True
        finally:
            with contextlib.suppress(Exception):
                if self.fs.cat_file(path).startswith(token.encode()):
                    self.fs.rm_file(path)

    def _take(self, path: str, name: str, token: str) -> bool:
        with self._explaining("lock"):
            with contextlib.suppress(FileExistsError):
                self.fs.pipe_file(path, f"{token} 0".encode(), mode="create")
                self._watch.forget(name)
                return True
            try:
                if self._watch.is_stale(name, self.fs.cat_file(path)):
                    self.fs.rm_file(path)  # who creates it next has it
            except FileNotFoundError:
                pass
            return False

    def _at(self, name: str) -> str:
        return f"{self.path}/{name}"

    def _find(self, folder: str) -> dict[str, Any]:
        with self._explaining("read"):
            try:
                return self.fs.find(self._at(folder), detail=True)
            except FileNotFoundError:
                return {}

    def _last_first(self, name: str) -> list[str]:
        return sorted(self._find(name), key=lambda path: not path.endswith("/cell.json"))

    @contextlib.contextmanager
    def _explaining(self, what: str) -> Iterator[None]:
        try:
            yield
        except StoreError:
            raise
        except Exception as error:  # each library has classes of its own
            if what == "read" and isinstance(error, FileNotFoundError):
                raise
            lines = str(error).splitlines() or [""]
            raise StoreError(
                f"cannot {what} the store: {type(error).__name__}: {lines[0]}",
                where=self.root,
                hint="check the address, the network and the credentials; finished cells are kept",
            ) from error
