"""Names in a folder of images: links, Unicode forms, hidden folders, splits, classes, numbers."""

from __future__ import annotations

import os
import re
import unicodedata

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from harness.cli import app
from harness.data import acquire, install, verify
from harness.data.archive import files_below
from harness.data.base import Images
from harness.data.sampler import sample
from harness.errors import DataError, HarnessError
from harness.registry import datasets
from harness.rng import Rng
from harness.suite.load import load

IMAGE_FOLDER = datasets["image-folder"]


def write(place, counts, name="{label}/{i}.png"):
    """Write noise images, and a CSV of (label, split) -> number of images."""
    noise = np.random.default_rng(0)
    lines = ["filename,label,split"]
    for (label, split), count in counts.items():
        for i in range(count):
            file = name.format(label=label, i=f"{split}{i}")
            path = place / file
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noise.integers(0, 255, (9, 9)).astype(np.uint8)).save(path)
            lines.append(f"{file},{label},{split}")
    (place / "split.csv").write_text("\n".join(lines), encoding="utf-8")
    return place


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "mine", {(label, "train"): 3 for label in ("ant", "bee", "cat")})


def make(folder, **switches):
    keys = {"folder": str(folder), "size": 8, "colour": False} | switches
    return IMAGE_FOLDER(IMAGE_FOLDER.Config.model_validate(keys), None)


def test_linked_class_folders_and_files_are_read(folder, tmp_path):
    before = make(folder).build().content_hash()
    (folder / "bee").rename(tmp_path / "elsewhere")
    (folder / "bee").symlink_to(tmp_path / "elsewhere")
    (folder / "ant" / "train0.png").rename(tmp_path / "object")
    (folder / "ant" / "train0.png").symlink_to(tmp_path / "object")
    assert make(folder).build().content_hash() == before


def test_a_changed_file_behind_a_link_is_read_again(folder, tmp_path):
    (folder / "bee").rename(tmp_path / "elsewhere")
    (folder / "bee").symlink_to(tmp_path / "elsewhere")
    before = acquire.load(make(folder), tmp_path / "cache")[1]
    Image.new("L", (20, 20), 7).save(tmp_path / "elsewhere" / "train1.png")
    assert acquire.load(make(folder), tmp_path / "cache")[1] != before


def test_links_in_a_circle_end(tmp_path):
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.png").touch()
        (tmp_path / name / "to").symlink_to(tmp_path / other)
    (tmp_path / "up").symlink_to(tmp_path)
    assert set(files_below(tmp_path)) == {"a/x.png", "b/x.png", "a/to/x.png", "b/to/x.png"}


@pytest.mark.parametrize("of_csv, on_disk", [("NFC", "NFD"), ("NFD", "NFC")])
def test_names_may_be_composed_or_decomposed(tmp_path, of_csv, on_disk):
    place = write(tmp_path / "mine", {("é", "train"): 2}, "ü/é{i}.png")
    for path in sorted(place.rglob("*"), reverse=True):
        path.rename(path.with_name(unicodedata.normalize(on_disk, path.name)))
    csv = place / "split.csv"
    csv.write_text(unicodedata.normalize(of_csv, csv.read_text("utf-8")), encoding="utf-8")
    assert len(make(place).build().pixels) == 2


def test_hidden_folders_that_the_csv_names_are_read(tmp_path):
    place = write(tmp_path / "mine", {("ant", "train"): 2}, ".hidden/{i}.png")
    assert len(make(place).build().pixels) == 2


def test_a_broken_link_is_called_one(folder):
    (folder / "ant" / "train0.png").unlink()
    (folder / "ant" / "train0.png").symlink_to("gone")
    with pytest.raises(DataError, match="1 of 9 images are missing") as caught:
        make(folder).build()
    assert "link to a file that is not there" in caught.value.hint


def test_a_split_that_nothing_reads_is_refused(tmp_path):
    place = write(tmp_path / "mine", {("ant", "Train"): 1, ("bee", "holdout"): 1})
    with pytest.raises(DataError, match="unknown split 'holdout'") as caught:
        make(place).facts()
    assert re.search("train, val, test", caught.value.hint)


def test_splits_and_headings_may_have_capitals(tmp_path):
    place = write(tmp_path / "mine", {("ant", "Train"): 1, ("bee", "TEST"): 1})
    csv = place / "split.csv"
    csv.write_text(csv.read_text().replace("filename,label,split", "Filename,Label,Split"))
    assert set(make(place).facts().splittings["classes"]) == {"train", "test"}


# -------------------------------------------------------------------------- numbers of classes


def test_the_numbers_of_classes_are_said(tmp_path):
    place = write(tmp_path / "mine", {(label, "train"): 2 for label in ("2", "10", "9")})
    (remark,) = make(place).remarks()
    assert remark.endswith("numbered alphabetically: 0 = 10, 1 = 2, 2 = 9")
    assert remark in [check.found for check in verify.verify(make(place), tmp_path / "cache")]
    folder = f"folder={place}"
    out = str(tmp_path / "sheet.png")
    words = ["data", "show", "image-folder", "--set", folder, "--json", "--out", out]
    assert "0 = 10, 1 = 2, 2 = 9" in CliRunner().invoke(app, words).stdout


def test_the_order_of_classes_can_be_given(folder):
    data = make(folder, class_order=["cat", "ant", "bee"]).build()
    assert data.class_names == ("cat", "ant", "bee")
    assert data.labels.tolist() == [1, 1, 1, 2, 2, 2, 0, 0, 0]
    assert "class_order: 0 = cat" in make(folder, class_order=["cat", "ant", "bee"]).remarks()[0]


@pytest.mark.parametrize(
    "order, fault",
    [
        (["cat", "ant"], "lacks 'bee'"),
        (["cat", "ant", "bee", "cow"], "unknown 'cow'"),
        (["cat", "ant", "bee", "bee"], "repeats 'bee'"),
    ],
)
def test_an_order_names_every_class_once(folder, order, fault):
    with pytest.raises(DataError, match=fault):
        make(folder, class_order=order).facts()


def test_keys_that_are_left_out_are_no_part_of_the_identity(folder):
    left_out = make(folder).config.model_dump(mode="json")
    assert set(left_out) == {"size", "colour"}
    assert "range" in make(folder, range=4095).config.model_dump(mode="json")


# ---------------------------------------------------------------------- classes with few images

SUITE = """
name: few
learners: {pixels: {kind: nearest-mean}}
protocols:
  few:
    kind: few_shot
    dataset: {kind: image-folder, folder: FOLDER, size: 8}
    ways: 2
    shots: [1, 3]
    queries: 2
    episodes: 4
"""


@pytest.fixture
def uneven(tmp_path, write_suite):
    counts = {("ant", "train"): 9, ("bee", "test"): 6, ("cow", "test"): 2, ("dog", "test"): 6}
    place = write(tmp_path / "mine", counts)
    return write_suite(SUITE.replace("FOLDER", str(place)))


def test_a_class_with_too_few_images_is_named(uneven):
    with pytest.raises(HarnessError, match="1 shots .* 'cow' has 2") as caught:
        load(uneven)
    assert "min_images: skip" in str(caught.value)


@pytest.mark.parametrize("value", ["skip", "5"])
def test_a_class_with_too_few_images_is_left_out_on_request(uneven, value):
    suite = load(uneven, sets=[f"protocols.few.min_images={value}"])
    protocol = suite.protocols[0].protocol
    assert [setting.min_images for setting in protocol.settings()] == [5, 5]
    assert "1 classes with fewer than 5 images left out (cow)" in protocol.block()["episodes"]
    with pytest.raises(HarnessError, match="3 ways, but classes/test has 2 classes with 5"):
        load(uneven, sets=[f"protocols.few.min_images={value}", "protocols.few.ways=3"])


@pytest.mark.parametrize("mode", ["replacement", "image_disjoint", "class_disjoint"])
@pytest.mark.parametrize("groups", [None, np.zeros(4, int)])
def test_no_episode_has_a_class_that_is_left_out(mode, groups):
    labels = np.repeat(np.arange(4), [8, 2, 8, 8])
    images = Images(np.zeros((26, 1, 1, 1), np.uint8), labels, np.arange(26), 4)
    keys = dict(ways=3, shots=2, queries=2, episodes=1, rng=Rng(0), mode=mode, groups=groups)
    episodes = sample(images, **keys, min_images=4)
    assert sorted(episodes.classes[0].tolist()) == [0, 2, 3]
    with pytest.raises(HarnessError, match="class 1 has 2"):
        sample(images, **keys)


def test_leaving_out_no_class_changes_no_episode():
    labels = np.repeat(np.arange(4), 8)
    images = Images(np.zeros((32, 1, 1, 1), np.uint8), labels, np.arange(32), 4)
    keys = dict(ways=3, shots=2, queries=2, episodes=5, rng=Rng(0))
    plain = sample(images, **keys)
    assert np.array_equal(plain.query, sample(images, **keys, min_images=4).query)


def test_a_folder_with_shared_classes_is_imported(tmp_path):
    place = write(tmp_path / "mine", {("ant", split): 2 for split in ("train", "test")})
    said = []
    install.import_files("image-folder", [place], tmp_path / "root", said.append)
    assert "standard: train 2 images of 1 classes" in said[0]
    (place / "ant" / "train1.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="not the whole of image-folder: ant/train1.png"):
        install.import_files("image-folder", [place], tmp_path / "root")


def test_a_hidden_and_linked_folder_is_imported_whole(tmp_path):
    place = write(tmp_path / "mine", {("ant", "train"): 2}, ".hidden/{i}.png")
    (place / ".hidden").rename(tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", place / ".hidden")
    install.import_files("image-folder", [place], tmp_path / "root")
    keys = {"size": 8}
    assert len(IMAGE_FOLDER(IMAGE_FOLDER.Config(**keys), tmp_path / "root").build().pixels) == 2
