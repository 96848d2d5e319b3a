"""Synaptic plasticity of the excitatory competitive Hebbian rule (ECH): local, without labels.

A weight changes only by w <- w exp(D) with a clipped log-step D, so its sign cannot change. A
synapse that does not exist has the weight 0, and the same product keeps it at 0.

Sources: soft winner-take-all with instar learning as in SoftHebb (Moraitis et al. 2022);
exponentiated update as in Cornford et al. 2024. The combination, the noise in log space and the
pruning numbers are this project's reconstruction.
"""

from __future__ import annotations

from typing import Protocol

from harness.lazy import torch
from harness.rules.competition import Layer, compete, drive
from harness.rules.surprise import Traces, log_weight


class Rates(Protocol):
    """The numbers that plasticity reads; a learner's config has them."""

    @property
    def eta(self) -> float:
        """Hebbian rate."""
        ...

    @property
    def offset(self) -> float:
        """The c of the log-step's denominator."""
        ...

    @property
    def surprise(self) -> float | None:
        """The lambda of ``surprise_delta``; None for ``hebbian_delta``."""
        ...

    @property
    def clip(self) -> float:
        """Largest log-step."""
        ...

    @property
    def maintenance(self) -> float:
        """The lambda of the pull to the mean, per step."""
        ...

    @property
    def noise(self) -> float:
        """The nu of spine noise, per step."""
        ...

    @property
    def turnover_every(self) -> int:
        """Steps between two rounds of maintenance and noise."""
        ...

    @property
    def homeostasis(self) -> float:
        """Rate of the thresholds."""
        ...

    @property
    def synaptic_scaling(self) -> bool:
        """Whether drives are divided by the length of the neuron's weights."""
        ...


def hebbian_delta(
    layer: Layer, inputs: torch.Tensor, q: torch.Tensor, rate: float, offset: float
) -> torch.Tensor:
    """The Hebbian log-step D_ij = s_j (a_ij - m_j w_ij) / (m_j (w_ij + c)).

    Here a_ij = <q_j x_i> and m_j = <q_j> are means over the batch, and s_j = eta min(1, H m_j). It
    is computed as (s a / m + s c) / (w + c) - s, which needs one product and few passes over
    memory. Its fixed point is w_ij = E[q_j x_i] / E[q_j].

    Args:
        layer: E layers.
        inputs: x, (E, B, n).
        q: Responses, (E, B, H).
        rate: eta.
        offset: c.

    Returns:
        D, (E, H, n), in a work array of ``layer``.
    """
    change, denominator = layer.scratch()
    s, weighted = _pull(q, rate)
    torch.bmm(weighted.transpose(1, 2), inputs, out=change)  # s a / m
    change.add_(s * offset)  # + s c
    torch.add(layer.weight, offset, out=denominator)  # w + c
    return torch.addcdiv(-s, change, denominator, out=change)


def _pull(q: torch.Tensor, rate: float) -> tuple[torch.Tensor, torch.Tensor]:
    """How far a neuron moves, s_j (E, H, 1), and the share of it that each input has, (E, B, H)."""
    batch, width = q.shape[1:]
    m = q.mean(1)
    s = m.mul(width).clamp_(max=1.0).mul_(rate).unsqueeze(2)  # s_j
    # s_j / (m_j B) = rate min(1 / m_j, H) / B
    s_over_sum = m.reciprocal_().clamp_(max=float(width)).mul_(rate / batch)
    return s, q * s_over_sum.unsqueeze(1)


def surprise_delta(
    layer: Layer, inputs: torch.Tensor, q: torch.Tensor, rate: float, offset: float, scale: float
) -> torch.Tensor:
    """The log-step towards the lognormal weights of ``harness.rules.surprise``.

        D_ij = s_j (g_ij - log w_ij - const_j), e_ij <- e_ij + s_j (a_ij / m_j - e_ij)

    Here g is ``surprise.log_weight`` of the traces, s_j, a_ij and m_j are those of
    ``hebbian_delta``, and const_j is such that the mean of D over the neuron's live synapses is 0.

    Args:
        layer: E layers; their traces change in place.
        inputs: x, (E, B, n).
        q: Responses, (E, B, H).
        rate: eta.
        offset: c.
        scale: lambda.

    Returns:
        D, (E, H, n), in a work array of ``layer``; it means nothing at synapses that do not exist.
    """
    change, logs = layer.scratch()
    if layer.traces is None:
        layer.traces = Traces.before(layer.weight)
    traces = layer.traces
    traces.see(inputs)
    s, weighted = _pull(q, rate)
    traces.given_win.mul_(1 - s).baddbmm_(weighted.transpose(1, 2), inputs)
    live = layer.live
    traces.given_win.mul_(live)  # where there is no synapse, nothing remembers
    mean, deviation = traces.mean.unsqueeze(1), traces.deviation.unsqueeze(1)
    torch.log(torch.where(live, layer.weight, 1.0), out=logs)
    torch.sub(log_weight(traces.given_win, mean, deviation, scale, offset), logs, out=change)
    change.mul_(live)
    change.sub_(change.sum(2, keepdim=True) / live.sum(2, keepdim=True).clamp_min(1))
    return change.mul_(s)


def log_step(
    layer: Layer, inputs: torch.Tensor, q: torch.Tensor, rate: float, rates: Rates
) -> torch.Tensor:
    """The log-step of the configured rule, at the Hebbian rate ``rate``."""
    if rates.surprise is None:
        return hebbian_delta(layer, inputs, q, rate, rates.offset)
    return surprise_delta(layer, inputs, q, rate, rates.offset, rates.surprise)


def add_turnover(
    layer: Layer, change: torch.Tensor, rates: Rates, generator: torch.Generator
) -> None:
    """Add maintenance and spine noise to the log-step ``change``.

    Together they are an Ornstein-Uhlenbeck process in log w, with xi normal:

        D_ij <- D_ij - lambda (log w_ij - log mean_j w) + nu xi_ij

    Called every k = ``turnover_every`` steps, it adds what k steps would have added: k lambda and
    sqrt(k) nu. All layers share the noise, so no layer depends on the number of the others.
    """
    every = rates.turnover_every
    if rates.maintenance:
        log_ratio = layer.scratch()[1]
        mean = layer.weight.sum(2, keepdim=True) / layer.live.sum(2, keepdim=True).clamp_min(1)
        # -inf for synapses that do not exist; their weight is then 0 * exp(clip) = 0.
        torch.log(layer.weight, out=log_ratio).sub_(mean.log_())
        change.sub_(log_ratio, alpha=rates.maintenance * every)
    if rates.noise:
        xi = torch.randn(layer.weight.shape[1:], generator=generator).to(change.device)
        change.add_(xi, alpha=rates.noise * every**0.5)


def apply_log_step(layer: Layer, change: torch.Tensor, clip: float) -> None:
    """Let w <- w exp(D), D clipped to [-clip, clip]: the only way in which a synapse changes."""
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
    """Take one plastic step on a batch.

    Weights change by ``log_step`` and ``add_turnover``. Thresholds follow the responses,
    b_j <- b_j + h f (<q_j> - 1 / H), so that all neurons win equally often.

    Args:
        layer: E layers, changed in place.
        inputs: x, (E, B, n).
        temperature: T of the competition.
        fade: f, from 1 at the start of training to 0 at its end; scales the Hebbian and the
            homeostatic rate.
        rates: The other numbers.
        noise: Draws the spine noise.
        gate: (E, B), how strongly the layer responds to each input, with mean 1 over the batch;
            None for equally to all.

    Returns:
        (E,), the batch mean of sum_j q_j u_j: the cosine of an input with its winners.
    """
    u = drive(layer, inputs, rates.synaptic_scaling)
    q = compete(layer, u, temperature)
    if gate is not None:
        q.mul_(gate.unsqueeze(2))
    change = log_step(layer, inputs, q, rates.eta * fade, rates)
    layer.step += 1
    has_turnover = rates.maintenance or rates.noise
    if has_turnover and layer.step % rates.turnover_every == 0:
        add_turnover(layer, change, rates, noise)
    apply_log_step(layer, change, rates.clip)
    batch, width = q.shape[1:]
    surplus = q.mean(1).sub_(1.0 / width)
    layer.threshold.add_(surplus, alpha=rates.homeostasis * fade)
    return torch.einsum("ebh,ebh->e", q, u) / batch


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
    """Take one supervised step: the error that reaches a neuron gates its Hebbian term.

        g_j = q_j e_j,  D_ij = eta_3 (<g_j x_i> - <g_j> w_ij) / (<|g_j|> (w_ij + c))

    The error e is first centred over the neurons and divided by its RMS over batch and neurons.
    The division does not change D, whose scale <|g_j|> cancels; it keeps the numbers moderate.

    Args:
        layer: E layers, changed in place.
        inputs: x, (E, B, n).
        error: What reaches each neuron, (E, B, H).
        rate: eta_3.
        temperature: T of the competition q = softmax(T (u - b)).
        offset: c.
        scaling: Whether drives are divided by the length of the neuron's weights.
        clip: Largest log-step.
    """
    e = error - error.mean(2, keepdim=True)
    e = e / e.square().mean((1, 2), keepdim=True).sqrt().clamp_min(1e-12)
    q = compete(layer, drive(layer, inputs, scaling), temperature)
    g = q * e
    change, denominator = layer.scratch()
    size = g.abs().sum(1).clamp_min(1e-12)  # B <|g_j|>
    normalised = (g / size.unsqueeze(1)).transpose(1, 2)
    torch.bmm(normalised, inputs, out=change)  # <g x> / <|g|>
    change.addcmul_(layer.weight, (g.sum(1) / size).unsqueeze(2), value=-1.0)  # - <g> w / <|g|>
    torch.add(layer.weight, offset, out=denominator)  # w + c
    change.div_(denominator).mul_(rate)
    apply_log_step(layer, change, clip)
