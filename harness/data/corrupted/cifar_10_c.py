"""The fifteen corruptions of CIFAR-10-C (Hendrycks & Dietterich 2019), by published definitions.

Facts are those of the generator that the authors published; the code is our own, and corrupts many
images at once. Randomness belongs to the sample and is shared by all severities.

Frost needs photographs that cannot be shipped: a drawn texture stands in for them. Glass blur
copies pixels where its description says that it swaps them, as the published generator does.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from harness.data.corrupted import mnist_c
from harness.data.corrupted.draws import Draws
from harness.data.corrupted.kinds import Kind, moved_about
from harness.data.corrupted.plasma import plasma
from harness.data.corrupted.sampling import motion_blur, sample, zoomed
from harness.lazy import ndimage

SIDE = 32

GREY = np.array([0.299, 0.587, 0.114], np.float32)[:, None, None]
"""Weights of red, green and blue in what the eye takes for grey."""

FROST = np.array([0.80, 0.88, 0.95], np.float32)[:, None, None]
"""Colour of the texture that stands in for photographs of frost."""


def gaussian_noise(pixels: np.ndarray, size: float, draws: Draws) -> np.ndarray:
    """Add normal noise."""
    return pixels + size * draws.normal("noise", *pixels.shape[1:])


def defocus_blur(pixels: np.ndarray, size: tuple[float, float], draws: Draws) -> np.ndarray:
    """Average over a disk, of which the edge is softened."""
    kernel = disk(*size)
    reach = len(kernel) // 2
    padded = np.pad(pixels, ((0, 0), (0, 0), (reach, reach), (reach, reach)), mode="reflect")
    result = np.zeros(pixels.shape)
    for row, column in zip(*kernel.nonzero(), strict=True):
        shifted = padded[:, :, row : row + SIDE, column : column + SIDE]
        result += kernel[row, column] * shifted
    return result


def disk(radius: float, sigma: float) -> np.ndarray:
    """A disk of weight 1, blurred by three values of a Gaussian each way, (2 r + 3, 2 r + 3)."""
    reach = int(radius) + 1
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    inside = (x**2 + y**2 <= radius**2).astype(np.float64)
    taps = np.exp(-np.square([-1.0, 0.0, 1.0]) / (2 * sigma**2))
    taps /= taps.sum()
    for axis in (0, 1):
        inside = ndimage.correlate1d(inside, taps, axis=axis, mode="constant")
    result: np.ndarray = inside / inside.sum()
    return result


def glass_blur(pixels: np.ndarray, size: tuple[float, int, int], draws: Draws) -> np.ndarray:
    """Smooth, replace pixels by near ones, smooth again."""
    sigma, reach, rounds = size
    smooth = ndimage.gaussian_filter(pixels, (0, 0, sigma, sigma), mode="nearest")
    coarse = np.floor(smooth * 255 + 1e-3) / 255
    mixed = moved_about(coarse, reach, rounds, draws, share=1.0, swap=False)
    return ndimage.gaussian_filter(mixed, (0, 0, sigma, sigma), mode="nearest")


def zoom_blur(pixels: np.ndarray, size: float, draws: Draws) -> np.ndarray:
    """The mean of the image and of enlargements in steps of a hundredth, up to ``size``."""
    factors = 1 + np.arange(round(100 * (size - 1)) + 1) / 100
    total = pixels.astype(np.float64)
    for factor in factors:
        total = total + zoomed(pixels, float(factor))
    return total / (len(factors) + 1)


def snow(pixels: np.ndarray, size: tuple[float, ...], draws: Draws) -> np.ndarray:
    """Whiten the image, and add flakes that fall: noise, enlarged, cut and blurred by motion."""
    mean, spread, factor, least, radius, sigma, kept = size
    flakes = zoomed(mean + spread * draws.normal("flakes", SIDE, SIDE), factor)
    flakes = np.where(flakes < least, 0, np.clip(flakes, 0, 1))
    flakes = np.floor(255 * flakes)[:, None] / 255
    degrees = 90.0 * draws.uniform("direction") - 135
    falling = np.rint(255 * motion_blur(flakes, int(radius), sigma, degrees)) / 255
    grey = (pixels * GREY).sum(1, keepdims=True)
    white = np.maximum(pixels, grey * 1.5 + 0.5)
    return kept * pixels + (1 - kept) * white + falling + falling[:, :, ::-1, ::-1]


def frost(pixels: np.ndarray, size: tuple[float, float], draws: Draws) -> np.ndarray:
    """Add crystals: ridges of a plasma landscape, where photographs of frost are published."""
    kept, added = size
    ridges = 1 - np.abs(2 * plasma(draws, 64, 1.6, SIDE) - 1)
    crystals = FROST * (ridges**2)[:, None]
    return kept * pixels + added * crystals


def fog(pixels: np.ndarray, size: tuple[float, float], draws: Draws) -> np.ndarray:
    """Add a plasma landscape of 32 x 32, and scale back to the image's maximum."""
    density, decay = size
    largest = pixels.max((1, 2, 3), keepdims=True)
    landscape = plasma(draws, SIDE, decay, SIDE)[:, None]
    return (pixels + density * landscape) * largest / np.maximum(largest + density, 1e-12)


def brightness(pixels: np.ndarray, size: float, draws: Draws) -> np.ndarray:
    """Add to the value (HSV) of every pixel; hue and saturation stay."""
    value = pixels.max(1, keepdims=True)
    brighter = np.minimum(value + size, 1)
    share = np.divide(pixels, value, out=np.ones_like(pixels), where=value > 0)
    return brighter * share


def contrast(pixels: np.ndarray, size: float, draws: Draws) -> np.ndarray:
    """Move values towards the mean of their image and channel."""
    mean = pixels.mean((2, 3), keepdims=True)
    return mean + size * (pixels - mean)


def elastic_transform(
    pixels: np.ndarray, size: tuple[float, float, float], draws: Draws
) -> np.ndarray:
    """Map three points of the middle to places near them, then move every pixel a little.

    Sizes are shares of the side: how far pixels move, the smoothness of that, and how far the
    three points move.
    """
    strength, smoothness, spread = (SIDE * part for part in size)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float64)
    moved = spread * (2 * draws.uniform("points", 3, 2).astype(np.float64) - 1)
    matrix = _back(moved)[:, :, :, None, None]
    read_x = matrix[:, 0, 0] * x + matrix[:, 0, 1] * y + matrix[:, 0, 2]
    read_y = matrix[:, 1, 0] * x + matrix[:, 1, 1] * y + matrix[:, 1, 2]
    warped = sample(pixels, read_y, read_x, "mirror")
    across, down = (
        strength * _smooth(2 * draws.uniform(name, SIDE, SIDE) - 1, smoothness)
        for name in ("across", "down")
    )
    return sample(warped, y + down, x + across, "symmetric")


def _smooth(field: np.ndarray, sigma: float) -> np.ndarray:
    smooth: np.ndarray = ndimage.gaussian_filter(
        field.astype(np.float64), (0, sigma, sigma), mode="reflect", truncate=3
    )
    return smooth


def _back(moved: np.ndarray) -> np.ndarray:
    """The affine maps, (B, 2, 3), from places after three points have moved (B, 3, 2) to before."""
    centre, reach = SIDE // 2, SIDE // 3
    low, high = centre - reach, centre + reach
    points = np.array([[high, high], [high, low], [low, low]], np.float64)
    after = np.concatenate([points + moved, np.ones((len(moved), 3, 1))], 2)
    solved: np.ndarray = np.linalg.solve(after, np.broadcast_to(points, moved.shape))
    return solved.transpose(0, 2, 1)


def pixelate(pixels: np.ndarray, size: float, draws: Draws) -> np.ndarray:
    """Shrink to a share of the side, and enlarge again, both by averages over boxes."""
    small = int(SIDE * size)

    def shrunk(image: Image.Image) -> Image.Image:
        few = image.resize((small, small), Image.Resampling.BOX)
        return few.resize((SIDE, SIDE), Image.Resampling.BOX)

    return _each(pixels, shrunk)


def jpeg_compression(pixels: np.ndarray, size: int, draws: Draws) -> np.ndarray:
    """Write as JPEG of a quality, and read again."""

    def compressed(image: Image.Image) -> Image.Image:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=size)
        return Image.open(file)

    return _each(pixels, compressed)


def _each(pixels: np.ndarray, change: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    """Change every image by Pillow."""
    levels = np.rint(255 * pixels).astype(np.uint8).transpose(0, 2, 3, 1)
    changed = [np.asarray(change(Image.fromarray(image))) for image in levels]
    return np.stack(changed).transpose(0, 3, 1, 2) / np.float32(255)


KINDS = {
    "gaussian_noise": Kind(gaussian_noise, (0.04, 0.06, 0.08, 0.09, 0.10), None, "sd {}"),
    "shot_noise": Kind(mnist_c.shot_noise, (500, 250, 100, 75, 50), None, "white is {} photons"),
    "impulse_noise": Kind(
        mnist_c.impulse_noise, (0.01, 0.02, 0.03, 0.05, 0.07), None, "{} of the values"
    ),
    "defocus_blur": Kind(
        defocus_blur,
        ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        None,
        "radius, sd {}",
    ),
    "glass_blur": Kind(
        glass_blur,
        ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        None,
        "sd, reach, rounds {}",
    ),
    "motion_blur": Kind(
        mnist_c.blurred_by_motion,
        ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
        None,
        "radius, sd {}",
    ),
    "zoom_blur": Kind(zoom_blur, (1.05, 1.10, 1.15, 1.20, 1.25), None, "up to {}"),
    "snow": Kind(
        snow,
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
        None,
        "mean, sd, zoom, least, radius, sd, kept {}",
    ),
    "frost": Kind(
        frost,
        ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
        None,
        "kept, added {}",
        "a drawn texture stands in for photographs: no number to compare with published ones",
    ),
    "fog": Kind(
        fog, ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)), None, "density, decay {}"
    ),
    "brightness": Kind(brightness, (0.05, 0.1, 0.15, 0.2, 0.3), None, "plus {}"),
    "contrast": Kind(contrast, (0.75, 0.5, 0.4, 0.3, 0.15), None, "times {}"),
    "elastic_transform": Kind(
        elastic_transform,
        (
            (0, 0, 0.08),
            (0.05, 0.2, 0.07),
            (0.08, 0.06, 0.06),
            (0.1, 0.04, 0.05),
            (0.1, 0.03, 0.03),
        ),
        None,
        "strength, smoothness, points {}",
    ),
    "pixelate": Kind(pixelate, (0.95, 0.9, 0.85, 0.75, 0.65), None, "to {} of the side"),
    "jpeg_compression": Kind(jpeg_compression, (80, 65, 58, 50, 40), None, "quality {}"),
}
"""Name -> definition."""
