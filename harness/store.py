"""Finished cells on disk: atomic, checksummed, safe to share between processes.

A cell is a folder ``cells/<key>`` that appears whole or not at all: it is written under ``tmp/`` and renamed. Inside:

* ``cell.json``: what was measured, what it was measured on, and the sha256 of each file beside it;
* ``verdicts.safetensors`` / ``weights.safetensors``: arrays; nothing is ever pickled.

``locks/<key>`` is held (flock) while a process works on a cell; the kernel lets go of it however that process ends.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import StoreError

DEFAULT_STORE = Path("results/runs")
STALE_S = 24 * 3600
"""Half-written cells that old belong to processes that were killed, on whatever machine they ran."""
VERDICTS, WEIGHTS, SNAPSHOTS = "verdicts.safetensors", "weights.safetensors", "snapshots.safetensors"


@dataclass
class CellResult:
    """What a finished cell holds beside its arrays.

    Attributes:
        identity: all that its key is a hash of.
        values: protocols' values as dicts (empty for a training cell).
        trust: trust checks as dicts.
        log: the training log (empty for a measurement cell).
        wall_s: seconds it took.
        device, versions, git_commit, created: where, with what and when.
    """

    identity: dict[str, Any]
    values: list[dict[str, Any]] = field(default_factory=list)
    trust: list[dict[str, Any]] = field(default_factory=list)
    log: dict[str, Any] = field(default_factory=dict)
    wall_s: float = 0.0
    device: str = "cpu"
    versions: dict[str, str] = field(default_factory=dict)
    git_commit: str = ""
    created: str = ""


class Store:
    """A folder of finished cells. Any number of processes may use it at once."""

    def __init__(self, root: Path):
        self.root = Path(root)

    def prepare(self) -> None:
        """Create the folders, and clear what killed processes left behind.

        Raises:
            StoreError: where the folder cannot be written.
        """
        with self._explaining():
            for folder in ("cells", "locks", "tmp", "failures"):
                (self.root / folder).mkdir(parents=True, exist_ok=True)
            for left in (self.root / "tmp").iterdir():
                if time.time() - left.stat().st_mtime > STALE_S:
                    shutil.rmtree(left, ignore_errors=True)

    def done(self, key: str) -> bool:
        """Whether the cell is finished (its checksums are looked at when it is read)."""
        return (self.root / "cells" / key / "cell.json").is_file()

    def read(self, key: str, *, mend: bool = False) -> CellResult | None:
        """A finished cell, or None where there is none or a damaged one.

        Args:
            mend: set a damaged cell aside in ``damaged/``, so that it can be computed again.
        """
        folder = self.root / "cells" / key
        try:
            data = json.loads((folder / "cell.json").read_text())
            body = data["result"]
            sound = data["sha256"] == _digest(_canonical(body)) and all(
                _digest((folder / name).read_bytes()) == digest for name, digest in data["files"].items())
            if sound:
                return _result(body)
        except FileNotFoundError:
            if not folder.exists():
                return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            pass
        if mend:
            self._set_aside(folder)
        return None

    def glance(self, key: str) -> CellResult | None:
        """What a finished cell says of itself, its files unread: enough for the time that it took."""
        try:
            return _result(json.loads((self.root / "cells" / key / "cell.json").read_text())["result"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None

    def arrays(self, key: str, name: str = VERDICTS) -> dict[str, np.ndarray]:
        """The arrays of a finished cell.

        Raises:
            StoreError: if there are none.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        path = self.root / "cells" / key / name
        try:
            return load_file(path)
        except (OSError, SafetensorError) as error:
            raise StoreError(f"cannot read {name}: {error}", where=str(path.parent),
                             hint="delete that folder and run again") from None

    def write(self, key: str, result: CellResult, arrays: dict[str, dict[str, np.ndarray]]) -> None:
        """Store a finished cell; of two writers the first wins, and both hold the same.

        Args:
            arrays: file name -> name -> array.

        Raises:
            StoreError: disk full, folder not writable; nothing half written stays.
        """
        from safetensors.numpy import save

        with self._explaining(), self._folder() as folder:
            files = {}
            for name, content in arrays.items():
                if content:
                    data = save({key: np.ascontiguousarray(array) for key, array in sorted(content.items())})
                    _write(folder / name, data)
                    files[name] = _digest(data)
            body = result.__dict__
            text = json.dumps({"result": body, "files": files, "sha256": _digest(_canonical(body))}, indent=1)
            _write(folder / "cell.json", text.encode())
            try:
                folder.rename(self.root / "cells" / key)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
        (self.root / "failures" / f"{key}.txt").unlink(missing_ok=True)

    def write_failure(self, key: str, text: str) -> Path:
        """Keep the traceback of a cell that failed."""
        path = self.root / "failures" / f"{key}.txt"
        with self._explaining():
            path.write_text(text)
        return path

    @contextlib.contextmanager
    def lock(self, key: str) -> Iterator[bool]:
        """Try to take a cell: yields whether this process may work on it."""
        with self._explaining():
            handle = os.open(self.root / "locks" / key, os.O_CREAT | os.O_RDWR, 0o666)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True
        finally:
            os.close(handle)

    def finished(self) -> list[str]:
        """Keys of all finished cells."""
        folder = self.root / "cells"
        return sorted(path.name for path in folder.iterdir() if (path / "cell.json").is_file()) if folder.is_dir() else []

    @contextlib.contextmanager
    def _folder(self) -> Iterator[Path]:
        folder = Path(tempfile.mkdtemp(dir=self.root / "tmp"))
        folder.chmod(0o755)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _set_aside(self, folder: Path) -> None:
        with self._explaining():
            (self.root / "damaged").mkdir(exist_ok=True)
            target = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=self.root / "damaged"))
            with contextlib.suppress(FileNotFoundError):  # another process was first
                folder.rename(target)

    @contextlib.contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            hint = "free some space and run the same command again: finished cells are kept" if error.errno == errno.ENOSPC \
                else "choose another folder with --store, or mend its permissions"
            raise StoreError(f"cannot write the store: {error.strerror}", where=str(self.root), hint=hint) from error


def _result(body: dict[str, Any]) -> CellResult:
    """Fields that a newer release may have added are left out: they are no damage."""
    return CellResult(**{field.name: body[field.name] for field in fields(CellResult)})


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _write(path: Path, data: bytes) -> None:
    with open(path, "wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())
