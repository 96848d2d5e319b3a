"""The cache: used if intact, replaced if damaged, optional, and shared by processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.data import acquire
from harness.data.base import Dataset, Facts, Loaded, SplitFacts
from harness.data.cache import KEPT, cache_folder, file_sha256
from harness.errors import DataError


class Counted(Dataset):
    """A tiny dataset made from one file; counts how often it is built."""

    kind = "counted"
    origin = "data root"
    licence = citation = "none"

    def __init__(self, root, images=4):
        super().__init__(self.Config(), root)
        self.images, self.builds = images, 0

    def facts(self):
        return Facts((1, 2, 2), {"standard": {"train": SplitFacts(2, 2, 4)}})

    def sources(self):
        return [self.root / "source"]

    def build(self):
        self.builds += 1
        first = self.sources()[0].read_bytes()[0]
        pixels = np.arange(first, first + self.images * 4, dtype=np.uint8).reshape(-1, 1, 2, 2)
        labels = np.arange(self.images) % 2
        return Loaded(
            pixels, labels, ("a", "b"), ("g", "g"), {"standard": {"train": np.arange(self.images)}}
        )


@pytest.fixture
def source(tmp_path):
    (tmp_path / "source").write_bytes(b"\x01")
    return tmp_path


def same(one, other):
    return (
        one[1] == other[1] == one[0].content_hash() == other[0].content_hash()
        and vars(one[0]).keys() == vars(other[0]).keys()
    )


def test_built_once_then_read(source, tmp_path):
    cache, first, second = tmp_path / "cache", Counted(source), Counted(source)
    built = acquire.load(first, cache)
    assert same(built, acquire.load(second, cache)) and (first.builds, second.builds) == (1, 0)
    assert acquire.content_hash(second, cache) == built[1] and second.builds == 0


def test_changed_source_is_read_again(source, tmp_path):
    before = acquire.content_hash(Counted(source), tmp_path / "cache")
    (source / "source").write_bytes(b"\x02")
    assert acquire.content_hash(Counted(source), tmp_path / "cache") != before


@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
@pytest.mark.parametrize(
    "how", ["truncate", "empty", "flip first", "flip last", "remove", "garbage"]
)
def test_damage_is_repaired_silently(source, tmp_path, suffix, how):
    cache = tmp_path / "cache"
    built = acquire.load(Counted(source), cache)[
        1
    ]  # its arrays are mapped: they must not outlive the damage
    (path,) = cache.glob(f"*{suffix}")
    content = bytearray(path.read_bytes())
    at = 12 if how == "flip first" else len(content) - 3
    content[at] ^= 1
    damaged = {"truncate": content[:-5], "empty": b"", "garbage": b"\xff" * 200}.get(how, content)
    path.unlink() if how == "remove" else path.write_bytes(damaged)
    again, third = Counted(source), Counted(source)
    for dataset, builds in ((again, 1), (third, 0)):
        data, found = acquire.load(dataset, cache)
        assert built == found == data.content_hash() and dataset.builds == builds


def test_arrays_are_mapped_and_private(source, tmp_path):
    acquire.load(Counted(source), tmp_path / "cache")
    one, other = (acquire.load(Counted(source), tmp_path / "cache")[0] for _ in range(2))
    split = one.split("standard", "train")
    assert np.shares_memory(split.pixels, one.pixels) and not np.shares_memory(
        one.pixels, other.pixels
    )
    before = other.pixels.copy()
    split.pixels[:] = (
        0  # what one process does to its arrays reaches neither the file nor the others
    )
    assert np.array_equal(other.pixels, before)
    assert np.array_equal(acquire.load(Counted(source), tmp_path / "cache")[0].pixels, before)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_loading_twice_takes_no_memory_twice(tmp_path):
    script = tmp_path / "twice.py"
    script.write_text("""
import sys
from pathlib import Path
import numpy as np
from harness.data import acquire
from harness.data.base import Dataset, Facts, Loaded, SplitFacts

class Large(Dataset):
    kind, origin, licence, citation = "large", "data root", "none", "none"

    def facts(self):
        return Facts((3, 64, 64), {"classes": {"train": SplitFacts(10, 800, 8000)}})

    def sources(self):
        return []

    def build(self):
        pixels, labels = np.full((8000, 3, 64, 64), 7, np.uint8), np.repeat(np.arange(10), 800)
        return Loaded(pixels, labels, tuple("abcdefghij"), None, {"classes": {"train":
        np.arange(8000)}})

def private():
    return int(next(line for line in open("/proc/self/status") if
    line.startswith("RssAnon")).split()[1]) // 1024

cache = Path(sys.argv[1])
acquire.load(Large(Large.Config()), cache)
before = private()
loaded = [acquire.load(Large(Large.Config()), cache)[0] for _ in range(2)]
totals = [int(data.split("classes", "train").pixels.sum(dtype=np.int64)) for data in loaded]
print(private() - before, totals[0] == totals[1] == 7 * 8000 * 3 * 64 * 64)
""")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(
        [sys.executable, script, tmp_path],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    grown, same_totals = run.stdout.split()
    assert int(grown) < 30 and same_totals == "True"  # MiB, of 94 that the images take each time


def test_a_wrong_hash_line_is_not_believed(source, tmp_path):
    cache = tmp_path / "cache"
    built = acquire.content_hash(Counted(source), cache)
    (path,) = cache.glob("*.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sha256": "0" * 64}))
    assert acquire.content_hash(Counted(source), cache) == built


@pytest.mark.parametrize("folder", ["a file/below", "/proc/nowhere"])
def test_works_without_a_usable_cache(source, tmp_path, folder):
    (tmp_path / "a file").write_text("")
    assert acquire.load(Counted(source), tmp_path / folder)[0].pixels.shape == (4, 1, 2, 2)


def test_full_disk_is_done_without(source, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert acquire.load(Counted(source), tmp_path / "cache")[0].pixels.shape == (4, 1, 2, 2)
    assert not list((tmp_path / "cache").glob("*.tmp")) + list((tmp_path / "cache").glob(".*.tmp"))


def test_facts_that_are_not_met_are_an_error(source, tmp_path):
    with pytest.raises(DataError, match="facts say"):
        acquire.load(Counted(source, images=6), tmp_path / "cache")


def test_old_copies_go(source, tmp_path):
    for value in range(KEPT + 3):
        (source / "source").write_bytes(bytes([value]))
        acquire.load(Counted(source), tmp_path / "cache")
    assert len(list((tmp_path / "cache").glob("*.safetensors"))) == KEPT


def test_file_hash_is_remembered_but_not_beyond_a_change(tmp_path):
    path, cache = tmp_path / "file", tmp_path / "cache"
    path.write_bytes(b"one")
    stat = path.stat()
    before = file_sha256(path, cache)
    assert file_sha256(path, cache) == file_sha256(path, None) == before
    path.write_bytes(b"two")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # same size, same time, other content
    assert file_sha256(path, cache) == file_sha256(path, None) != before


def test_processes_share_it(tmp_path):
    code = (
        "from harness.registry import datasets; from harness.data import acquire;"
        "d = datasets['digits']; print(acquire.load(d(d.Config()))[1])"
    )
    environment = os.environ | {"HARNESS_CACHE": str(tmp_path)}
    runs = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    answers = {run.communicate()[0] for run in runs}
    assert len(answers) == 1 and all(run.returncode == 0 for run in runs)
    assert len(list(tmp_path.glob("*.safetensors"))) == 1 and not list(tmp_path.glob(".*.tmp"))


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.delenv("HARNESS_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "bioharness"
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    assert cache_folder(Path("explicit")) == Path("explicit")
