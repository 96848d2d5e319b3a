"""Two machines that share a folder, imitated on one.

Each has a mount of the folder that hides the other's kernel locks, its own processes, and its own
boot id.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
import uuid
from pathlib import Path

import pytest
from hostile_kit import computed, measured, sound, start, tables

COUNTED = """
name: counted
seeds: [0, 1, 2, 3, 4, 5]
learners: {counted: {kind: "hostile_learners:Counted"}}
protocols: {plain: {kind: classification, dataset: digits}}
"""
APART = [
    "unshare",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
    "sh",
    "-c",
    'mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"',
]


@pytest.fixture
def machines(tmp_path):
    """Starts a run on machine a or b, with its store in the folder that they share."""
    if shutil.which("bindfs") is None or shutil.which("unshare") is None or os.geteuid():
        pytest.skip(
            "two mounts of one folder without each other's locks need root, unshare and bindfs"
        )
    (tmp_path / "shared").mkdir()
    mounts = [tmp_path / name for name in "ab"]
    try:
        for mount in mounts:
            mount.mkdir()
            mount.with_suffix(".boot").write_text(f"{uuid.uuid4()}\n")
            subprocess.run(["bindfs", tmp_path / "shared", mount], check=True)
        with open(mounts[0] / "probe", "w") as here, open(mounts[1] / "probe") as there:
            fcntl.flock(here, fcntl.LOCK_EX)
            fcntl.flock(
                there, fcntl.LOCK_EX | fcntl.LOCK_NB
            )  # is refused where the mounts show each other's locks

        def run(name, path, **more):
            return start(
                "run",
                path,
                "--store",
                tmp_path / name / "store",
                "--out",
                tmp_path / f"out-{name}",
                "--workers",
                "1",
                inside=[*APART, tmp_path / f"{name}.boot"],
                env_more={"MACHINE": name, **more},
            )

        yield run
    finally:
        for mount in mounts:
            subprocess.run(["umount", "-l", mount], check=False, capture_output=True)


def test_two_machines_at_once_do_each_cell_once_and_agree(small, machines, tmp_path):
    path, reference, undisturbed = small
    runs = [machines(name, path) for name in "ab"]
    errors = [run.communicate(timeout=600)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], errors
    assert sound(tmp_path / "shared" / "store") == sound(reference)
    assert sum(map(computed, errors)) == len(sound(reference)) and all(map(computed, errors)), (
        errors
    )
    for name in "ab":
        assert tables(tmp_path / f"out-{name}") == tables(undisturbed)
        assert measured(tmp_path / f"out-{name}") == measured(undisturbed)


def test_the_cell_of_a_machine_that_dies_is_taken_over_and_no_other_is_computed_twice(
    machines, tmp_path
):
    shutil.copy(Path(__file__).with_name("hostile_learners.py"), tmp_path)
    path, fits = tmp_path / "counted.yaml", tmp_path / "fits"
    path.write_text(COUNTED)
    fits.touch()
    doomed, other = (machines(name, path, FITS=str(fits)) for name in "ab")
    while fits.read_text().count("a") < 2:
        assert doomed.poll() is None, doomed.communicate()
        time.sleep(0.02)
    doomed.kill()  # and all below it, in the middle of its second training
    doomed.communicate()
    _, errors = other.communicate(timeout=600)
    assert other.returncode == 0, errors
    again = machines("a", path, FITS=str(fits))
    _, errors = again.communicate(timeout=600)
    assert again.returncode == 0 and computed(errors) == 0, errors
    assert (
        len(sound(tmp_path / "shared" / "store")) == 12 and len(fits.read_text().split()) == 6 + 1
    )
    assert measured(tmp_path / "out-a") == measured(tmp_path / "out-b")
    assert tables(tmp_path / "out-a") == tables(tmp_path / "out-b")
