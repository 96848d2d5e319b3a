"""Published sets: every form of one set has the same content, and nothing else passes for it."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import tarfile
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from PIL import Image

from harness.data import acquire, install, verify
from harness.data.base import Remote
from harness.data.cifar_10 import CLASSES, Cifar10
from harness.data.cifar_100 import Cifar100Classes
from harness.data.emnist import EMNIST, PARTS
from harness.data.stl10 import STL10
from harness.data.svhn import SVHN
from harness.errors import DataError

TRAIN, TEST = 10, 2
"""Images of each class in the small sets of these tests."""
RNG = np.random.default_rng(0)
LABELS = {
    "train": RNG.permutation(np.repeat(np.arange(10), TRAIN)),
    "test": RNG.permutation(np.repeat(np.arange(10), TEST)),
}
PIXELS = {
    split: RNG.integers(0, 256, (len(labels), 3, 32, 32)).astype(np.uint8)
    for split, labels in LABELS.items()
}
BATCHES = [f"data_batch_{number}" for number in range(1, 6)]


def record_hash(split):
    records = [
        bytes([label]) + image.tobytes()
        for label, image in zip(LABELS[split].tolist(), PIXELS[split], strict=True)
    ]
    digests = sorted(hashlib.sha256(record).digest() for record in records)
    return hashlib.sha256(b"".join(digests)).hexdigest()


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Ten classes of few images pass for CIFAR-10."""
    monkeypatch.setattr(Cifar10, "counts", {"train": (TRAIN,) * 10, "test": (TEST,) * 10})
    records = {split: record_hash(split) for split in LABELS}
    monkeypatch.setattr(Cifar10, "records", records)


def batches():
    """Name of a batch, its images and labels."""
    for number, name in enumerate(BATCHES):
        rows = np.arange(len(LABELS["train"]))[number::5]
        yield name, PIXELS["train"][rows], LABELS["train"][rows]
    yield "test_batch", PIXELS["test"], LABELS["test"]


def binary(folder):
    """The binary batches."""
    place = folder / "cifar-10-batches-bin"
    place.mkdir(parents=True)
    for name, pixels, labels in batches():
        records = np.concatenate([labels[:, None].astype(np.uint8), pixels.reshape(-1, 3072)], 1)
        (place / f"{name}.bin").write_bytes(records.tobytes())
    return place


def pickled(folder, *, keys_are_bytes=False):
    """The python batches in torchvision's folder; Python 3 repacks their keys as bytes."""
    place = folder / "cifar-10-batches-py"
    place.mkdir(parents=True)
    for name, pixels, labels in batches():
        batch = {"data": pixels.reshape(-1, 3072), "labels": labels.tolist(), "batch_label": name}
        if keys_are_bytes:
            batch = {key.encode(): value for key, value in batch.items()}
        (place / name).write_bytes(pickle.dumps(batch, protocol=2))
    return place


def images(folder, *, by_number=False):
    """Lossless images in folders of splits and classes, with a file that is none."""
    for split, labels in LABELS.items():
        for row, label in enumerate(labels):
            name = str(label) if by_number else CLASSES[label]
            place = folder / "png" / split / name
            place.mkdir(parents=True, exist_ok=True)
            image = PIXELS[split][row].transpose(1, 2, 0)
            Image.fromarray(image).save(place / f"{row}.png")
    (folder / "png" / "readme.txt").write_text("photographs")
    return folder / "png"


def parquet(folder):
    """Image files in columns, as Hugging Face has them: training images in two files."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet as files

    place = folder / "plain_text"
    place.mkdir(parents=True)
    for split, parts in (("train", 2), ("test", 1)):
        rows = np.array_split(np.arange(len(LABELS[split])), parts)
        for number, part in enumerate(rows):
            cells = [{"bytes": png(PIXELS[split][row]), "path": f"{row}.png"} for row in part]
            table = pyarrow.table({"img": cells, "label": LABELS[split][part].tolist()})
            files.write_table(table, place / f"{split}-{number:05d}-of-{parts:05d}.parquet")
    return folder


def png(pixels):
    out = io.BytesIO()
    Image.fromarray(pixels.transpose(1, 2, 0)).save(out, "PNG")
    return out.getvalue()


def tar(folder):
    path = folder.with_suffix(".tar.gz")
    with tarfile.open(path, "w:gz") as archive:
        for file in sorted(folder.rglob("*"), reverse=True):
            if file.is_file():
                archive.add(file, f"{folder.name}/{file.relative_to(folder)}")
    return path


def zipped(folder):
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.rglob("*"):
            archive.write(file, file.relative_to(folder.parent))
    return path


FORMS = {
    "binary batches": binary,
    "python pickles": pickled,
    "pickles of Python 3": lambda folder: pickled(folder, keys_are_bytes=True),
    "images by class": images,
    "images by number": lambda folder: images(folder, by_number=True),
    "tar of binary batches": lambda folder: tar(binary(folder)),
    "tar of pickles": lambda folder: tar(pickled(folder)),
    "tar of images": lambda folder: tar(images(folder)),
    "zip of images": lambda folder: zipped(images(folder)),
    "Parquet of Hugging Face": parquet,
    "zip of Parquet": lambda folder: zipped(parquet(folder / "cifar10")),
    "folder with a tar": lambda folder: tar(binary(folder / "x")).parent,
}


def cifar(path, root=None):
    return Cifar10(Cifar10.Config(folder=str(path)), root)


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """The content hash of the set, from its binary batches."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Cifar10, "counts", {"train": (TRAIN,) * 10, "test": (TEST,) * 10})
        patch.setattr(Cifar10, "records", {})
        return cifar(binary(tmp_path_factory.mktemp("cifar"))).build().content_hash()


@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_the_same_content(form, tmp_path, content):
    dataset = cifar(FORMS[form](tmp_path))
    data = dataset.build()
    verify.check_facts(dataset, data)
    assert data.content_hash() == content and data.class_names == CLASSES


def test_images_keep_their_labels(tmp_path):
    data = cifar(images(tmp_path)).build()
    label_of = {
        image.tobytes(): int(label)
        for split in LABELS
        for image, label in zip(PIXELS[split], LABELS[split], strict=True)
    }
    assert [label_of[image.tobytes()] for image in data.pixels] == data.labels.tolist()
    test = data.split("standard", "test")
    assert {image.tobytes() for image in test.pixels} == {im.tobytes() for im in PIXELS["test"]}


def test_splits_keep_the_proportions_and_lie_together(tmp_path):
    data = cifar(binary(tmp_path)).build()
    assert [len(data.split("standard", split)) for split in ("train", "val", "test")] == [
        90,
        10,
        20,
    ]
    assert np.bincount(data.split("standard", "val").known_labels).tolist() == [1] * 10
    assert np.shares_memory(data.split("standard", "train").pixels, data.pixels)


@pytest.mark.parametrize("make", [pickled, lambda root: tar(pickled(root)), binary])
def test_the_folder_of_another_library_is_a_data_root(make, tmp_path, content):
    make(tmp_path)
    assert Cifar10(Cifar10.Config(), tmp_path).build().content_hash() == content


def test_a_path_is_no_part_of_the_identity(tmp_path):
    assert cifar(tmp_path).config.model_dump(mode="json") == {}


def test_the_cache_serves_the_second_time(tmp_path, content, monkeypatch):
    place = images(tmp_path)
    assert acquire.load(cifar(place), tmp_path / "cache")[1] == content
    monkeypatch.setattr(Cifar10, "build", lambda self: pytest.fail("built again"))
    assert acquire.load(cifar(place), tmp_path / "cache")[1] == content


@pytest.mark.parametrize("form", ["python pickles", "tar of images"])
def test_import_puts_any_form_into_the_data_root(form, tmp_path, content):
    root = tmp_path / "root"
    assert install.import_files("cifar-10", [FORMS[form](tmp_path / "downloads")], root)
    assert Cifar10(Cifar10.Config(), root).build().content_hash() == content


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        """Print nothing."""


def test_get_fetches_the_published_archive(tmp_path, content, monkeypatch):
    archive = tar(pickled(tmp_path / "web"))
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    handler = partial(_Quiet, directory=archive.parent)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/{archive.name}"
        remote = Remote(url, sha256, archive.stat().st_size)
        monkeypatch.setattr(Cifar10, "remotes", (remote,))
        root = tmp_path / "root"
        root.mkdir()
        assert install.get("cifar-10", root) == [root / "cifar-10" / archive.name]
        server.shutdown()
    assert Cifar10(Cifar10.Config(), root).build().content_hash() == content


# ------------------------------------------------------------------------------------ wrong files


class Evil:
    def __reduce__(self):
        return os.system, ("touch pwned",)


def test_a_pickle_that_asks_for_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = pickled(tmp_path)
    (place / "data_batch_3").write_bytes(pickle.dumps({"data": Evil(), "labels": []}))
    with pytest.raises(DataError, match=r"refused: this pickle asks for \w+\.system") as caught:
        cifar(place).build()
    assert "data_batch_3" in caught.value.where and not Path("pwned").exists()


def rewritten(place, name, change):
    file = place / name
    file.write_bytes(change(file.read_bytes()))


@pytest.mark.parametrize(
    "name, change, fault",
    [
        ("data_batch_2.bin", lambda raw: raw[:-1], "cut off: .* no whole number of records"),
        ("data_batch_2.bin", lambda raw: b"", "cut off: 0 bytes"),
        ("data_batch_2.bin", lambda raw: bytes([77]) + raw[1:], "label 77 is not one of 10"),
        ("data_batch_2.bin", lambda raw: raw[3073:], "train has 9 images of class"),
        ("test_batch.bin", lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]), "the test images are not"),
    ],
)
def test_a_damaged_binary_batch_is_one_clear_error(name, change, fault, tmp_path):
    place = binary(tmp_path)
    rewritten(place, name, change)
    with pytest.raises(DataError, match=fault) as caught:
        cifar(place).build()
    assert str(place) in caught.value.where and caught.value.hint


@pytest.mark.parametrize(
    "batch, fault",
    [
        ([1, 2], "holds no batch"),
        ({"data": np.zeros((2, 3072), np.uint8)}, "no 'labels'"),
        ({"data": [1], "labels": [1]}, "no array of bytes"),
        ({"data": np.zeros((2, 3072), np.float32), "labels": [1, 2]}, "no array of bytes"),
        ({"data": np.zeros((2, 100), np.uint8), "labels": [1, 2]}, "images of 100 values"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [1]}, "2 images, but 1 labels"),
        ({"data": np.zeros((1, 3072), np.uint8), "labels": [-1]}, "label -1 is not one of"),
        ({"data": np.zeros((1, 3072), np.uint8), "labels": [0.5]}, "not whole numbers"),
        ({"data": np.zeros((1, 3072), np.uint8), "labels": "x"}, "not whole numbers"),
    ],
)
def test_a_pickle_of_something_else_is_one_clear_error(batch, fault, tmp_path):
    place = pickled(tmp_path)
    (place / "test_batch").write_bytes(pickle.dumps(batch))
    with pytest.raises(DataError, match=fault):
        cifar(place).build()


def test_a_truncated_pickle_or_archive_is_one_clear_error(tmp_path):
    place = pickled(tmp_path)
    archive = tar(place)
    rewritten(place, "data_batch_1", lambda raw: raw[: len(raw) // 2])
    with pytest.raises(DataError, match="not a readable pickle"):
        cifar(place).build()
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    with pytest.raises(DataError, match="cannot be read"):
        cifar(archive).build()


def test_images_of_another_size_and_lossy_copies_are_refused(tmp_path):
    place = images(tmp_path)
    file = next((place / "train" / "cat").iterdir())
    Image.open(file).convert("L").convert("RGB").save(file)
    with pytest.raises(DataError, match="the train images are not those of cifar-10") as caught:
        cifar(place).build()
    assert "lossless" in caught.value.hint
    Image.open(file).resize((31, 32)).save(file)
    with pytest.raises(DataError, match="31 x 32 pixels, not 32 x 32"):
        cifar(place).build()


def test_missing_files_say_what_is_read(tmp_path):
    place = binary(tmp_path)
    (place / "data_batch_4.bin").unlink()
    for path in (place, tmp_path / "nothing"):
        with pytest.raises(DataError, match="cifar-10 is not there") as caught:
            cifar(path).sources()
        assert str(path) in caught.value.where and "cifar-10-binary" in caught.value.hint
    assert not cifar(place).is_present
    other = zipped(place)
    with pytest.raises(DataError, match="it has no form of cifar-10"):
        cifar(other).build()


# ---------------------------------------------------------------------------------- other sets


def test_cifar_100_counts_its_fine_labels(tmp_path, monkeypatch):
    monkeypatch.setattr(Cifar100Classes, "counts", {"train": (10,) * 100, "test": (1,) * 100})
    content = set()
    fine = {"train": np.tile(np.arange(100), 10), "test": np.arange(100)}
    pixels = {s: RNG.integers(0, 256, (len(y), 3072)).astype(np.uint8) for s, y in fine.items()}
    for split, labels in fine.items():
        batch = {
            "data": pixels[split],
            "fine_labels": labels.tolist(),
            "coarse_labels": [0] * len(labels),
        }
        (tmp_path / "py").mkdir(exist_ok=True)
        (tmp_path / "py" / split).write_bytes(pickle.dumps(batch, 2))
        both = np.stack([np.zeros(len(labels)), labels], 1).astype(np.uint8)
        (tmp_path / "bin").mkdir(exist_ok=True)
        records = np.concatenate([both, pixels[split]], 1)
        (tmp_path / "bin" / f"{split}.bin").write_bytes(records.tobytes())
    for form in ("py", "bin"):
        config = Cifar100Classes.Config(folder=str(tmp_path / form))
        content.add(Cifar100Classes(config).build().content_hash())
    assert len(content) == 1
    names = Cifar100Classes(Cifar100Classes.Config()).class_names
    assert names[0] == "apple" and names[99] == "worm" and len(names) == 100


@pytest.mark.parametrize("compressed", [True, False])
def test_svhn_is_read_from_matlab_files(compressed, tmp_path, monkeypatch):
    from scipy.io import savemat

    monkeypatch.setattr(SVHN, "counts", {"train": (10,) * 10, "test": (2,) * 10})
    for split, labels in LABELS.items():
        y = np.where(labels == 0, 10, labels)[:, None].astype(np.uint8)
        arrays = {"X": PIXELS[split].transpose(2, 3, 1, 0), "y": y}
        savemat(tmp_path / f"{split}_32x32.mat", arrays, do_compression=compressed)
    data = SVHN(SVHN.Config(folder=str(tmp_path))).build()
    expected = {im.tobytes(): n for im, n in zip(PIXELS["test"], LABELS["test"], strict=True)}
    test = data.split("standard", "test")
    found = {im.tobytes(): n for im, n in zip(test.pixels, test.known_labels, strict=True)}
    assert found == expected


@pytest.mark.parametrize("packed", [False, True])
def test_emnist_is_upright_and_counted_from_zero(packed, tmp_path, monkeypatch):
    monkeypatch.setattr("harness.data.emnist.COUNTS", {"letters": (10, 1)})
    upright = RNG.integers(0, 256, (260, 28, 28)).astype(np.uint8)
    labels = np.tile(np.arange(26), 10)
    for split, rows in (("train", 260), ("test", 26)):
        stem = f"emnist-letters-{split}"
        stored = upright[:rows].transpose(0, 2, 1)
        write_idx(tmp_path / f"{stem}-images-idx3-ubyte", stored, packed)
        write_idx(tmp_path / f"{stem}-labels-idx1-ubyte", labels[:rows] + 1, packed)
    data = EMNIST(EMNIST.Config(folder=str(tmp_path))).build()
    test = data.split("standard", "test")
    expected = {im.tobytes(): n for im, n in zip(upright[:26], labels[:26], strict=True)}
    assert {
        im.tobytes(): n for im, n in zip(test.pixels, test.known_labels, strict=True)
    } == expected
    assert data.class_names[:2] == ("A", "B") and len(PARTS["balanced"]) == 47


def write_idx(path, array, packed):
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    raw = header + array.astype(np.uint8).tobytes()
    if packed:
        path = path.with_name(f"{path.name}.gz")
        raw = gzip.compress(raw)
    path.write_bytes(raw)


def test_stl10_is_upright_and_counted_from_zero(tmp_path, monkeypatch):
    monkeypatch.setattr(STL10, "counts", {"train": (1,) * 10, "test": (1,) * 10})
    monkeypatch.setattr(STL10, "_validation", np.zeros(10, int))
    upright = RNG.integers(0, 256, (10, 3, 96, 96)).astype(np.uint8)
    for split in ("train", "test"):
        columns = upright.transpose(0, 1, 3, 2)
        (tmp_path / f"{split}_X.bin").write_bytes(columns.tobytes())
        (tmp_path / f"{split}_y.bin").write_bytes(bytes(range(1, 11)))
    (tmp_path / "unlabeled_X.bin").write_bytes(b"left out")
    data = STL10(STL10.Config(folder=str(tmp_path))).build()
    test = data.split("standard", "test")
    assert all(
        np.array_equal(upright[n], im) for im, n in zip(test.pixels, test.labels, strict=True)
    )


@pytest.mark.parametrize("compressed", [True, False])
def test_a_damaged_matlab_file_is_a_data_error(compressed):
    from scipy.io import savemat

    from harness.data.mat5 import read_bytes_arrays

    out = io.BytesIO()
    array = RNG.integers(0, 256, (4, 5)).astype(np.uint8)
    savemat(out, {"X": array, "other": np.zeros(3)}, do_compression=compressed)
    content = out.getvalue()
    assert np.array_equal(read_bytes_arrays(content, "x.mat", 1000)["X"], array)
    with pytest.raises(DataError, match="packed into it|cut off|of level 5") as caught:
        read_bytes_arrays(content if compressed else content[:-1], "x.mat", 10)
    assert caught.value.where == "x.mat"
    for _ in range(200):
        damaged = bytearray(content[: RNG.integers(len(content) + 1)])
        for at in RNG.integers(0, max(len(damaged), 1), 3):
            if damaged:
                damaged[at] ^= RNG.integers(1, 256)
        try:
            read_bytes_arrays(bytes(damaged), "x.mat", 1000)
        except DataError as error:
            assert error.where == "x.mat"


# --------------------------------------------------------------------------------- the real one


@pytest.mark.slow
def test_the_real_cifar_10_has_the_known_records(data_root, tmp_path, monkeypatch):
    import subprocess
    import sys

    monkeypatch.undo()
    script = data_root / "cifar-10" / "unpack.py"
    if not script.exists():
        pytest.skip("no copy of CIFAR-10 here")
    subprocess.run([sys.executable, script, tmp_path], check=True)
    data = cifar(tmp_path).build()
    assert [len(rows) for rows in data.splittings["standard"].values()] == [45_000, 5_000, 10_000]


def test_a_faulty_parquet_file_is_one_clear_error(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet as files

    place = parquet(tmp_path) / "plain_text" / "test-00000-of-00001.parquet"
    whole = place.read_bytes()
    place.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be read") as caught:
        cifar(tmp_path).build()
    assert place.name in caught.value.where
    files.write_table(pyarrow.table({"img": [b"no image"], "label": [1]}), place)
    with pytest.raises(DataError, match="cannot be decoded"):
        cifar(tmp_path).build()
    files.write_table(pyarrow.table({"img": [b""], "fine_label": [1]}), place)
    with pytest.raises(DataError, match="img, fine_label, not img and label"):
        cifar(tmp_path).build()
    place.unlink()
    with pytest.raises(DataError):
        cifar(tmp_path).build()
