"""What holds for every kind of store."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from made_up import a_cell, arrays, fill

from harness.errors import StoreError
from harness.storage import garbage, lease, verification
from harness.storage.cellfile import CELL
from harness.storage.location import is_store, is_url
from harness.storage.store import VERDICTS, Store


def test_what_is_written_is_read(store):
    cells = fill(store)
    assert store.finished() == sorted(cells) and dict(store.results(cells)) == cells
    for number, (key, result) in enumerate(cells.items()):
        assert (
            store.done(key) and store.read(key) == result and store.members(key) == [CELL, VERDICTS]
        )
        for name, array in arrays(number)[VERDICTS].items():
            np.testing.assert_array_equal(store.arrays(key)[name], array)


def test_what_is_not_there_is_none(store):
    assert (
        store.read("k") is None
        and not store.done("k")
        and store.finished() == []
        and list(store.results(["k"])) == []
    )
    assert store.unfinished(["k"]) == ["k"] and store.failure("k") is None
    with pytest.raises(StoreError, match="cell k"):
        store.arrays("k")


def test_a_store_travels_to_other_processes(store):
    cells = fill(store)
    assert dict(pickle.loads(pickle.dumps(store)).results(cells)) == cells


def test_a_truncated_cell_is_set_aside_and_made_again(store):
    key = next(iter(fill(store)))
    store.files.write(f"cells/{key}/{VERDICTS}", store.files.read(f"cells/{key}/{VERDICTS}")[:-1])
    assert store.unfinished([key]) == [key] and not store.done(key)
    store.write(*a_cell(), arrays())
    assert store.unfinished([key]) == [] and len(store.files.children("damaged")) == 1


def test_damage_is_found_and_repaired(store):
    cells = list(fill(store, 4))
    assert verification.verify(store).sound
    name = f"cells/{cells[0]}/{VERDICTS}"
    store.files.write(name, store.files.read(name)[:-1] + b"?")
    with pytest.raises(StoreError, match="changed"):
        store.arrays(cells[0])
    report = verification.verify(store)
    assert not report.sound and [(fault.path, fault.kind) for fault in report.faults] == [
        (name, "damaged")
    ]
    assert verification.verify(store, repair=True).sound and store.finished() == sorted(cells[1:])
    assert verification.verify(store).sound and len(store.files.children("damaged")) == 1, (
        "set aside, not deleted"
    )


def test_a_failure_is_kept_until_its_cell_is_finished(store):
    key, result = a_cell()
    store.write_failure(key, "Traceback ...")
    path, text = store.failure(key)
    assert path.endswith(f"failures/{key}.txt") and text == "Traceback ..."
    store.write(key, result, arrays())
    assert store.failure(key) is None


def test_a_lock_is_one_process_s(store):
    other = Store(store.root)
    with store.lock("k") as mine, other.lock("k") as theirs:
        assert (mine, theirs) == (True, False)
    with other.lock("k") as theirs:
        assert theirs
    assert store.files.children("locks") == []


def test_a_lock_of_a_live_process_is_never_taken_over(store, monkeypatch):
    monkeypatch.setattr(lease, "BEAT_S", 0.05)
    monkeypatch.setattr(lease, "LEASE_S", 0.5)
    other = Store(store.root)
    with store.lock("k") as mine:
        assert mine
        for _ in range(8):
            with other.lock("k") as theirs:
                assert not theirs
            lease.threading.Event().wait(0.1)


def test_what_nobody_needs_is_listed_and_only_then_removed(store, monkeypatch):
    monkeypatch.setattr(garbage, "STALE_S", -1)  # any age will do
    training, result = a_cell(0, "train")
    unused, other = a_cell(1, "train")
    store.write(training, result, arrays(0, "train"))
    store.write(unused, other, arrays(1, "train"))
    store.write(*a_cell(2, training=training), arrays(2))
    store.files.write("damaged/x-0123abcd/cell.json", b"")
    assert [each.path for each in garbage.garbage(store)] == [f"cells/{unused}"]
    assert store.done(unused)
    removed = garbage.remove_garbage(store, damaged=True)
    assert [each.path for each in removed] == [f"cells/{unused}", "damaged/x-0123abcd"] and removed[
        0
    ].bytes > 100
    assert (
        not store.done(unused)
        and store.done(training)
        and garbage.garbage(store, damaged=True) == []
    )


def test_paths_and_urls_are_told_apart(tmp_path):
    assert (
        is_url("s3://bucket/x")
        and is_store("s3://bucket/x")
        and not is_url(tmp_path)
        and is_store(tmp_path)
    )
    assert not is_store(tmp_path / "suite.yaml") and is_store(f"file://{tmp_path}")
    assert Store(f"file://{tmp_path}").root == tmp_path


@pytest.mark.parametrize(
    ("url", "words"),
    [("nosuch://x", "cannot open it"), ("s3://no-such-bucket-here/x", "the store")],
)
def test_a_store_that_cannot_be_opened_is_one_clear_error(url, words, request):
    if url.startswith("s3"):
        request.getfixturevalue("s3")
    with pytest.raises(StoreError, match=words):
        Store(url).prepare()
