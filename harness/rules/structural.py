"""Structural plasticity: which synapses are removed, and where new ones grow."""

from __future__ import annotations

from harness.lazy import torch
from harness.rules.competition import Layer

VANISHED = 1e-30
"""A synapse weaker than this is removed: it has no effect, and float32 could soon not hold it."""


def prune(layer: Layer, threshold: float) -> int:
    """Remove weak synapses: w_ij < theta mean_j w, the mean taken over the neuron's live synapses.

    Synapses below ``VANISHED`` are always removed.

    Args:
        layer: E layers, changed in place.
        threshold: theta.

    Returns:
        The number of synapses removed.
    """
    live = layer.live
    mean = layer.weight.sum(2, keepdim=True) / live.sum(2, keepdim=True).clamp_min(1)
    too_weak = layer.weight < (threshold * mean).clamp_min_(VANISHED)
    removed = too_weak & live
    layer.weight.masked_fill_(removed, 0.0)
    return int(removed.sum())


def regrow(layer: Layer, count: int, generator: torch.Generator) -> int:
    """Grow synapses at random empty sites: w = 0.3 mean_j exp(0.5 xi), xi normal.

    Args:
        layer: A single layer (E = 1), changed in place.
        count: Number of synapses; fewer grow if there are fewer empty sites.
        generator: Draws the sites and xi.

    Returns:
        The number of synapses that grew.
    """
    weight = layer.weight[0]
    live = weight > 0
    lots = torch.rand(weight.shape, generator=generator).to(weight.device)
    lots.masked_fill_(live, -1.0)  # a site that is taken never wins
    count = min(count, int((~live).sum()))
    sites = lots.view(-1).topk(count).indices
    mean = weight.sum(1) / live.sum(1).clamp_min(1)
    xi = torch.randn(count, generator=generator).to(weight.device)
    neuron = sites // weight.shape[1]
    weight.view(-1)[sites] = 0.3 * mean[neuron] * (0.5 * xi).exp()
    return count


def statistics(layer: Layer) -> dict[str, float]:
    """Share of live synapses, and the standard deviation of log w over them."""
    live = layer.live
    return {
        "live": live.float().mean().item(),
        "sigma_log_w": layer.weight[live].log().std().item(),
    }
