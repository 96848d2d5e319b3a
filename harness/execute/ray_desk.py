"""The desk of a Ray run: an actor beside the driver that collects progress and serves the store."""

from __future__ import annotations

import os
from pathlib import Path

from harness.execute.base import Event
from harness.storage.cellfile import CELL
from harness.storage.store import Arrays, CellResult, Store

Stored = tuple[CellResult, dict[str, Arrays]]
"""A finished cell and its arrays, by file and name."""


class Desk:
    """Tasks report their progress here, and ask for what else is in the store.

    Every method may be called twice for one request: Ray repeats calls when the actor was
    restarted.

    Args:
        store: the driver's.
        folder: the driver's current one; the path of the store may be relative to it.
    """

    def __init__(self, store: Store, folder: Path) -> None:
        os.chdir(folder)
        self.store = store
        self.events: list[tuple[int, Event]] = []

    def report(self, number: int, event: Event) -> None:
        """Add an event of the task of that number."""
        self.events.append((number, event))

    def take(self) -> list[tuple[int, Event]]:
        """Return the events since the last call, with the numbers of their tasks."""
        events = self.events
        self.events = []
        return events

    def fetch(self, key: str) -> Stored | None:
        """Read a finished cell; None if there is none."""
        return read_cell(self.store, key)

    def keep(self, key: str, result: CellResult, arrays: dict[str, Arrays]) -> None:
        """Write a finished cell."""
        self.store.write(key, result, arrays)


def read_cell(store: Store, key: str) -> Stored | None:
    """Read a finished cell with all its arrays; None if it is missing or damaged."""
    result = store.read(key, repair=True)
    if result is None:
        return None
    arrays = {name: store.arrays(key, name) for name in store.members(key) if name != CELL}
    return result, arrays
