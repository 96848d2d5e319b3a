"""Cells that save what they have so far: an interrupted one goes on, to the same bytes."""

from __future__ import annotations

import numpy as np
import pytest

from harness.cells import plan
from harness.cells.run import Conditions, run
from harness.storage.garbage import garbage, remove_garbage
from harness.storage.layout import is_store
from harness.storage.partial import StoredArrays, partial_name
from harness.storage.store import VERDICTS, Store
from harness.suite import load

SUITE = {
    "name": "stopped",
    "learners": {"bp": {"kind": "mlp", "hidden": [8]}},
    "protocols": {
        "split": {
            "kind": "continual",
            "dataset": "digits",
            "orders": 2,
            "passes": 1,
            "strategies": ["replay-30"],
        }
    },
}


@pytest.fixture
def cell():
    (only,) = plan.make(load.load(SUITE)).cells
    return only


def store(folder) -> Store:
    made = Store(folder)
    made.prepare()
    return made


def ignored(fraction, note=""):
    """A ``Progress`` that shows nothing."""


class Killed(BaseException):
    """Nothing catches it, as nothing catches a signal."""


@pytest.mark.parametrize("after", [1, 7])
def test_a_cell_stopped_within_a_stream_goes_on_to_the_same_bytes(cell, tmp_path, after):
    through, stopped = store(tmp_path / "through"), store(tmp_path / "stopped")
    run(cell, Conditions(through), ignored)
    learned = []

    def count(fraction, note=""):
        learned.append(note)

    def stop(fraction, note=""):
        count(fraction, note)
        if len(learned) == after + 1:
            raise Killed

    with pytest.raises(Killed):
        run(cell, Conditions(stopped), stop)
    assert stopped.files.exists(partial_name(cell.key)) and not stopped.done(cell.key)
    learned.clear()
    run(cell, Conditions(stopped), count)
    assert len(learned) == 10 - after, "tasks that were saved are not learned again"
    assert (
        stopped.content(cell.key, [VERDICTS])[VERDICTS]
        == through.content(cell.key, [VERDICTS])[VERDICTS]
    )
    assert not stopped.files.exists(partial_name(cell.key))


def test_a_damaged_part_is_as_if_there_were_none(tmp_path):
    files = store(tmp_path / "store").files
    kept = StoredArrays(files, "0123456789abcdef")
    assert kept.load() == {}
    kept.save({"a": np.arange(3)})
    assert kept.load()["a"].tolist() == [0, 1, 2]
    path = tmp_path / "store" / partial_name("0123456789abcdef")
    whole = path.read_bytes()
    for content in (whole[:-1], whole[:30], b"", whole[:-1] + b"?"):
        path.write_bytes(content)
        assert kept.load() == {}


def test_a_folder_with_parts_alone_is_a_store_and_old_parts_are_garbage(
    tmp_path, cell, monkeypatch
):
    made = store(tmp_path / "store")
    StoredArrays(made.files, cell.key).save({"a": np.arange(3)})
    assert is_store(made.files) and not garbage(made)
    monkeypatch.setattr(type(made.files), "age", lambda self, name: 1e6)
    assert [each.path for each in remove_garbage(made)] == [partial_name(cell.key)]
