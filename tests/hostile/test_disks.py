"""Full and read-only disks: one line reports it, and with more room the same command resumes."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess

import pytest
from hostile_kit import call, clear, tables

from harness.storage.store import Store


@contextlib.contextmanager
def mounted(folder, *options: str):
    """A file system of its own at ``folder``; skips where that is not permitted."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"mounting is not permitted: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=False)


def remounted(folder, *options: str) -> None:
    subprocess.run(["mount", "-o", ",".join(["remount", *options]), folder], check=True)


@pytest.mark.parametrize("kilobytes", [16, 64, 160, 240])
def test_a_full_disk_ends_the_run_with_one_error_and_more_room_lets_it_go_on(
    small, tmp_path, kilobytes
):
    path, reference, undisturbed = small
    with mounted(tmp_path / "disk", f"size={kilobytes}k") as disk:
        done = call(
            "run", path, "--store", disk / "store", "--out", tmp_path / "out", "--workers", "2"
        )
        assert done.returncode == 2 and clear(
            done.stderr, "No space left on device", "free some space"
        ), done.stderr
        if (disk / "store").exists():
            store = Store(disk / "store")
            assert all(store.content(key) for key in store.finished())
        remounted(disk, "size=100m")
        again = call("run", path, "--store", disk / "store", "--out", tmp_path / "out")
        assert again.returncode == 0 and tables(tmp_path / "out") == tables(undisturbed), (
            again.stderr
        )


def test_tables_that_do_not_fit_are_one_error_and_the_cells_are_kept(small, tmp_path):
    path, store, undisturbed = small
    with mounted(tmp_path / "disk", "size=24k") as disk:
        done = call("run", path, "--store", store, "--out", disk / "out")
        assert done.returncode == 2 and clear(
            done.stderr, "No space left on device", "free some space"
        ), done.stderr
        remounted(disk, "size=100m")
        assert call("run", path, "--store", store, "--out", disk / "out").returncode == 0
        assert tables(disk / "out") == tables(undisturbed)


def test_files_that_may_not_grow_are_one_error(small, tmp_path):
    def short():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    done = call(
        "run", small[0], "--store", tmp_path / "store", "--out", tmp_path / "out", preexec_fn=short
    )
    assert done.returncode == 2 and clear(done.stderr, "File too large"), done.stderr
    store = Store(tmp_path / "store")
    assert all(store.content(key) for key in store.finished())


def test_a_full_cache_is_done_without(small, tmp_path):
    with mounted(tmp_path / "disk", "size=16k") as disk:
        done = call(
            "run",
            small[0],
            "--store",
            tmp_path / "store",
            "--out",
            tmp_path / "out",
            env_more={"HARNESS_CACHE": str(disk)},
        )
        assert done.returncode == 0 and tables(tmp_path / "out") == tables(small[2]), done.stderr


def test_a_read_only_store_is_one_error_to_run_in_and_none_to_read(small, tmp_path):
    path, _, undisturbed = small
    with mounted(tmp_path / "disk", "size=100m") as disk:
        assert (
            call("run", path, "--store", disk / "store", "--out", tmp_path / "out").returncode == 0
        )
        (disk / "elsewhere").mkdir()
        remounted(disk, "ro")
        done = call("run", path, "--store", disk / "elsewhere", "--out", tmp_path / "out")
        assert done.returncode == 2 and clear(done.stderr, "Read-only file system", "--store"), (
            done.stderr
        )
        for command in ("table", "records", "trust"):
            read = call(command, path, "--store", disk / "store")
            assert read.returncode in (0, 1) and read.stdout and clear(read.stderr), read.stderr
        assert (
            call("table", path, "--store", disk / "store", "--out", disk / "tables").returncode == 2
        )
        doctor = call("doctor", "--store", disk / "store")
        assert doctor.returncode == 1 and "FAIL store" in doctor.stdout


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not hold for root")
def test_a_folder_without_permission_is_one_error(small, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o555)
    done = call("run", small[0], "--store", tmp_path / "closed" / "store")
    assert done.returncode == 2 and clear(done.stderr, "Permission denied", "--store"), done.stderr
