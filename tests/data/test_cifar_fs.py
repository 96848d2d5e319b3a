"""CIFAR-FS from made zips: what is read, and what is refused."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from harness.data import cifar_fs
from harness.data.shipped import read_split_list
from harness.errors import DataError
from harness.registry import datasets

NAMES = [(split, name) for split, _, *names in read_split_list(*cifar_fs.SPLIT) for name in names]


def photograph(value: int, size: int = 32, form: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.full((size, size, 3), value, np.uint8)).save(
        out, form, **({"lossless": True} if form == "WEBP" else {})
    )
    return out.getvalue()


def write(
    folder,
    images: int = 3,
    *,
    skip: str = "",
    content: bytes | None = None,
    prefix: str = "",
    ending: str = "png",
):
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / "photos.zip", "w") as archive:
        for number, (_, name) in enumerate(NAMES):
            for i in range(images):
                if name != skip:
                    data = content or photograph(number, form="WEBP" if ending == "webp" else "PNG")
                    archive.writestr(f"{prefix}{name}/{i}.{ending}", data)


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar_fs, "COMPLETE", 3)
    return lambda train_images=3: datasets["cifar-fs"](
        datasets["cifar-fs"].Config(train_images=train_images), tmp_path
    )


@pytest.mark.parametrize("prefix, ending", [("", "png"), ("cifar100/data/", "png"), ("", "webp")])
def test_photographs_are_read_class_by_class(tmp_path, dataset, prefix, ending):
    write(tmp_path / "cifar-fs", prefix=prefix, ending=ending)
    loaded = dataset().build()
    assert loaded.pixels.shape == (300, 3, 32, 32) and len(loaded.class_names) == 100
    assert [len(loaded.splittings["classes"][s]) for s in ("train", "val", "test")] == [192, 48, 60]
    assert np.array_equal(loaded.pixels[:, 0, 0, 0], loaded.labels)
    assert loaded.groups[loaded.class_names.index("apple")] == "fruit_and_vegetables"


def test_fewer_training_images_are_the_first_by_name(tmp_path, dataset):
    write(tmp_path / "cifar-fs")
    assert len(dataset(train_images=2).build().split("classes", "train")) == 128


@pytest.mark.parametrize(
    "how, message",
    [
        ({"images": 2}, "class 'dolphin' of train has 2 images, not 3"),
        ({"skip": "rose"}, "class 'rose' of test has 0 images, not 3"),
        ({"content": b"no photograph"}, "dolphin/0.png"),
        ({"content": photograph(3, size=31)}, "31 x 31 pixels, not 32 x 32"),
    ],
)
def test_what_is_missing_or_damaged_is_one_clear_error(tmp_path, dataset, how, message):
    write(tmp_path / "cifar-fs", **how)
    with pytest.raises(DataError, match=message):
        dataset().build()


def test_a_truncated_zip_and_an_empty_folder_are_said(tmp_path, dataset):
    with pytest.raises(DataError, match="no zip of photographs"):
        dataset().build()
    write(tmp_path / "cifar-fs")
    path = tmp_path / "cifar-fs" / "photos.zip"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match="cannot be read"):
        dataset().build()


def test_the_split_is_bertinettos():
    counts = {split: sum(s == split for s, _ in NAMES) for split in ("train", "val", "test")}
    assert (
        counts == {"train": 64, "val": 16, "test": 20} and len({name for _, name in NAMES}) == 100
    )
