"""Finished cells on disk or in a bucket: complete or absent, checksummed, safe to share.

A cell is a folder ``cells/<key>`` with

* ``cell.json``: what was measured, what it was measured on, and the sha256 of each file beside it
  (see ``harness.storage.cellfile``);
* ``verdicts.safetensors``, ``weights.safetensors``, ``snapshots.safetensors``,
  ``saved.safetensors``: arrays. Nothing is ever pickled.

Many cells may be in ``packs/`` instead (``harness store compact``). ``locks/<key>`` is held while
a process computes a cell, ``failures/<key>.txt`` is the traceback of a failed one,
``partial/<key>`` is what an unfinished one has so far, and ``damaged/`` has the damaged files.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import StoreError, remark
from harness.storage import layout, tensors
from harness.storage.bucket import Bucket
from harness.storage.cellfile import CELL, CellFile, Damage, UnknownFormat, decode, encode
from harness.storage.damage import damage_error, name_damaged
from harness.storage.folder import Folder
from harness.storage.location import is_url
from harness.storage.pack_format import Files
from harness.storage.pack_repair import aside, salvage
from harness.storage.packs import Packs
from harness.storage.partial import partial_name

VERDICTS = tensors.VERDICTS
WEIGHTS = "weights.safetensors"
SNAPSHOTS = "snapshots.safetensors"
SAVED = "saved.safetensors"
"""Adversarial images that an attack with ``save`` kept."""
_PERMANENT = (errno.EIO, errno.ENOTDIR, errno.EISDIR, errno.ELOOP)
"""Errors that reading again will not cure."""
_REQUESTS_AT_ONCE = 32
"""Cells that are checked at once in a bucket, where each answer takes its time."""

Arrays = dict[str, np.ndarray]


@dataclass
class CellResult:
    """What a finished cell holds beside its arrays.

    Attributes:
        identity: everything that its key is a hash of.
        values: the protocol's values as dicts (empty for a training cell).
        trust: trust checks as dicts.
        log: the training log (empty for a measurement cell).
        wall_s: seconds it took.
        device, versions, git_commit, created: where, with which libraries and code, and when.
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
    """Finished cells in a folder or at an fsspec URL; any number of processes may use it at once.

    Args:
        root: folder or URL.

    Raises:
        StoreError: ``root`` is empty or a file, or fsspec cannot open the URL.
    """

    def __init__(self, root: str | Path) -> None:
        if not str(root):
            raise StoreError(
                "the store is an empty string; it must be a folder or URL",
                where="--store",
                hint="is a shell variable unset?",
            )
        self.root: str | Path
        self.files: Files
        if is_url(root):
            self.root = root
            self.files = Bucket(str(root))
        else:
            self.root = Path(str(root).removeprefix("file://"))
            if os.path.exists(self.root) and not os.path.isdir(self.root):
                raise StoreError("a store is a folder, and this is a file", where=str(root))
            self.files = Folder(self.root)
        self.packs = Packs(self.files)

    def __reduce__(self) -> tuple:
        return Store, (self.root,)

    def prepare(self) -> None:
        """Make the store ready for writing, and remove what killed processes left behind.

        Raises:
            StoreError: it cannot be written, or the folder contains something else.
        """
        layout.prepare(self.files)
        for leftover in self.files.leftovers():
            self.files.remove(leftover)

    # ----------------------------------------------------------------------------------- reading

    def finished(self) -> list[str]:
        """Return the keys of all finished cells; their checksums are not verified here.

        Raises:
            StoreError: a pack is damaged.
        """
        loose = self.files.folders_with(CELL, inside="cells")
        self.packs.refresh()  # after listing: a cell is in its pack before it ceases to be loose
        return sorted({*loose, *self.packs})

    def done(self, key: str) -> bool:
        """Report whether a cell is finished."""
        return self.files.exists(f"cells/{key}/{CELL}") or self.packs.find(key) is not None

    def unfinished(self, keys: Iterable[str], *, skip_arrays: Collection[str] = ()) -> list[str]:
        """Return the keys of cells that are missing or damaged, in the given order.

        Damaged cells are set aside, so that they can be computed again. Every byte is verified; in
        a bucket, which verifies content itself, only the length of each file.

        Args:
            keys: of the cells in question.
            skip_arrays: those of them whose arrays are not verified.

        Raises:
            StoreError: a cell was written by a newer release.
        """
        keys = list(keys)
        self.packs.refresh(repair=True)
        finished = set(self.finished())
        candidates = sorted((key for key in keys if key in finished), key=self._place)
        sizes = None if isinstance(self.files, Folder) else self.files.sizes("cells")

        def is_sound(key: str) -> bool:
            return self._check(key, sizes, arrays=key not in skip_arrays)

        if sizes is None:
            sound = dict(zip(candidates, map(is_sound, candidates), strict=True))
        else:
            with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
                sound = dict(zip(candidates, pool.map(is_sound, candidates), strict=True))
        return [key for key in keys if not sound.get(key)]

    def results(self, keys: Iterable[str]) -> Iterator[tuple[str, CellResult]]:
        """Read finished cells, in the order that is fastest; missing and damaged ones are skipped.

        Damaged cells are named in warnings.

        Yields:
            Key and result.

        Raises:
            StoreError: a cell was written by a newer release.
        """
        wanted = dict.fromkeys(keys)
        loose = set(self.files.folders_with(CELL, inside="cells"))
        self.packs.refresh()
        damaged: dict[str, Damage] = {}
        for key, data in self._contents(wanted, loose):
            try:
                # A cell that is no longer loose has been packed since it was listed.
                content = self._read(key, CELL) if data is None else data
                yield key, CellResult(**self._decode(key, content).result)
            except Damage as damage:
                damaged[key] = damage
            except FileNotFoundError:
                continue
        name_damaged(damaged, self.root)

    def _contents(
        self, wanted: Collection[str], loose: Collection[str]
    ) -> Iterator[tuple[str, bytes | None]]:
        """Each ``cell.json``, loose cells first; None for those still to be read from a pack."""
        first = [key for key in wanted if key in loose]
        packed = [key for key in wanted if key not in loose and key in self.packs]
        paths = (f"cells/{key}/{CELL}" for key in first)
        yield from zip(first, self.files.read_all(paths), strict=True)
        for key in sorted(packed, key=self._place):
            yield key, None

    def read(self, key: str, *, repair: bool = False) -> CellResult | None:
        """Read a finished cell; None if it is missing or damaged.

        Args:
            key: of the cell.
            repair: verify its arrays too, and set it aside if anything is damaged, so that it can
                be computed again.

        Raises:
            StoreError: the cell was written by a newer release.
        """
        if repair and not self._check(key, None, arrays=True):
            return None
        with contextlib.suppress(Damage, FileNotFoundError):
            return CellResult(**self._decode(key, self._read(key, CELL)).result)
        return None

    def content(self, key: str, names: Collection[str] | None = None) -> dict[str, bytes]:
        """Read the files of a finished cell and verify them.

        Args:
            key: of the cell.
            names: of the wanted files beside ``cell.json``; all if left out.

        Returns:
            Name -> content, ``cell.json`` first.

        Raises:
            StoreError: the cell or a file of it is missing or damaged.
        """
        cell = self._cell(key)
        content = {CELL: self._read(key, CELL)}
        for name in cell.files:
            if names is None or name in names:
                content[name] = self._read_verified(key, name, cell)
        return content

    def members(self, key: str) -> list[str]:
        """Return the names of a finished cell's files.

        Raises:
            StoreError: the cell is missing or damaged.
        """
        return sorted([CELL, *self._cell(key).files])

    def arrays(self, key: str, name: str = VERDICTS) -> Arrays:
        """Read the arrays in one file of a finished cell and verify them.

        Raises:
            StoreError: the file is missing or damaged.
        """
        data = self._read_verified(key, name, self._cell(key))
        try:
            return tensors.load(data)
        except Damage as damage:
            raise damage_error(self.root, key, name, damage) from None

    # ----------------------------------------------------------------------------------- writing

    def write(self, key: str, result: CellResult, arrays: dict[str, Arrays]) -> None:
        """Write a finished cell; of two writers the first wins, and both have the same content.

        Args:
            key: of the cell.
            result: what it holds beside its arrays.
            arrays: file name -> array name -> array.

        Raises:
            StoreError: the disk is full or not writable, or the result has a value that could not
                be read again or names an array that is not there; nothing half written stays.
        """
        from safetensors.numpy import save

        files = {}
        for name, content in arrays.items():
            if content:
                contiguous = {
                    each: np.ascontiguousarray(array) for each, array in sorted(content.items())
                }
                files[name] = save(contiguous)
        data = encode(result.__dict__, files)
        try:
            tensors.check_named(decode(data), arrays.get(VERDICTS, {}))
        except Damage as damage:
            raise StoreError(
                f"cell {key} cannot be stored: {damage}",
                where=str(self.root),
                hint="its learner or protocol returned an odd value; see `harness.records.Value`",
            ) from None
        self.files.install(f"cells/{key}", {**files, CELL: data})
        self.files.remove(f"failures/{key}.txt")
        self.files.remove(partial_name(key))

    def write_failure(self, key: str, text: str) -> None:
        """Keep the traceback of a failed cell."""
        self.files.write(f"failures/{key}.txt", text.encode("utf-8", errors="backslashreplace"))

    def failure(self, key: str) -> tuple[str, str] | None:
        """Return the path and the text of a failed cell's traceback; None if it has not failed."""
        name = f"failures/{key}.txt"
        if not self.files.exists(name):
            return None
        return f"{self.root}/{name}", self.files.read(name).decode(errors="replace")

    def lock(self, key: str) -> contextlib.AbstractContextManager[bool]:
        """Try to take a cell's lock; yields whether this process may compute the cell."""
        return self.files.lock(key)

    def set_aside(self, key: str) -> None:
        """Move a damaged cell to ``damaged/``; it is no longer finished."""
        if self.files.exists(f"cells/{key}"):
            self.files.move(f"cells/{key}", aside(key))
        elif pack := self.packs.find(key):
            salvage(self.files, pack.name)
            self.packs.refresh()

    # ---------------------------------------------------------------------------------- internals

    def _read(self, key: str, name: str) -> bytes:
        """Read a file of a cell, loose or packed, without verifying it."""
        try:
            return self.files.read(f"cells/{key}/{name}")
        except FileNotFoundError:
            return self.packs.read(key, name)
        except OSError as error:
            if error.errno in _PERMANENT:
                raise Damage(f"unreadable: {error.strerror}") from None
            raise StoreError(
                f"cannot read cell {key}: {error.strerror}", where=str(self.root)
            ) from None

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
            return self._decode(key, self._read(key, CELL))
        except (Damage, FileNotFoundError) as error:
            raise damage_error(self.root, key, CELL, error) from None

    def _read_verified(self, key: str, name: str, cell: CellFile) -> bytes:
        member = cell.files.get(name)
        if member is None:
            raise StoreError(f"cell {key} has no {name}", where=str(self.root))
        try:
            data = self._read(key, name)
            member.check(data)
        except (Damage, FileNotFoundError) as error:
            raise damage_error(self.root, key, name, error) from None
        return data

    def _check(self, key: str, sizes: dict[str, int] | None, *, arrays: bool) -> bool:
        """Report whether a cell is undamaged; a damaged one is set aside.

        Args:
            key: of the cell.
            sizes: bytes of each object of a bucket; None where every byte is verified.
            arrays: whether to verify the files beside ``cell.json``.
        """
        try:
            cell = self._decode(key, self._read(key, CELL))
            if arrays and sizes is None:
                tensors.check_files(cell)
                for name in cell.files:
                    tensors.check(name, cell, self._read(key, name))
            elif arrays and sizes is not None:
                _check_sizes(key, cell, sizes)
        except Damage as damage:
            remark(f"cell {key} is damaged and set aside: {damage}", where=str(self.root))
            self.set_aside(key)
            return False
        except FileNotFoundError:
            self.set_aside(key)
            return False
        return True

    def _place(self, key: str) -> tuple[str, int]:
        """A sort key: loose cells first, then packed ones in the order of their packs."""
        return self.packs.place(key) if key in self.packs else ("", 0)


def _check_sizes(key: str, cell: CellFile, sizes: dict[str, int]) -> None:
    """Compare the lengths of a loose cell's objects with what its ``cell.json`` records.

    Raises:
        Damage: one is missing or of another length.
    """
    if f"cells/{key}/{CELL}" not in sizes:
        return  # packed: checked when it is read
    for name, member in cell.files.items():
        size = sizes.get(f"cells/{key}/{name}")
        if size is None or (member.length is not None and size != member.length):
            raise Damage(f"{name} is missing or truncated")
