"""Hidden plasticity of the excitatory competitive Hebbian rule (ECH): local, without labels.

Every function acts on E layers at once that learn side by side (E = 1 in ordinary training, E = episodes in few-shot
adaptation). A weight changes only by w <- w * exp(delta) with a clipped delta: its sign cannot change, whatever the
step. A synapse that does not exist has the weight 0, which the same product leaves at 0.

Sources: soft winner-take-all with instar learning as in SoftHebb (Moraitis et al. 2022); exponentiated update as in
Cornford et al. 2024; the combination, the log-space noise and the pruning numbers are this project's reconstruction.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from harness.lazy import torch

VANISHED = 1e-30
"""A synapse weaker than this is removed: float32 could not carry it on, and no neuron would notice it."""


class Rates(Protocol):
    """The numbers that hidden plasticity reads; a learner's config has them."""

    eta: float
    offset: float
    clip: float
    maintenance: float
    noise: float
    turnover_every: int
    homeostasis: float
    synaptic_scaling: bool


@dataclass
class Layer:
    """E competitive layers of H neurons on n inputs.

    Attributes:
        weight: (E, H, n) > 0 on existing synapses, 0 elsewhere.
        threshold: (E, H), the homeostatic b.
        step: number of plastic steps taken.
    """

    weight: torch.Tensor
    threshold: torch.Tensor
    step: int = 0
    _scratch: tuple[torch.Tensor, ...] = field(default=(), repr=False)

    @property
    def live(self) -> torch.Tensor:
        """Bool (E, H, n): the synapses that exist."""
        return self.weight > 0

    def scratch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Two work arrays of the weights' shape, kept between steps."""
        if not self._scratch:
            self._scratch = (torch.empty_like(self.weight), torch.empty_like(self.weight))
        return self._scratch


def drive(layer: Layer, inputs: torch.Tensor, scaling: bool = True) -> torch.Tensor:
    """u_j = w_j . x / |w_j| (synaptic scaling at read time): inputs (E, B, n) -> (E, B, H)."""
    u = torch.bmm(inputs, layer.weight.transpose(1, 2))
    return (
        u.div_(torch.linalg.vector_norm(layer.weight, dim=2).add_(1e-12).unsqueeze(1))
        if scaling
        else u
    )


def compete(layer: Layer, u: torch.Tensor, temperature: float) -> torch.Tensor:
    """Q = softmax_j(T (u - b)), (E, B, H)."""
    return torch.softmax((u - layer.threshold.unsqueeze(1)).mul_(temperature), dim=2)


def hebbian_delta(
    layer: Layer, inputs: torch.Tensor, q: torch.Tensor, rate: float, offset: float
) -> torch.Tensor:
    """The log-step D_ij = s_j (a_ij - m_j w_ij) / (m_j (w_ij + c)), s_j = rate min(1, H m_j), in a work array.

    a_ij = <q_j x_i> and m_j = <q_j> are batch means. It is computed as (s a / m + s c) / (w + c) - s: one product and a
    few passes. Its fixed point is w_ij = E[q_j x_i] / E[q_j].
    """
    change, below = layer.scratch()
    width = q.shape[2]
    mean = q.mean(1)
    step = mean.mul(width).clamp_(max=1.0).mul_(rate).unsqueeze(2)
    per_win = mean.reciprocal_().clamp_(max=float(width)).mul_(rate / q.shape[1])
    torch.bmm((q * per_win.unsqueeze(1)).transpose(1, 2), inputs, out=change)
    change.add_(step * offset)
    torch.add(layer.weight, offset, out=below)
    return torch.addcdiv(-step, change, below, out=change)


def turn_over(layer: Layer, change: torch.Tensor, rates: Rates, noise: torch.Generator) -> None:
    """Add maintenance and spine noise, together an Ornstein-Uhlenbeck process in log w, to the log-step ``change``.

    D_ij -= lambda (log w_ij - log mean_j w), D_ij += nu xi. It runs every ``turnover_every`` steps with as much as those
    steps would have brought. All layers share the noise, so that no layer's course depends on its neighbours.
    """
    every = rates.turnover_every
    if rates.maintenance:
        above = layer.scratch()[1]
        mean = layer.weight.sum(2, keepdim=True) / layer.live.sum(2, keepdim=True).clamp_min(1)
        torch.log(layer.weight, out=above).sub_(
            mean.log_()
        )  # -inf where no synapse is; 0 * exp(clip) stays 0
        change.sub_(above, alpha=rates.maintenance * every)
    if rates.noise:
        xi = torch.randn(layer.weight.shape[1:], generator=noise).to(change.device)
        change.add_(xi, alpha=rates.noise * every**0.5)


def grow(layer: Layer, change: torch.Tensor, clip: float) -> None:
    """W <- w exp(clip(D)): the only way in which a weight ever changes while its synapse exists."""
    layer.weight.mul_(change.clamp_(-clip, clip).exp_())


def learn(
    layer: Layer,
    inputs: torch.Tensor,
    temperature: float,
    fade: float,
    rates: Rates,
    noise: torch.Generator,
    gate: torch.Tensor | None = None,
) -> torch.Tensor:
    """One plastic step on a batch (E, B, n).

    Args:
        temperature: T of the competition.
        fade: f, from 1 at the start of training to 0 at its end; scales Hebb and homeostasis.
        noise: generator of the spine noise.
        gate: (E, B), how strongly the layer responds to each input at all, mean 1 over the batch; None: alike to all.

    Returns:
        (E,) mean over the batch of sum_j q_j u_j: how much of an image its winners explain (1: they equal it).
    """
    u = drive(layer, inputs, rates.synaptic_scaling)
    q = compete(layer, u, temperature)
    if gate is not None:
        q.mul_(gate.unsqueeze(2))
    change = hebbian_delta(layer, inputs, q, rates.eta * fade, rates.offset)
    layer.step += 1
    if (rates.maintenance or rates.noise) and layer.step % rates.turnover_every == 0:
        turn_over(layer, change, rates, noise)
    grow(layer, change, rates.clip)
    layer.threshold.add_(q.mean(1).sub_(1.0 / q.shape[2]), alpha=rates.homeostasis * fade)
    return torch.einsum("ebh,ebh->e", q, u) / q.shape[1]


def third_factor(
    layer: Layer,
    inputs: torch.Tensor,
    error: torch.Tensor,
    rate: float,
    temperature: float,
    offset: float,
    scaling: bool,
    clip: float = 0.3,
) -> None:
    """One supervised step: the error arriving at each neuron gates its Hebbian term.

    q~ = q(T) e; D_ij = rate (<q~_j x_i> - <q~_j> w_ij) / (<|q~_j|> (w_ij + c)).

    Args:
        error: (E, B, H), what reaches each hidden neuron; centred over neurons and divided by its RMS here.
    """
    error = error - error.mean(2, keepdim=True)
    error = error / error.square().mean((1, 2), keepdim=True).sqrt().clamp_min(1e-12)
    gated = compete(layer, drive(layer, inputs, scaling), temperature) * error
    change, below = layer.scratch()
    size = gated.abs().sum(1).clamp_min(1e-12)
    torch.bmm((gated / size.unsqueeze(1)).transpose(1, 2), inputs, out=change)
    change.addcmul_(layer.weight, (gated.sum(1) / size).unsqueeze(2), value=-1.0)
    grow(layer, change.div_(torch.add(layer.weight, offset, out=below)).mul_(rate), clip)


def prune(layer: Layer, below: float) -> int:
    """Remove live synapses below ``below`` times their neuron's mean live weight, and vanished ones; how many."""
    live = layer.live
    mean = layer.weight.sum(2, keepdim=True) / live.sum(2, keepdim=True).clamp_min(1)
    gone = (layer.weight < (below * mean).clamp_min_(VANISHED)) & live
    layer.weight.masked_fill_(gone, 0.0)
    return int(gone.sum())


def regrow(layer: Layer, count: int, generator: torch.Generator) -> int:
    """Up to ``count`` new synapses at random empty sites of a single layer, w = 0.3 mean_j exp(0.5 xi); how many."""
    weight = layer.weight[0]
    live = weight > 0
    lottery = (
        torch.rand(weight.shape, generator=generator).to(weight.device).masked_fill_(live, -1.0)
    )
    count = min(count, int((~live).sum()))
    sites = lottery.view(-1).topk(count).indices
    mean = weight.sum(1) / live.sum(1).clamp_min(1)
    xi = torch.randn(count, generator=generator).to(weight.device)
    weight.view(-1)[sites] = 0.3 * mean[sites // weight.shape[1]] * (0.5 * xi).exp()
    return count
