"""Read-outs of a sparse code for E tasks at once: excitatory ones (three factors, or by trial) and one-shot ones.

Shapes: codes h (E, S, H), labels (E, S), weights V (E, H, C).
"""

from __future__ import annotations

from harness.lazy import F, torch


def logits(codes: torch.Tensor, weight: torch.Tensor, gain: float) -> torch.Tensor:
    """o_c = g (h . V_c - mean over c' of h . V_c')."""
    o = torch.bmm(codes, weight)
    return (o - o.mean(2, keepdim=True)).mul_(gain)


def delta_drive(
    codes: torch.Tensor, targets: torch.Tensor, weight: torch.Tensor, gain: float
) -> torch.Tensor:
    """G_jc = <h_j (t_c - p_c)>: presynaptic activity times the error of the target neuron."""
    error = targets - torch.softmax(logits(codes, weight, gain), dim=2)
    return torch.bmm(codes.transpose(1, 2), error) / codes.shape[1]


def perturbation_drive(
    codes: torch.Tensor,
    targets: torch.Tensor,
    weight: torch.Tensor,
    gain: float,
    sigma: float,
    trials: int,
    generator: torch.Generator,
) -> torch.Tensor:
    """-dL/dlog V of the cross-entropy from losses alone: mean of -(L(V e^{s xi}) - L(V e^{-s xi})) xi / (2 s).

    Weight perturbation, as the authors' ancestor rule is described to use it, but in log space, so that weights stay
    excitatory. Tasks share the perturbations.
    """
    estimate = torch.zeros_like(weight)
    for _ in range(trials):
        xi = torch.randn(weight.shape[1:], generator=generator).to(weight.device)
        factor = (sigma * xi).exp_()
        up = cross_entropy(codes, targets, weight * factor, gain)
        down = cross_entropy(codes, targets, weight / factor, gain)
        estimate.add_(((down - up) / (2 * sigma * trials)).view(-1, 1, 1) * xi)
    return estimate


def cross_entropy(
    codes: torch.Tensor, targets: torch.Tensor, weight: torch.Tensor, gain: float
) -> torch.Tensor:
    """(E,) mean cross-entropy against one-hot targets (E, S, C)."""
    return -(targets * F.log_softmax(logits(codes, weight, gain), dim=2)).sum(2).mean(1)


def step(weight: torch.Tensor, push: torch.Tensor, rate: float, clip: float) -> None:
    """V <- V exp(clip(rate G / rms(G))) in place, rms over each task's G."""
    rms = push.square().mean((1, 2), keepdim=True).sqrt_().clamp_min_(1e-12)
    weight.mul_((push / rms).mul_(rate).clamp_(-clip, clip).exp_())


def one_hot(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """int64 (E, S) -> float32 (E, S, C)."""
    return F.one_hot(labels, classes).to(torch.float32)


def class_means(codes: torch.Tensor, labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Mean code of each class, (E, C, H): one-shot Hebbian imprinting of <h_j t_c> / <t_c>."""
    targets = one_hot(labels, classes)
    return torch.bmm(targets.transpose(1, 2), codes) / targets.sum(1).clamp_min_(1.0).unsqueeze(2)
