"""Datasets of photographs: official archives beside the copies that people have."""

from __future__ import annotations

import io
import pickle
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from harness.data import cifar100, cifar_fs, install, kmnist
from harness.data.cifar_fs import SPLIT
from harness.data.mini_imagenet_25 import MiniImageNet25
from harness.data.shipped import read_split_list
from harness.errors import DataError
from harness.registry import datasets

NAMES = sorted(name for _, _, *names in read_split_list(*SPLIT) for name in names)


def official_cifar(path):
    """The author's archive with two images a class: pickles of protocol 2."""
    rng, members = np.random.default_rng(0), {"meta": {"fine_label_names": NAMES}}
    for part in ("train", "test"):
        members[part] = {
            "data": rng.integers(0, 256, (100, 3072), np.uint8),
            "fine_labels": list(range(100)),
            "filenames": [f"{name}_s_{i:06d}.png" for i, name in enumerate(NAMES)],
        }
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as out:
        for name, content in members.items():
            raw, entry = pickle.dumps(content, 2), tarfile.TarInfo(f"cifar-100-python/{name}")
            entry.size = len(raw)
            out.addfile(entry, io.BytesIO(raw))
    return members


@pytest.mark.parametrize(
    "name, switches", [("cifar-fs", {"train_images": 2}), ("fc100", {"images": 2})]
)
def test_the_official_cifar_archive_equals_zips_of_its_images(
    tmp_path, monkeypatch, name, switches
):
    monkeypatch.setattr(cifar_fs, "COMPLETE", 2)
    members = official_cifar(tmp_path / "have" / cifar100.OFFICIAL)
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as out:
        for part in ("train", "test"):
            for row, label, file in zip(
                *(members[part][key] for key in ("data", "fine_labels", "filenames")), strict=True
            ):
                png = io.BytesIO()
                Image.fromarray(row.reshape(3, 32, 32).transpose(1, 2, 0)).save(png, "PNG")
                out.writestr(f"{NAMES[label]}/{part}_{file}", png.getvalue())
    install.import_files(name, [tmp_path / "have"], tmp_path / "one")
    install.import_files(name, [tmp_path / "photos.zip"], tmp_path / "two")
    one, two = (
        datasets[name](datasets[name].Config(**switches), tmp_path / root).build()
        for root in ("one", "two")
    )
    assert one.content_hash() == two.content_hash() and len(one.pixels) == 200


def test_fc100_shares_no_superclass_between_splits():
    classes = datasets["fc100"].listed_classes()
    splits = {
        group: {split for split, found, _ in classes if found == group} for _, group, _ in classes
    }
    assert len(splits) == 20 and all(len(found) == 1 for found in splits.values())
    assert sorted(name for _, _, name in classes) == NAMES


def test_tiered_subset_shares_no_category_between_splits_and_is_what_tiered_says(data_root):
    known = {
        wnid: (split, category)
        for split in ("train", "val", "test")
        for wnid, category in (
            line.split(",")
            for line in (data_root / f"mini-imagenet-splits/tiered_{split}.csv").read_text().split()
        )
    }
    classes = list(datasets["tiered-subset"].listed_classes())
    assert all(known[wnid] == (split, category) for split, category, wnid, _, _ in classes)
    splits = {category: split for split, category, *_ in classes}
    assert all(splits[category] == split for split, category, *_ in classes) and len(classes) == 123


def test_the_official_tiny_imagenet_equals_the_pack(tmp_path, data_root, monkeypatch):
    pack = data_root / "tiny-imagenet" / "mini25x550_64px_jpeg.zip"
    monkeypatch.setattr(MiniImageNet25, "per_class", 4)
    monkeypatch.setattr(MiniImageNet25, "pinned", {})
    chosen = {}
    with zipfile.ZipFile(pack) as archive:
        for _, _, wnid, _, _ in MiniImageNet25.listed_classes():
            own = [name for name in archive.namelist() if name.startswith(wnid)]
            validation = [name for name in own if "/val_" in name]
            chosen |= {
                name: archive.read(name)
                for name in [*[n for n in own if n not in validation][:2], *validation[:2]]
            }
    folder = tmp_path / "one" / "tiny-imagenet"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "pack.zip", "w") as out:
        for name, content in chosen.items():
            out.writestr(name, content)
    with zipfile.ZipFile(tmp_path / "tiny-imagenet-200.zip", "w") as out:
        lines = []
        for name, content in chosen.items():
            wnid, file = name.split("/")
            inside = "val/images" if file.startswith("val") else f"train/{wnid}/images"
            out.writestr(f"tiny-imagenet-200/{inside}/{file}", content)
            lines += [f"{file}\t{wnid}\t0\t0\t62\t62\n"] if file.startswith("val") else []
        out.writestr("tiny-imagenet-200/val/val_annotations.txt", "".join(lines))
    install.import_files("mini-imagenet-25", [tmp_path / "tiny-imagenet-200.zip"], tmp_path / "two")
    one, two = (
        MiniImageNet25(MiniImageNet25.Config(), tmp_path / root).build() for root in ("one", "two")
    )
    assert one.content_hash() == two.content_hash() and len(one.pixels) == 100


def test_subsets_are_never_called_by_the_name_of_the_whole():
    titles = [
        datasets[name](datasets[name].Config(), None).title
        for name in ("mini-imagenet-25", "tiered-subset")
    ]
    assert titles == ["miniImageNet-25 (64 px)", "tieredImageNet, 123 classes (64 px)"]


@pytest.mark.parametrize("content", [b"", b"PK", b"\x93NUMPY"])
def test_damaged_npz_files_are_data_errors(tmp_path, content):
    path = tmp_path / "kmnist-test-labels.npz"
    path.write_bytes(content)
    with pytest.raises(DataError):
        kmnist.read_npz(path)
    np.savez(path, arr_0=np.zeros(10_000, np.uint8))
    with pytest.raises(DataError, match="not the expected content"):
        kmnist.read_npz(path)
