"""Attacks that need no gradient of the network, for the trust checks: what they break, a masked gradient hid."""

from __future__ import annotations

import bisect

from harness.attacks.base import Objective, Trial
from harness.attacks.engine.ascent import ascend
from harness.attacks.engine.victim import Victim, judge
from harness.lazy import F, torch

_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Of 10 000 queries: after these the squares' area is halved (Andriushchenko et al. 2020, section 4)."""

_FIRST_SHARE = 0.8
"""Area of the first squares, as a share of the image."""


def square(victim: Victim, trial: Trial, queries: int) -> torch.Tensor:
    """Square Attack in Linf (Andriushchenko et al. 2020, algorithms 1 and 2) on the margin, untargeted.

    Random squares of +-eps are kept where they lower the margin. What is drawn belongs to the sample.

    Args:
        queries: forward passes a sample.

    Returns:
        float32 (B, C, H, W): for each image the point of smallest margin, or the first that is classified wrongly.
    """
    images, (n, channels, height, width) = trial.images, trial.images.shape
    stripes = trial.rng.per_sample_uniform(
        "square stripes", trial.identity, 0, (channels, 1, width)
    )
    draws = trial.rng.per_sample_uniform("square", trial.identity, 0, (queries, 2 + channels))
    places = torch.from_numpy((draws[..., :2] + 1) / 2).to(images.device)
    signs = _signs(torch.from_numpy(draws[..., 2:])).to(images.device)
    delta, stands, lowest = (
        torch.zeros_like(images),
        torch.ones(n, dtype=torch.bool, device=images.device),
        None,
    )
    for query in range(queries):
        if query == 0:
            tried = (trial.eps * _signs(torch.from_numpy(stripes)).to(images)).expand_as(images)
        else:
            side = _side(query / queries, height, width)
            inside = _squares(places[:, query], side, height, width)
            tried = torch.where(inside, trial.eps * signs[:, query, :, None, None], delta)
        correct, margin = judge(victim.logits((images + tried).clamp(0, 1)), trial.labels)
        correct = correct | victim.stochastic  # a mistake may be the noise's: search on
        better = stands & (~correct | (margin < lowest if lowest is not None else stands))
        delta = torch.where(better[:, None, None, None], tried, delta)
        lowest = margin if lowest is None else torch.where(better, margin, lowest)
        stands = stands & correct
        if not stands.any():
            break
    return (images + delta).clamp(0, 1)


def _signs(uniform: torch.Tensor) -> torch.Tensor:
    """+1 or -1, from uniform values in [-1, 1)."""
    return torch.where(uniform < 0, -1.0, 1.0)


def _side(progress: float, height: int, width: int) -> int:
    """Side of the squares after a share of the queries."""
    share = _FIRST_SHARE / 2 ** bisect.bisect_left(_HALVINGS, 10_000 * progress)
    return min(max(1, round((share * height * width) ** 0.5)), height, width)


def _squares(places: torch.Tensor, side: int, height: int, width: int) -> torch.Tensor:
    """Masks of squares at places in [0, 1), (B, 2) -> bool (B, 1, height, width)."""
    top = (places[:, 0] * (height - side + 1)).floor()[:, None]
    left = (places[:, 1] * (width - side + 1)).floor()[:, None]
    y, x = torch.arange(height, device=places.device), torch.arange(width, device=places.device)
    rows, columns = (y >= top) & (y < top + side), (x >= left) & (x < left + side)
    return (rows[:, :, None] & columns[:, None, :])[:, None]


def from_class_means(
    images: torch.Tensor, labels: torch.Tensor, trial: Trial, norm: str
) -> torch.Tensor:
    """Adversarial images of a surrogate, to be transferred: the nearest mean, in pixels, of ``images``' classes.

    The surrogate's margin is climbed in 10 steps of a quarter of eps, untargeted (transfer: Papernot et al. 2017).

    Args:
        images, labels: what the means are taken of; float32 (N, C, H, W) and int64 (N,).
        trial: what is attacked; its labels are among ``labels``.
    """
    classes, members = labels.unique(return_inverse=True)
    one_hot = F.one_hot(members, len(classes)).to(images)
    means = (one_hot.T @ images.flatten(1)) / one_hot.sum(0)[:, None]
    bias = -(means**2).sum(1) / 2
    surrogate = Victim(lambda points: points.flatten(1) @ means.T + bias, max(1, len(trial.images)))
    own = Trial(
        **{
            **vars(trial),
            "labels": torch.searchsorted(classes, trial.labels),
            "objective": Objective("margin"),
        }
    )
    return ascend(
        surrogate, own, norm=norm, steps=10, step_size=trial.eps / 4, random_start=False, best=False
    ).adversarial
