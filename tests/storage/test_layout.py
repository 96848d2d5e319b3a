"""A store is made in new and empty folders, and never in a folder of something else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from made_up import a_cell, arrays

from harness.errors import StoreError
from harness.storage import compaction, garbage, layout, verification
from harness.storage.folder import PREPARED
from harness.storage.store import Store


def everything(folder: Path) -> dict[str, bytes | None]:
    """Path -> content of every file, None for folders."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def fill(folder: Path, *names: str) -> None:
    """Write files, and folders where a name ends with a slash."""
    for name in names:
        path = folder / name
        if name.endswith("/"):
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("of the user")


OTHERS = [
    ["notes.txt", "tmp/draft.txt"],
    ["tmp/draft.txt"],
    ["tmp/12345.1-99-abcdefgh/draft.txt", "thesis.tex"],
    ["cells/neuron.png"],
    ["cells/", "thesis.tex"],
    ["damaged/car-0a1b2c3d", "locks/door.txt"],
    [".git/HEAD"],
]


@pytest.mark.parametrize("names", OTHERS, ids=lambda names: names[0])
@pytest.mark.parametrize(
    "use",
    [
        Store.prepare,
        garbage.remove_garbage,
        lambda store: verification.verify(store, repair=True),
    ],
    ids=["run", "gc", "repair"],
)
def test_a_folder_of_something_else_is_refused_and_unchanged(tmp_path, names, use):
    fill(tmp_path, *names)
    before = everything(tmp_path)
    with pytest.raises(StoreError, match="not a store, and not empty"):
        use(Store(tmp_path))
    assert everything(tmp_path) == before


@pytest.mark.parametrize("made", range(len(PREPARED) + 1))
def test_a_store_that_was_killed_while_it_was_prepared_is_taken_up(tmp_path, made):
    fill(tmp_path, *[f"{name}/" for name in sorted(PREPARED)[:made]])
    Store(tmp_path).prepare()
    assert {path.name for path in tmp_path.iterdir()} == PREPARED


def test_names_that_the_system_makes_leave_a_folder_empty(tmp_path):
    fill(tmp_path, "lost+found/", ".DS_Store", ".gitignore")
    assert layout.is_store(Store(tmp_path).files)


@pytest.mark.parametrize("packed", [False, True], ids=["loose", "packed"])
def test_a_store_that_was_copied_without_empty_folders_is_a_store_whatever_is_beside_it(
    local, packed
):
    key, cell = a_cell(0)
    local.write(key, cell, arrays(0))
    if packed:
        pytest.importorskip("pyarrow")
        compaction.compact(local)
    for folder in local.root.iterdir():
        if not any(folder.iterdir()):
            folder.rmdir()
    fill(local.root, "README.md", "tables/table.md")
    again = Store(local.root)
    again.prepare()
    assert again.finished() == [key]
    assert (again.root / "README.md").read_text() == "of the user"


def test_what_a_user_put_into_a_store_outlives_its_maintenance(local):
    key, cell = a_cell(0)
    local.write(key, cell, arrays(0))
    mine = ["tmp/draft.txt", "tmp/old/draft.txt", "damaged/notes.txt", "failures/notes.txt"]
    fill(local.root, *mine)
    for name in mine:
        os.utime(local.root / name, (0, 0))
    Store(local.root).prepare()
    garbage.remove_garbage(local, damaged=True)
    verification.verify(local, repair=True)
    assert all((local.root / name).is_file() for name in mine)


@pytest.mark.parametrize("name", sorted(PREPARED))
def test_a_folder_of_a_store_that_leads_out_of_it_is_refused(local, tmp_path, name):
    outside = tmp_path / "outside"
    fill(outside, "draft.txt")
    (local.root / name).rmdir()
    (local.root / name).symlink_to(outside)
    with pytest.raises(StoreError, match="cannot be a link"):
        local.prepare()
    assert everything(outside) == {"draft.txt": b"of the user"}


def test_a_lock_that_leads_out_of_a_store_changes_nothing_outside(local, tmp_path):
    outside = tmp_path / "draft.txt"
    outside.write_text("of the user")
    (local.root / "locks" / "k").symlink_to(outside)
    with pytest.raises(StoreError), local.lock("k"):
        pass
    assert outside.read_text() == "of the user"
