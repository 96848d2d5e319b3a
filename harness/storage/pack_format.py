"""The format of a pack: many cells in two files that never change.

* ``packs/HASH.parquet``, the index, has a row for each cell: its key, columns to query by, its
  ``cell.json`` verbatim, and where its other files are. HASH is the sha256 of the file, so a
  damaged index is always noticed.
* ``packs/HASH.arrays`` contains those other files, one after another. Each is checked against the
  sha256 in its ``cell.json`` when it is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from harness.errors import StoreError
from harness.storage.bucket import Bucket
from harness.storage.cellfile import CELL, Damage, decode, digest, is_safe_name
from harness.storage.folder import Folder

FOLDER = "packs"
INDEX = ".parquet"
ARRAYS = ".arrays"
COLUMNS = ("key", "cell", "names", "starts", "sizes")
"""Columns that a pack is read by; the others are for queries of other tools."""
ROWS_PER_GROUP = 1000
"""Cells that are read together."""
_ARRAYS_NAME = re.compile(r"[0-9a-f]{64}\.arrays")

Files = Folder | Bucket
CellFiles = dict[str, bytes]
"""Name -> content of a cell's files, ``cell.json`` among them."""


def arrow() -> Any:
    """Import pyarrow with its parquet module.

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


def write(files: Files, cells: Iterable[tuple[str, CellFiles]]) -> str:
    """Write a pack.

    Args:
        cells: keys and files of undamaged cells.

    Returns:
        The name of its index.
    """
    columns: dict[str, list] = {name: [] for name in COLUMNS}
    contents: list[bytes] = []
    offset = 0
    for key, cell in cells:
        names = sorted(cell.keys() - {CELL})
        starts = []
        for name in names:
            starts.append(offset)
            contents.append(cell[name])
            offset += len(cell[name])
        columns["key"].append(key)
        columns["cell"].append(cell[CELL].decode())
        columns["names"].append(names)
        columns["starts"].append(starts)
        columns["sizes"].append([len(cell[name]) for name in names])
    data = b"".join(contents)
    arrays = digest(data) + ARRAYS
    if contents:
        files.write(f"{FOLDER}/{arrays}", data)
    return write_index(files, columns, arrays)


def write_index(files: Files, columns: dict[str, list], arrays: str) -> str:
    """Write the index of a pack whose arrays are written already.

    Args:
        columns: name -> values, for each of COLUMNS.
        arrays: name of the file of arrays.

    Returns:
        The name of the index.
    """
    pa = arrow()
    rows = [_query_columns(cell) for cell in columns["cell"]]
    queried = {name: [row[name] for row in rows] for name in rows[0]} if rows else {}
    types = {
        "names": pa.list_(pa.string()),
        "starts": pa.list_(pa.int64()),
        "sizes": pa.list_(pa.int64()),
    }
    values = {**columns, **queried}
    table = pa.table({name: pa.array(each, types.get(name)) for name, each in values.items()})
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(
        table.replace_schema_metadata({"arrays": arrays, "format": "1"}),
        sink,
        row_group_size=ROWS_PER_GROUP,
        compression="zstd",
        use_dictionary=[*queried],
        write_statistics=[*queried],
    )
    data = sink.getvalue().to_pybytes()
    name = digest(data) + INDEX
    files.write(f"{FOLDER}/{name}", data)
    return name


def _query_columns(cell: str) -> dict[str, Any]:
    """What a cell is, in columns for queries by other tools."""
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


def is_intact(index_name: str, data: bytes) -> bool:
    """Report whether the content of an index is the one that its name is a hash of."""
    return digest(data) == index_name.removesuffix(INDEX)


def arrays_name(index: Any) -> str:
    """Return the name of the file of arrays of an opened index.

    Raises:
        Damage: the index names no such file.
    """
    name = (index.schema_arrow.metadata or {}).get(b"arrays", b"").decode(errors="replace")
    if not _ARRAYS_NAME.fullmatch(name):
        raise Damage(f"changed: it names a file of arrays {name!r}")
    return name


def open_index(data: bytes) -> tuple[Any, Any]:
    """Open an index, and read what says which cells it holds and where.

    Returns:
        The opened index, and a table of keys and spans.

    Raises:
        Damage: it is not an index that ``write`` makes.
    """
    pa = arrow()
    try:
        index = pa.parquet.ParquetFile(pa.BufferReader(data))
        table = index.read(columns=["key", "names", "starts", "sizes"])
        table.validate(full=True)
        _check_index(pa, index, table)
    except Damage:
        raise
    except Exception as error:  # reading arbitrary bytes may raise anything
        raise Damage(f"its index cannot be read: {str(error)[:200]}") from None
    return index, table


def _check_index(pa: Any, index: Any, table: Any) -> None:
    """Check the types, names and places of an index: it may come from anywhere.

    Raises:
        Damage: something of it is not what ``write`` makes.
    """
    items = {"names": pa.string(), "starts": pa.int64(), "sizes": pa.int64()}
    lists = {name: table[name].type for name in items}
    is_written = all(
        pa.types.is_list(each) and each.value_type == items[name] for name, each in lists.items()
    )
    texts = {table["key"].type, index.schema_arrow.field("cell").type}
    if not is_written or texts != {pa.string()}:
        raise Damage("its index has columns of other types")
    groups = [index.metadata.row_group(i).num_rows for i in range(index.num_row_groups)]
    if any(rows != ROWS_PER_GROUP for rows in groups[:-1]):
        raise Damage("its index has groups of another size")
    columns = (table[name].to_pylist() for name in ("key", *items))
    for row in zip(*columns, strict=True):
        check_row(*row)


def check_row(key: Any, names: Any, starts: Any, sizes: Any) -> None:
    """Refuse names that would lead out of the store, and places that cannot be.

    Args:
        key: of a cell.
        names: of its files beside ``cell.json``.
        starts, sizes: where each of them is.

    Raises:
        Damage: one is not what ``write`` makes.
    """
    if not is_safe_name(key):
        raise Damage(f"changed: it holds a cell {str(key)[:60]!r}")
    lists = (names, starts, sizes)
    if not all(isinstance(each, list) and len(each) == len(lists[0]) for each in lists):
        raise Damage(f"cell {key}: its files are not listed")
    if not all(map(is_safe_name, names)) or CELL in names:
        raise Damage(f"cell {key}: it holds files {str(names)[:60]}")
    if not all(isinstance(place, int) and place >= 0 for place in (*starts, *sizes)):
        raise Damage(f"cell {key}: its files are nowhere")
