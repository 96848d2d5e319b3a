"""Stores in folders: leftovers of killed processes, and locks between processes and machines."""

from __future__ import annotations

import contextlib
import multiprocessing as mp
import os
import signal
import subprocess
import sys
import time

import pytest
from made_up import a_cell, arrays

from harness.storage import folder_lock, lease, verification
from harness.storage.cellfile import CELL
from harness.storage.store import Store

HOLD = """
import sys, time
from harness.storage import folder_lock, lease
lease.BEAT_S = float(sys.argv[3])
folder_lock.machine_id = lambda: sys.argv[2]
from harness.storage.store import Store
with Store(sys.argv[1]).lock("k") as mine:
    print(mine, flush=True)
    time.sleep(60)
"""


def hold(store: Store, machine: str, beat_s: float = 0.05) -> subprocess.Popen:
    """Start a process of that machine that holds the lock k."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, store.root, machine, str(beat_s)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout.readline() == "True\n"
    return holder


def without_kernel_locks(monkeypatch) -> None:
    """Imitate a file system without kernel locks between machines: each gets the other's lock."""
    monkeypatch.setattr(folder_lock.fcntl, "flock", lambda *_: None)


def taken(store: Store) -> bool:
    with store.lock("k") as mine:
        return mine


@pytest.mark.parametrize("shown", [True, False])
def test_a_lock_is_respected_by_another_machine_and_taken_over_when_that_has_died(
    local, monkeypatch, shown
):
    monkeypatch.setattr(lease, "LEASE_S", 0.6)
    holder = hold(local, "another machine")
    try:
        if not shown:
            without_kernel_locks(monkeypatch)
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            assert not taken(local), "its holder lives and renews it"
            time.sleep(0.05)
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        died, until = time.monotonic(), time.monotonic() + 20
        while not taken(local):
            assert time.monotonic() < until, "the lock outlived its holder"
            time.sleep(0.05)
        assert time.monotonic() - died > 0.3, "not before the lease has expired"
    finally:
        holder.kill()
        holder.wait()


def test_a_lock_of_a_process_of_this_machine_is_freed_by_its_death_at_once(local):
    holder = hold(local, lease.machine_id())
    assert not taken(local)
    holder.kill()
    holder.wait()
    assert taken(local)


def test_locks_work_where_the_file_system_has_none(local, monkeypatch):
    def none(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(folder_lock.fcntl, "flock", none)
    other = Store(local.root)
    with local.lock("k") as mine:
        assert mine and not taken(other)
    assert taken(other)


def test_of_machines_that_come_for_a_lock_at_once_one_gets_it(local, monkeypatch):
    """The second comes when the first has created the file and not yet written its name."""
    with contextlib.ExitStack() as held:
        got = []

        def lock_meanwhile(*_):
            without_kernel_locks(monkeypatch)
            got.append(held.enter_context(Store(local.root).lock("k")))

        monkeypatch.setattr(folder_lock.fcntl, "flock", lock_meanwhile)
        got.append(held.enter_context(local.lock("k")))
        assert sorted(got) == [False, True]


def test_what_another_machine_has_done_is_seen_although_it_was_missing_a_moment_ago(
    local, monkeypatch
):
    """A network file system may remember that a name was missing, until its folder is opened."""
    key, result = a_cell()
    opened, open_, exists = set(), os.open, os.path.exists
    monkeypatch.setattr(
        os,
        "open",
        lambda path, *words, **more: opened.add(str(path)) or open_(path, *words, **more),
    )
    monkeypatch.setattr(
        os.path, "exists", lambda path: f"{local.root}/cells" in opened and exists(path)
    )
    assert not local.done(key)
    local.write(key, result, arrays())
    opened.clear()
    assert local.done(key)


def test_clocks_do_not_matter(local, monkeypatch):
    monkeypatch.setattr(lease, "LEASE_S", 0.2)
    path = local.root / "locks" / "k"
    for moment in (0, time.time() + 1e6):
        path.write_text("a machine that died")
        os.utime(path, (moment, moment))
        assert not taken(local)
        time.sleep(0.25)
        assert taken(local)


def _compute(root: str, keys: list[str], done) -> None:
    """A worker: compute what is neither finished nor in progress."""
    store = Store(root)
    for number, key in enumerate(keys):
        with store.lock(key) as mine:
            if mine and not store.done(key):
                time.sleep(0.005)
                store.write(*a_cell(number), arrays(number))
                done.put(key)


def test_processes_share_the_work(local):
    context = mp.get_context("fork")
    keys, done = [a_cell(number)[0] for number in range(20)], context.Queue()
    workers = [
        context.Process(target=_compute, args=(str(local.root), order, done))
        for order in (keys, keys, keys)
    ]
    for worker in workers:
        worker.start()
    made = [done.get(timeout=60) for _ in keys]
    for worker in workers:
        worker.join()
    assert sorted(made) == sorted(keys) == local.finished() and done.empty()
    assert verification.verify(local).sound and local.files.children("locks") == []


def test_what_a_dead_process_of_this_machine_left_is_cleared_at_once(local):
    kill = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from harness.storage import folder\n"
        "folder._write = lambda *_: os.kill(os.getpid(), 9)\n"
        "folder.Folder(Path(sys.argv[1])).write('cells/x', b'')"
    )
    subprocess.run([sys.executable, "-c", kill, local.root], check=False)
    left = local.files.children("tmp")
    assert len(left) == 1
    (local.root / "tmp" / "elsewhere-1-x").mkdir()
    with local.files._staging() as mine:
        local.prepare()
        assert local.files.children("tmp") == sorted(["elsewhere-1-x", mine.name])


def test_half_a_cell_gives_way_to_a_whole_one(local):
    key, result = a_cell()
    (local.root / "cells" / key).mkdir()
    (local.root / "cells" / key / "verdicts.safetensors").write_bytes(b"half")
    assert [fault.what for fault in verification.verify(local).faults] == [f"{CELL} is missing"]
    assert local.unfinished([key]) == [key]
    local.write(key, result, arrays())
    assert local.read(key) == result and local.unfinished([key]) == []
