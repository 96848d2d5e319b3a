"""Leases: renewed while their holder lives, expired without it, released by their owner only."""

from __future__ import annotations

import itertools
import threading
import time
import uuid

import pytest

from harness.storage import lease
from harness.storage.bucket import Bucket
from harness.storage.folder import Folder
from harness.storage.store import Store

BEAT_S = 0.05


class Clock:
    """A monotonic clock that tests set."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(lease.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def test_a_lease_expires_when_it_has_looked_the_same_for_its_whole_term(clock):
    watch = lease.Watch()
    assert not watch.is_stale("k", "beat 1"), "seen for the first time"
    clock.now += lease.LEASE_S - 0.001
    assert not watch.is_stale("k", "beat 1")
    clock.now += 0.001
    assert watch.is_stale("k", "beat 1")


def test_a_renewal_starts_the_term_again(clock):
    watch = lease.Watch()
    for beat in range(5):
        assert not watch.is_stale("k", beat)
        clock.now += lease.LEASE_S - 1
    assert not watch.is_stale("k", 5), "renewed in time, again and again"
    clock.now += lease.LEASE_S
    assert watch.is_stale("k", 5)


def test_leases_are_watched_separately(clock):
    watch = lease.Watch()
    watch.is_stale("old", "x")
    clock.now += lease.LEASE_S
    assert watch.is_stale("old", "x") and not watch.is_stale("new", "x")


def test_a_lease_that_was_taken_is_watched_from_scratch(clock):
    watch = lease.Watch()
    watch.is_stale("k", "x")
    clock.now += lease.LEASE_S
    watch.forget("k")
    assert not watch.is_stale("k", "x")


def test_a_holder_renews_often_enough_to_survive_failed_beats():
    assert lease.BEAT_S * 3 <= lease.LEASE_S


def test_the_heartbeat_goes_on_after_beats_that_fail(monkeypatch):
    monkeypatch.setattr(lease, "BEAT_S", 0.01)
    beats = itertools.count(1)
    enough = threading.Event()

    def beat() -> None:
        number = next(beats)
        if number in (1, 3):
            raise OSError("the file system did not answer")
        if number == 5:
            enough.set()

    with lease.heartbeat(beat):
        assert enough.wait(20), "a failed beat ended the heartbeat"


def test_the_heartbeat_stops_with_its_block(monkeypatch):
    monkeypatch.setattr(lease, "BEAT_S", 0.01)
    beats = []
    with pytest.raises(ArithmeticError), lease.heartbeat(lambda: beats.append(1)):
        while not beats:
            time.sleep(0.01)
        raise ArithmeticError
    count = len(beats)
    time.sleep(0.1)
    assert len(beats) == count


def fails_once(monkeypatch, target, name: str) -> list[bool]:
    """Make the next beat through ``target.name`` raise; the list says which beats succeeded."""
    real = getattr(target, name)
    outcomes: list[bool] = []

    def beat(*words, **options):
        if threading.current_thread() is threading.main_thread():
            return real(*words, **options)
        outcomes.append(len(outcomes) > 0)
        if not outcomes[-1]:
            raise OSError("the server did not answer")
        return real(*words, **options)

    monkeypatch.setattr(target, name, beat)
    return outcomes


def still_held_after_a_failed_beat(holder: Store, outcomes: list[bool]) -> None:
    """Hold a lock while a beat fails and later ones succeed; others must not get it."""
    other = Store(holder.root)
    with holder.lock("k") as mine:
        assert mine
        until = time.monotonic() + 20
        while len(outcomes) < 12:  # that is longer than LEASE_S
            assert time.monotonic() < until, "the heartbeat died of one failed beat"
            with other.lock("k") as theirs:
                assert not theirs, "a lease was lost although its holder renewed it"
            time.sleep(0.01)
    assert outcomes[0] is False and all(outcomes[1:])
    with other.lock("k") as theirs:
        assert theirs, "released by its owner"


@pytest.fixture
def short_lease(monkeypatch):
    monkeypatch.setattr(lease, "BEAT_S", BEAT_S)
    monkeypatch.setattr(lease, "LEASE_S", 8 * BEAT_S)


def test_a_lock_in_a_folder_survives_a_failed_beat(local, monkeypatch, short_lease):
    from harness.storage import folder_lock

    # As on a network file system that does not show one machine the locks of another.
    monkeypatch.setattr(folder_lock.fcntl, "flock", lambda *_: None)
    machines = itertools.chain(["the holder's"], itertools.repeat("another"))
    monkeypatch.setattr(folder_lock, "machine_id", lambda: next(machines))
    outcomes = fails_once(monkeypatch, folder_lock.os, "utime")
    still_held_after_a_failed_beat(local, outcomes)


@pytest.fixture
def bucket() -> Store:
    store = Store(f"memory://leases/{uuid.uuid4().hex}")
    store.prepare()
    return store


def test_a_lock_in_a_bucket_survives_a_failed_beat(bucket, monkeypatch, short_lease):
    outcomes = fails_once(monkeypatch, type(bucket.files.fs), "pipe_file")
    still_held_after_a_failed_beat(bucket, outcomes)


def take_after_expiry(files: Folder | Bucket, clock: Clock):
    """Try to take the lock k, and again when its lease has expired."""
    with files.lock("k") as taken:
        assert not taken, "held by another"
    clock.now += lease.LEASE_S
    for _ in range(2):  # in a bucket the first attempt only removes the expired lease
        lock = files.lock("k")
        if lock.__enter__():
            return lock
        lock.__exit__(None, None, None)
    raise AssertionError("an expired lease was not taken over")


def test_an_expired_lease_in_a_bucket_is_taken_over_and_not_released_by_its_first_owner(
    bucket, clock
):
    other = Store(bucket.root).files
    with bucket.lock("k") as mine:
        assert mine
        held = take_after_expiry(other, clock)
    # The first owner has left its block; the lock is the second one's.
    path = bucket.files._at("locks/k")
    assert bucket.files.fs.exists(path), "released by a process that had lost it"
    with Store(bucket.root).lock("k") as third:
        assert not third
    held.__exit__(None, None, None)
    assert not bucket.files.fs.exists(path)


def test_an_expired_lease_in_a_folder_is_taken_over(local, monkeypatch, clock):
    from harness.storage import folder_lock

    monkeypatch.setattr(folder_lock.fcntl, "flock", lambda *_: None)
    path = local.root / "locks" / "k"
    path.write_text("a machine that died")
    held = take_after_expiry(local.files, clock)
    assert path.read_text() == lease.machine_id()
    held.__exit__(None, None, None)
    assert not path.exists()


def test_a_process_that_does_not_get_a_lock_leaves_it_alone(local, bucket):
    for store in (local, bucket):
        with store.lock("k") as mine:
            assert mine
            before = store.files.read("locks/k")
            with Store(store.root).lock("k") as theirs:
                assert not theirs
            assert store.files.read("locks/k") == before
