"""Packs: many cells in two files that never change.

* ``packs/HASH.parquet``: a row a cell: its key, what it is (columns to query by), its ``cell.json`` word for word, and where
  its other files lie; HASH is the file's own sha256, so that a damaged one is never believed;
* ``packs/HASH.arrays``: those files, one after the other, each held against the sha256 in its ``cell.json`` when it is read.

A cell in ``cells/`` goes before the same one in a pack. Two packs may hold the same cell, for a moment of every compaction:
a pack is there before what went into it is removed. Readers look at ``cells/`` first and at the packs after it, so that they
see each cell, and see it once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from harness.errors import StoreError
from harness.storage.bucket import Bucket
from harness.storage.cellfile import CELL, Damage, UnknownFormat, decode
from harness.storage.folder import Folder

FOLDER, INDEX, ARRAYS = "packs", ".parquet", ".arrays"
ROWS = 1000
"""Cells that are read together."""

Files = Folder | Bucket
Cell = dict[str, bytes]
"""A cell's files, ``cell.json`` among them."""


def arrow() -> Any:
    """The pyarrow package with its parquet module.

    Raises:
        StoreError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise StoreError(
            "packs of cells are Parquet files, and pyarrow is not installed",
            hint="pip install 'bioharness[parquet]'",
        ) from None
    return pyarrow


@dataclass(frozen=True)
class Spans:
    """Where the files of a pack's cells lie.

    Attributes:
        arrays: name of the file that they lie in.
        names, starts, sizes: a list a row.
    """

    arrays: str
    names: Any
    starts: Any
    sizes: Any

    def of(self, row: int) -> dict[str, tuple[int, int]]:
        """File -> where it begins and how long it is."""
        return {
            name: (start, size)
            for name, start, size in zip(
                self.names[row].as_py(),
                self.starts[row].as_py(),
                self.sizes[row].as_py(),
                strict=True,
            )
        }


class Pack:
    """One pack, opened."""

    def __init__(self, files: Files, name: str):
        """Open it.

        Raises:
            Damage: its index is not what was written.
            FileNotFoundError: it is gone.
        """
        data = files.read(f"{FOLDER}/{name}")
        if hashlib.sha256(data).hexdigest() != name.removesuffix(INDEX):
            raise Damage(
                "changed or truncated: its index is not the one that its name is a hash of"
            )
        self.name, self._files = name, files
        self._index = arrow().parquet.ParquetFile(arrow().BufferReader(data))
        table = self._index.read(columns=["key", "names", "starts", "sizes"])
        self.rows: dict[str, int] = {key: row for row, key in enumerate(table["key"].to_pylist())}
        arrays = self._index.schema_arrow.metadata[b"arrays"].decode()
        self.spans = Spans(
            arrays, *(table[column].combine_chunks() for column in ("names", "starts", "sizes"))
        )
        self._group = lru_cache(maxsize=2)(self._read_group)

    def cell(self, key: str) -> bytes:
        """The ``cell.json`` of one of its cells."""
        group, row = divmod(self.rows[key], ROWS)
        return self._group(group)[row].as_py().encode()

    def names(self, key: str) -> list[str]:
        """The files of one of its cells beside ``cell.json``."""
        return self.spans.names[self.rows[key]].as_py()

    def read(self, key: str, name: str) -> bytes:
        """A file of one of its cells.

        Raises:
            FileNotFoundError: the cell has none of that name, or the pack's arrays are gone.
        """
        if name == CELL:
            return self.cell(key)
        try:
            start, size = self.spans.of(self.rows[key])[name]
        except KeyError:
            raise FileNotFoundError(name) from None
        return self._files.read(f"{FOLDER}/{self.spans.arrays}", start, size)

    def _read_group(self, group: int) -> Any:
        return self._index.read_row_group(group, columns=["cell"])["cell"].combine_chunks()


class Packs:
    """All packs of a store, opened when they are first asked for."""

    def __init__(self, files: Files):
        self._files = files
        self._open: dict[str, Pack] = {}
        self._by_key: dict[str, Pack] = {}

    def refresh(self, *, mend: bool = False) -> None:
        """Look again which there are.

        Args:
            mend: save what is sound in one that is damaged.

        Raises:
            StoreError: one is damaged.
        """
        there = self.list()
        if set(there) == self._open.keys():
            return
        for name in there:
            if name not in self._open:
                try:
                    self._open[name] = Pack(self._files, name)
                except FileNotFoundError:  # replaced by another in this moment
                    return self.refresh(mend=mend)
                except Damage as damage:
                    if mend:
                        salvage(self._files, name)
                        return self.refresh(mend=mend)
                    raise StoreError(
                        f"pack {name} is damaged: {damage}",
                        where=str(self._files.root),
                        hint="`harness store verify --repair` saves what is sound in it",
                    ) from None
        self._open = {name: self._open[name] for name in there}
        self._by_key = {key: pack for pack in self._open.values() for key in pack.rows}
        return None

    def list(self) -> list[str]:
        """Names of their indices."""
        return [name for name in self._files.children(FOLDER) if name.endswith(INDEX)]

    def __iter__(self) -> Iterator[str]:
        """Keys of the cells in them, as of the last look."""
        return iter(self._by_key)

    def __contains__(self, key: str) -> bool:
        return key in self._by_key

    def find(self, key: str) -> Pack | None:
        """The pack that holds a cell; looks again where none is known to."""
        if key not in self._by_key:
            self.refresh()
        return self._by_key.get(key)

    def read(self, key: str, name: str) -> bytes:
        """A file of a packed cell.

        Raises:
            FileNotFoundError: no pack has it.
        """
        pack = self.find(key)
        try:
            if pack:
                return pack.read(key, name)
        except FileNotFoundError:  # its pack was replaced by another since we looked?
            self.refresh()
            if self._by_key.get(key) not in (None, pack):
                return self._by_key[key].read(key, name)
        raise FileNotFoundError(f"{key}/{name}")

    def place(self, key: str) -> tuple[str, int]:
        """Where a packed cell lies: to read many in the order in which they lie is quicker."""
        pack = self._by_key[key]
        return pack.name, pack.rows[key]


def write(files: Files, cells: Iterable[tuple[str, Cell]]) -> str:
    """Make a pack of sound cells; the name of its index."""
    columns: dict[str, list] = {name: [] for name in ("key", "cell", "names", "starts", "sizes")}
    arrays: list[bytes] = []
    length = 0
    for key, cell in cells:
        names = sorted(cell.keys() - {CELL})
        sizes = [len(cell[name]) for name in names]
        starts = [length + sum(sizes[:place]) for place in range(len(sizes))]
        arrays += [cell[name] for name in names]
        length += sum(sizes)
        for column, value in zip(
            columns.values(), (key, cell[CELL].decode(), names, starts, sizes), strict=True
        ):
            column.append(value)
    data = b"".join(arrays)
    name = hashlib.sha256(data).hexdigest() + ARRAYS
    if arrays:
        files.write(f"{FOLDER}/{name}", data)
    return write_index(files, columns, name)


def write_index(files: Files, columns: dict[str, list], arrays: str) -> str:
    """The index of a pack whose arrays lie in a file already; its name."""
    pa = arrow()
    outline = [_outline(cell) for cell in columns["cell"]]
    queried = {name: [row[name] for row in outline] for name in outline[0]} if outline else {}
    types = {
        "starts": pa.list_(pa.int64()),
        "sizes": pa.list_(pa.int64()),
        "names": pa.list_(pa.string()),
    }
    table = pa.table(
        {name: pa.array(values, types.get(name)) for name, values in {**columns, **queried}.items()}
    )
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(
        table.replace_schema_metadata({"arrays": arrays, "format": "1"}),
        sink,
        row_group_size=ROWS,
        compression="zstd",
        use_dictionary=[*queried],
        write_statistics=[*queried],
    )
    data = sink.getvalue().to_pybytes()
    name = hashlib.sha256(data).hexdigest() + INDEX
    files.write(f"{FOLDER}/{name}", data)
    return name


def _outline(cell: str) -> dict[str, Any]:
    """What a cell is, for whoever queries a pack with other tools."""
    result = decode(cell.encode()).result
    identity = result["identity"]

    def kind(part: str) -> str | None:
        return (identity.get(part) or {}).get("kind")

    return {
        "role": identity.get("role"),
        "learner": kind("learner"),
        "dataset": kind("dataset"),
        "protocol": kind("protocol"),
        "seed": identity.get("seed"),
        "wall_s": float(result["wall_s"]),
        "created": result["created"],
    }


def sound(cell: Cell) -> bool:
    """Whether all files of a cell are there and what was written."""
    try:
        for name, member in decode(cell[CELL]).files.items():
            member.check(cell[name])
    except (Damage, KeyError):
        return False
    except UnknownFormat:
        return False
    return True


def salvage(files: Files, name: str) -> list[str]:
    """Put an index of what is sound in the place of a damaged pack's. What is damaged is kept in ``damaged/``.

    Returns:
        Keys of the cells that are lost, as far as it can be told which there were.
    """
    columns: dict[str, list] = {
        column: [] for column in ("key", "cell", "names", "starts", "sizes")
    }
    data, lost, arrays = files.read(f"{FOLDER}/{name}"), [], ""
    if hashlib.sha256(data).hexdigest() != name.removesuffix(INDEX):
        files.write(aside(name), data)
    for row, arrays in _readable_rows(data):
        cell = {CELL: row["cell"].encode()}
        for member, start, size in zip(row["names"], row["starts"], row["sizes"], strict=True):
            try:
                cell[member] = files.read(f"{FOLDER}/{arrays}", start, size)
            except (OSError, ValueError):
                cell[member] = b""
        if sound(cell):
            for column in columns:
                columns[column].append(row[column])
        else:
            lost.append(row["key"])
            files.install(
                aside(row["key"]),
                {**{n: d for n, d in cell.items() if n != CELL}, CELL: cell[CELL]},
            )
    new = write_index(files, columns, arrays) if columns["key"] else None
    if new != name:
        files.remove(f"{FOLDER}/{name}")
    return lost


def aside(name: str) -> str:
    """A place for what is damaged, that nothing has yet."""
    import uuid

    return f"damaged/{name}-{uuid.uuid4().hex[:8]}"


def _readable_rows(data: bytes) -> Iterator[tuple[dict[str, Any], str]]:
    """Rows of an index, damaged or not, with the name of the file of arrays; rows that cannot be read are left out."""
    pa = arrow()
    try:
        index = pa.parquet.ParquetFile(pa.BufferReader(data))
        arrays = index.schema_arrow.metadata[b"arrays"].decode()
    except Exception:  # whatever reading arbitrary bytes may raise
        return
    for group in range(index.num_row_groups):
        try:
            rows = index.read_row_group(
                group, columns=["key", "cell", "names", "starts", "sizes"]
            ).to_pylist()
        except Exception:
            continue
        for row in rows:
            if all(
                isinstance(row[name], kind)
                for name, kind in (
                    ("key", str),
                    ("cell", str),
                    ("names", list),
                    ("starts", list),
                    ("sizes", list),
                )
            ):
                yield row, arrays
