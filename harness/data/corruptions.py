"""Common corruptions of images: pure functions of the image, its identity, a severity of 1 to 5, and a seed.

Kinds and the severities of noise and contrast are those of Hendrycks & Dietterich 2019 (Benchmarking neural network
robustness to common corruptions); what they define in pixels of a large photograph, and what they do not have (occlusion,
shift, rotation), is a share of the image's side here, and ours. Randomness belongs to the sample and is shared by its
severities: a heavier one is more of the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from harness.lazy import F, torch
from harness.rng import Rng

SEVERITIES = {
    "gaussian-noise": (0.08, 0.12, 0.18, 0.26, 0.38),
    "salt-and-pepper": (0.03, 0.06, 0.09, 0.17, 0.27),
    "blur": (0.02, 0.03, 0.04, 0.055, 0.07),
    "contrast": (0.4, 0.3, 0.2, 0.1, 0.05),
    "occlusion": (0.2, 0.3, 0.4, 0.5, 0.6),
    "shift": (0.036, 0.072, 0.108, 0.143, 0.18),
    "rotation": (10.0, 20.0, 30.0, 40.0, 50.0),
}
"""Standard deviation; share of values; standard deviation and side as shares of the image's side; share of the contrast
that is left; distance as a share of the side; degrees. By severity."""

WORDS = {
    "gaussian-noise": "sd {}",
    "salt-and-pepper": "{} of the values",
    "blur": "Gaussian, sd {} of the side",
    "contrast": "times {}",
    "occlusion": "grey square of {} of the side",
    "shift": "by {} of the side, black behind",
    "rotation": "by +-{} degrees, black behind",
}


def corrupt(
    images: torch.Tensor, kind: str, severity: int, identity: np.ndarray, rng: Rng
) -> torch.Tensor:
    """Corrupted images.

    Args:
        images: float32 (B, C, H, W) in [0, 1].
        kind: one of ``SEVERITIES``.
        severity: 1 to 5.
        identity: int (B,), what each image's randomness belongs to.

    Returns:
        float32 (B, C, H, W) in [0, 1].
    """
    return _KINDS[kind](
        images, SEVERITIES[kind][severity - 1], identity, rng.child("corruption", kind)
    ).clamp(0, 1)


def words(kind: str) -> str:
    """A kind and its severities, as a protocol block prints them."""
    return WORDS[kind].format(", ".join(f"{size:g}" for size in SEVERITIES[kind]))


def _uniform(images: torch.Tensor, identity: np.ndarray, rng: Rng, *shape: int) -> torch.Tensor:
    """Uniform in [-1, 1), (B, *shape)."""
    return torch.from_numpy(rng.per_sample_uniform("draw", identity, 0, shape)).to(images.device)


def _gaussian_noise(
    images: torch.Tensor, size: float, identity: np.ndarray, rng: Rng
) -> torch.Tensor:
    from scipy.special import ndtri

    uniform = rng.per_sample_uniform("draw", identity, 0, tuple(images.shape[1:])).astype(
        np.float64
    )
    noise = ndtri((uniform + 1 + 2**-24) / 2).astype(np.float32)
    return images + size * torch.from_numpy(noise).to(images.device)


def _salt_and_pepper(
    images: torch.Tensor, size: float, identity: np.ndarray, rng: Rng
) -> torch.Tensor:
    """Half of the values that are hit turn white, half black."""
    draw = _uniform(images, identity, rng, *images.shape[1:])
    return torch.where(draw.abs() < size, (draw >= 0).to(images), images)


def _blur(images: torch.Tensor, size: float, identity: np.ndarray, rng: Rng) -> torch.Tensor:
    """A Gaussian cut at four standard deviations, mirrored at the borders."""
    sigma = size * min(images.shape[-2:])
    reach = min(math.ceil(4 * sigma), min(images.shape[-2:]) - 1)
    line = np.exp(-np.square(np.arange(-reach, reach + 1)) / (2 * sigma**2))
    for axis, border in ((3, (reach, reach, 0, 0)), (2, (0, 0, reach, reach))):
        padded, extent = F.pad(images, border, mode="reflect"), images.shape[axis]
        # Term by term: which kernel a convolution runs on, and so its last bit, depends on the size of the batch.
        images = sum(
            padded.narrow(axis, place, extent) * weight
            for place, weight in enumerate((line / line.sum()).tolist())
        )
    return images


def _contrast(images: torch.Tensor, size: float, identity: np.ndarray, rng: Rng) -> torch.Tensor:
    """Towards the mean of each image and channel."""
    mean = images.mean((2, 3), keepdim=True)
    return mean + size * (images - mean)


def _occlusion(images: torch.Tensor, size: float, identity: np.ndarray, rng: Rng) -> torch.Tensor:
    """A grey square at a random place, wholly inside."""
    height, width = images.shape[-2:]
    side = max(1, round(size * min(height, width)))
    place = (_uniform(images, identity, rng, 2) + 1) / 2
    top, left = (
        (place[:, axis] * (extent - side + 1)).floor()[:, None]
        for axis, extent in ((0, height), (1, width))
    )
    y, x = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
    rows, columns = (y >= top) & (y < top + side), (x >= left) & (x < left + side)
    return torch.where((rows[:, :, None] & columns[:, None, :])[:, None], 0.5, images)


def _shift(images: torch.Tensor, size: float, identity: np.ndarray, rng: Rng) -> torch.Tensor:
    """In a random one of eight directions."""
    height, width = images.shape[-2:]
    far = max(1, round(size * min(height, width)))
    eighth = ((_uniform(images, identity, rng, 1)[:, 0] + 1) * 4).floor() * (math.pi / 4)
    down, across = (
        far * torch.sign(torch.round(f(eighth) * 2)).long() for f in (torch.sin, torch.cos)
    )
    padded = F.pad(images, (far, far, far, far))
    y = torch.arange(height, device=images.device)[None] + far - down[:, None]
    x = torch.arange(width, device=images.device)[None] + far - across[:, None]
    batch = torch.arange(len(images), device=images.device)[:, None, None]
    # Indices on both sides of a slice move to the front: (B, H, W, C).
    return padded[batch, :, y[:, :, None], x[:, None, :]].permute(0, 3, 1, 2).contiguous()


def _rotation(images: torch.Tensor, size: float, identity: np.ndarray, rng: Rng) -> torch.Tensor:
    """To the left or to the right, bilinear."""
    angle = torch.where(_uniform(images, identity, rng, 1)[:, 0] < 0, -1.0, 1.0) * math.radians(
        size
    )
    (height, width), zero = images.shape[-2:], torch.zeros_like(angle)
    # Coordinates run from -1 to 1 along either side, however long it is.
    turn = torch.stack(
        [
            torch.stack([angle.cos(), -angle.sin() * height / width, zero], 1),
            torch.stack([angle.sin() * width / height, angle.cos(), zero], 1),
        ],
        1,
    ).to(images)
    grid = F.affine_grid(turn, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


_KINDS: dict[str, Callable[[torch.Tensor, float, np.ndarray, Rng], torch.Tensor]] = {
    "gaussian-noise": _gaussian_noise,
    "salt-and-pepper": _salt_and_pepper,
    "blur": _blur,
    "contrast": _contrast,
    "occlusion": _occlusion,
    "shift": _shift,
    "rotation": _rotation,
}
