"""Importing and verifying: intact files are copied, damaged ones are named in one clear error."""

from __future__ import annotations

import gzip
import hashlib
import io
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from harness.data import acquire, install, inventory, omniglot, verify
from harness.data.idx import read_idx
from harness.data.idx_family import FILES
from harness.data.mnist import MNIST
from harness.errors import DataError
from harness.registry import datasets


def idx_bytes(array):
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def mnist_files(tmp_path, monkeypatch, unchecked):
    """Four small idx files that pass for MNIST's."""
    folder, rng = tmp_path / "downloads" / "raw", np.random.default_rng(0)
    folder.mkdir(parents=True)
    contents = [
        idx_bytes(rng.integers(0, 256, shape))
        for shape in ((60, 28, 28), (60,), (10, 28, 28), (10,))
    ]
    monkeypatch.setattr(MNIST, "raw_sha256", tuple(hashlib.sha256(c).hexdigest() for c in contents))
    for i, (name, content) in enumerate(zip(FILES, contents, strict=True)):
        if i % 2:
            (folder / name).write_bytes(content)
        else:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    return folder.parent


def test_import_takes_files_gzipped_or_raw_from_anywhere_below(mnist_files, tmp_path):
    root = tmp_path / "root"
    written = install.import_files("mnist", [mnist_files], root)
    assert [path.parent for path in written] == [root / "mnist"] * 4
    assert (
        len(MNIST(MNIST.Config(), root).sources()) == 4
        and inventory.describe("mnist", root)["present"]
    )


def test_import_prefers_the_right_one_of_two_namesakes(mnist_files, tmp_path):
    other = mnist_files / "a-sibling"
    other.mkdir()
    (other / FILES[1]).write_bytes(idx_bytes(np.zeros(60)))
    install.import_files("mnist", [mnist_files], tmp_path / "root")
    assert read_idx(tmp_path / "root" / "mnist" / FILES[1], MNIST.raw_sha256[1]).any()


def test_import_refuses_another_data_sets_files(mnist_files, tmp_path, monkeypatch):
    monkeypatch.setattr(MNIST, "raw_sha256", ("0" * 64,) * 4)
    with pytest.raises(DataError, match="not the expected content"):
        install.import_files("mnist", [mnist_files], tmp_path / "root")
    assert not list((tmp_path / "root").rglob("*"))


@pytest.mark.parametrize(
    ("name", "word"), [("mnist", "no file of mnist"), ("omniglot", "no file of omniglot")]
)
def test_import_of_nothing_says_what_it_needs(name, word, tmp_path):
    with pytest.raises(DataError, match=word) as caught:
        install.import_files(name, [tmp_path], tmp_path / "root")
    assert caught.value.hint


def test_import_needs_a_root_a_place_and_something_to_import(tmp_path):
    for arguments in (
        ("mnist", [tmp_path], None),
        ("mnist", [tmp_path / "no"], tmp_path),
        ("digits", [tmp_path], tmp_path),
    ):
        with pytest.raises(DataError):
            install.import_files(*arguments)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_damaged_idx_files_are_data_errors(tmp_path, data):
    content = idx_bytes(np.arange(24).reshape(2, 3, 4))
    digest = hashlib.sha256(content).hexdigest()
    if data.draw(st.booleans()):
        content = gzip.compress(content, mtime=0)
    damaged = bytearray(content[: data.draw(st.integers(0, len(content)))])
    for at in (
        data.draw(st.lists(st.integers(0, max(len(damaged) - 1, 0)), max_size=3)) if damaged else []
    ):
        damaged[at] ^= data.draw(st.integers(1, 255))
    path = tmp_path / "file"
    path.write_bytes(damaged)
    try:
        assert np.array_equal(read_idx(path, digest).ravel(), np.arange(24))
    except DataError as error:
        assert error.where == str(path)


def drawing(seed):
    buffer = io.BytesIO()
    paper = np.random.default_rng(seed).random((105, 105)) > 0.05
    Image.fromarray(paper).save(buffer, "PNG")
    return buffer.getvalue(), ~paper


@pytest.fixture
def small_omniglot(tmp_path, monkeypatch, unchecked):
    """Two parts of one alphabet with two characters each, as folders; they pass for Omniglot's."""
    pinned = {}
    for seed, part in enumerate(omniglot.INK_SHA256):
        ink = []
        for character in (1, 2):
            folder = tmp_path / "have" / part / f"Alphabet{seed}" / f"character{character:02d}"
            folder.mkdir(parents=True)
            for drawer in range(1, 21):
                content, pixels = drawing(1000 * seed + 100 * character + drawer)
                (folder / f"{character:04d}_{drawer:02d}.png").write_bytes(content)
                ink.append(pixels)
        pinned[part] = hashlib.sha256(np.packbits(np.stack(ink)).data).hexdigest()
    monkeypatch.setattr(omniglot, "INK_SHA256", pinned)
    return tmp_path / "have"


def test_extracted_folders_become_the_zips_they_came_from(small_omniglot, tmp_path):
    written = install.import_files("omniglot", [small_omniglot], tmp_path / "root")
    assert [path.name for path in written] == ["images_background.zip", "images_evaluation.zip"]
    part = omniglot.read_part(written[0])
    assert part.characters == [("Alphabet0", 1), ("Alphabet0", 2)]
    assert np.array_equal(part.ink[20], drawing(201)[1])
    again = install.import_files("omniglot", [tmp_path / "root" / "omniglot"], tmp_path / "second")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in written]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_damaged_zips_are_data_errors(small_omniglot, tmp_path, data):
    path = tmp_path / "root" / "omniglot" / "images_background.zip"
    if not path.exists():
        install.import_files("omniglot", [small_omniglot], tmp_path / "root")
    damaged = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        damaged = damaged[: data.draw(st.integers(0, len(damaged)))]
    for at in data.draw(st.lists(st.integers(0, len(damaged) - 1), max_size=4)) if damaged else []:
        damaged[at] ^= data.draw(st.integers(1, 255))
    copy = tmp_path / "damaged.zip"
    copy.write_bytes(damaged)
    try:
        assert len(omniglot.read_part(copy).ink) == 40
    except DataError as error:
        assert error.where == str(copy)


@pytest.mark.parametrize("member", [b"", b"no png", drawing(0)[0][:60]])
def test_zips_with_broken_drawings_are_data_errors(tmp_path, member):
    path = tmp_path / "images_background.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images_background/A/character01/0001_01.png", member)
    with pytest.raises(DataError, match="0001_01.png"):
        omniglot.read_part(path)


def test_verify_says_what_is_wrong(small_omniglot, tmp_path):
    install.import_files("omniglot", [small_omniglot], tmp_path / "root")
    (tmp_path / "root" / "omniglot" / "images_background.zip").write_bytes(b"PK")
    dataset = omniglot.Omniglot(omniglot.Omniglot.Config(), tmp_path / "root")
    (check,) = verify.verify(dataset, tmp_path / "cache")
    assert not check.ok and check.item.endswith("images_background.zip")


def test_verify_finds_everything_right(make, shared_cache):
    acquire.load(make("digits"), shared_cache)
    checks = verify.verify(make("digits"), shared_cache)
    assert all(check.ok for check in checks)
    assert {"content hash", "cached copy", "standard/test", "digits.csv.gz"} <= {
        check.item for check in checks
    }


def test_vinyals_split_is_the_published_sizes():
    split_of = omniglot.vinyals_split()
    sizes = {
        split: sum(found == split for found in split_of.values())
        for split in ("train", "val", "test")
    }
    assert sizes == {"train": 1028, "val": 172, "test": 423}


def test_rotations_are_counter_clockwise_classes_of_their_own(make, shared_cache):
    plain, _ = acquire.load(make("omniglot"), shared_cache)
    turned, _ = acquire.load(make("omniglot", rotations=True), shared_cache)
    for row in (0, 4321, 32459):
        upright = Image.fromarray(plain.pixels[row, 0])
        for turn in range(4):
            at = turn * len(plain.pixels) + row
            assert np.array_equal(turned.pixels[at, 0], np.asarray(upright.rotate(90 * turn)))
            name = turned.class_names[turned.labels[at]]
            assert name == plain.class_names[plain.labels[row]] + (
                "" if turn == 0 else f"/rot{90 * turn:03d}"
            )


def test_omniglot_has_dark_ink_on_light_paper_inverted(make, shared_cache):
    pixels = acquire.load(make("omniglot"), shared_cache)[0].pixels
    assert 0.02 < pixels.mean() / 255 < 0.15 and pixels.max() == 255


def test_data_root(monkeypatch, tmp_path):
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    assert acquire.data_root() is None
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    assert acquire.data_root() == tmp_path and acquire.data_root(tmp_path / "x") == tmp_path / "x"


def test_lists_and_reports_hold_plain_values(shared_cache, tmp_path):
    rows = inventory.describe_all(None)
    assert {"digits", "glyphs", "mnist", "mnist5k", "omniglot", "fashion-mnist"} <= {
        row["name"] for row in rows
    }
    (row,) = (row for row in rows if row["name"] == "omniglot")
    assert row["classes by split"] == "vinyals 1028/172/423, lake 964/659" and not row["present"]
    reports = [
        verify.report(datasets[name](datasets[name].Config(), tmp_path), shared_cache)
        for name in ("digits", "mnist")
    ]
    assert [all(row["ok"] for row in report) for report in reports] == [True, False]
