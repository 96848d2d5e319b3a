"""What all maintenance of a store shares: one process at a time, and which arrays no pack names."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from harness.errors import StoreError
from harness.storage import layout
from harness.storage.cellfile import Damage
from harness.storage.pack_format import ARRAYS, FOLDER, INDEX
from harness.storage.packs import Pack
from harness.storage.store import Store


@contextlib.contextmanager
def exclusive(store: Store) -> Iterator[None]:
    """Keep other maintenance of a store out for as long as the block runs.

    Raises:
        StoreError: other maintenance is in progress, or the folder is not a store.
    """
    layout.prepare(store.files)
    with store.files.lock("upkeep") as taken:
        if not taken:
            raise StoreError(
                "another compaction, repair or garbage collection is in progress",
                where=str(store.root),
                hint="wait for it; if it ran on a machine that died, wait for a minute",
            )
        yield


def arrays_by_index(store: Store) -> dict[str, str]:
    """Return the file of arrays of each pack that can be opened, by the name of the index."""
    arrays = {}
    for name in store.packs.index_names():
        with contextlib.suppress(Damage, FileNotFoundError):
            arrays[name] = Pack(store.files, name).spans.arrays
    return arrays


def orphaned_arrays(store: Store) -> list[str]:
    """Return the paths of files of arrays that no pack names."""
    names = store.files.children(FOLDER)
    files_of_arrays = [name for name in names if name.endswith(ARRAYS)]
    if not files_of_arrays:
        return []
    opened = arrays_by_index(store)
    if len(opened) < sum(name.endswith(INDEX) for name in names):
        return []  # an index that cannot be read may name any of them
    named = set(opened.values())
    return [f"{FOLDER}/{name}" for name in files_of_arrays if name not in named]
