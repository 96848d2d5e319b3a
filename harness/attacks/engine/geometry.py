"""Balls and the box: norms of perturbations, projections, steps, and random points."""

from __future__ import annotations

import numpy as np

from harness.lazy import torch
from harness.rng import Rng

SLACK = 2e-7
"""Part of an L1 budget that is not spent: what the float32 differences of images may add to the sum of the true ones."""


def norms(perturbation: torch.Tensor, norm: str) -> torch.Tensor:
    """Size of each perturbation, (B, ...) -> (B,): ``linf``, ``l2``, ``l1``, or ``l0`` (values changed)."""
    flat = perturbation.flatten(1)
    if norm == "l0":
        return (flat != 0).sum(1).float()
    if norm == "l1":  # float32 would round a sum over many pixels by more than a budget's tolerance
        return flat.abs().sum(1, dtype=torch.float64).float()
    return torch.linalg.vector_norm(flat, {"linf": float("inf"), "l2": 2}[norm], dim=1)


def column(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """(B,) to (B, 1, 1, ...), as many axes as ``like`` has."""
    return values.view(-1, *[1] * (like.dim() - 1))


def moved(centres: torch.Tensor, delta: torch.Tensor, norm: str) -> torch.Tensor:
    """``centres + delta`` in the box; in L1 no pixel is rounded away from its centre, lest many together leave the ball."""
    points = (centres + delta).clamp(0, 1)
    if norm != "l1":
        return points
    further = (points.double() - centres.double()).abs() > delta.double().abs()
    return torch.where(further, torch.nextafter(points, centres), points)


def project(points: torch.Tensor, centres: torch.Tensor, norm: str, eps: float) -> torch.Tensor:
    """Into the ball about each centre and the box [0, 1].

    In L1 to the nearest point of both. Otherwise into the ball, then into the box, which never leads out of the ball
    again: in Linf that is the nearest point too, in L2 only while the box does not bind.
    """
    if norm == "l1":
        return nearest(points, centres, norm, torch.full((len(points),), eps, device=points.device))
    delta = points - centres
    if norm == "linf":
        delta.clamp_(-eps, eps)
    else:
        size = norms(delta, "l2")
        delta *= column(torch.where(size > eps, eps / size, torch.ones_like(size)), delta)
    return delta.add_(centres).clamp_(0, 1)


def nearest(
    points: torch.Tensor, centres: torch.Tensor, norm: str, eps: torch.Tensor
) -> torch.Tensor:
    """The nearest point (in L2) that is both in the ball about the centre and in the box [0, 1].

    Args:
        points, centres: float32 (B, C, H, W); the centres are in the box.
        norm: ``linf``, ``l2`` or ``l1``.
        eps: (B,), each sample's budget.
    """
    delta = (points - centres).double()
    room = torch.where(delta > 0, 1 - centres.double(), centres.double())
    size = {"linf": _nearest_linf, "l2": _nearest_l2, "l1": _nearest_l1}[norm](
        delta.abs().flatten(1), room.flatten(1), eps.double()[:, None]
    )
    return moved(centres, (size.view_as(delta) * delta.sign()).to(centres.dtype), norm)


def _nearest_linf(size: torch.Tensor, room: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
    return torch.minimum(size, room).minimum(eps)


def _nearest_l2(size: torch.Tensor, room: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
    """``min(t size, room)`` with the t <= 1 that spends eps: t rises as pixels reach their end, until no more of them do."""
    inside = torch.minimum(size, room)
    outside = inside.square().sum(1, keepdim=True) > eps.square()
    full = torch.zeros_like(size, dtype=torch.bool)
    while True:
        left = (eps.square() - torch.where(full, room, 0).square().sum(1, keepdim=True)).clamp_min(
            0
        )
        scale = (left / torch.where(full, 0, size).square().sum(1, keepdim=True)).sqrt()
        reached = full | (outside & (scale * size > room))
        if torch.equal(reached, full):
            return torch.where(outside, torch.minimum(scale * size, room), inside)
        full = reached


def _nearest_l1(size: torch.Tensor, room: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
    """``clip(size - t, 0, room)`` with the t >= 0 that spends eps (Croce & Hein 2021, proposition 1).

    What is spent falls with t, in straight pieces: a pixel begins to lose at ``size - room`` and is at 0 at ``size``.
    """
    eps = (1 - SLACK) * eps
    inside = torch.minimum(size, room)
    knots, order = torch.cat([size - inside, size], 1).sort(1)
    pixels = size.shape[1]
    losing = (
        torch.where(order < pixels, 1.0, -1.0).to(size).cumsum(1)
    )  # pixels that lose after each knot
    lost = (losing[:, :-1] * knots.diff(dim=1)).cumsum(1)
    total = inside.sum(1, keepdim=True)
    spent = torch.cat([total, total - lost], 1)
    at = ((spent >= eps).sum(1, keepdim=True) - 1).clamp_min(
        0
    )  # the last knot at which too much is spent
    t = knots.gather(1, at) + (spent.gather(1, at) - eps) / losing.gather(1, at).clamp_min(1)
    return torch.where(total > eps, torch.minimum((size - t).clamp_min(0), room), inside)


def direction(gradient: torch.Tensor, norm: str) -> torch.Tensor:
    """The step of size 1 that climbs fastest: the sign (linf) or the unit vector (l2).

    Zero stays zero, and so does what is not finite. However small a gradient is, its step is not.
    """
    gradient = torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)
    if norm == "linf":
        return gradient.sign()
    largest = column(norms(gradient, "linf"), gradient)
    scaled = gradient / torch.where(
        largest > 0, largest, torch.ones_like(largest)
    )  # its squares cannot underflow
    size = column(norms(scaled, "l2"), gradient)
    return scaled / torch.where(size > 0, size, torch.ones_like(size))


def climb(
    points: torch.Tensor, gradient: torch.Tensor, norm: str, size: float | torch.Tensor
) -> torch.Tensor:
    """The points after the step of a size that climbs fastest; not projected.

    In L1 the pixels with the largest gradients move, one after the other, each to the end of its room in the box, until
    the size is spent: no step within the box gains more on a linear function. Steps spread over 1 % of the pixels (SLIDE,
    Tramer & Boneh 2019) broke as many samples of small networks on digits, steps spread over 5 to 20 % fewer.

    Args:
        size: of the step, in the norm: one for all, or (B,).
    """
    if norm != "l1":
        return points + (
            column(size, points) if isinstance(size, torch.Tensor) else size
        ) * direction(gradient, norm)
    gradient = torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0).flatten(1)
    steepness, order = gradient.abs().sort(dim=1, descending=True, stable=True)
    size = torch.as_tensor(size, dtype=torch.float64, device=points.device).reshape(-1, 1)
    flat = points.flatten(1)
    room = torch.where(gradient > 0, 1 - flat, flat).double().gather(1, order)
    most = torch.where(steepness > 0, room, 0)
    amount = (size - (most.cumsum(1) - most)).clamp_min(0).minimum(most)
    step = torch.zeros_like(amount).scatter(1, order, amount).to(flat.dtype) * gradient.sign()
    return points + step.view_as(points)


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
    from scipy.special import ndtri, xlogy

    # A direction, Gaussian (L2) or Laplacian (L1), and a radius u^(1/d): uniform in the ball. scipy's functions work
    # value by value, so that no vectorised tail can make a sample's noise depend on its place in the batch.
    centred = uniform.reshape(len(identity), -1).astype(np.float64) + 2**-24
    if norm == "l2":
        ray = ndtri((centred + 1) / 2)
        length = np.sqrt(np.einsum("ij,ij->i", ray, ray))[:, None]
    else:
        ray = np.sign(centred) * xlogy(-1.0, np.abs(centred))
        length = np.abs(ray).sum(1)[:, None] / (1 - SLACK)
    radius = (
        rng.per_sample_uniform("start radius", identity, restart, (1,)).astype(np.float64) / 2 + 0.5
    )
    delta = ray / length * radius ** (1 / ray.shape[1])
    return torch.from_numpy(delta.reshape(uniform.shape).astype(np.float32)) * eps
