"""Balls and the box: norms of perturbations, projections, steps, and random points."""

from __future__ import annotations

import numpy as np

from harness.lazy import torch
from harness.rng import Rng


def norms(perturbation: torch.Tensor, norm: str) -> torch.Tensor:
    """Size of each perturbation, (B, ...) -> (B,): ``linf``, ``l2``, ``l1``, or ``l0`` (values changed)."""
    flat = perturbation.flatten(1)
    if norm == "l0":
        return (flat != 0).sum(1).float()
    return torch.linalg.vector_norm(flat, {"linf": float("inf"), "l2": 2, "l1": 1}[norm], dim=1)


def column(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """(B,) to (B, 1, 1, ...), as many axes as ``like`` has."""
    return values.view(-1, *[1] * (like.dim() - 1))


def project(points: torch.Tensor, centres: torch.Tensor, norm: str, eps: float) -> torch.Tensor:
    """Into the ball about each centre, then into the box [0, 1] (which never leads out of the ball again)."""
    delta = points - centres
    if norm == "linf":
        delta = delta.clamp(-eps, eps)
    else:
        size = norms(delta, "l2")
        delta = delta * column(torch.where(size > eps, eps / size, torch.ones_like(size)), delta)
    return (centres + delta).clamp(0, 1)


def direction(gradient: torch.Tensor, norm: str) -> torch.Tensor:
    """The step of size 1 that climbs fastest: the sign (linf) or the unit vector (l2).

    Zero stays zero, and so does what is not finite. However small a gradient is, its step is not.
    """
    gradient = torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)
    if norm == "linf":
        return gradient.sign()
    largest = column(norms(gradient, "linf"), gradient)
    scaled = gradient / torch.where(largest > 0, largest, torch.ones_like(largest))  # its squares cannot underflow
    size = column(norms(scaled, "l2"), gradient)
    return scaled / torch.where(size > 0, size, torch.ones_like(size))


def random_in_ball(
    rng: Rng, identity: np.ndarray, restart: int, shape: tuple[int, ...], norm: str, eps: float
) -> torch.Tensor:
    """A uniform point of the ball for each sample: a function of the sample and of ``restart``, scaled by ``eps``.

    Args:
        identity: int (B,).
        shape: of one sample.

    Returns:
        float32 (B, *shape).
    """
    uniform = rng.per_sample_uniform("start", identity, restart, shape)
    if norm == "linf":
        return torch.from_numpy(uniform) * eps
    from scipy.special import ndtri

    # A Gaussian direction, and a radius u^(1/d): uniform in the ball. ndtri works value by value, so that no vectorised
    # tail can make a sample's noise depend on its place in the batch.
    gauss = ndtri((uniform.reshape(len(identity), -1).astype(np.float64) + 1 + 2**-24) / 2)
    radius = rng.per_sample_uniform("start radius", identity, restart, (1,)).astype(np.float64) / 2 + 0.5
    length = np.sqrt(np.einsum("ij,ij->i", gauss, gauss))[:, None]
    delta = gauss / length * radius ** (1 / gauss.shape[1])
    return torch.from_numpy(delta.reshape(uniform.shape).astype(np.float32)) * eps
