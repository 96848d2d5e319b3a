"""Reading packed cells (see ``harness.storage.pack_format``) while packs come and go.

A cell in ``cells/`` takes precedence over the same cell in a pack. Two packs may hold the same
cell for
a moment of every compaction: a pack is there before what went into it is removed. Readers look at
``cells/`` first and at the packs after it, so they see each cell, and see it once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from harness.errors import StoreError
from harness.storage.cellfile import CELL, Damage
from harness.storage.pack_format import (
    FOLDER,
    INDEX,
    ROWS_PER_GROUP,
    Files,
    arrays_name,
    is_intact,
    open_index,
)
from harness.storage.pack_repair import salvage


@dataclass(frozen=True)
class Spans:
    """Where the files of a pack's cells are in its file of arrays.

    Attributes:
        arrays: name of the file of arrays.
        names, starts, sizes: for each row, a list with an entry for each file.
    """

    arrays: str
    names: Any
    starts: Any
    sizes: Any

    def of(self, row: int) -> dict[str, tuple[int, int]]:
        """Return file name -> (start, length) for the cell of a row."""
        names = self.names[row].as_py()
        starts = self.starts[row].as_py()
        sizes = self.sizes[row].as_py()
        return dict(zip(names, zip(starts, sizes, strict=True), strict=True))


class Pack:
    """One pack, opened.

    Args:
        files: of the store.
        name: of the index.

    Raises:
        Damage: the index is not what was written.
        FileNotFoundError: there is no such pack.
    """

    def __init__(self, files: Files, name: str) -> None:
        data = files.read(f"{FOLDER}/{name}")
        if not is_intact(name, data):
            raise Damage("changed or truncated: its index does not have the sha256 in its name")
        self.name = name
        self._files = files
        self._index, table = open_index(data)
        keys = table["key"].to_pylist()
        self.rows: dict[str, int] = {key: row for row, key in enumerate(keys)}
        self.spans = Spans(
            arrays_name(self._index),
            names=table["names"].combine_chunks(),
            starts=table["starts"].combine_chunks(),
            sizes=table["sizes"].combine_chunks(),
        )
        self._group = lru_cache(maxsize=2)(self._read_group)

    def cell(self, key: str) -> bytes:
        """Return the ``cell.json`` of a cell.

        Raises:
            Damage: the index cannot be read there.
        """
        group, row = divmod(self.rows[key], ROWS_PER_GROUP)
        try:
            text = self._group(group)[row].as_py()
        except (OSError, ValueError) as error:  # those of Arrow are ValueErrors
            raise Damage(f"unreadable in its pack: {error}") from None
        if text is None:
            raise Damage("its pack has nothing of it")
        content: bytes = text.encode()
        return content

    def names(self, key: str) -> list[str]:
        """Return the names of a cell's files, apart from ``cell.json``."""
        return self.spans.names[self.rows[key]].as_py()

    def read(self, key: str, name: str) -> bytes:
        """Read a file of a cell.

        Raises:
            FileNotFoundError: the cell has no such file, or the pack's arrays are gone.
        """
        if name == CELL:
            return self.cell(key)
        spans = self.spans.of(self.rows[key])
        if name not in spans:
            raise FileNotFoundError(name)
        start, size = spans[name]
        return self._files.read(f"{FOLDER}/{self.spans.arrays}", start, size)

    def _read_group(self, group: int) -> Any:
        return self._index.read_row_group(group, columns=["cell"])["cell"].combine_chunks()


class Packs:
    """All packs of a store, opened when they are first needed.

    Args:
        files: of the store.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._open: dict[str, Pack] = {}
        self._by_key: dict[str, Pack] = {}

    def refresh(self, *, repair: bool = False) -> None:
        """Look again which packs there are.

        Args:
            repair: save the undamaged cells of a damaged pack.

        Raises:
            StoreError: a pack is damaged.
        """
        names = self.index_names()
        if set(names) == self._open.keys():
            return
        for name in names:
            if name not in self._open and not self._try_open(name, repair=repair):
                self.refresh(repair=repair)  # the packs have changed since they were listed
                return
        self._open = {name: self._open[name] for name in names}
        self._by_key = {key: pack for pack in self._open.values() for key in pack.rows}

    def _try_open(self, name: str, *, repair: bool) -> bool:
        """Open a pack; False if it is gone, or was replaced by its undamaged cells."""
        try:
            self._open[name] = Pack(self._files, name)
        except FileNotFoundError:
            return False
        except Damage as damage:
            if not repair:
                raise StoreError(
                    f"pack {name} is damaged: {damage}",
                    where=str(self._files.root),
                    hint="`harness store verify --repair` saves the undamaged cells in it",
                ) from None
            salvage(self._files, name)
            return False
        return True

    def index_names(self) -> list[str]:
        """List the names of the packs' indices."""
        return [name for name in self._files.children(FOLDER) if name.endswith(INDEX)]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the keys of packed cells, as of the last refresh."""
        return iter(self._by_key)

    def __contains__(self, key: str) -> bool:
        return key in self._by_key

    def find(self, key: str) -> Pack | None:
        """Return the pack that holds a cell; refreshes if none is known to."""
        if key not in self._by_key:
            self.refresh()
        return self._by_key.get(key)

    def read(self, key: str, name: str) -> bytes:
        """Read a file of a packed cell.

        Raises:
            FileNotFoundError: no pack has it.
        """
        pack = self.find(key)
        if pack is None:
            raise FileNotFoundError(f"{key}/{name}")
        try:
            return pack.read(key, name)
        except FileNotFoundError:
            # A compaction may have replaced the pack since the last refresh.
            self.refresh()
            replacement = self._by_key.get(key)
            if replacement is None or replacement is pack:
                raise FileNotFoundError(f"{key}/{name}") from None
            return replacement.read(key, name)

    def place(self, key: str) -> tuple[str, int]:
        """Return a sort key of a packed cell: reading many in this order is faster."""
        pack = self._by_key[key]
        return pack.name, pack.rows[key]
