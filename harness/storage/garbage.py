"""Garbage in a store: files that nothing needs any more, listed and removed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harness.storage.cellfile import CELL
from harness.storage.folder import STALE_S
from harness.storage.pack_repair import SET_ASIDE
from harness.storage.partial import FOLDER, partial_name
from harness.storage.store import Store
from harness.storage.upkeep import exclusive, orphaned_arrays


@dataclass(frozen=True)
class Garbage:
    """A file or folder that nothing needs.

    Attributes:
        path: from the root of the store.
        why: nothing needs it.
        bytes: its size.
    """

    path: str
    why: str
    bytes: int


def garbage(store: Store, *, damaged: bool = False) -> list[Garbage]:
    """List what can be removed from a store.

    That is leftovers of dead processes, trainings that no measurement was made from, tracebacks of
    cells that were finished later, and files that nothing names.

    Args:
        store: need not be prepared.
        damaged: also list what was set aside as damaged.
    """
    store = Store(store.root)
    listed = list(_unneeded(store))
    if damaged:
        aside = filter(SET_ASIDE.fullmatch, store.files.children("damaged"))
        listed += [(f"damaged/{name}", "damaged") for name in aside]
    return [Garbage(path, why, store.files.size(path)) for path, why in listed]


def remove_garbage(store: Store, *, damaged: bool = False) -> list[Garbage]:
    """Remove what ``garbage`` lists, and return it.

    Raises:
        StoreError: other maintenance is in progress.
    """
    with exclusive(store):
        removed = garbage(store, damaged=damaged)
        for each in removed:
            store.files.remove(each.path)
        return removed


def _unneeded(store: Store) -> Iterator[tuple[str, str]]:
    """(path, reason) of what can be removed."""
    for path in store.files.leftovers():
        yield path, "left by a process that is dead"
    for path in orphaned_arrays(store):
        yield path, "no pack names it"
    for key in _interrupted_writes(store):
        yield f"cells/{key}", "interrupted while it was written"
    for key in _unused_trainings(store):
        yield f"cells/{key}", "a training that no measurement here was made from"
    for name in store.files.children("failures"):
        if store.done(name.removesuffix(".txt")):
            yield f"failures/{name}", "the cell was finished later"
    for key in store.files.children(FOLDER):
        if store.done(key):
            yield partial_name(key), "the cell was finished later"
        elif store.files.age(partial_name(key)) > STALE_S:
            yield partial_name(key), "part of a cell that nobody has gone on with for a day"


def _interrupted_writes(store: Store) -> list[str]:
    """Keys of loose cells in a bucket without ``cell.json``, too old to be still in progress."""
    if not store.files.remote:
        return []
    complete = set(store.files.folders_with(CELL, inside="cells"))
    interrupted = []
    for key in store.files.children("cells"):
        if key not in complete:
            names = store.files.children(f"cells/{key}")
            ages = [store.files.age(f"cells/{key}/{name}") for name in names]
            if min(ages, default=0.0) > STALE_S:
                interrupted.append(key)
    return interrupted


def _unused_trainings(store: Store) -> list[str]:
    """Keys of loose training cells that nothing in the store needs.

    Those younger than a day are not listed: a run may be about to measure them.
    """
    needed = set()
    trainings = []
    for key, result in store.results(store.finished()):
        if result.identity.get("role") == "train":
            trainings.append(key)
        elif "match" in result.log:
            needed.add(result.log["training"])
        else:
            needed.add(result.identity.get("training"))
    return [
        key
        for key in trainings
        if key not in needed and store.files.age(f"cells/{key}/{CELL}") > STALE_S
    ]
