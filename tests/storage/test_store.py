"""Cells on disk: complete or absent, and damage is noticed."""

from __future__ import annotations

import errno
import json
import multiprocessing as mp
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from made_up import a_cell

from harness.errors import HarnessWarning, StoreError
from harness.storage.store import VERDICTS, Store


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "store")
    store.prepare()
    return store


def a_result(value=0.5):
    result = a_cell()[1]
    result.values[0]["value"] = value
    return result


def test_what_is_written_is_read(store):
    arrays = {
        "correct": np.arange(6, dtype=np.uint8).reshape(2, 3),
        "margin": np.linspace(0, 1, 4, dtype=np.float32),
    }
    store.write("k", a_result(), {VERDICTS: arrays})
    assert store.done("k") and store.finished() == ["k"]
    assert store.read("k") == a_result()
    for name, array in store.arrays("k").items():
        np.testing.assert_array_equal(array, arrays[name])


def test_what_is_not_there_is_none(store):
    assert store.read("k") is None and not store.done("k") and store.finished() == []
    with pytest.raises(StoreError, match="cannot read"):
        store.arrays("k")


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "cell.json").write_text("{"),
        lambda folder: (folder / "cell.json").write_text(
            (folder / "cell.json").read_text().replace("0.5", "0.6")
        ),
        lambda folder: (folder / VERDICTS).write_bytes((folder / VERDICTS).read_bytes()[:-3]),
        lambda folder: (folder / VERDICTS).unlink(),
        lambda folder: (folder / "cell.json").unlink(),
        lambda folder: (folder / "cell.json").write_text(json.dumps({"sha256": 1})),
    ],
)
def test_a_damaged_cell_is_set_aside_and_can_be_written_again(store, damage):
    store.write("k", a_result(), {VERDICTS: {"correct": np.ones(3)}})
    damage(store.root / "cells" / "k")
    with pytest.raises(StoreError, match="cell k"):
        store.arrays("k")
    assert not (store.root / "damaged").exists(), "reading changes nothing"
    assert store.unfinished(["k"]) == ["k"] and not store.done("k")
    store.write("k", a_result(), {VERDICTS: {"correct": np.ones(3)}})
    assert len(list((store.root / "damaged").iterdir())) == 1
    assert store.unfinished(["k"]) == [] and store.read("k") == a_result()


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(store, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("harness.storage.folder._write", full)
    with pytest.raises(StoreError, match="No space left") as caught:
        store.write("k", a_result(), {VERDICTS: {"correct": np.ones(3)}})
    assert "free some space" in str(caught.value)
    assert not store.done("k") and list((store.root / "tmp").iterdir()) == []


def test_a_store_that_cannot_be_made_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write the store"):
        Store(tmp_path / "file" / "store").prepare()


def test_prepare_clears_what_was_left_long_ago_and_spares_what_may_be_in_use(store):
    for name in ("elsewhere-1-abcd_123", "elsewhere-2-abcd_123", "notes.txt"):
        (store.root / "tmp" / name).mkdir()
    os.utime(store.root / "tmp" / "elsewhere-1-abcd_123", (0, 0))
    store.prepare()
    assert sorted(path.name for path in (store.root / "tmp").iterdir()) == [
        "elsewhere-2-abcd_123",
        "notes.txt",
    ]


def test_a_cell_of_a_newer_release_is_not_damaged(store, monkeypatch):
    newer = a_result()
    newer.novelty = 1
    store.write("k", newer, {VERDICTS: {"correct": np.ones(3)}})
    with pytest.warns(
        HarnessWarning, match="fields of a newer release, which are ignored: novelty"
    ):
        assert store.unfinished(["k"]) == [] and store.read("k") == a_result()


def _race(root, number):
    Store(root).write("k", a_result(), {VERDICTS: {"correct": np.zeros(1000)}})


def test_of_many_writers_one_wins_and_the_cell_is_whole(store):
    context = mp.get_context("fork")
    racers = [context.Process(target=_race, args=(store.root, n)) for n in range(4)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert [racer.exitcode for racer in racers] == [0] * 4
    assert store.read("k") == a_result() and list((store.root / "tmp").iterdir()) == []


HOLD = """
import sys, time
from harness.storage.store import Store
with Store(sys.argv[1]).lock("k") as mine:
    print(mine, flush=True)
    time.sleep(60)
"""


def test_a_lock_is_held_by_one_and_freed_by_death(store):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, store.root], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "True\n"
    with store.lock("k") as mine:
        assert not mine
    holder.kill()
    holder.wait()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        with store.lock("k") as mine:
            if mine:
                return
    pytest.fail("the lock outlived its holder")
