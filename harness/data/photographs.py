"""Decoding image files into uint8 arrays, many at a time."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from harness.data.archive import Archive

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000", "TGA")
"""Formats that are decoded. Pillow knows others, and runs Ghostscript for one of them (EPS)."""
PIXELS = 1 << 26
"""Most pixels of an image that is decoded: a small file can promise a huge image."""
WHITE = 65535
"""White in a grey image of 16 bits, unless its reader says otherwise."""
ORIENTATION = 0x0112
"""Tag of EXIF that says how an image is to be turned."""


def decode(content: bytes, channels: int = 3, white: int = WHITE) -> Image:
    """Decode an image file to 8 bits a channel.

    Palettes, CMYK, 16 bits a channel and so on are converted. Transparent parts become white. The
    orientation tag is kept, whatever is converted.

    Args:
        content: the bytes of the file.
        channels: 3 for RGB, 1 for grey.
        white: value of white in grey images of 16 bits.

    Raises:
        ValueError: If the file is empty, damaged, too large, or of a kind that cannot be converted.
    """
    from PIL import Image, UnidentifiedImageError

    if not content:
        raise ValueError("the file is empty")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels are too many")
            image.load()
            converted = _convert(image, "L" if channels == 1 else "RGB", white)
            orientation = image.getexif().get(ORIENTATION, 1)
            if orientation != 1:
                converted.getexif()[ORIENTATION] = orientation
            return converted
    except UnidentifiedImageError as error:
        # Pillow's own message is the address of the buffer.
        raise ValueError(
            f"cannot be decoded: not an image of a known format ({', '.join(FORMATS)})"
        ) from error
    except Exception as error:  # Pillow and zlib raise many kinds on damaged bytes
        raise ValueError(f"cannot be decoded: {error}") from error


def _convert(image: Image, mode: str, white: int) -> Image:
    from PIL import Image as pillow

    if image.mode.startswith("I;16"):
        image = pillow.fromarray(_eight_bits(np.asarray(image), white))
    if image.mode == "LAB":
        image = image.convert("RGB")  # the only mode that Pillow converts it to
    if image.mode in ("I", "F"):
        raise ValueError(
            f"its values (mode {image.mode}) have no fixed range: save it with 8 bits a channel"
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = pillow.new("RGBA", image.size, "white")
        image = pillow.alpha_composite(paper, image)
    return image if image.mode == mode else image.convert(mode)


def _eight_bits(values: np.ndarray, white: int) -> np.ndarray:
    """Scale 16-bit values to uint8, so that ``white`` becomes 255.

    Raises:
        ValueError: If a value is above white.
    """
    if white == WHITE:
        return (values >> 8).astype(np.uint8)
    if values.max() > white:
        raise ValueError(f"a value of {values.max()} is above the range, {white}")
    return np.rint(values * (255 / white)).astype(np.uint8)


def brightest_of_16_bits(content: bytes) -> int | None:
    """The largest value of an image file with 16 bits a channel; None for other files.

    Colours are handed out by Pillow with 8 bits: theirs is the largest value with these bits.
    """
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        has_16_bits = image.mode.startswith("I;16") or ";16" in str(image.tile)
        if not has_16_bits:
            return None
        values = np.asarray(image)
    return int(values.max()) if values.dtype == np.uint16 else int(values.max()) * 257


def squashed(image: Image, size: int) -> Image:
    """Resize an image to a square whatever its proportions, as is usual for miniImageNet.

    The filter is antialiased Lanczos.
    """
    from PIL import Image

    return image.resize((size, size), Image.Resampling.LANCZOS)


def cropped(image: Image, size: int) -> Image:
    """Turn an image upright by its orientation tag, crop its middle square, and resize that.

    The filter is antialiased Lanczos.
    """
    from PIL import Image, ImageOps

    return ImageOps.fit(ImageOps.exif_transpose(image), (size, size), Image.Resampling.LANCZOS)


def exactly(image: Image, size: int) -> Image:
    """Return an image that has the size already.

    Raises:
        ValueError: If it has another size.
    """
    if image.size != (size, size):
        raise ValueError(f"{image.width} x {image.height} pixels, not {size} x {size}")
    return image


def photograph(
    archive: Archive,
    name: str,
    size: int,
    channels: int,
    fit: Callable[[Image, int], Image],
    white: int = WHITE,
) -> np.ndarray:
    """Read one image of an archive.

    Args:
        archive: holds the file.
        name: path of the file in the archive.
        size: side in pixels.
        channels: 3 for RGB, 1 for grey.
        fit: brings an image to that size: ``squashed``, ``cropped`` or ``exactly``.
        white: value of white in grey images of 16 bits.

    Returns:
        uint8 (channels, size, size).

    Raises:
        DataError: If it cannot be read; the error names the archive and the file.
    """
    content = archive.read(name)
    try:
        pixels = np.asarray(fit(decode(content, channels, white), size))
    except ValueError as error:
        raise archive.fault(
            f"{name}: {error}", "fetch it again, or replace it by an intact file"
        ) from error
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def photographs(
    archive: Archive,
    names: Sequence[str],
    size: int,
    channels: int = 3,
    fit: Callable[[Image, int], Image] = squashed,
    white: int = WHITE,
) -> np.ndarray:
    """Read images of an archive on all cores; see ``photograph``.

    Returns:
        uint8 (N, channels, size, size).
    """
    archive.hold(names)
    readers = [partial(photograph, archive, name, size, channels, fit, white) for name in names]
    return stacked(readers, (channels, size, size))


def stacked(readers: Sequence[Callable[[], np.ndarray]], shape: tuple[int, ...]) -> np.ndarray:
    """Call readers on all cores and stack their images.

    Threads are enough, because image decoders release Python's global lock.

    Args:
        readers: N functions that each return uint8 ``shape``.
        shape: shape of one image.

    Returns:
        uint8 (N, *shape).
    """
    pixels = np.empty((len(readers), *shape), np.uint8)

    def fill(row: int) -> None:
        pixels[row] = readers[row]()

    with ThreadPoolExecutor(_usable_cores()) as pool:
        tasks = pool.map(fill, range(len(readers)))
        try:
            for _ in tasks:
                pass
        except BaseException:
            # The first fault ends the work; images that wait are not decoded.
            pool.shutdown(cancel_futures=True)
            raise
    return pixels


def _usable_cores() -> int | None:
    """The cores that this process may use, where the system says so."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()
