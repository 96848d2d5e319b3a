"""Truncated and changed files: damage is noticed, never read as data, never a traceback."""

from __future__ import annotations

import io
import os
import random
import shutil
import zipfile

import numpy as np
import pytest
from hostile_kit import amount, call, clear, tables
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from harness import api
from harness.data import acquire, install
from harness.errors import HarnessError, StoreError
from harness.publish import submission
from harness.registry import datasets
from harness.report import reference, reference_file
from harness.storage.store import SNAPSHOTS, VERDICTS, WEIGHTS, Store
from harness.suite import override
from harness.suite.marked_yaml import parse

FLIPS = amount("HOSTILE_FLIPS", 300)
DEEP = b"[" * 100_000


def damaged(data: bytes, rng: random.Random) -> bytes:
    """``data`` with flipped bits, truncated, with bytes inserted, or replaced."""
    how, place = rng.randrange(8), rng.randrange(len(data) + 1)
    if how < 4:
        flipped = bytearray(data)
        for _ in range(rng.choice([1, 1, 1, 8])):
            flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
        return bytes(flipped)
    if how == 4:
        return data[:place]
    if how == 5:
        return data[:place] + rng.randbytes(rng.randrange(1, 40)) + data[place:]
    return rng.choice(
        [b"", b"\0" * len(data), DEEP, b"{}", b"null", rng.randbytes(200), data + data]
    )


def arrays_of(store: Store, key: str) -> dict[str, np.ndarray]:
    names = [
        name
        for name in (VERDICTS, WEIGHTS, SNAPSHOTS)
        if (store.root / "cells" / key / name).exists()
    ]
    return {
        f"{name}/{array}": value
        for name in names
        for array, value in store.arrays(key, name).items()
    }


def test_a_damaged_cell_is_never_read_as_if_it_were_whole(small, tmp_path):
    rng, whole = random.Random(), Store(small[1])
    shutil.copytree(small[1], tmp_path / "store")
    store, noticed = Store(tmp_path / "store"), 0
    for _ in range(FLIPS):
        key = rng.choice(whole.finished())
        file = rng.choice(sorted((store.root / "cells" / key).iterdir()))
        before = file.read_bytes()
        file.write_bytes(damaged(before, rng))
        found = store.read(key)
        assert found is None or found == whole.read(key)
        try:
            arrays = arrays_of(store, key)
        except StoreError as error:
            noticed += clear(str(error), key)
        else:  # white space of JSON, say
            noticed += found is None
            assert all(
                np.array_equal(array, arrays_of(whole, key)[name], equal_nan=True)
                for name, array in arrays.items()
            )
        file.write_bytes(before)
    assert noticed > 0.9 * FLIPS


def test_a_run_on_a_damaged_store_computes_what_is_damaged_again_and_reading_it_breaks_nothing(
    small, tmp_path
):
    path, reference_store, undisturbed = small
    rng = random.Random()
    shutil.copytree(reference_store, tmp_path / "store")
    for cell in sorted((tmp_path / "store" / "cells").iterdir())[::2]:
        file = rng.choice(sorted(cell.iterdir()))
        file.write_bytes(damaged(file.read_bytes(), rng))
    (tmp_path / "store" / "cells" / "stray-file").write_text("not a cell")
    (tmp_path / "store" / "cells" / ("0" * 24)).mkdir()
    for command in ("table", "records", "trust", "plan"):
        done = call(command, path, "--store", tmp_path / "store")
        assert done.returncode in (0, 1, 2) and clear(done.stderr), done.stderr
    done = call("run", path, "--store", tmp_path / "store", "--out", tmp_path / "out")
    assert done.returncode == 0 and tables(tmp_path / "out") == tables(undisturbed), done.stderr


def test_a_damaged_cache_is_built_again(tmp_path):
    rng, dataset = random.Random(), datasets["digits"](datasets["digits"].Config())
    data, digest = acquire.load(dataset, tmp_path)
    for _ in range(FLIPS // 3):
        file = rng.choice(
            [
                path
                for path in sorted(tmp_path.rglob("*"))
                if path.is_file() and path.suffix != ".lock"
            ]
        )
        changed = tmp_path / "new"
        changed.write_bytes(damaged(file.read_bytes(), rng))
        os.replace(changed, file)
        again, found = acquire.load(dataset, tmp_path)
        assert (
            found == digest
            and np.array_equal(again.pixels, data.pixels)
            and np.array_equal(again.labels, data.labels)
        )


@pytest.fixture
def folder(tmp_path):
    """A folder of images with a list of splits."""
    lines = ["filename,label,split"]
    for number, split in enumerate(["train", "train", "test"]):
        for i in range(2):
            Image.fromarray(np.full((12, 12, 3), 40 * number + i, np.uint8)).save(
                tmp_path / f"{number}-{i}.png"
            )
            lines.append(f"{number}-{i}.png,c{number},{split}")
    (tmp_path / "split.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_damaged_images_and_lists_are_one_error_or_other_data(folder):
    rng, refused = random.Random(), 0
    for _ in range(FLIPS):
        file = rng.choice(
            [path for path in sorted(folder.iterdir()) if path.suffix in (".png", ".csv")]
        )
        before = file.read_bytes()
        file.write_bytes(damaged(before, rng))
        try:
            datasets["image-folder"](
                datasets["image-folder"].Config(folder=str(folder), size=12)
            ).build()
        except HarnessError as error:
            refused += 1
            assert clear(str(error), str(folder))
        file.write_bytes(before)
    assert refused > FLIPS // 4


def test_damaged_archives_that_a_user_imports_are_one_error(tmp_path):
    """Files named as those of datasets, with any content; some pickles would run code."""
    rng = random.Random()
    evil = b"cos\nsystem\n(S'touch " + str(tmp_path / "owned").encode() + b"'\ntR."
    names = {
        "mnist": "train-images-idx3-ubyte.gz",
        "omniglot": "images_background.zip",
        "cifar-fs": "cifar-100-python.tar.gz",
        "mini-imagenet": "mini-imagenet-cache-train.pkl",
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("../../outside", "x")
        archive.writestr("cifar-100-python/train", evil)
    seeds = [
        packed.getvalue(),
        evil,
        b"\x1f\x8b\x08\x00" + bytes(100),
        b"PK\x03\x04" + bytes(60),
        DEEP,
        b"",
    ]
    for name, file in names.items():
        for _ in range(FLIPS // 10):
            (tmp_path / file).write_bytes(damaged(rng.choice(seeds) or b"x", rng))
            with pytest.raises(HarnessError) as caught:
                install.import_files(name, [tmp_path / file], tmp_path / "root")
            assert clear(str(caught.value))
    assert not (tmp_path / "owned").exists() and not any((tmp_path / "root").rglob("*.gz"))


def test_a_damaged_submission_or_reference_is_one_error(small, tmp_path):
    path, store, _ = small
    rng, names = random.Random(), {"mine.zip": submission.read, "ref.json": reference_file.load}
    layout = api.plan(path)
    submission.pack(layout, Store(store), submission.suite_text(path), tmp_path / "mine.zip")
    reference.save(reference.of_results(api.results(path, store=store), {}), tmp_path / "ref.json")
    for name, read in names.items():
        whole, refused = (tmp_path / name).read_bytes(), 0
        for _ in range(FLIPS):
            (tmp_path / name).write_bytes(damaged(whole, rng))
            try:
                read(tmp_path / name)
            except HarnessError as error:
                refused += 1
                assert clear(str(error), str(tmp_path / name))
        assert refused > FLIPS // 4


LONG = "a" * 5000
TREE = """
name: x
seeds: [0]
learners: {mlp: {kind: mlp}}
protocols: {p: {kind: classification, dataset: digits}}
"""


@settings(max_examples=FLIPS * 5, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.one_of(
        st.text(max_size=60),
        st.builds(
            "{}={}".format,
            st.sampled_from(
                [
                    "seeds",
                    "learners.mlp.hidden",
                    "protocols",
                    "learners.0",
                    "a.b.c",
                    "extends",
                    "tables.9.rows",
                    "defaults.learners",
                ]
            ),
            st.one_of(
                st.text(max_size=40),
                st.sampled_from(
                    ["[" * 3000, "&a [*a]", "!!python/none x", "9" * 5000, "{a: 1, a: 2}"]
                ),
            ),
        ),
    )
)
def test_any_override_is_made_or_refused(assignment):
    tree = parse(TREE, "x.yaml")
    try:
        override.apply(tree, assignment)
    except HarnessError as error:
        assert clear(str(error), "--set")


@pytest.mark.parametrize(
    "words",
    [
        ["run", "/dev/zero"],
        ["validate", "/dev/null"],
        ["validate", "."],
        ["compare", "nothing.json", "nothing.json"],
        ["board", "nothing.zip"],
        ["show", "../.."],
        ["records", "quickstart", "--query", "__import__('os').system('true')"],
        ["data", "verify", "nothing"],
        ["data", "import", "mnist", "/dev/null"],
        ["list", "nothing"],
        ["plan", "quickstart", "--set", "="],
        ["run", "quickstart", "--device", "cuda:99"],
        ["run", "quickstart", "--workers", "0"],
        ["store", "verify", "misspelt"],
        ["store", "gc", "/dev/null"],
        ["table", "quickstart", "--store", "/dev/null"],
        ["run", "quickstart", "--store", ""],
        ["run", "quickstart", "--store", "ftp://localhost:1/x"],
        ["run", LONG],
        ["board", LONG],
        ["trust", LONG],
        ["records", LONG],
        ["diff", LONG, LONG],
        ["store", "verify", LONG],
        ["table", "quickstart", "--store", LONG],
        ["data", "verify", "omniglot", "--data-root", LONG],
        ["check", "quickstart", "--reference", LONG],
        ["run", "quickstart", "--store", "/proc/nothing"],
        ["run", "quickstart", "--store", "/dev/null"],
        ["run", "quickstart", "--data-root", "/nothing", "--set", "protocols.few.dataset=omniglot"],
    ],
)
def test_odd_words_on_the_command_line_are_one_error(tmp_path, words):
    done = call(*words, cwd=tmp_path, env_more={"HARNESS_DATA": ""})
    assert done.returncode == 2 and clear(done.stderr) and done.stderr, (
        done.returncode,
        done.stderr,
    )
