"""A link inside a store is never followed, neither to read, nor to write, nor to remove."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import pytest
from made_up import a_cell, arrays, fill

from harness.errors import HarnessWarning, StoreError
from harness.storage import garbage, verification
from harness.storage.store import Store


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder of the user beside the store."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    return folder


def unchanged(outside: Path) -> bool:
    return [path.name for path in outside.iterdir()] == ["notes.txt"] and (
        outside / "notes.txt"
    ).read_text() == "mine"


def test_a_linked_cell_is_not_read_and_is_replaced_when_it_is_computed(local: Store, outside):
    (key,) = fill(local, 1)
    folder = local.root / "cells" / key
    moved = outside.parent / "moved"
    shutil.move(folder, moved)
    folder.symlink_to(moved)
    assert local.finished() == [] and local.read(key) is None and local.unfinished([key]) == [key]
    local.write(key, a_cell()[1], arrays())
    assert local.read(key) is not None and not folder.is_symlink()
    assert sorted(path.name for path in moved.iterdir()) == ["cell.json", "verdicts.safetensors"]


def test_a_linked_file_of_a_cell_is_damage(local: Store, outside):
    (key,) = fill(local, 1)
    path = local.root / "cells" / key / "cell.json"
    shutil.move(path, outside.parent / "cell.json")
    path.symlink_to(outside.parent / "cell.json")
    assert not verification.verify(local).sound
    with pytest.warns(HarnessWarning, match="cannot be a link"):
        assert local.unfinished([key]) == [key]


def test_a_linked_lock_is_not_written(local: Store, outside):
    (local.root / "locks" / "k").symlink_to(outside / "notes.txt")
    with pytest.raises(StoreError, match="cannot be a link"), local.lock("k"):
        pass
    assert unchanged(outside)


@pytest.mark.parametrize("name", ["tmp", "cells", "locks", "failures"])
def test_a_linked_folder_is_neither_written_nor_emptied(tmp_path, outside, name):
    local = Store(tmp_path / "store")
    local.prepare()
    (local.root / name).rmdir()
    (local.root / name).symlink_to(outside)
    stale = outside / "unknown-1-abcd_123"
    stale.mkdir()
    os.utime(stale, (0, 0))
    for action in (
        local.prepare,
        lambda: local.write(*a_cell(), arrays()),
        lambda: local.write_failure("k", "x"),
        lambda: garbage.remove_garbage(local),
    ):
        with contextlib.suppress(StoreError):
            action()
    assert stale.is_dir()
    stale.rmdir()
    assert unchanged(outside)


@pytest.mark.parametrize(
    "name", ["../outside/notes.txt", "cells/../../outside/notes.txt", "/etc/x"]
)
def test_a_name_that_leads_out_is_neither_read_nor_written(local: Store, outside, name):
    assert not local.files.exists(name)
    with pytest.raises(OSError, match="cannot be a link"):
        local.files.read(name)
    with pytest.raises(StoreError):
        local.files.write(name, b"x")
    assert unchanged(outside)
