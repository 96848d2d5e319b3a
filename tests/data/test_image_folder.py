"""The user's own images: every kind of image and CSV, and clear errors for faulty ones."""

from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.data import acquire, install, inventory, verify
from harness.data.split_csv import read_rows
from harness.errors import DataError, HarnessError
from harness.registry import datasets
from harness.suite import load as suites

IMAGE_FOLDER = datasets["image-folder"]


def image(value, mode="RGB", size=(40, 30), form="PNG", **options):
    noise = np.random.default_rng(value).integers(0, 40, (size[1], size[0], 3)).astype(np.uint8)
    out = io.BytesIO()
    made = Image.fromarray(noise + np.uint8(value))
    (made if mode == "RGB" else made.convert(mode)).save(out, form, **options)
    return out.getvalue()


@pytest.fixture
def folder(tmp_path):
    """Four classes of three images; two classes train, one val, one test."""
    place = tmp_path / "image-folder"
    lines = ["filename,label,split"]
    for number, (label, split) in enumerate(
        [("ant", "train"), ("bee", "train"), ("cat", "val"), ("dog", "test")]
    ):
        (place / label).mkdir(parents=True)
        for i in range(3):
            (place / label / f"{i}.png").write_bytes(image(40 * number + i))
            lines.append(f"{label}/{i}.png,{label},{split}")
    (place / "split.csv").write_text("\n".join(lines) + "\n")
    return place


def make(folder, **switches):
    return IMAGE_FOLDER(
        IMAGE_FOLDER.Config(**({"folder": str(folder), "size": 16} | switches)), None
    )


def build(folder, **switches):
    dataset = make(folder, **switches)
    data = dataset.build()
    verify.check_facts(dataset, data)
    return data


def test_images_are_read_split_by_split(folder):
    data = build(folder)
    assert data.pixels.shape == (12, 3, 16, 16) and data.class_names == ("ant", "bee", "cat", "dog")
    assert {split: rows.tolist() for split, rows in data.splittings["classes"].items()} == {
        "train": list(range(6)),
        "val": [6, 7, 8],
        "test": [9, 10, 11],
    }
    middle = Image.open(folder / "dog" / "1.png").resize(
        (16, 16), Image.Resampling.LANCZOS, box=(5, 0, 35, 30)
    )
    assert np.array_equal(data.pixels[10].transpose(1, 2, 0), np.asarray(middle))
    assert make(folder).facts().class_disjoint == {"classes"}


@pytest.mark.parametrize(
    "mode, form",
    [
        ("L", "PNG"),
        ("RGBA", "PNG"),
        ("LA", "PNG"),
        ("P", "PNG"),
        ("1", "PNG"),
        ("CMYK", "JPEG"),
        ("L", "JPEG"),
        ("P", "GIF"),
        ("RGB", "WEBP"),
        ("RGB", "BMP"),
        ("CMYK", "TIFF"),
    ],
)
@pytest.mark.parametrize("colour", [True, False])
def test_every_kind_of_image_is_read(folder, mode, form, colour):
    (folder / "dog" / "0.png").write_bytes(image(120, mode, form=form))
    pixels = build(folder, colour=colour).pixels[9].astype(int)
    assert len(pixels) == (3 if colour else 1) and (mode == "1" or abs(pixels.mean() - 139) < 8)


def test_sixteen_bits_transparency_and_orientation(folder):
    Image.fromarray(np.full((30, 30), 0x8040, np.uint16)).save(folder / "dog" / "0.png")
    Image.new("RGBA", (30, 30), (9, 9, 9, 0)).save(folder / "dog" / "1.png")
    assert build(folder).pixels[9:11].mean((1, 2, 3)).tolist() == [128, 255]
    upright = Image.new("RGB", (30, 30), "black")
    upright.paste("white", (0, 0, 30, 15))
    turned, exif = upright.rotate(90), Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    turned.save(folder / "dog" / "2.png", exif=exif)
    pixels = build(folder).pixels[11]
    assert pixels[:, :6].mean() > 250 and pixels[:, -6:].mean() < 5


@pytest.mark.parametrize(
    "write",
    [
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("/", "\\").encode(),
        lambda text: text.replace(",", " , ").encode(),
        lambda text: (text + "\n\n").encode(),
    ],
)
def test_every_kind_of_csv_is_read(folder, write):
    text = (folder / "split.csv").read_text()
    before = build(folder).content_hash()
    (folder / "split.csv").write_bytes(write(text))
    assert build(folder).content_hash() == before


def test_odd_file_names(folder):
    names = ["a, b.png", "späte Blüte.png", " 日本.png".strip(), "100% #1;'&.png", "-rf.png"]
    lines = ["filename,label,split"]
    for number, name in enumerate(names):
        (folder / name).write_bytes(image(number))
        lines.append(f'"{name}",ß,test')
    (folder / "split.csv").write_text("\n".join(lines), encoding="utf-8")
    assert len(build(folder).pixels) == 5 and build(folder).class_names == ("ß",)


def test_without_a_split_column_everything_is_test(folder):
    text = (folder / "split.csv").read_text()
    (folder / "split.csv").write_text(
        "\n".join(line.rpartition(",")[0] for line in text.splitlines())
    )
    facts = make(folder).facts()
    assert (
        list(facts.splittings["classes"]) == ["test"]
        and facts.splittings["classes"]["test"].images == 12
    )


@pytest.mark.parametrize(
    "text, word",
    [
        ("", "no column 'filename'"),
        ("file,label\na,b", "no column 'filename'"),
        ("filename,label\n", "it lists no images"),
        (
            "filename,label,split\nant/0.png,ant,train\nant/0.png,ant,train",
            r"duplicate image 'ant/0.png': lines 2 and 3",
        ),
        ("filename,label,split\nant/0.png,ant", "a value is missing"),
        ("filename,label\na.png,x,y,z", "more values than columns"),
        ("filename,label\n../secret.png,x", "leads out of"),
        ("filename,label\n/etc/passwd,x", "leads out of"),
        (
            "filename,label,split\nant/0.png,ant,train\nant/1.png,ant,test\nbee/0.png,bee,train\nbee/1.png,bee,val",
            r"classes are in two splits: ant \(train, test\); bee \(train, val\)",
        ),
        ("filename,label\nant/7.png,ant", "1 of 1 images are missing, first 'ant/7.png'"),
        ("\0\0", "not a CSV|no column"),
    ],
)
def test_a_faulty_csv_is_one_clear_error(folder, text, word):
    (folder / "split.csv").write_text(text)
    with pytest.raises(DataError, match=word) as caught:
        make(folder).build()
    assert str(folder / "split.csv") in caught.value.where and caught.value.hint


def test_a_csv_that_is_no_text_or_not_there(folder):
    (folder / "split.csv").write_bytes(b"filename,label\n\xff\xfe.png,x")
    with pytest.raises(DataError, match="not UTF-8"):
        make(folder).build()
    (folder / "split.csv").unlink()
    with pytest.raises(DataError, match="there is no such file"):
        make(folder, csv="split.csv").facts()


@pytest.mark.parametrize(
    "content, word",
    [
        (b"", "the file is empty"),
        (b"no image", "cannot be decoded"),
        (image(3)[:200], "cannot be decoded"),
        (image(3)[:16] + b"\x7f\xff\xff\xff\x7f\xff\xff\xff" + image(3)[24:], "cannot be decoded"),
    ],
)
def test_a_damaged_image_is_named(folder, content, word):
    (folder / "bee" / "1.png").write_bytes(content)
    with pytest.raises(DataError, match=f"bee/1.png: .*{word}"):
        make(folder).build()


def test_a_small_file_that_promises_too_many_pixels_is_refused(folder, monkeypatch):
    monkeypatch.setattr("harness.data.photographs.PIXELS", 1000)
    with pytest.raises(DataError, match="40 x 30 pixels are too many"):
        make(folder).build()


def test_the_same_image_in_two_splits_is_an_error(folder):
    (folder / "dog" / "2.png").write_bytes((folder / "bee" / "1.png").read_bytes())
    with pytest.raises(
        DataError, match=r"'bee/1.png' \(train\) and 'dog/2.png' \(test\) are the same image"
    ):
        make(folder).build()


def test_shared_classes_are_for_classification(folder):
    lines = [
        f"{label}/{i}.png,{label},{split}"
        for label in ("ant", "bee")
        for i, split in enumerate(("train", "val", "test"))
    ]
    (folder / "split.csv").write_text("\n".join(["filename,label,split", *lines]))
    facts = make(folder, classes="shared").facts()
    assert (
        list(facts.splittings) == ["standard"]
        and not facts.class_disjoint
        and build(folder, classes="shared")
    )
    (folder / "split.csv").write_text("\n".join(["filename,label,split", *lines[:-1]]))
    with pytest.raises(DataError, match=r"not in every split: bee \(only train, val\)"):
        make(folder, classes="shared").facts()


def test_the_cache_follows_the_images(folder, tmp_path):
    first, found = acquire.load(make(folder), tmp_path / "cache")
    assert acquire.load(make(folder), tmp_path / "cache")[1] == found == first.content_hash()
    (folder / "dog" / "0.png").write_bytes(image(200))
    assert acquire.load(make(folder), tmp_path / "cache")[1] != found


@pytest.mark.parametrize("packed", [False, True])
def test_import_makes_it_the_default(folder, tmp_path, packed):
    source = folder
    if packed:
        source = tmp_path / "mine.zip"
        with zipfile.ZipFile(source, "w") as out:
            for path in folder.rglob("*"):
                out.write(path, f"mine/{path.relative_to(folder)}")
    root = tmp_path / "root"
    assert len(install.import_files("image-folder", [source], root)) == 13
    default = IMAGE_FOLDER(IMAGE_FOLDER.Config(size=16), root)
    assert default.build().content_hash() == build(folder).content_hash()
    assert inventory.describe("image-folder", root)["images"] == 12


SUITE = """
name: mine
learners: {pixels: {kind: nearest-mean}}
protocols:
  few:
    kind: few_shot
    dataset: {kind: image-folder, folder: FOLDER, size: 16}
    regime: class_transfer
    ways: 2
    shots: 1
    queries: 2
    episodes: 4
"""


def test_a_suite_names_it_and_faults_are_found_at_the_line(folder, write_suite):
    path = write_suite(SUITE.replace("FOLDER", str(folder)))
    (folder / "split.csv").write_text((folder / "split.csv").read_text().replace("val", "test"))
    assert suites.load(path).protocols[0].dataset.kind == "image-folder"
    (folder / "split.csv").write_text("filename,label\nant/0.png,ant\nant/0.png,ant\n")
    with pytest.raises(HarnessError, match="duplicate image") as caught:
        suites.load(path)
    assert caught.value.where.endswith("suite.yaml:7:14")


def test_rows_of_a_packed_csv(tmp_path):
    import lzma

    (tmp_path / "train.csv.xz").write_bytes(lzma.compress(b"filename,label\na.jpg,n1\n"))
    assert [
        (row.filename, row.label, row.split) for row in read_rows(tmp_path / "train.csv.xz")
    ] == [("a.jpg", "n1", "")]
    (tmp_path / "train.csv.xz").write_bytes(b"damaged")
    with pytest.raises(DataError, match="cannot be read"):
        read_rows(tmp_path / "train.csv.xz")


@pytest.mark.parametrize("listed", [True, False], ids=["split.csv", "class folders"])
def test_an_archive_of_a_folder_is_read_as_the_folder(folder, tmp_path, listed):
    if not listed:
        (folder / "split.csv").unlink()
    packed = Path(shutil.make_archive(str(tmp_path / "mine"), "zip", tmp_path, folder.name))
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr(f"__MACOSX/{folder.name}/ant/._0.png", b"of a Mac")
    expected, data = build(folder), build(packed)
    assert data.content_hash() == expected.content_hash()
    assert data.class_names == expected.class_names == ("ant", "bee", "cat", "dog")
    assert make(packed).sources() == [packed]
    with pytest.raises(DataError, match="no such folder or archive"):
        make(folder / "ant" / "0.png").facts()
