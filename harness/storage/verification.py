"""Verification of a store: every file against its hash, and repair of what is damaged."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

from harness.storage import tensors
from harness.storage.cellfile import CELL, Damage, UnknownFormat, cell_key, decode
from harness.storage.pack_format import FOLDER
from harness.storage.pack_repair import aside, salvage
from harness.storage.packs import Pack
from harness.storage.store import Store
from harness.storage.upkeep import exclusive, orphaned_arrays

_THREADS = {"folder": 2, "bucket": 32}


@dataclass(frozen=True)
class Fault:
    """What is wrong with a file.

    Attributes:
        path: from the root of the store.
        kind: ``damaged`` (truncated, changed or missing), ``unknown`` (of a newer release, not
            verified) or ``orphaned`` (belongs to nothing; harmless).
        what: the problem in words.
    """

    path: str
    kind: Literal["damaged", "unknown", "orphaned"]
    what: str


@dataclass
class Report:
    """The outcome of a verification.

    Attributes:
        cells: number of cells verified.
        faults: everything that is wrong.
        repaired: paths of the faults that were set aside.
    """

    cells: int = 0
    faults: list[Fault] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether every cell could be verified, and no damage is left in the store."""
        return all(fault.kind == "orphaned" or fault.path in self.repaired for fault in self.faults)


def verify(store: Store, *, repair: bool = False) -> Report:
    """Verify every file by its hash, length and format, and every cell by its key.

    Args:
        store: need not be prepared.
        repair: move damaged files to ``damaged/``; the next run of a suite computes those cells
            again.

    Raises:
        StoreError: a repair is asked for, and other maintenance is in progress.
    """
    store = Store(store.root)
    report = Report()
    with exclusive(store) if repair else contextlib.nullcontext():
        _verify_loose(store, report)
        damaged_packs = _verify_packs(store, report)
        if repair:
            _repair(store, report, damaged_packs)
    return report


def _verify_loose(store: Store, report: Report) -> None:
    folders = store.files.children("cells")
    threads = _THREADS["bucket" if store.files.remote else "folder"]
    with ThreadPoolExecutor(threads) as pool:
        for faults in pool.map(lambda key: list(_faults_of_cell(store, key)), folders):
            report.faults += faults
    report.cells += len(folders)


def _faults_of_cell(store: Store, key: str) -> Iterator[Fault]:
    """Faults of a loose cell; none if a compaction has just removed it."""
    folder = f"cells/{key}"
    names = store.files.children(folder)
    if CELL not in names:
        yield from _faults_of_incomplete(store, folder)
        return
    path = f"{folder}/{CELL}"
    try:
        cell = decode(store.files.read(path))
        _check_key(key, cell.result)
        tensors.check_files(cell)
    except FileNotFoundError:
        return
    except UnknownFormat as error:
        yield Fault(path, "unknown", str(error))
        return
    except (Damage, OSError) as error:
        yield Fault(path, "damaged", str(error))
        return
    for name in cell.files:
        try:
            tensors.check(name, cell, store.files.read(f"{folder}/{name}"))
        except FileNotFoundError:
            if store.files.exists(folder):
                yield Fault(f"{folder}/{name}", "damaged", "missing")
        except (Damage, OSError) as error:
            yield Fault(f"{folder}/{name}", "damaged", str(error))
    for name in sorted(set(names) - cell.files.keys() - {CELL}):
        yield Fault(f"{folder}/{name}", "orphaned", f"not named in {CELL}")


def _faults_of_incomplete(store: Store, folder: str) -> Iterator[Fault]:
    """Faults of a folder without ``cell.json``."""
    if store.files.remote:
        # Objects of a cell appear one by one, cell.json last.
        yield Fault(folder, "orphaned", f"no {CELL}: a run was interrupted, or is writing it")
    elif store.files.exists(folder):
        yield Fault(folder, "damaged", f"{CELL} is missing")


def _check_key(key: str, result: dict) -> None:
    """Compare a cell's key with the hash of its identity.

    Raises:
        Damage: they differ, or there is no identity.
    """
    try:
        actual = cell_key(result["identity"])
    except (KeyError, TypeError, ValueError) as error:
        raise Damage(f"has no valid identity: {error}") from None
    if actual != key:
        raise Damage(f"is a cell with another key, {actual}")


def _verify_packs(store: Store, report: Report) -> set[str]:
    """Verify all packs; returns the names of damaged ones."""
    damaged = set()
    for name in store.packs.index_names():
        try:
            pack = Pack(store.files, name)
        except FileNotFoundError:
            continue  # a compaction has replaced it
        except Damage as damage:
            report.faults.append(Fault(f"{FOLDER}/{name}", "damaged", str(damage)))
            damaged.add(name)
            continue
        faults = list(_faults_of_pack(pack))
        report.faults += faults
        report.cells += len(pack.rows)
        if any(fault.kind == "damaged" for fault in faults):
            damaged.add(name)
    for path in orphaned_arrays(store):
        report.faults.append(Fault(path, "orphaned", "no pack names it"))
    return damaged


def _faults_of_pack(pack: Pack) -> Iterator[Fault]:
    for key in pack.rows:
        path = f"{FOLDER}/{pack.name}#{key}"
        try:
            cell = decode(pack.cell(key))
            _check_key(key, cell.result)
            tensors.check_files(cell)
            for name in cell.files:
                tensors.check(name, cell, pack.read(key, name))
        except UnknownFormat as error:
            yield Fault(path, "unknown", str(error))
        except FileNotFoundError:
            yield Fault(path, "damaged", "its arrays are missing")
        except (Damage, OSError) as error:
            yield Fault(path, "damaged", str(error))


def _repair(store: Store, report: Report, damaged_packs: set[str]) -> None:
    for name in damaged_packs:
        salvage(store.files, name)
    damaged = [fault.path for fault in report.faults if fault.kind == "damaged"]
    cells = {path.split("/")[1] for path in damaged if path.startswith("cells/")}
    for key in sorted(cells):
        store.files.move(f"cells/{key}", aside(key))
    report.repaired = damaged
