"""Moves of the Square attack in L2 and L1: windows of a fixed pattern, paid for by other windows.

L2: Andriushchenko et al. 2020 (arXiv 1912.00049, algorithm 3). L1: Croce & Hein 2021 (arXiv
2103.01208, section 5), which differs in the pattern's weights and in the projection.
"""

from __future__ import annotations

from functools import lru_cache

from harness.attacks.engine.geometry import column, norms, project_exactly
from harness.lazy import torch

ORDER = {"l2": 2, "l1": 1}

FADING = {"l2": 2, "l1": 4}
"""Norm -> power with which the pattern's weights fall with the distance from its peaks."""

TILES = 5
"""Tiles along the shorter side of the first candidate."""

DRAWS = 5
"""Uniform numbers for one move: places of two windows, and orientation; then a sign a channel."""


def window_side(share: float, height: int, width: int) -> int:
    """Side of the windows that cover a share of the image: odd, at least 3 where that fits."""
    side = max(round((share * height * width) ** 0.5), 3)
    side += 1 - side % 2
    return min(side, height, width)


@lru_cache(maxsize=128)
def _pattern(side: int, norm: str) -> torch.Tensor:
    """Two halves of opposite sign, each falling from a peak; float32 (side, side) of norm 1."""
    half = side // 2
    pattern = torch.cat([_peak(half, side, norm), -_peak(side - half, side, norm)])
    return pattern / pattern.norm(p=ORDER[norm])


def _peak(height: int, width: int, norm: str) -> torch.Tensor:
    """Nested squares around the centre, the outer ones of less weight; of norm 1."""
    y = (torch.arange(height) - height // 2).abs()
    x = (torch.arange(width) - width // 2).abs()
    distance = torch.maximum(y[:, None], x[None])
    squares = torch.arange(max(height, width) // 2 + 1)
    weights = (squares + 1.0) ** -FADING[norm]
    outside_in = weights.flip(0).cumsum(0).flip(0)
    peak = outside_in[distance]
    return peak / peak.norm(p=ORDER[norm]).clamp_min(1e-12)


def _patterns(side: int, turned: torch.Tensor, signs: torch.Tensor, norm: str) -> torch.Tensor:
    """Patterns, some of them transposed, with a sign for each channel.

    Args:
        side: of every pattern.
        turned: bool (...,).
        signs: (..., C).
        norm: ``l2`` or ``l1``.

    Returns:
        float32 (..., C, side, side).
    """
    pattern = _pattern(side, norm).to(signs.device)
    chosen = torch.where(turned[..., None, None], pattern.T, pattern)
    return signs[..., None, None] * chosen[..., None, :, :]


def first_tiling(
    images: torch.Tensor, uniform: torch.Tensor, eps: float, norm: str
) -> torch.Tensor:
    """The first candidate: patterns side by side, with random signs and orientations.

    Args:
        images: float32 (B, C, H, W).
        uniform: (B, tiles, 1 + C) in [-1, 1), as many tiles as ``tiling`` says.
        eps: the budget, which is spent.
        norm: ``l2`` or ``l1``.

    Returns:
        float32 like ``images``, perturbations.
    """
    n, channels, height, width = images.shape
    side, down, across = tiling(height, width)
    uniform = uniform.view(n, down, across, 1 + channels)
    tiles = _patterns(side, uniform[..., 0] < 0, _signs(uniform[..., 1:]), norm)
    joined = tiles.permute(0, 3, 1, 4, 2, 5).reshape(n, channels, down * side, across * side)
    delta = torch.zeros_like(images)
    top = (height - down * side) // 2
    left = (width - across * side) // 2
    delta[:, :, top : top + down * side, left : left + across * side] = joined
    return _spend(images, delta, eps, norm)


def tiling(height: int, width: int) -> tuple[int, int, int]:
    """Side of the tiles of the first candidate, and how many fit below and beside each other."""
    side = max(min(height, width) // TILES, 1)
    return side, height // side, width // side


def move_windows(
    images: torch.Tensor,
    delta: torch.Tensor,
    uniform: torch.Tensor,
    side: int,
    eps: float,
    norm: str,
) -> torch.Tensor:
    """The next candidate: a pattern is added in one window, a second window is erased.

    The first window gets what the perturbation has in both, and what is not spent elsewhere.

    Args:
        images: float32 (B, C, H, W).
        delta: float32 like ``images``, the best perturbations so far.
        uniform: (B, 5 + C) in [-1, 1).
        side: of the windows.
        eps: the budget.
        norm: ``l2`` or ``l1``.

    Returns:
        float32 like ``images``, perturbations.
    """
    height, width = images.shape[2:]
    places = (uniform[:, :4] + 1) / 2
    window = _window(places[:, :2], side, height, width)
    other = _window(places[:, 2:], side, height, width)
    signs = _signs(uniform[:, DRAWS:])
    added = _patterns(side, uniform[:, 4] < 0, signs, norm)
    before = _read(delta, window)
    erased = _read(delta, other).clone()
    order = ORDER[norm]
    spent = _powers(delta, order).sum(1)
    moved = delta.clone()
    _write(moved, other, torch.zeros_like(erased))
    # The windows may overlap: what the first has outside the second is still there.
    in_both = _powers(erased, order) + _powers(_read(moved, window), order)
    unspent = (eps**order - spent).clamp_min(0) / images.shape[1]
    available = (in_both + unspent[:, None]) ** (1 / order)
    pattern = added + before / _norm(before, order)
    _write(moved, window, pattern / _norm(pattern, order) * available[..., None, None])
    return _spend(images, moved, eps, norm)


def _spend(images: torch.Tensor, delta: torch.Tensor, eps: float, norm: str) -> torch.Tensor:
    """Scale perturbations to the budget and clip them to the box; in L1 project them into both."""
    if norm == "l1":
        budgets = torch.full((len(images),), eps, device=images.device)
        return project_exactly(images + delta, images, norm, budgets) - images
    smallest = torch.finfo(delta.dtype).tiny
    scaled = delta * column(eps / norms(delta, norm).clamp_min(smallest), delta)
    return (images + scaled).clamp(0, 1) - images


Window = tuple["torch.Tensor", "torch.Tensor"]
"""Rows (B, side, 1) and columns (B, 1, side) of each sample's window."""


def _window(places: torch.Tensor, side: int, height: int, width: int) -> Window:
    """Windows at places in [0, 1), (B, 2)."""
    top = (places[:, 0] * (height - side + 1)).long()
    left = (places[:, 1] * (width - side + 1)).long()
    steps = torch.arange(side, device=places.device)
    return (top[:, None] + steps)[:, :, None], (left[:, None] + steps)[:, None, :]


def _read(images: torch.Tensor, window: Window) -> torch.Tensor:
    """What is in each sample's window, (B, C, side, side)."""
    sample = torch.arange(len(images), device=images.device)[:, None, None]
    return images[sample, :, window[0], window[1]].permute(0, 3, 1, 2)


def _write(images: torch.Tensor, window: Window, values: torch.Tensor) -> None:
    """Replace what is in each sample's window."""
    sample = torch.arange(len(images), device=images.device)[:, None, None]
    images[sample, :, window[0], window[1]] = values.permute(0, 2, 3, 1)


def _powers(values: torch.Tensor, order: int) -> torch.Tensor:
    """Sum of absolute values to a power, of each channel: (B, C, ...) to (B, C)."""
    return (values.abs() ** order).flatten(2).sum(2)


def _norm(values: torch.Tensor, order: int) -> torch.Tensor:
    """Norm of each channel, (B, C, side, side) to (B, C, 1, 1), never zero."""
    return (_powers(values, order) ** (1 / order)).clamp_min(1e-12)[..., None, None]


def _signs(uniform: torch.Tensor) -> torch.Tensor:
    """+1 or -1, from uniform values in [-1, 1)."""
    return torch.where(uniform < 0, -1.0, 1.0)
