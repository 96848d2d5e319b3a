"""Image files to uint8 arrays, many at a time."""

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

PIXELS = 1 << 26
"""The largest image that is decoded; a small file can promise a far larger one."""


def decode(content: bytes, channels: int = 3) -> Image:
    """An image of 8 bits a channel: RGB, or grey where ``channels`` is 1.

    Whatever the file's own form is (palette, CMYK, 16 bits a channel ...) is converted; transparent parts become white.

    Raises:
        ValueError: it is empty, damaged, too large, or of a kind that has no such form.
    """
    from PIL import Image, UnidentifiedImageError

    if not content:
        raise ValueError("the file is empty")
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.width * image.height > PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels are too many")
            image.load()
            return _plain(image, "L" if channels == 1 else "RGB")
    except UnidentifiedImageError as error:  # its own words are the address of the buffer
        raise ValueError(
            "cannot be decoded: it is no image, or of a format that Pillow does not read"
        ) from error
    except Exception as error:  # Pillow and zlib raise many kinds on damaged bytes
        raise ValueError(f"cannot be decoded: {error}") from error


def _plain(image: Image, mode: str) -> Image:
    from PIL import Image as images

    if image.mode.startswith("I;16"):
        image = images.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(
            f"its values (mode {image.mode}) have no fixed range: save it with 8 bits a channel"
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = images.alpha_composite(images.new("RGBA", image.size, "white"), image)
    return image if image.mode == mode else image.convert(mode)


def squashed(image: Image, size: int) -> Image:
    """Resized to ``size`` x ``size`` whatever its proportions, as is usual for miniImageNet (antialiased Lanczos)."""
    from PIL import Image

    return image.resize((size, size), Image.Resampling.LANCZOS)


def cropped(image: Image, size: int) -> Image:
    """The largest square in its middle, as a camera's orientation tag turns it, resized to ``size`` x ``size`` (Lanczos)."""
    from PIL import Image, ImageOps

    return ImageOps.fit(ImageOps.exif_transpose(image), (size, size), Image.Resampling.LANCZOS)


def exactly(image: Image, size: int) -> Image:
    """An image that has that size already.

    Raises:
        ValueError: it has not.
    """
    if image.size != (size, size):
        raise ValueError(f"{image.width} x {image.height} pixels, not {size} x {size}")
    return image


def photograph(
    archive: Archive, name: str, size: int, channels: int, fit: Callable[[Image, int], Image]
) -> np.ndarray:
    """One image of an archive.

    Returns:
        uint8 (channels, size, size).

    Raises:
        DataError: it names the archive and the file.
    """
    content = archive.read(name)
    try:
        pixels = np.asarray(fit(decode(content, channels), size))
    except ValueError as error:
        raise archive.fault(
            f"{name}: {error}", "fetch it again, or put a sound one in its place"
        ) from error
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def photographs(
    archive: Archive,
    names: Sequence[str],
    size: int,
    channels: int = 3,
    fit: Callable[[Image, int], Image] = squashed,
) -> np.ndarray:
    """The images of an archive (no tar) with these names, uint8 (N, channels, size, size), decoded by all cores."""
    return stacked(
        [partial(photograph, archive, name, size, channels, fit) for name in names],
        (channels, size, size),
    )


def stacked(readers: Sequence[Callable[[], np.ndarray]], shape: tuple[int, ...]) -> np.ndarray:
    """What each reader reads, uint8 (N, *shape); threads share the work, because decoders leave Python's lock free."""
    pixels = np.empty((len(readers), *shape), np.uint8)

    def fill(row: int) -> None:
        pixels[row] = readers[row]()

    with ThreadPoolExecutor(
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    ) as pool:
        tasks = pool.map(fill, range(len(readers)))
        try:
            for _ in tasks:
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)  # the first fault ends it
            raise
    return pixels
