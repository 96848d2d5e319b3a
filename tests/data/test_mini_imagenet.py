"""miniImageNet in all its forms, on small generated files; nothing in a pickle is executed."""

from __future__ import annotations

import io
import os
import pickle
import tarfile

import numpy as np
import pytest
from PIL import Image

from harness.data import install, mini_imagenet, verify
from harness.data.carve import SPLITS
from harness.data.mini_imagenet import PICKLES, SPLIT
from harness.data.shipped import read_split_list
from harness.data.split_csv import read_rows
from harness.errors import DataError
from harness.registry import datasets

CLASSES = [(split, name) for split, *names in read_split_list(*SPLIT) for name in names]


@pytest.fixture(autouse=True)
def two_images_a_class(monkeypatch):
    monkeypatch.setattr(mini_imagenet, "PER_CLASS", 2)


def jpeg(value, size=(100, 90)):
    out = io.BytesIO()
    Image.new("RGB", size, (value, 255 - value, 7)).save(out, "JPEG", quality=95)
    return out.getvalue()


def images():
    """name -> content, as in the usual archive."""
    return {
        f"{name}0000000{i}.jpg": jpeg(2 * number + i)
        for number, (_, name) in enumerate(CLASSES)
        for i in (1, 2)
    }


def csvs():
    return {
        f"{split}.csv": "filename,label\n"
        + "".join(
            f"{name}0000000{i}.jpg,{name}\n"
            for found, name in CLASSES
            if found == split
            for i in (2, 1)
        )
        for split in SPLITS
    }


def write(folder, layout="images/{name}", lists=True):
    for name, content in images().items():
        split = dict((wnid, split) for split, wnid in CLASSES)[name[:9]]
        path = folder / layout.format(name=name, wnid=name[:9], split=split)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for name, text in csvs().items() if lists else ():
        (folder / name).write_text(text)
    return folder


def cache(split, side=84, **changes):
    names = [name for found, name in CLASSES if found == split]
    pixels = np.arange(2 * len(names), dtype=np.uint8)[:, None, None, None] * np.ones(
        (1, side, side, 3), np.uint8
    )
    return {
        "image_data": pixels,
        "class_dict": {name: [2 * i, 2 * i + 1] for i, name in enumerate(names)},
    } | changes


def write_caches(folder, protocol=4, **changes):
    folder.mkdir(parents=True, exist_ok=True)
    for split, name in PICKLES.items():
        (folder / name).write_bytes(pickle.dumps(cache(split, **changes), protocol))
    return folder


def make(root, size=84):
    cls = datasets["mini-imagenet"]
    return cls(cls.Config(size=size), root)


def build(root, size=84):
    dataset = make(root, size)
    data = dataset.build()
    verify.check_facts(dataset, data)
    return data


def test_a_folder_of_images_as_it_is(tmp_path):
    write(tmp_path / "mini-imagenet")
    data = build(tmp_path)
    assert data.pixels.shape == (200, 3, 84, 84) and data.class_names == tuple(
        name for _, name in CLASSES
    )
    assert (
        np.abs(data.pixels[:, 0].mean((1, 2)) - (2 * data.labels + np.tile([1, 2], 100))).max() < 3
    )
    assert [len(data.splittings["classes"][split]) for split in SPLITS] == [128, 32, 40]


@pytest.mark.parametrize(
    "layout, lists",
    [
        ("images/{name}", True),
        ("images/{name}", False),
        ("{split}/{wnid}/{name}", True),
        ("{wnid}/{name}", False),
    ],
)
def test_every_layout_is_imported_to_the_same_images(tmp_path, layout, lists):
    write(tmp_path / "root" / "mini-imagenet")
    write(tmp_path / "have", layout, lists)
    written = install.import_files("mini-imagenet", [tmp_path / "have"], tmp_path / "new")
    assert {path.name for path in written} == {"images.zip", *(csvs() if lists else ())}
    assert build(tmp_path / "new").content_hash() == build(tmp_path / "root").content_hash()


def test_a_tar_and_the_lists_beside_it(tmp_path):
    write(tmp_path / "root" / "mini-imagenet")
    (tmp_path / "have").mkdir()
    with tarfile.open(tmp_path / "have" / "mini.tar.gz", "w:gz") as out:
        out.add(tmp_path / "root" / "mini-imagenet" / "images", "images")
    for name, text in csvs().items():
        (tmp_path / "have" / name).write_text(text)
    assert len(install.import_files("mini-imagenet", [tmp_path / "have"], tmp_path / "new")) == 4
    assert build(tmp_path / "new").content_hash() == build(tmp_path / "root").content_hash()


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_the_three_caches(tmp_path, protocol):
    install.import_files(
        "mini-imagenet", [write_caches(tmp_path / "have", protocol)], tmp_path / "root"
    )
    data = build(tmp_path / "root")
    expected = np.concatenate([np.arange(128), np.arange(32), np.arange(40)])
    assert np.array_equal(data.pixels[:, 1, 5, 5], expected) and data.pixels.shape == (
        200,
        3,
        84,
        84,
    )
    assert np.array_equal(build(tmp_path / "root", 32).pixels[:, 2, 3, 3], expected)


def test_a_crafted_cache_is_refused_and_not_executed(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'executed'}",)

    folder = write_caches(tmp_path / "root" / "mini-imagenet")
    (folder / PICKLES["val"]).write_bytes(pickle.dumps(cache("val") | {"more": Evil()}))
    with pytest.raises(DataError, match="refused: this pickle asks for posix.system"):
        make(tmp_path / "root").build()
    with pytest.raises(DataError, match="refused"):
        install.import_files("mini-imagenet", [folder], tmp_path / "new")
    assert not (tmp_path / "executed").exists() and not list((tmp_path / "new").rglob("*"))


@pytest.mark.parametrize(
    "change, word",
    [
        ({"image_data": None}, "not a miniImageNet cache"),
        ({"class_dict": {}}, "does not name every image once"),
        ({"side": 80}, "not uint8"),
        (
            {"class_dict": {"n1": list(range(128))}},
            "classes are not those of train|every image once",
        ),
    ],
)
def test_a_cache_that_is_something_else_is_said(tmp_path, change, word):
    write_caches(tmp_path / "mini-imagenet", **change)
    with pytest.raises(DataError, match=word):
        make(tmp_path).build()


def test_mixed_up_caches_are_noticed(tmp_path):
    folder = write_caches(tmp_path / "mini-imagenet")
    (folder / PICKLES["val"]).write_bytes((folder / PICKLES["test"]).read_bytes())
    with pytest.raises(DataError, match="classes are not those of val"):
        make(tmp_path).build()


def test_what_is_missing_is_said(tmp_path):
    with pytest.raises(
        DataError, match="there are neither images nor mini-imagenet-cache"
    ) as caught:
        make(tmp_path).sources()
    assert "harness data import mini-imagenet" in caught.value.hint
    folder = write(tmp_path / "mini-imagenet")
    name = next(iter(images()))
    (folder / "images" / name).unlink()
    with pytest.raises(DataError, match=f"{name} is missing, which train.csv:3 lists"):
        make(tmp_path).build()
    for split in SPLITS:
        (folder / f"{split}.csv").unlink()
    found = f"199 images found, 200 expected: class {name[:9]} of train has 1, not 2"
    with pytest.raises(DataError, match=found):
        make(tmp_path).build()


def test_the_split_is_ravi_and_larochelles(data_root):
    for split in SPLITS:
        path = data_root / "mini-imagenet-splits" / f"ravi_{split}.csv.xz"
        assert list(dict.fromkeys(row.label for row in read_rows(path))) == [
            name for found, name in CLASSES if found == split
        ]
