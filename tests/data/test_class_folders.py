"""The user's own images in folders of their classes, without a CSV; and spreadsheets' CSVs."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from harness.data import install
from harness.data.image_folder import ImageFolder
from harness.errors import DataError


def write(folder, *names):
    """Different small images, one for each name."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(abs(hash(name))).integers(0, 256, (8, 8, 3))
        Image.fromarray(noise.astype(np.uint8)).save(path)
    return folder


def by_class(*prefixes, classes=("ant", "bee"), count=2):
    return [f"{p}{label}/{n}.png" for p in prefixes for label in classes for n in range(count)]


def make(folder, **keys):
    return ImageFolder(ImageFolder.Config(folder=str(folder), size=8, **keys))


def sizes(dataset):
    return {
        name: {split: facts.images for split, facts in splits.items()}
        for name, splits in dataset.facts().splittings.items()
    }


def test_folders_of_splits_are_the_splits(tmp_path):
    write(tmp_path, *by_class("train/", "Validation/", "test/"))
    (tmp_path / "train" / "notes.txt").write_text("left out")
    dataset = make(tmp_path)
    assert sizes(dataset) == {"standard": {"train": 4, "val": 4, "test": 4}}
    data = dataset.build()
    assert data.class_names == ("ant", "bee")
    assert data.split("standard", "test").known_labels.tolist() == [0, 0, 1, 1]


def test_classes_of_one_split_each_are_for_transfer(tmp_path):
    write(tmp_path, *by_class("train/"), *by_class("test/", classes=("cat", "dog")))
    facts = make(tmp_path).facts()
    assert list(facts.splittings) == ["classes"] and facts.class_disjoint == {"classes"}


def test_folders_and_a_csv_of_the_same_images_are_the_same_data(tmp_path):
    names = by_class("train/", "test/")
    write(tmp_path, *names)
    without = make(tmp_path).build().content_hash()
    lines = [f"{name};{name.split('/')[1]};{name.split('/')[0]}" for name in names]
    (tmp_path / "split.csv").write_text("\n".join(["Filename;Label;Split", *lines]))
    assert make(tmp_path).build().content_hash() == without


def test_only_a_test_folder_serves_what_trains_nothing(tmp_path):
    write(tmp_path, *by_class("test/"))
    assert sizes(make(tmp_path)) == {"standard": {"test": 4}, "classes": {"test": 4}}


def test_folders_of_classes_alone_are_a_test_unless_splits_are_carved(tmp_path):
    write(tmp_path, *by_class("", count=10))
    assert sizes(make(tmp_path))["standard"] == {"test": 20}
    carve = {"val": 0.1, "test": 0.2, "seed": 1}
    dataset = make(tmp_path, carve=carve)
    assert sizes(dataset) == {"standard": {"train": 14, "val": 2, "test": 4}}
    assert json.loads(dataset.config.model_dump(mode="json")["carve"]) == carve
    drawn = dataset.build().content_hash()
    assert make(tmp_path, carve=carve).build().content_hash() == drawn
    assert make(tmp_path, carve={**carve, "seed": 2}).build().content_hash() != drawn


def test_a_carve_leaves_the_given_test_alone(tmp_path):
    write(tmp_path, *by_class("train/", count=10), *by_class("test/"))
    assert sizes(make(tmp_path, carve={"val": 0.2}))["standard"] == {
        "train": 16,
        "val": 4,
        "test": 4,
    }


def test_a_class_may_be_called_like_a_split(tmp_path):
    write(tmp_path, *by_class("", classes=("train", "bus")))
    assert make(tmp_path).build().class_names == ("bus", "train")


@pytest.mark.parametrize(
    "names, fault",
    [
        (["train/ant/0.png", "extra/ant/0.png"], "in a folder of a split, and 'extra/ant/0.png'"),
        (["train/ant/0.png", "train/0.png"], "in a folder of a split, and 'train/0.png' is not"),
        (["0.png", "ant/0.png"], "'0.png' is in no folder of a class"),
        ([], "it holds no images"),
        (
            ["train/ant/0.png", "train/bee/0.png", "test/ant/1.png"],
            r"classes are in two splits: ant \(train, test\)",
        ),
    ],
)
def test_folders_that_say_no_class_are_one_clear_error(names, fault, tmp_path):
    write(tmp_path, *names)
    (tmp_path / "labels.csv").write_text("filename,label\n")
    with pytest.raises(DataError, match=fault) as caught:
        make(tmp_path).facts()
    assert str(tmp_path) in caught.value.where and caught.value.hint
    if not names:
        assert "`csv: labels.csv`" in caught.value.hint


def test_the_same_image_in_two_folders_of_splits_is_an_error(tmp_path):
    write(tmp_path, *by_class("train/", "test/"))
    copy = (tmp_path / "train" / "bee" / "0.png").read_bytes()
    (tmp_path / "test" / "bee" / "1.png").write_bytes(copy)
    with pytest.raises(DataError, match="are the same image") as caught:
        make(tmp_path).build()
    assert "bee" in caught.value.where


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_csvs_of_every_spreadsheet_are_read(separator, encoding, tmp_path):
    write(tmp_path, *by_class("", classes=("ä, b", "c")))
    rows = [("FileName", "LABEL", "Split")]
    rows += [(name, name.split("/")[0], "TEST") for name in by_class("", classes=("ä, b", "c"))]
    lines = [separator.join(f'"{value}"' for value in row) for row in rows]
    (tmp_path / "split.csv").write_bytes("\r\n".join(lines).encode(encoding))
    assert make(tmp_path).build().class_names == ("c", "ä, b")


def test_import_takes_folders_without_a_csv(tmp_path):
    write(tmp_path / "mine", *by_class("train/", "test/"))
    root = tmp_path / "root"
    assert len(install.import_files("image-folder", [tmp_path / "mine"], root)) == 8
    default = ImageFolder(ImageFolder.Config(size=8), root)
    assert default.build().content_hash() == make(tmp_path / "mine").build().content_hash()
