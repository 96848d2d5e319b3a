"""Forms of image files: each is read as the picture that it shows, or refused with a reason."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from harness.data.photographs import cropped, decode
from harness.errors import DataError
from harness.registry import datasets

SIDE = 32
PICTURE = np.full((SIDE, SIDE), 255, np.uint8)
"""An L on white: no rotation or reflection of it is itself."""
PICTURE[4:28, 4:10] = 0
PICTURE[22:28, 4:24] = 0

TURNED = np.rot90(PICTURE)
"""How a camera stores it that writes orientation 6."""
TRANSPARENT = np.zeros((SIDE, SIDE, 4), np.uint8)
TRANSPARENT[..., 3] = 255 - TURNED

IMAGE_FOLDER = datasets["image-folder"]


def saved(image: Image.Image, form: str, orientation: int = 1, **options) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = io.BytesIO()
    image.save(out, form, exif=exif, **options)
    return out.getvalue()


def turned(mode: str) -> Image.Image:
    if mode == "RGBA":
        return Image.fromarray(TRANSPARENT)
    if mode == "LA":
        return Image.fromarray(TRANSPARENT).convert("LA")
    if mode == "I;16":
        return Image.fromarray(TURNED.astype(np.uint16) * 257)
    return Image.fromarray(TURNED).convert("RGB").convert(mode)


@pytest.mark.parametrize(
    "mode, form",
    [
        ("RGB", "PNG"),
        ("L", "PNG"),
        ("P", "PNG"),
        ("RGBA", "PNG"),
        ("LA", "PNG"),
        ("I;16", "PNG"),
        ("RGBA", "WEBP"),
        ("CMYK", "JPEG"),
        ("I;16", "TIFF"),
        ("RGBA", "TIFF"),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_form_is_turned_upright_by_its_tag(mode, form, channels):
    content = saved(
        turned(mode), form, orientation=6, **({"lossless": True} if form == "WEBP" else {})
    )
    pixels = np.asarray(cropped(decode(content, channels), SIDE)).reshape(SIDE, SIDE, channels)
    assert np.abs(pixels.astype(int) - PICTURE[..., None]).mean() < 2


@pytest.mark.parametrize("channels", [1, 3])
def test_lab_is_read_in_colour_and_grey(channels):
    content = io.BytesIO()
    Image.fromarray(PICTURE).convert("RGB").convert("LAB").save(content, "TIFF")
    pixels = np.asarray(decode(content.getvalue(), channels)).reshape(SIDE, SIDE, channels)
    assert np.abs(pixels.astype(int) - PICTURE[..., None]).mean() < 2


# ------------------------------------------------------------------------- 12 bits in 16-bit files


@pytest.fixture
def twelve_bits(tmp_path):
    lines = ["filename,label,split"]
    for i in range(4):
        picture = np.roll(PICTURE, i).astype(np.uint16) * 16
        Image.fromarray(picture).save(tmp_path / f"{i}.png")
        lines.append(f"{i}.png,{i},test")
    (tmp_path / "split.csv").write_text("\n".join(lines))
    return tmp_path


def build(folder, **switches):
    keys = {"folder": str(folder), "size": SIDE, "colour": False} | switches
    return IMAGE_FOLDER(IMAGE_FOLDER.Config(**keys), None).build().pixels


def test_twelve_bits_in_files_of_sixteen_are_noticed(twelve_bits):
    with pytest.raises(DataError, match="nearly black.* above 4080 of 65535") as caught:
        build(twelve_bits)
    assert "range: 4095" in caught.value.hint


def test_the_range_says_what_is_white(twelve_bits):
    pixels = build(twelve_bits, range=4080)
    assert np.array_equal(pixels[0, 0], PICTURE)
    assert build(twelve_bits, range=65535).max() == 15
    with pytest.raises(DataError, match="a value of 4080 is above the range, 1023"):
        build(twelve_bits, range=1023)


def test_a_bright_file_of_sixteen_bits_shows_that_all_bits_are_used(twelve_bits):
    Image.fromarray(np.full((SIDE, SIDE), 60000, np.uint16)).save(twelve_bits / "3.png")
    assert build(twelve_bits).max() == 60000 >> 8


def test_dark_files_of_eight_bits_are_read_as_they_are(twelve_bits):
    for i in range(4):
        Image.fromarray(np.roll(PICTURE, i) // 16).save(twelve_bits / f"{i}.png")
    assert build(twelve_bits).max() == 15
