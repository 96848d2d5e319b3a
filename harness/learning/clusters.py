"""Spherical k-means (Dhillon & Modha 2001), in passes over all inputs and online."""

from __future__ import annotations

from harness.lazy import F, torch

ASSIGN_BATCH = 4096
"""Inputs that are compared with all centres at once."""


def kmeans_step(
    inputs: torch.Tensor, centres: torch.Tensor, spare: torch.Tensor
) -> tuple[torch.Tensor, float]:
    """One pass of spherical k-means.

    Each input is assigned to the centre with the largest cosine, and each centre becomes the mean
    direction of its inputs.

    Args:
        inputs: (N, n) of length one, or 0 (a black image); non-negative.
        centres: (H, n) of length one, or 0.
        spare: (H, n), the new centres of those that no input was assigned to.

    Returns:
        Centres (H, n), and the mean cosine of the inputs with the centres they were assigned to.
    """
    sums = torch.zeros_like(centres, dtype=torch.float64)
    total_cosine = 0.0
    for batch in inputs.split(ASSIGN_BATCH):
        cosine, nearest = (batch @ centres.T).max(1)
        sums.index_add_(0, nearest, batch.double())
        total_cosine += cosine.sum().item()
    length = torch.linalg.vector_norm(sums, dim=1, keepdim=True)
    means = (sums / length.clamp_min(1e-12)).to(centres.dtype)
    return torch.where(length > 0, means, spare), total_cosine / len(inputs)


def cluster_means(inputs: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    """Mean of the inputs (N, n) nearest to each centre (H, n); a centre without any stays."""
    nearest = torch.cat([(batch @ centres.T).argmax(1) for batch in inputs.split(ASSIGN_BATCH)])
    sums = torch.zeros_like(centres, dtype=torch.float64).index_add_(0, nearest, inputs.double())
    count = torch.bincount(nearest, minlength=len(centres))[:, None]
    return torch.where(count > 0, (sums / count.clamp_min(1)).to(centres.dtype), centres)


def moved(
    centres: torch.Tensor, counts: torch.Tensor, inputs: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Online k-means: every centre is the mean of the inputs that were nearest to it so far.

    Args:
        centres: (H, n), compared by their direction.
        counts: (H,), inputs that each is the mean of.
        inputs: (B, n) of length one; compared with the centres of before.

    Returns:
        Centres and counts.
    """
    directions = F.normalize(centres, dim=1)
    nearest = (inputs @ directions.T).argmax(1)
    came = torch.zeros_like(counts).index_add_(0, nearest, counts.new_ones(len(inputs)))
    sums = torch.zeros_like(centres).index_add_(0, nearest, inputs)
    counts = counts + came
    excess = sums - came.to(centres.dtype)[:, None] * centres
    return centres + excess / counts.clamp_min(1).to(centres.dtype)[:, None], counts


def draw_rows(n: int, count: int, generator: torch.Generator) -> torch.Tensor:
    """Draw ``count`` rows out of n; each row comes once before any comes again."""
    rows = torch.randperm(n, generator=generator)
    return rows.repeat(-(-count // n))[:count]
