"""The Square attack (Andriushchenko et al. 2020): random search, without gradients."""

from __future__ import annotations

import bisect
from collections.abc import Callable
from typing import Literal

from pydantic import Field

from harness.attacks.base import Attack, Candidates, Task
from harness.attacks.config import AttackConfig, grid_words
from harness.attacks.engine.geometry import apply_delta
from harness.attacks.engine.square_windows import (
    DRAWS,
    first_tiling,
    move_windows,
    tiling,
    window_side,
)
from harness.attacks.engine.victim import Victim, judge
from harness.lazy import torch
from harness.registry import attacks

_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Queries, out of 10 000, after which the area of the squares is halved (paper, section 4)."""

_FIRST_SHARE = 0.8
"""Area of the first squares, as a share of the image."""


@attacks.register("square")
class Square(Attack):
    """Square attack on the margin: random squares are kept where they hurt (black box)."""

    class Config(AttackConfig):
        """Keys of Square."""

        norm: Literal["linf", "l2", "l1"] = Field("linf", description="linf, l2 or l1")
        queries: int = Field(1000, ge=1, le=10_000, description="forward passes for each sample")

    config: Config

    @property
    def climbs(self) -> tuple[str, ...]:
        """No loss: a black-box attack."""
        return ()

    def words(self) -> str:
        """Describe its settings."""
        return f"{grid_words(self.config)}, {self.config.queries} queries, margin loss"

    def perturb(self, victim: Victim, task: Task) -> Candidates:
        """Search for the point of smallest margin."""
        queries = self.config.queries
        if self.config.norm == "linf":
            return Candidates(search_squares(victim, task, queries))
        return Candidates(search_windows(victim, task, self.config.norm, queries))


def search_squares(
    victim: Victim, task: Task, queries: int, horizon: int | None = None
) -> torch.Tensor:
    """Square attack in Linf on the margin, untargeted (algorithms 1 and 2 of the paper).

    The first candidate adds vertical stripes of +eps and -eps. Each further one sets a random
    square to +eps or -eps in every channel, and is kept if it lowers the margin. The draws are each
    sample's own.

    Args:
        victim: the network; only its logits are used.
        task: the images.
        queries: forward passes for each sample.
        horizon: queries over which the squares shrink to their smallest size; default: ``queries``.

    Returns:
        float32 (B, C, H, W): for each image the point of smallest margin, or the first one that is
        misclassified.
    """
    images = task.images
    n, channels, height, width = images.shape
    rng = task.rng
    stripes = rng.per_sample_uniform("square stripes", task.identity, 0, (channels, 1, width))
    draws = rng.per_sample_uniform("square", task.identity, 0, (queries, 2 + channels))
    places = torch.from_numpy((draws[..., :2] + 1) / 2).to(images.device)
    signs = _signs(torch.from_numpy(draws[..., 2:])).to(images.device)

    striped = (task.eps * _signs(torch.from_numpy(stripes)).to(images)).expand_as(images)

    def tried(query: int, delta: torch.Tensor) -> torch.Tensor:
        side = _side(query / (horizon or queries), height, width)
        inside = _squares(places[:, query], side, height, width)
        return torch.where(inside, task.eps * signs[:, query, :, None, None], delta)

    return _search(victim, task, "linf", striped, tried, queries)


def search_windows(
    victim: Victim, task: Task, norm: str, queries: int, horizon: int | None = None
) -> torch.Tensor:
    """Square attack in L2 and L1 (``harness.attacks.engine.square_windows``).

    Args:
        victim: the network; only its logits are used.
        task: the images.
        norm: ``l2`` or ``l1``.
        queries: forward passes for each sample.
        horizon: as for ``search_squares``.

    Returns:
        As ``search_squares``.
    """
    images = task.images
    channels, height, width = images.shape[1:]
    rng = task.rng
    _, down, across = tiling(height, width)
    tiles = rng.per_sample_uniform("square tiles", task.identity, 0, (down * across, 1 + channels))
    draws = rng.per_sample_uniform("square windows", task.identity, 0, (queries, DRAWS + channels))
    uniform = torch.from_numpy(draws).to(images.device)
    tiled = first_tiling(images, torch.from_numpy(tiles).to(images.device), task.eps, norm)

    def tried(query: int, delta: torch.Tensor) -> torch.Tensor:
        side = window_side(_share(query / (horizon or queries)), height, width)
        return move_windows(images, delta, uniform[:, query], side, task.eps, norm)

    return _search(victim, task, norm, tiled, tried, queries)


def _search(
    victim: Victim,
    task: Task,
    norm: str,
    first: torch.Tensor,
    tried: Callable[[int, torch.Tensor], torch.Tensor],
    queries: int,
) -> torch.Tensor:
    """Random search: keep what lowers the margin, until every sample is misclassified.

    Args:
        victim: the network.
        task: the images.
        norm: of the budget.
        first: float32 (B, C, H, W), the perturbations of the first query.
        tried: number of the query and best perturbations so far, to those of the next query.
        queries: forward passes for each sample.
    """
    correct, lowest = _query(victim, task, first, norm)
    delta = first
    unbroken = correct
    for query in range(1, queries):
        if not unbroken.any():
            break
        candidate = tried(query, delta)
        correct, margin = _query(victim, task, candidate, norm)
        better = unbroken & (~correct | (margin < lowest))
        delta = torch.where(better[:, None, None, None], candidate, delta)
        lowest = torch.where(better, margin, lowest)
        unbroken = unbroken & correct
    return apply_delta(task.images, delta, norm)


def _query(
    victim: Victim, task: Task, delta: torch.Tensor, norm: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Verdict and margin of each perturbed image, bool (B,) and float32 (B,)."""
    logits = victim.logits(apply_delta(task.images, delta, norm))
    correct, margin = judge(logits, task.labels)
    # If the network draws, a mistake may be the noise's: the search goes on.
    return correct | victim.stochastic, margin


def _signs(uniform: torch.Tensor) -> torch.Tensor:
    """+1 or -1, from uniform values in [-1, 1)."""
    return torch.where(uniform < 0, -1.0, 1.0)


def _share(progress: float) -> float:
    """Area of the squares, as a share of the image, after a share of the queries."""
    halvings = bisect.bisect_left(_HALVINGS, 10_000 * progress)
    return _FIRST_SHARE / 2**halvings


def _side(progress: float, height: int, width: int) -> int:
    """Side of the squares after a share of the queries."""
    area = _share(progress) * height * width
    return min(max(1, round(area**0.5)), height, width)


def _squares(places: torch.Tensor, side: int, height: int, width: int) -> torch.Tensor:
    """Masks of squares at places in [0, 1), (B, 2) to bool (B, 1, height, width)."""
    top = (places[:, 0] * (height - side + 1)).floor()[:, None]
    left = (places[:, 1] * (width - side + 1)).floor()[:, None]
    y = torch.arange(height, device=places.device)
    x = torch.arange(width, device=places.device)
    rows = (y >= top) & (y < top + side)
    columns = (x >= left) & (x < left + side)
    return (rows[:, :, None] & columns[:, None, :])[:, None]
