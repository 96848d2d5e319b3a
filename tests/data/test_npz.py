"""Images in a .npz file, in the layouts that people have."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from harness.data import install, verify
from harness.data.npz import Npz
from harness.errors import DataError

RNG = np.random.default_rng(0)


def arrays(*, grey=False):
    """A set in MedMNIST's layout: two classes, labels in a column."""
    out = {}
    for split, count in (("train", 8), ("val", 4), ("test", 6)):
        shape = (count, 9, 9) if grey else (count, 9, 9, 3)
        out[f"{split}_images"] = RNG.integers(0, 256, shape).astype(np.uint8)
        out[f"{split}_labels"] = (np.arange(count) % 2)[:, None].astype(np.uint8)
    return out


def save(folder, content, *, pack=True):
    path = folder / "set.npz"
    (np.savez_compressed if pack else np.savez)(path, **content)
    return path


def make(path, **keys):
    return Npz(Npz.Config(file=str(path), **keys))


def build(path, **keys):
    dataset = make(path, **keys)
    data = dataset.build()
    verify.check_facts(dataset, data)
    return data


@pytest.mark.parametrize("grey", [True, False])
@pytest.mark.parametrize("pack", [True, False])
def test_medmnists_layout_is_read(grey, pack, tmp_path):
    content = arrays(grey=grey)
    data = build(save(tmp_path, content, pack=pack))
    test = data.split("standard", "test")
    stored = content["test_images"]
    expected = stored[:, None] if grey else stored.transpose(0, 3, 1, 2)
    assert np.array_equal(test.pixels, expected)
    assert test.known_labels.tolist() == [0, 1] * 3 and data.class_names == ("0", "1")


def test_kerass_layout_and_channels_first_are_read(tmp_path):
    content = arrays()
    names = {"train": "train", "test": "test"}
    other = {f"x_{s}": content[f"{s}_images"].transpose(0, 3, 1, 2) for s in names}
    other |= {f"y_{s}": content[f"{s}_labels"][:, 0].astype(np.int64) for s in names}
    data = build(save(tmp_path, other))
    whole = build(save(tmp_path, content))
    test = whole.split("standard", "test")
    assert np.array_equal(data.split("standard", "test").pixels, test.pixels)
    assert set(data.splittings["standard"]) == {"train", "test"}


def test_plain_images_and_labels_are_a_test(tmp_path):
    images = arrays()["test_images"]
    facts = make(save(tmp_path, {"images": images, "labels": np.arange(6) % 3})).facts()
    assert {name: list(splits) for name, splits in facts.splittings.items()} == {
        "standard": ["test"],
        "classes": ["test"],
    }


def test_a_carve_draws_splits_with_the_proportions_of_classes(tmp_path):
    labels = np.repeat([0, 1], [60, 30])
    images = RNG.integers(0, 256, (90, 8, 8)).astype(np.uint8)
    path = save(tmp_path, {"x_train": images, "y_train": labels})
    carve = {"val": 0.1, "test": 0.2, "seed": 3}
    data = build(path, carve=carve)
    counts = {"train": [42, 21], "val": [6, 3], "test": [12, 6]}
    for split, rows in data.splittings["standard"].items():
        assert np.bincount(data.labels[rows]).tolist() == counts[split]
    assert build(path, carve=carve).content_hash() == data.content_hash()
    assert build(path, carve={**carve, "seed": 4}).content_hash() != data.content_hash()
    written = make(path, carve=carve).config.model_dump(mode="json")
    assert Npz.Config.model_validate(written).carve == make(path, carve=carve).config.carve


def test_a_split_that_is_there_is_not_carved(tmp_path):
    with pytest.raises(DataError, match="there is a split 'test' already"):
        make(save(tmp_path, arrays()), carve={"test": 0.2}).facts()


def test_import_makes_it_the_default(tmp_path):
    path = save(tmp_path, arrays())
    install.import_files("npz", [path], tmp_path / "root")
    default = Npz(Npz.Config(), tmp_path / "root")
    assert default.build().content_hash() == build(path).content_hash()


# ------------------------------------------------------------------------------------ wrong files


def changed(**others):
    content = {**arrays(), **others}
    return {name: array for name, array in content.items() if array is not None}


@pytest.mark.parametrize(
    "content, fault",
    [
        (changed(train_images=np.zeros((8, 9, 9, 3), np.float32)), "holds float32, not bytes"),
        (changed(train_images=np.zeros((8, 9, 9, 4), np.uint8)), r"has the shape \(8, 9, 9, 4\)"),
        (changed(train_images=np.zeros((8, 81), np.uint8)), r"has the shape \(8, 81\)"),
        (changed(train_images=np.zeros((8, 5, 5, 3), np.uint8)), "images of several shapes"),
        (changed(train_images=np.zeros((7, 9, 9, 3), np.uint8)), "7 images and 8 labels"),
        (changed(train_labels=None), "'train_images' and no 'train_labels'"),
        (changed(train_labels=np.zeros((8, 14), np.uint8)), r"the shape \(8, 14\)"),
        (changed(train_labels=np.full(8, np.nan)), "holds float64"),
        (changed(train_labels=np.array(["a"] * 8, object)), "pickled objects are not read"),
        (changed(train_labels=np.arange(8)), "classes are in two splits: 0"),
        ({"data": np.zeros(3)}, "it has no images, only data"),
    ],
)
def test_a_faulty_file_is_one_clear_error(content, fault, tmp_path):
    path = save(tmp_path, content)
    with pytest.raises(DataError, match=fault) as caught:
        make(path).facts()
    assert str(path) in caught.value.where and caught.value.hint


def test_a_file_that_is_none_or_cut_off(tmp_path):
    path = save(tmp_path, arrays(), pack=False)
    with pytest.raises(DataError, match="there is no such file"):
        make(tmp_path / "other.npz").facts()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="not a .npz file"):
        make(path).facts()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", b"\x93NUMPY\x01\x00\x10\x00{'shape': evil()}")
        archive.writestr("labels.npy", b"")
    with pytest.raises(DataError, match="not a .npy array"):
        make(path).facts()


def test_a_bomb_is_refused(tmp_path):
    path = save(tmp_path, {"images": np.zeros((2000, 64, 64), np.uint8), "labels": np.zeros(2000)})
    with pytest.raises(DataError, match="more is packed into it than is reasonable"):
        make(path).facts()


def test_classes_have_the_names_that_the_suite_gives(tmp_path):
    names = ["cat", "dog"]
    plain = save(tmp_path, arrays())
    assert build(plain).class_names == ("0", "1")
    assert build(plain, class_names=names).class_names == tuple(names)
    assert make(plain).config.model_dump() == make(plain, class_names=None).config.model_dump()
    of_worker = make(plain, class_names=names).config.model_dump(exclude={"file"})
    assert build(plain, **of_worker).class_names == tuple(names)


def test_wrong_names_of_classes_are_refused(tmp_path):
    path = save(tmp_path, arrays())
    with pytest.raises(DataError, match="called 'b'"):
        build(path, class_names=["a", "b", "b"])
    from_three = {name: 3 + array for name, array in arrays().items() if "labels" in name}
    with pytest.raises(DataError, match="2 class names for labels from 3 to 4"):
        build(save(tmp_path, arrays() | from_three), class_names=["a", "b"])
