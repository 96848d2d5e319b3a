"""Steps of Hebbian rules for the units of a layer, from the patches that they read.

Each takes patches p (P, D), the drive u (P, C) of C units, and what else it reads, and returns the
change of the weights (C, D), up to the rate.
"""

from __future__ import annotations

from harness.lazy import torch

SMALLEST = 1e-30


def sanger(p: torch.Tensor, u: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Sanger's rule (1989): the units become the principal components, in order.

    With patches centred, dw_i = <u_i (p - sum_{j <= i} u_j w_j)>; for one unit it is Oja's (1982).
    Divided by the mean of |u|^2, so that no brightness of images makes it unstable.
    """
    p = p - p.mean(0)
    u = u - u.mean(0)
    power = u.square().sum().clamp_min(SMALLEST)
    return (u.T @ p - (u.T @ u).tril() @ weight) / power


def winners(u: torch.Tensor) -> torch.Tensor:
    """The drive where a unit is the most driven of all, else 0."""
    first = u.argmax(1, keepdim=True)
    return torch.zeros_like(u).scatter(1, first, u.gather(1, first))


def instar(p: torch.Tensor, u: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The winner moves towards its patch (Grossberg 1976): dw_j = sum y_j (p - w_j).

    A unit comes to rest at the mean of the patches that it wins, weighted by y.
    """
    y = winners(u)
    return y.T @ p - y.sum(0)[:, None] * weight


def losers_unlearn(y: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """Activity y (P, C), negative for all units but the most driven one."""
    winner = u.argmax(1, keepdim=True)
    return -y.scatter(1, winner, -y.gather(1, winner))


def soft(p: torch.Tensor, u: torch.Tensor, weight: torch.Tensor, gain: float) -> torch.Tensor:
    """SoftHebb (Journe et al. 2023, eq. 2): dw_j = sum y_j (p - u_j w_j), y = softmax(gain u).

    y counts as negative for all units but the winner. A winner comes to rest at length one.
    """
    y = losers_unlearn(torch.softmax(gain * u, 1), u)
    return y.T @ p - (y * u).sum(0)[:, None] * weight


def bcm(p: torch.Tensor, u: torch.Tensor, threshold: torch.Tensor, rate: float) -> torch.Tensor:
    """Bienenstock, Cooper & Munro (1982) for winners: dw_j = sum y_j (y_j - theta_j) p.

    The threshold (C,) first slides towards the mean of y_j^2 over all patches, in place. Units win
    few patches, so that it stays low: mostly this is Hebb's rule without decay.
    """
    y = winners(u)
    threshold.lerp_(y.square().mean(0), rate)
    return (y * (y - threshold)).T @ p


def by_largest(step: torch.Tensor) -> torch.Tensor:
    """The step divided by its largest entry."""
    return step / step.abs().max().clamp_min(SMALLEST)
