"""Packs: every cell is read once, nothing is lost, and damage is found and repaired."""

from __future__ import annotations

import multiprocessing as mp
import os
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_up import a_cell, arrays, fill, write_format_1

from harness.errors import StoreError
from harness.storage import cellfile, compaction, garbage, pack_format, verification
from harness.storage.folder import Folder
from harness.storage.store import VERDICTS, Store

pyarrow = pytest.importorskip(
    "pyarrow", reason="pyarrow is not installed: pip install 'bioharness[parquet]'"
)


def contents(store: Store) -> dict[str, dict[str, bytes]]:
    """Every file of every cell, through a new store object."""
    store = Store(store.root)
    return {key: store.content(key) for key in store.finished()}


def test_a_compacted_store_reads_as_before(store):
    cells = fill(store, 5) | fill(store, 2, "train")
    before = contents(store)
    done = compaction.compact(store)
    assert (done.cells, done.packs, done.left) == (7, 1, [])
    assert store.files.children("cells") == [] and len(store.files.children("packs")) == 2
    for reader in (store, Store(store.root)):
        assert (
            contents(reader) == before
            and dict(reader.results(cells)) == cells
            and reader.unfinished(cells) == []
        )
        assert all(reader.done(key) and reader.read(key) == result for key, result in cells.items())
    assert verification.verify(store).cells == 7 and verification.verify(store).faults == []


def test_compacting_again_takes_what_came_since_and_keeps_few_packs(store):
    fill(store, 3)
    compaction.compact(store)
    assert compaction.compact(store).packs == 0, "nothing to do"
    cells = fill(store, 6)
    before = contents(store)
    compaction.compact(store)
    assert contents(store) == before and set(before) == set(cells)
    assert (
        len([name for name in store.files.children("packs") if name.endswith(pack_format.INDEX)])
        == 1
    )
    assert garbage.garbage(store) == []


def test_full_packs_are_left_alone(local, monkeypatch):
    monkeypatch.setattr(compaction, "PACK_CELLS", 4)
    fill(local, 5)
    assert compaction.compact(local).packs == 2
    before = set(local.files.children("packs"))
    fill(local, 6)
    compaction.compact(local)
    assert len(before - set(local.files.children("packs"))) == 2, "the files of the pack of one"
    assert len(contents(local)) == 6


def test_cells_of_older_formats_are_packed_as_they_are(local):
    key, result = a_cell(1)
    write_format_1(local, key, result, {VERDICTS: b"x"})
    before = contents(local)
    compaction.compact(local)
    assert contents(local) == before and local.read(key) == result


def test_a_damaged_cell_stays_out_of_packs(local):
    keys = list(fill(local))
    (local.root / "cells" / keys[1] / VERDICTS).write_bytes(b"")
    assert compaction.compact(local).left == [keys[1]]
    assert local.unfinished(keys) == [keys[1]]


def test_other_tools_can_query_a_pack(local):
    fill(local, 4)
    compaction.compact(local)
    index = next((local.root / "packs").glob("*.parquet"))
    table = pyarrow.parquet.read_table(index).to_pandas()
    assert (
        list(table["learner"]) == ["mlp"] * 4
        and sorted(table["seed"]) == [0, 1, 2, 3]
        and set(table["role"]) == {"measure"}
    )


def test_a_compaction_that_is_killed_anywhere_loses_nothing(local, monkeypatch):
    fill(local, 4)
    before = contents(local)
    for writes in range(4):
        for removals in range(6):
            child = mp.get_context("fork").Process(
                target=_killed, args=(local.root, writes, removals)
            )
            child.start()
            child.join()
            assert contents(local) == before
    assert (
        compaction.compact(local).left == []
        and contents(local) == before
        and verification.verify(local).faults == []
    )


def _killed(root, writes: int, removals: int) -> None:
    """Compact, and die at a certain write or removal."""
    store, left = Store(root), {"write": writes, "remove": removals}

    def dying(name: str):
        action = getattr(Folder, name)

        def act(*words):
            if left[name] == 0:
                os.kill(os.getpid(), 9)
            left[name] -= 1
            return action(*words)

        return act

    Folder.write, Folder.remove = dying("write"), dying("remove")
    compaction.compact(store)


def test_readers_and_writers_see_each_cell_once_while_packs_come_and_go(local, monkeypatch):
    monkeypatch.setattr(compaction, "PACK_CELLS", 7)
    total, faults, over = 60, [], threading.Event()
    written: list[str] = []

    def write() -> None:
        for number in range(total):
            key, result = a_cell(number)
            Store(local.root).write(key, result, arrays(number))
            written.append(key)

    def read() -> None:
        store = Store(local.root)  # which remembers packs that have been replaced since
        while not over.is_set():
            sure = set(written)
            seen = [key for key, _ in store.results(store.finished())]
            if (
                len(seen) != len(set(seen))
                or not sure <= set(seen)
                or any(not store.content(key) for key in seen)
            ):
                faults.append((len(seen), len(set(seen)), len(sure)))

    def guarded(work) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except Exception as error:
                faults.append(repr(error))

        return threading.Thread(target=run)

    threads = [guarded(write), guarded(read), guarded(read)]
    for thread in threads:
        thread.start()
    while threads[0].is_alive():
        compaction.compact(local)
    over.set()
    for thread in threads:
        thread.join()
    assert (
        faults == []
        and len(written) == total == len(local.finished())
        and verification.verify(local).sound
    )


def test_two_compactions_do_not_run_at_once(local):
    with local.lock("upkeep"), pytest.raises(StoreError, match="in progress"):
        compaction.compact(Store(local.root))


@pytest.mark.parametrize("ending", [pack_format.INDEX, pack_format.ARRAYS])
def test_a_pack_without_one_of_its_files_is_found_and_healed(local, ending):
    cells = fill(local)
    compaction.compact(local)
    next((local.root / "packs").glob(f"*{ending}")).unlink()
    assert verification.verify(local).sound == (ending == pack_format.INDEX), (
        "arrays alone are an orphan: no cell is there to be damaged"
    )
    assert verification.verify(local, repair=True).sound
    assert local.unfinished(cells) == list(cells)
    fill(local)
    assert dict(Store(local.root).results(cells)) == cells


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[dict, dict[str, bytes]]:
    """Two packed cells and two loose ones: their results, and all files."""
    store = Store(tmp_path_factory.mktemp("whole"))
    cells = fill(store, 2)
    compaction.compact(store)
    cells |= fill(store, 2, first=2)
    files = [
        path
        for folder in ("cells", "packs")
        for path in sorted((store.root / folder).rglob("*"))
        if path.is_file()
    ]
    return cells, {str(path.relative_to(store.root)): path.read_bytes() for path in files}


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), flip=st.booleans(), healed_by_run=st.booleans())
def test_any_damage_to_any_file_is_found_and_healed(
    whole, tmp_path_factory, data, flip, healed_by_run
):
    """Truncated at any byte, any bit flipped, in cells and in packs."""
    cells, files = whole
    name = data.draw(st.sampled_from(sorted(files)), label="file")
    content = bytearray(files[name])
    place = data.draw(st.integers(0, len(content) - 1), label="byte")
    if flip:
        content[place] ^= 1 << data.draw(st.integers(0, 7), label="bit")
    else:
        del content[place:]
    store = Store(tmp_path_factory.mktemp("damaged"))
    for path, written in {**files, name: bytes(content)}.items():
        (store.root / path).parent.mkdir(parents=True, exist_ok=True)
        (store.root / path).write_bytes(written)
    assert not verification.verify(store).sound
    if not healed_by_run:
        assert verification.verify(store, repair=True).sound
    lost = store.unfinished(cells)
    assert len(lost) == 1 or (name.startswith("packs") and len(lost) <= 2)
    for number, key in enumerate(cells):
        if key in lost:
            store.write(*a_cell(number), arrays(number))
    for reader in (store, Store(store.root)):
        assert reader.unfinished(cells) == [] and dict(reader.results(cells)) == cells
    for number, key in enumerate(cells):
        assert store.arrays(key)["correct"].tolist() == arrays(number)[VERDICTS]["correct"].tolist()
    assert verification.verify(store).sound and store.files.children("damaged")


def test_without_pyarrow_a_compacted_store_says_what_is_missing(local, monkeypatch):
    fill(local)
    compaction.compact(local)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(StoreError, match="pyarrow is not installed"):
        Store(local.root).finished()


def test_a_pack_whose_keys_or_arrays_lead_elsewhere_is_damaged(local):
    _, result = a_cell()
    cell = cellfile.encode(result.__dict__, {}).decode()
    row = {"key": ["../../outside"], "cell": [cell], "names": [[]], "starts": [[]], "sizes": [[]]}
    arrays = "0" * 64 + pack_format.ARRAYS
    pack_format.write_index(local.files, row, arrays)
    pack_format.write_index(local.files, {**row, "key": ["k"]}, "../../../etc/passwd")
    report = verification.verify(local)
    assert sorted(fault.what.partition("'")[0] for fault in report.faults) == [
        "changed: it holds a cell ",
        "changed: it names a file of arrays ",
    ]
    assert verification.verify(local, repair=True).sound
    assert local.finished() == [] and not (local.root.parent / "outside").exists()
