"""Files that are written: whole or not at all, and with the permissions of the umask."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from harness import files
from harness.storage.store import Store


@pytest.fixture(params=[0o022, 0o077, 0o002], ids=oct)
def umask(request):
    """The umask of the process for the time of the test."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(folder: Path) -> set[tuple[bool, int]]:
    """(Is it a folder, its permissions) of everything below a folder."""
    return {(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in folder.rglob("*")}


def test_files_and_folders_have_the_permissions_that_the_umask_leaves(tmp_path, umask):
    files.write_atomically(tmp_path / "tables" / "a.csv", b"1")
    with files.installing(tmp_path / "data") as staging:
        (staging / "images.bin").write_bytes(b"1")
    store = Store(tmp_path / "store")
    store.prepare()
    store.files.install("cells/k", {"cell.json": b"{}"})
    store.files.write("failures/k.txt", b"it failed")
    assert modes(tmp_path) == {(True, 0o777 & ~umask), (False, 0o666 & ~umask)}


def test_a_replaced_file_keeps_its_permissions(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"1")
    path.chmod(0o600)
    files.write_atomically(path, b"2")
    assert path.read_bytes() == b"2"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_folder_that_is_filled_keeps_its_permissions(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    with files.installing(folder) as staging:
        (staging / "a").write_bytes(b"1")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_library_that_writes_private_files_changes_no_permissions(tmp_path, umask):
    with files.replacing(tmp_path / "a.safetensors") as temporary:
        temporary.unlink()
        temporary.touch(mode=0o600)
    assert modes(tmp_path) == {(False, 0o666 & ~umask)}


@pytest.mark.parametrize("write", [files.replacing, files.installing])
def test_a_failed_write_leaves_nothing(tmp_path, write):
    with pytest.raises(ValueError), write(tmp_path / "a") as temporary:
        assert temporary.exists()
        raise ValueError
    assert list(tmp_path.iterdir()) == []
