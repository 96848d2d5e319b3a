"""Upkeep of a store: compaction, verification and repair, and the removal of what nobody needs. One process at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from harness.errors import StoreError
from harness.storage import packs
from harness.storage.cellfile import CELL, Damage, UnknownFormat, decode
from harness.storage.folder import STALE_S
from harness.storage.store import Store

PACK_BYTES = 256 * 2**20
PACK_CELLS = 100_000
"""A pack is full when it has as much of either; one that is less than half full is packed again."""
_AT_ONCE = 32


# ------------------------------------------------------------------------------------------------------------ compaction


@dataclass
class Compaction:
    """What a compaction did: cells packed, packs made, keys of cells left as they are (damaged, or of a newer release)."""

    cells: int = 0
    packs: int = 0
    left: list[str] = field(default_factory=list)


def compact(store: Store) -> Compaction:
    """Lay a store's cells into packs. Nothing is lost: every file stays as it is, to the byte.

    Others may read and write meanwhile. What went into a pack is removed when the pack is there and has been read again.

    Raises:
        StoreError: another upkeep is under way, pyarrow is not installed, or the store cannot be written.
    """
    packs.arrow()
    with _alone(store):
        done, store = Compaction(), Store(store.root)
        loose = store.files.holding("cells", CELL)
        store.packs.refresh()
        loose = [
            key for key in loose if not (key in store.packs and _removed_as_packed(store, key))
        ]
        small = _small(store)
        if not loose and len(small) < 2:
            return done
        sources = [
            *loose,
            *sorted(
                {key for name in small for key in store.packs if store.packs.place(key)[0] == name}
                - set(loose)
            ),
        ]
        made = {_pack(store, group, done) for group in _groups(store, sources, done)}
        for name in set(small) - made:
            store.files.remove(f"{packs.FOLDER}/{name}")
        _drop_arrays(store)
        done.packs = len(made)
        return done


def _removed_as_packed(store: Store, key: str) -> bool:
    """Remove a loose cell that a pack has too, to the byte (a compaction was killed after it had made the pack)."""
    pack = store.packs.find(key)
    try:
        same = all(pack.read(key, name) == data for name, data in store.content(key).items())
    except (StoreError, FileNotFoundError):
        return False
    if same:
        store.files.remove(f"cells/{key}")
    return same


def _small(store: Store) -> list[str]:
    """Packs that are less than half full."""
    rows: dict[str, int] = {}
    for key in store.packs:
        rows[store.packs.place(key)[0]] = rows.get(store.packs.place(key)[0], 0) + 1
    sizes = {
        name: store.files.size(f"{packs.FOLDER}/{arrays}")
        for name, arrays in _arrays_of(store).items()
    }
    return [
        name
        for name, size in sizes.items()
        if size < PACK_BYTES / 2 and rows.get(name, 0) < PACK_CELLS / 2
    ]


def _groups(
    store: Store, keys: list[str], done: Compaction
) -> Iterator[list[tuple[str, packs.Cell]]]:
    """Sound cells, as many at a time as a pack takes."""
    group, length = [], 0
    for key in keys:
        try:
            cell = store.content(key)
        except StoreError:
            done.left.append(key)
            continue
        group.append((key, cell))
        length += sum(map(len, cell.values()))
        if length >= PACK_BYTES or len(group) >= PACK_CELLS:
            yield group
            group, length = [], 0
    if group:
        yield group


def _pack(store: Store, group: list[tuple[str, packs.Cell]], done: Compaction) -> str:
    """Write a pack, read it again, and remove what went into it."""
    name = packs.write(store.files, group)
    pack = packs.Pack(store.files, name)
    arrays = (
        store.files.read(f"{packs.FOLDER}/{pack.spans.arrays}")
        if any(len(cell) > 1 for _, cell in group)
        else b""
    )
    for key, cell in group:
        spans = {
            member: arrays[start : start + size]
            for member, (start, size) in pack.spans.of(pack.rows[key]).items()
        }
        if {CELL: pack.cell(key), **spans} != cell:
            raise StoreError(
                f"pack {name} does not hold what was written to it",
                where=str(store.root),
                hint="nothing has been removed; the disk may be faulty",
            )
    for key, _ in group:
        store.files.remove(f"cells/{key}")
    done.cells += len(group)
    return name


def _arrays_of(store: Store) -> dict[str, str]:
    """Index of each pack that can be opened -> its file of arrays."""
    found = {}
    for name in store.packs.list():
        with contextlib.suppress(Damage, FileNotFoundError):
            found[name] = packs.Pack(store.files, name).spans.arrays
    return found


def _orphaned_arrays(store: Store) -> list[str]:
    names = store.files.children(packs.FOLDER)
    opened = _arrays_of(store) if any(name.endswith(packs.ARRAYS) for name in names) else {}
    if len(opened) < sum(name.endswith(packs.INDEX) for name in names):
        return []  # an index that cannot be read may name any
    return [
        f"{packs.FOLDER}/{name}"
        for name in names
        if name.endswith(packs.ARRAYS) and name not in opened.values()
    ]


def _drop_arrays(store: Store) -> None:
    for name in _orphaned_arrays(store):
        store.files.remove(name)


# ---------------------------------------------------------------------------------------------------------- verification


@dataclass(frozen=True)
class Fault:
    """What is wrong with a file.

    Attributes:
        path: from the root of the store.
        kind: ``damaged`` (truncated, changed, missing), ``unknown`` (of a newer release: not looked at), ``orphaned`` (belongs
            to nothing; does no harm).
        what: in words.
    """

    path: str
    kind: str
    what: str


@dataclass
class Report:
    """What a verification found.

    Attributes:
        cells: how many were looked at.
        faults: all that is wrong.
        repaired: what was set aside.
    """

    cells: int = 0
    faults: list[Fault] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether every cell was read and nothing is damaged, or no longer is."""
        return all(fault.kind == "orphaned" or fault.path in self.repaired for fault in self.faults)


def verify(store: Store, *, repair: bool = False) -> Report:
    """Hold every file of a store against its hash, its length and its format, and every cell against its key.

    Args:
        repair: move what is damaged to ``damaged/``; the next run of a suite computes those cells again.
    """
    store, report = Store(store.root), Report()
    with _alone(store) if repair else contextlib.nullcontext():
        _verify_loose(store, report)
        damaged = _verify_packs(store, report)
        if repair:
            _repair(store, report, damaged)
    return report


def _verify_loose(store: Store, report: Report) -> None:
    folders = store.files.children("cells")
    with ThreadPoolExecutor(_AT_ONCE if store.files.remote else 2) as pool:
        for faults in pool.map(lambda key: list(_faults_of(store, key)), folders):
            report.faults += faults
    report.cells += len(folders)


def _faults_of(store: Store, key: str) -> Iterator[Fault]:
    """What is wrong with one loose cell; nothing of one that a compaction has just taken away."""
    folder = f"cells/{key}"
    names = store.files.children(folder)
    if CELL not in names:
        if store.files.remote:
            yield Fault(folder, "orphaned", f"no {CELL}: a run was interrupted, or is at work")
        elif store.files.exists(folder):
            yield Fault(folder, "damaged", f"{CELL} is missing")
        return
    try:
        cell = decode(store.files.read(f"{folder}/{CELL}"))
        _check_key(key, cell.result)
    except FileNotFoundError:
        return
    except UnknownFormat as error:
        yield Fault(f"{folder}/{CELL}", "unknown", str(error))
        return
    except (Damage, OSError) as error:
        yield Fault(f"{folder}/{CELL}", "damaged", str(error))
        return
    for name, member in cell.files.items():
        try:
            member.check(store.files.read(f"{folder}/{name}"))
        except FileNotFoundError:
            if store.files.exists(folder):
                yield Fault(f"{folder}/{name}", "damaged", "missing")
        except (Damage, OSError) as error:
            yield Fault(f"{folder}/{name}", "damaged", str(error))
    for name in sorted(set(names) - cell.files.keys() - {CELL}):
        yield Fault(f"{folder}/{name}", "orphaned", f"not named in {CELL}")


def _check_key(key: str, result: dict) -> None:
    from harness.storage.cellfile import cell_key

    try:
        other = cell_key(result["identity"])
    except (KeyError, TypeError, ValueError) as error:
        raise Damage(f"does not say what it is: {error}") from None
    if other != key:
        raise Damage(f"is the cell of another key, {other}")


def _verify_packs(store: Store, report: Report) -> set[str]:
    """Names of the packs that have something damaged."""
    damaged = set()
    for name in store.packs.list():
        path = f"{packs.FOLDER}/{name}"
        try:
            pack = packs.Pack(store.files, name)
        except FileNotFoundError:
            continue
        except Damage as damage:
            report.faults.append(Fault(path, "damaged", str(damage)))
            damaged.add(name)
            continue
        for key in pack.rows:
            try:
                _verify_row(pack, key)
            except UnknownFormat as error:
                report.faults.append(Fault(f"{path}#{key}", "unknown", str(error)))
            except (Damage, OSError) as error:
                words = (
                    "its arrays are missing" if isinstance(error, FileNotFoundError) else str(error)
                )
                report.faults.append(Fault(f"{path}#{key}", "damaged", words))
                damaged.add(name)
        report.cells += len(pack.rows)
    report.faults += [
        Fault(name, "orphaned", "no pack names it") for name in _orphaned_arrays(store)
    ]
    return damaged


def _verify_row(pack: packs.Pack, key: str) -> None:
    cell = decode(pack.cell(key))
    _check_key(key, cell.result)
    for name, member in cell.files.items():
        member.check(pack.read(key, name))


def _repair(store: Store, report: Report, damaged: set[str]) -> None:
    for name in damaged:
        packs.salvage(store.files, name)
    for folder in sorted(
        {
            "/".join(fault.path.split("/")[:2])
            for fault in report.faults
            if fault.kind == "damaged" and fault.path.startswith("cells/")
        }
    ):
        store.files.move(folder, packs.aside(folder.removeprefix("cells/")))
    report.repaired = [fault.path for fault in report.faults if fault.kind == "damaged"]


# --------------------------------------------------------------------------------------------------------------- garbage


@dataclass(frozen=True)
class Garbage:
    """Something that nobody needs: where it lies, why nobody does, and its bytes."""

    path: str
    why: str
    bytes: int


def garbage(store: Store, *, damaged: bool = False) -> list[Garbage]:
    """What can be removed from a store: leftovers of dead processes, trainings that no measurement was made from, orphans.

    Args:
        damaged: also what was set aside.
    """
    store = Store(store.root)
    found = [(name, "left by a process that is dead") for name in store.files.leftovers()]
    found += [(name, "no pack names it") for name in _orphaned_arrays(store)]
    found += [(f"cells/{key}", "interrupted while it was written") for key in _unwritten(store)]
    found += [
        (f"cells/{key}", "a training that no measurement here was made from")
        for key in _unused_trainings(store)
    ]
    found += [
        (f"failures/{name}", "the cell is finished by now")
        for name in store.files.children("failures")
        if store.done(name.removesuffix(".txt"))
    ]
    if damaged:
        found += [(f"damaged/{name}", "damaged") for name in store.files.children("damaged")]
    return [Garbage(path, why, store.files.size(path)) for path, why in found]


def remove_garbage(store: Store, *, damaged: bool = False) -> list[Garbage]:
    """Remove it; what was removed."""
    with _alone(store):
        found = garbage(store, damaged=damaged)
        for each in found:
            store.files.remove(each.path)
        return found


def _unwritten(store: Store) -> list[str]:
    """Loose cells of a bucket without that which says that they are there, and too old to be on their way."""
    if not store.files.remote:
        return []
    whole = set(store.files.holding("cells", CELL))
    return [
        key
        for key in store.files.children("cells")
        if key not in whole
        and min(
            store.files.age(f"cells/{key}/{name}") for name in store.files.children(f"cells/{key}")
        )
        > STALE_S
    ]


def _unused_trainings(store: Store) -> list[str]:
    """Loose training cells, older than a day (a run may be about to measure them), that no measurement in the store needs."""
    needed, trainings = set(), []
    for key, result in store.results(store.finished()):
        if result.identity.get("role") == "train":
            trainings.append(key)
        else:
            needed.add(
                result.log["training"] if "match" in result.log else result.identity.get("training")
            )
    return [
        key
        for key in trainings
        if key not in needed and store.files.age(f"cells/{key}/{CELL}") > STALE_S
    ]


# ---------------------------------------------------------------------------------------------------------------- shared


@contextlib.contextmanager
def _alone(store: Store) -> Iterator[None]:
    store.files.prepare()
    with store.files.lock("upkeep") as mine:
        if not mine:
            raise StoreError(
                "another compaction, repair or collection is under way",
                where=str(store.root),
                hint="wait for it, or for a minute if it was on a machine that died",
            )
        yield
