"""Finished cells on disk or in a bucket: whole or not at all, checksummed, safe to share between processes and machines.

A cell is a folder ``cells/<key>``, inside:

* ``cell.json``: what was measured, what it was measured on, and the sha256 of each file beside it (``harness.storage.cellfile``);
* ``verdicts.safetensors`` / ``weights.safetensors``: arrays; nothing is ever pickled.

Many cells may lie in ``packs/`` instead (``harness store compact``). ``locks/<key>`` is held while a process works on a cell,
``failures/<key>.txt`` is the traceback of one that failed, ``damaged/`` has what was found to be.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import StoreError
from harness.storage import packs
from harness.storage.bucket import Bucket
from harness.storage.cellfile import CELL, CellFile, Damage, UnknownFormat, decode, encode
from harness.storage.folder import Folder

DEFAULT_STORE = "results/runs"
VERDICTS, WEIGHTS, SNAPSHOTS = (
    "verdicts.safetensors",
    "weights.safetensors",
    "snapshots.safetensors",
)
_BROKEN = (errno.EIO, errno.ENOTDIR, errno.EISDIR)
"""Errors that reading again will not cure."""
_AT_ONCE = 32
"""Cells that are checked at once where an answer takes its time."""


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


_FIELDS = tuple(each.name for each in fields(CellResult))


def is_url(root: str | Path) -> bool:
    """Whether a store is at a URL and not in a folder."""
    return "://" in str(root) and not str(root).startswith("file://")


def is_store(path: str | Path) -> bool:
    """Whether a path is a store's, not a file's."""
    return is_url(path) or Path(str(path).removeprefix("file://")).is_dir()


class Store:
    """Finished cells, in a folder or at a URL that fsspec knows. Any number of processes may use it at once."""

    def __init__(self, root: str | Path):
        if not str(root):
            raise StoreError(
                "a store needs a folder or URL, and none is given",
                where="--store",
                hint="an unset variable?",
            )
        self.root: str | Path = root if is_url(root) else Path(str(root).removeprefix("file://"))
        self.files: packs.Files = Bucket(str(root)) if is_url(root) else Folder(self.root)
        self.packs = packs.Packs(self.files)

    def __reduce__(self) -> tuple:
        return Store, (self.root,)

    def prepare(self) -> None:
        """Make it ready to be written, and clear what killed processes left behind.

        Raises:
            StoreError: where it cannot be written.
        """
        self.files.prepare()
        for left in self.files.leftovers():
            self.files.remove(left)

    # ------------------------------------------------------------------------------------------------------- reading

    def finished(self) -> list[str]:
        """Keys of all finished cells (their checksums are looked at when they are read)."""
        if isinstance(self.root, Path) and self.root.is_file():
            raise StoreError("a store is a folder, and this is a file", where=str(self.root))
        loose = self.files.holding("cells", CELL)
        self.packs.refresh()  # after that: a cell is in its pack before it ceases to be loose
        return sorted({*loose, *self.packs})

    def done(self, key: str) -> bool:
        """Whether a cell is finished."""
        return self.files.exists(f"cells/{key}/{CELL}") or self.packs.find(key) is not None

    def unfinished(self, keys: Iterable[str], *, unread: Collection[str] = ()) -> list[str]:
        """Those of some cells that are not finished, or damaged; damaged ones are set aside, so that they can be computed again.

        Every byte is looked at; in a bucket (which looks after bytes itself) only whether all files are there in full length.

        Args:
            unread: those of them whose arrays are left alone.

        Raises:
            StoreError: a cell of a newer release.
        """
        self.packs.refresh(mend=True)
        there, keys = set(self.finished()), list(keys)
        found = sorted((key for key in keys if key in there), key=self._place)
        sizes = self.files.sizes("cells") if self.files.remote else None

        def mended(key: str) -> bool:
            return self._mend(key, sizes, arrays=key not in unread)

        if self.files.remote:
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                sound = dict(zip(found, pool.map(mended, found), strict=True))
        else:
            sound = {key: mended(key) for key in found}
        return [key for key in keys if not sound.get(key)]

    def results(self, keys: Iterable[str]) -> Iterator[tuple[str, CellResult]]:
        """Finished cells of those keys with their results, in the order that is quickest; others are left out.

        Raises:
            StoreError: a cell of a newer release.
        """
        wanted, loose = dict.fromkeys(keys), set(self.files.holding("cells", CELL))
        self.packs.refresh()
        first = [key for key in wanted if key in loose]
        rest = sorted(
            (key for key in wanted if key not in loose and key in self.packs), key=self._place
        )
        loosely = zip(
            first, self.files.read_all(f"cells/{key}/{CELL}" for key in first), strict=True
        )
        for key, data in itertools.chain(loosely, ((key, None) for key in rest)):
            with contextlib.suppress(Damage, FileNotFoundError):
                yield (
                    key,
                    _result(self._decode(key, self._raw(key, CELL) if data is None else data)),
                )

    def read(self, key: str, *, mend: bool = False) -> CellResult | None:
        """A finished cell, or None where there is none or a damaged one.

        Args:
            mend: look at its arrays too, and set it aside where anything is damaged, so that it can be computed again.

        Raises:
            StoreError: a cell of a newer release.
        """
        if mend and not self._mend(key, None, arrays=True):
            return None
        with contextlib.suppress(Damage, FileNotFoundError):
            return _result(self._decode(key, self._raw(key, CELL)))
        return None

    def content(self, key: str, names: Collection[str] | None = None) -> dict[str, bytes]:
        """The files of a finished cell, checked, ``cell.json`` first.

        Args:
            names: those of them that are wanted; all if left out.

        Raises:
            StoreError: there is none, or a file is missing or damaged.
        """
        cell = self._cell(key)
        wanted = [name for name in cell.files if names is None or name in names]
        return {
            CELL: self._raw(key, CELL),
            **{name: self._checked(key, name, cell) for name in wanted},
        }

    def members(self, key: str) -> list[str]:
        """Names of the files of a finished cell.

        Raises:
            StoreError: there is none, or it is damaged.
        """
        return sorted([CELL, *self._cell(key).files])

    def arrays(self, key: str, name: str = VERDICTS) -> dict[str, np.ndarray]:
        """The arrays of a finished cell, checked.

        Raises:
            StoreError: there are none, or they are damaged.
        """
        from safetensors.numpy import load

        return load(self._checked(key, name, self._cell(key)))

    # ------------------------------------------------------------------------------------------------------- writing

    def write(self, key: str, result: CellResult, arrays: dict[str, dict[str, np.ndarray]]) -> None:
        """Store a finished cell; of two writers the first wins, and both hold the same.

        Args:
            arrays: file name -> name -> array.

        Raises:
            StoreError: disk full, not writable; nothing half written stays.
        """
        from safetensors.numpy import save

        files = {
            name: save({key: np.ascontiguousarray(array) for key, array in sorted(content.items())})
            for name, content in arrays.items()
            if content
        }
        self.files.install(f"cells/{key}", {**files, CELL: encode(result.__dict__, files)})
        self.files.remove(f"failures/{key}.txt")

    def write_failure(self, key: str, text: str) -> None:
        """Keep the traceback of a cell that failed."""
        self.files.write(f"failures/{key}.txt", text.encode())

    def failure(self, key: str) -> str | None:
        """Where the traceback of a cell that failed lies; None where it has not failed."""
        name = f"failures/{key}.txt"
        return f"{self.root}/{name}" if self.files.exists(name) else None

    def lock(self, key: str) -> contextlib.AbstractContextManager[bool]:
        """Try to take a cell: yields whether this process may work on it."""
        return self.files.lock(key)

    def set_aside(self, key: str) -> None:
        """Move a damaged cell to ``damaged/``: it is no longer finished."""
        if self.files.exists(f"cells/{key}"):
            self.files.move(f"cells/{key}", packs.aside(key))
        elif pack := self.packs.find(key):
            packs.salvage(self.files, pack.name)
            self.packs.refresh()

    # ----------------------------------------------------------------------------------------------------------------

    def _raw(self, key: str, name: str) -> bytes:
        try:
            return self.files.read(f"cells/{key}/{name}")
        except OSError as error:
            if error.errno in _BROKEN:
                raise Damage(f"unreadable: {error.strerror}") from None
            if not isinstance(error, FileNotFoundError):
                raise StoreError(
                    f"cannot read cell {key}: {error.strerror}", where=str(self.root)
                ) from None
        return self.packs.read(key, name)

    def _decode(self, key: str, data: bytes) -> CellFile:
        try:
            return decode(data)
        except UnknownFormat as error:
            raise StoreError(
                f"cell {key} is of {error}",
                where=str(self.root),
                hint="use the release that wrote it",
            ) from None

    def _cell(self, key: str) -> CellFile:
        try:
            return self._decode(key, self._raw(key, CELL))
        except (Damage, FileNotFoundError) as error:
            raise self._damaged(key, CELL, error) from None

    def _checked(self, key: str, name: str, cell: CellFile) -> bytes:
        try:
            data = self._raw(key, name)
            cell.files[name].check(data)
            return data
        except KeyError:
            raise StoreError(f"cell {key} has no {name}", where=str(self.root)) from None
        except (Damage, FileNotFoundError) as error:
            raise self._damaged(key, name, error) from None

    def _damaged(self, key: str, name: str, why: Exception) -> StoreError:
        words = "it is not there" if isinstance(why, FileNotFoundError) else str(why)
        return StoreError(
            f"cannot read {name} of cell {key}: {words}",
            where=str(self.root),
            hint="`harness store verify --repair` sets what is damaged aside; then run its suite again",
        )

    def _mend(self, key: str, sizes: dict[str, int] | None, *, arrays: bool) -> bool:
        """Whether a cell is sound; one that is not is set aside."""
        try:
            cell = self._decode(key, self._raw(key, CELL))
            for name, member in cell.files.items() if arrays else ():
                if sizes is None:
                    member.check(self._raw(key, name))
                elif f"cells/{key}/{CELL}" in sizes and sizes.get(f"cells/{key}/{name}", -1) != (
                    sizes.get(f"cells/{key}/{name}") if member.bytes is None else member.bytes
                ):
                    raise Damage(f"{name} is missing or truncated")
            return True
        except (Damage, FileNotFoundError):
            self.set_aside(key)
            return False

    def _place(self, key: str) -> tuple[str, int]:
        return self.packs.place(key) if key in self.packs else ("", 0)


def _result(cell: CellFile) -> CellResult:
    """Fields that a newer release may have added are left out: they are no damage."""
    try:
        return CellResult(**{name: cell.result[name] for name in _FIELDS})
    except (KeyError, TypeError) as error:
        raise Damage(f"its result lacks {error}") from None
