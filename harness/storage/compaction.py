"""Compaction: cells are moved into packs, a few large files instead of many small ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from harness.errors import StoreError
from harness.storage import pack_format
from harness.storage.cellfile import CELL
from harness.storage.pack_format import FOLDER, CellFiles
from harness.storage.packs import Pack
from harness.storage.store import Store
from harness.storage.upkeep import arrays_by_index, exclusive, orphaned_arrays

PACK_BYTES = 256 * 2**20
PACK_CELLS = 100_000
"""A pack is full when it reaches either; one that is less than half full is packed again."""

Batch = list[tuple[str, CellFiles]]
"""Keys and files of the cells of one pack."""


@dataclass
class Compaction:
    """What a compaction did.

    Attributes:
        cells: number of cells packed.
        packs: number of packs written.
        left: keys of cells that were not packed, because they are damaged or of a newer release.
    """

    cells: int = 0
    packs: int = 0
    left: list[str] = field(default_factory=list)


def compact(store: Store) -> Compaction:
    """Move a store's cells into packs; every file keeps its exact content.

    Other processes may read and write meanwhile. The originals are removed after the pack was
    written and read back.

    Raises:
        StoreError: other maintenance is in progress, pyarrow is not installed, or the store cannot
            be written.
    """
    pack_format.arrow()
    with exclusive(store):
        return _compact(Store(store.root))


def _compact(store: Store) -> Compaction:
    done = Compaction()
    loose = store.files.folders_with(CELL, inside="cells")
    store.packs.refresh()
    loose = [key for key in loose if not _remove_if_packed(store, key)]
    small = _small_packs(store)
    if not loose and len(small) < 2:
        return done
    packed = {key for key in store.packs if store.packs.place(key)[0] in small}
    keys = [*loose, *sorted(packed - set(loose))]
    written = {_write_pack(store, batch, done) for batch in _batches(store, keys, done)}
    for name in set(small) - written:
        store.files.remove(f"{FOLDER}/{name}")
    for path in orphaned_arrays(store):
        store.files.remove(path)
    done.packs = len(written)
    return done


def _remove_if_packed(store: Store, key: str) -> bool:
    """Remove a loose cell if a pack contains exactly the same files.

    An earlier compaction was then killed between writing the pack and removing the cell.
    """
    if key not in store.packs:
        return False
    pack = store.packs.find(key)
    if pack is None:
        return False
    try:
        for name, data in store.content(key).items():
            if pack.read(key, name) != data:
                return False
    except (StoreError, FileNotFoundError):
        return False
    store.files.remove(f"cells/{key}")
    return True


def _small_packs(store: Store) -> list[str]:
    """Names of packs that are less than half full."""
    rows = Counter(store.packs.place(key)[0] for key in store.packs)
    small = []
    for name, arrays in arrays_by_index(store).items():
        size = store.files.size(f"{FOLDER}/{arrays}")
        if size < PACK_BYTES / 2 and rows[name] < PACK_CELLS / 2:
            small.append(name)
    return small


def _batches(store: Store, keys: list[str], done: Compaction) -> Iterator[Batch]:
    """Undamaged cells, as many at a time as fit into a pack."""
    batch: Batch = []
    size = 0
    for key in keys:
        try:
            cell = store.content(key)
        except StoreError:
            done.left.append(key)
            continue
        batch.append((key, cell))
        size += sum(map(len, cell.values()))
        if size >= PACK_BYTES or len(batch) >= PACK_CELLS:
            yield batch
            batch = []
            size = 0
    if batch:
        yield batch


def _write_pack(store: Store, batch: Batch, done: Compaction) -> str:
    """Write a pack, read it back, and remove the loose cells that it contains."""
    name = pack_format.write(store.files, batch)
    pack = Pack(store.files, name)
    has_arrays = any(len(cell) > 1 for _, cell in batch)
    # One read for all cells: a request for each file would take long in a bucket.
    data = store.files.read(f"{FOLDER}/{pack.spans.arrays}") if has_arrays else b""
    for key, cell in batch:
        if _unpacked(pack, key, data) != cell:
            raise StoreError(
                f"pack {name} does not contain what was written to it",
                where=str(store.root),
                hint="nothing has been removed; the disk may be faulty",
            )
    for key, _ in batch:
        store.files.remove(f"cells/{key}")
    done.cells += len(batch)
    return name


def _unpacked(pack: Pack, key: str, arrays: bytes) -> CellFiles:
    """The files of a cell, from the whole content of its pack's file of arrays."""
    files = {CELL: pack.cell(key)}
    for name, (start, size) in pack.spans.of(pack.rows[key]).items():
        files[name] = arrays[start : start + size]
    return files
