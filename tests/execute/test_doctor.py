"""The doctor: a sound environment passes, and each possible problem is reported."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections import namedtuple
from importlib import metadata

import pytest

from harness import registry
from harness.errors import HarnessError
from harness.execute.doctor import data, disks, hardware, software
from harness.execute.doctor.examine import examine
from harness.storage.store import Store


def found(findings, name):
    return next(finding for finding in findings if finding.name == name)


def test_this_environment_is_sound_and_told_in_json(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "harness", "doctor", "--store", tmp_path / "store", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    told = {finding["name"]: finding for finding in json.loads(done.stdout)}
    assert done.returncode == 0 and all(finding["level"] != "FAIL" for finding in told.values()), (
        done.stdout
    )
    assert {
        "harness",
        "torchattacks",
        "registered",
        "threads",
        "digits",
        "mnist5k",
        "glyphs",
        "store",
    } <= told.keys()
    assert not (tmp_path / "store").exists(), "checks create nothing"


def test_a_failure_is_a_line_with_a_hint_and_exit_status_1(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "harness",
            "doctor",
            "--store",
            tmp_path,
            "--data-root",
            tmp_path / "none",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert f"FAIL data root: {tmp_path}/none is not a folder\n     create it" in done.stdout


def test_a_check_that_breaks_is_a_failure_and_the_others_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr(hardware, "devices", lambda: 1 / 0)
    findings = examine(tmp_path)
    assert found(findings, "devices").detail == "ZeroDivisionError: division by zero"
    assert found(findings, "store").level == "PASS"


def installed(monkeypatch, **versions):
    """Pretend that some distributions have other releases; None: are not there."""
    real = metadata.version

    def version(name):
        if name in versions:
            if versions[name] is None:
                raise metadata.PackageNotFoundError(name)
            return versions[name]
        return real(name)

    monkeypatch.setattr(software.metadata, "version", version)


def test_a_release_that_is_too_old_or_missing_fails(monkeypatch):
    installed(monkeypatch, torch="2.1.0", rich=None)
    findings = list(software.releases())
    assert found(findings, "torch").level == found(findings, "rich").level == "FAIL"
    assert "2.1.0, torch>=2.9 is required" in found(findings, "torch").detail
    assert found(findings, "rich").hint.startswith("pip install 'rich")


def test_a_torchvision_of_another_torch_is_a_warning(monkeypatch):
    installed(monkeypatch, torch="2.15.0")
    warned = found(software.releases(), "torchvision")
    assert (
        warned.level == "WARN"
        and "requires torch==" in warned.detail
        and "2.15.0 is installed" in warned.detail
    )


def test_without_learn2learn_it_says_which_learners_go_without(monkeypatch):
    installed(monkeypatch, learn2learn=None)
    warned = found(software.imports(), "learn2learn")
    assert (
        warned.level == "WARN"
        and "maml, meta-sgd" in warned.detail
        and "third_party/learn2learn" in warned.hint
    )


def test_a_library_that_does_not_import_fails():
    def broken():
        raise RuntimeError("operator torchvision::nms does not exist\nmore")

    finding = software._import("torchvision", broken)
    assert finding.level == "FAIL" and finding.detail.endswith(
        "RuntimeError: operator torchvision::nms does not exist"
    )


Point = namedtuple("Point", "name value load")


def broken_plugin():
    raise ImportError("no module named sparkle")


@pytest.mark.parametrize(
    ("load", "why"),
    [
        (broken_plugin, "ImportError: no module named sparkle"),
        (lambda: sys.exit("bye"), "SystemExit: bye"),
        (lambda: dict, "is not a valid learner"),
    ],
)
def test_a_broken_plug_in_fails_and_nothing_else_does(monkeypatch, load, why):
    monkeypatch.setattr(
        registry, "entry_points", lambda group: [Point("sparkle", "pkg:Sparkle", load)]
    )
    fresh = registry.learners
    monkeypatch.setattr(fresh, "_scanned", False)
    monkeypatch.setattr(fresh, "_broken", {})
    failed = found(software.plugins(), "plug-in")
    assert failed.level == "FAIL" and "'sparkle'" in failed.detail and why in failed.detail
    assert "mlp" in fresh and "sparkle" not in fresh
    with pytest.raises(HarnessError, match="cannot load learner 'sparkle'"):
        fresh["sparkle"]


def test_a_driver_that_torch_cannot_use_is_a_warning(monkeypatch):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this torch uses it")
    monkeypatch.setattr(hardware.Path, "exists", lambda path: "nvidia" in str(path))
    assert found(hardware.devices(), "cuda").level == "WARN"


def test_little_memory_says_how_many_workers_it_is_good_for(monkeypatch):
    monkeypatch.setattr(hardware.memory, "available", lambda: 5 * 2**28)
    monkeypatch.setattr(hardware, "default_workers", lambda: 8)
    warned = found(hardware.machine(), "memory")
    assert (warned.level, warned.hint) == ("WARN", "--workers 1")


@pytest.mark.parametrize(("free", "level"), [(2**40, "PASS"), (2**29, "WARN"), (2**20, "FAIL")])
def test_free_space(monkeypatch, tmp_path, free, level):
    monkeypatch.setattr(disks.shutil, "disk_usage", lambda path: namedtuple("Usage", "free")(free))
    assert found(disks.store(Store(tmp_path)), "store space").level == level


def test_a_store_that_cannot_be_written_fails(monkeypatch, tmp_path):
    def read_only(**_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(disks.tempfile, "TemporaryFile", read_only)
    failed = found(disks.store(Store(tmp_path)), "store")
    assert (
        failed.level == "FAIL"
        and "Read-only file system" in failed.detail
        and "--store" in failed.hint
    )
    assert found(disks.cache(), "cache").level == "WARN"


def test_a_store_without_locks_or_on_another_clock(monkeypatch, tmp_path):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(disks.fcntl, "flock", no_locks)
    monkeypatch.setattr(disks.time, "time", lambda: 0.0)
    findings = list(disks.store(Store(tmp_path)))
    assert found(findings, "locks").level == "FAIL" and found(findings, "clock").level == "WARN"


def test_a_dataset_that_is_only_partly_here_is_a_warning(tmp_path):
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "train-images-idx3-ubyte.gz").write_bytes(b"")
    findings = list(data.datasets_under(tmp_path))
    assert found(findings, "mnist").level == "WARN"
    absent = found(findings, "not here")
    assert absent.level == "NOTE" and "omniglot" in absent.detail


def test_nothing_that_is_absent_passes(tmp_path):
    findings = [*data.datasets_under(None), *data.datasets_under(tmp_path)]
    passed = [finding for finding in findings if finding.level == "PASS"]
    assert found(findings, "data root").level == "NOTE"
    assert not [each for each in passed if "not" in f"{each.name} {each.detail}".split()]
