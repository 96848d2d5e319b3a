"""Common corruptions: pure functions of the image, its identity, a severity of 1 to 5, and a seed.

The kinds, and the severities of noise and contrast, are those of Hendrycks & Dietterich 2019
(Benchmarking neural network robustness to common corruptions). Sizes that they give in pixels of a
large photograph are shares of the image's side here. Occlusion, shift and rotation are not in their
list and are ours, with sizes in the same unit.

Randomness belongs to the sample and is shared by all severities: a higher severity has more of the
same.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from harness.lazy import F, torch
from harness.rng import Rng

SEVERITIES = {
    "gaussian-noise": (0.08, 0.12, 0.18, 0.26, 0.38),  # standard deviation
    "salt-and-pepper": (0.03, 0.06, 0.09, 0.17, 0.27),  # share of the values
    "blur": (0.02, 0.03, 0.04, 0.055, 0.07),  # standard deviation / side of the image
    "contrast": (0.4, 0.3, 0.2, 0.1, 0.05),  # share of the contrast that is left
    "occlusion": (0.2, 0.3, 0.4, 0.5, 0.6),  # side / side of the image
    "shift": (0.036, 0.072, 0.108, 0.143, 0.18),  # distance / side of the image
    "rotation": (10.0, 20.0, 30.0, 40.0, 50.0),  # degrees
}
"""Size of each kind at severities 1 to 5."""

WORDS = {
    "gaussian-noise": "sd {}",
    "salt-and-pepper": "{} of the values",
    "blur": "Gaussian, sd {} of the side",
    "contrast": "times {}",
    "occlusion": "grey square of {} of the side",
    "shift": "by {} of the side, black behind",
    "rotation": "by +-{} degrees, black behind",
}
"""Description of each kind, with a place for its sizes."""


def corrupt(
    images: torch.Tensor, kind: str, severity: int, identity: np.ndarray, rng: Rng
) -> torch.Tensor:
    """Corrupt images.

    Args:
        images: float32 (B, C, H, W) in [0, 1].
        kind: one of ``SEVERITIES``.
        severity: 1 to 5.
        identity: int (B,), the identity of each image, to which its randomness belongs.
        rng: source of the randomness.

    Returns:
        float32 (B, C, H, W) in [0, 1].
    """
    size = SEVERITIES[kind][severity - 1]
    corrupted = _KINDS[kind](images, size, identity, rng.child("corruption", kind))
    return corrupted.clamp(0, 1)


def words(kind: str) -> str:
    """Describe a kind and its severities, as tables print them.

    >>> words("contrast")
    'times 0.4, 0.3, 0.2, 0.1, 0.05'
    """
    return WORDS[kind].format(", ".join(f"{size:g}" for size in SEVERITIES[kind]))


def _draw(identity: np.ndarray, rng: Rng, *shape: int) -> np.ndarray:
    """Uniform values in [-1, 1) that belong to the samples, float32 (B, *shape)."""
    return rng.per_sample_uniform("draw", identity.tolist(), 0, shape)


def _uniform(images: torch.Tensor, identity: np.ndarray, rng: Rng, *shape: int) -> torch.Tensor:
    """``_draw`` on the device of ``images``."""
    return torch.from_numpy(_draw(identity, rng, *shape)).to(images.device)


def _gaussian_noise(
    images: torch.Tensor, size: float, identity: np.ndarray, rng: Rng
) -> torch.Tensor:
    """Add normal noise, through the normal quantile of uniform draws."""
    from scipy.special import ndtri

    uniform = _draw(identity, rng, *images.shape[1:]).astype(np.float64)
    # The draws are multiples of 2**-23 from -1 on: half a step more keeps the quantile finite.
    noise = ndtri((uniform + 1 + 2**-24) / 2).astype(np.float32)
    return images + size * torch.from_numpy(noise).to(images.device)


def _salt_and_pepper(
    images: torch.Tensor, size: float, identity: np.ndarray, rng: Rng
) -> torch.Tensor:
    """Replace values at random, half of them by white and half by black."""
    draw = _uniform(images, identity, rng, *images.shape[1:])
    return torch.where(draw.abs() < size, (draw >= 0).to(images), images)


def _blur(images: torch.Tensor, size: float, identity: np.ndarray, rng: Rng) -> torch.Tensor:
    """Convolve with a Gaussian cut at four standard deviations, mirrored at the borders."""
    side = min(images.shape[-2:])
    sigma = size * side
    reach = min(math.ceil(4 * sigma), side - 1)
    line = np.exp(-np.square(np.arange(-reach, reach + 1)) / (2 * sigma**2))
    weights = (line / line.sum()).tolist()
    for axis, border in ((3, (reach, reach, 0, 0)), (2, (0, 0, reach, reach))):
        padded = F.pad(images, border, mode="reflect")
        extent = images.shape[axis]
        # Added term by term: a convolution picks its kernel, and with it the last bit of its
        # result, by the size of the batch.
        blurred = torch.zeros_like(images)
        for place, weight in enumerate(weights):
            blurred = blurred + padded.narrow(axis, place, extent) * weight
        images = blurred
    return images


def _contrast(images: torch.Tensor, size: float, identity: np.ndarray, rng: Rng) -> torch.Tensor:
    """Move values towards the mean of their image and channel."""
    mean = images.mean((2, 3), keepdim=True)
    return mean + size * (images - mean)


def _occlusion(images: torch.Tensor, size: float, identity: np.ndarray, rng: Rng) -> torch.Tensor:
    """Cover a grey square at a random place; all of it is inside the image."""
    height, width = images.shape[-2:]
    side = max(1, round(size * min(height, width)))
    place = (_uniform(images, identity, rng, 2) + 1) / 2
    top = (place[:, 0] * (height - side + 1)).floor()[:, None]
    left = (place[:, 1] * (width - side + 1)).floor()[:, None]
    y = torch.arange(height, device=images.device)
    x = torch.arange(width, device=images.device)
    rows = (y >= top) & (y < top + side)
    columns = (x >= left) & (x < left + side)
    covered = (rows[:, :, None] & columns[:, None, :])[:, None]
    return torch.where(covered, 0.5, images)


def _shift(images: torch.Tensor, size: float, identity: np.ndarray, rng: Rng) -> torch.Tensor:
    """Move the image in a random one of eight directions; black comes in from behind."""
    height, width = images.shape[-2:]
    far = max(1, round(size * min(height, width)))
    eighth = ((_uniform(images, identity, rng, 1)[:, 0] + 1) * 4).floor() * (math.pi / 4)
    down = far * torch.sign(torch.round(torch.sin(eighth) * 2)).long()
    across = far * torch.sign(torch.round(torch.cos(eighth) * 2)).long()
    padded = F.pad(images, (far, far, far, far))
    y = torch.arange(height, device=images.device)[None] + far - down[:, None]
    x = torch.arange(width, device=images.device)[None] + far - across[:, None]
    batch = torch.arange(len(images), device=images.device)[:, None, None]
    # With indices on both sides of a slice, the indexed axes come first: (B, H, W, C).
    moved = padded[batch, :, y[:, :, None], x[:, None, :]]
    return moved.permute(0, 3, 1, 2).contiguous()


def _rotation(images: torch.Tensor, size: float, identity: np.ndarray, rng: Rng) -> torch.Tensor:
    """Rotate to the left or to the right, bilinear; black comes in at the corners."""
    side = torch.where(_uniform(images, identity, rng, 1)[:, 0] < 0, -1.0, 1.0)
    angle = side * math.radians(size)
    height, width = images.shape[-2:]
    zero = torch.zeros_like(angle)
    # Coordinates run from -1 to 1 along both sides, however long they are.
    x_row = torch.stack([angle.cos(), -angle.sin() * height / width, zero], 1)
    y_row = torch.stack([angle.sin() * width / height, angle.cos(), zero], 1)
    turn = torch.stack([x_row, y_row], 1).to(images)
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
