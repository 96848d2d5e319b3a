"""Geometry of budgets: norms, projections, steepest steps, and random points of a ball.

Throughout, (B, ...) tensors hold one sample a row, pixels are in the box [0, 1], and budgets are in
pixel units.
"""

from __future__ import annotations

import numpy as np

from harness.lazy import torch
from harness.rng import Rng

DUAL = {"linf": "l1", "l2": "l2", "l1": "linf"}
"""Norm of the perturbation -> norm of the gradient that turns a margin into a distance."""

SLACK = 2e-7
"""Share of an L1 budget that stays unspent, because float32 differences add up to a little more."""


def norms(perturbation: torch.Tensor, norm: str) -> torch.Tensor:
    """Size of each perturbation, (B, ...) to (B,).

    Args:
        perturbation: float32 (B, ...).
        norm: ``linf``, ``l2``, ``l1`` or ``l0`` (number of changed values).

    >>> import torch
    >>> delta = torch.tensor([[3.0, 0.0, -4.0]])
    >>> [norms(delta, norm).item() for norm in ("linf", "l2", "l1", "l0")]
    [4.0, 5.0, 7.0, 2.0]
    """
    flat = perturbation.flatten(1)
    if norm == "l0":
        return (flat != 0).sum(1).float()
    if norm == "l1":
        # In float32 a sum over many pixels would be off by more than a budget's tolerance.
        return flat.abs().sum(1, dtype=torch.float64).float()
    if norm == "linf":
        return flat.abs().amax(1)  # several times as fast as vector_norm
    size: torch.Tensor = torch.linalg.vector_norm(flat, dim=1)
    return size


def column(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Reshape (B,) to (B, 1, 1, ...), so that it broadcasts against ``like`` (B, ...)."""
    return values.view(-1, *[1] * (like.dim() - 1))


def finite(gradient: torch.Tensor) -> torch.Tensor:
    """The gradient with NaN and infinities set to zero."""
    return torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)


# -------------------------------------------------------------------------------------- projections


def apply_delta(centres: torch.Tensor, delta: torch.Tensor, norm: str) -> torch.Tensor:
    """``centres + delta``, clipped to the box.

    In L1 no pixel is rounded away from its centre: many such roundings together would leave the
    ball.
    """
    points = (centres + delta).clamp(0, 1)
    if norm != "l1":
        return points
    too_far = (points.double() - centres.double()).abs() > delta.double().abs()
    return torch.where(too_far, torch.nextafter(points, centres), points)


def project(points: torch.Tensor, centres: torch.Tensor, norm: str, eps: float) -> torch.Tensor:
    """Project into the ball around each centre and into the box.

    In L1 this is the nearest point of both. Otherwise points are projected into the ball, then
    clipped to the box, which never leaves the ball again. In Linf that is the nearest point too; in
    L2 only while the box does not bind.

    Args:
        points: float32 (B, C, H, W).
        centres: float32 (B, C, H, W), in the box.
        norm: ``linf``, ``l2`` or ``l1``.
        eps: radius of every ball.
    """
    if norm == "l1":
        budgets = torch.full((len(points),), eps, device=points.device)
        return project_exactly(points, centres, norm, budgets)
    delta = points - centres
    if norm == "linf":
        delta.clamp_(-eps, eps)
    else:
        size = norms(delta, "l2")
        factor = torch.where(size > eps, eps / size, torch.ones_like(size))
        delta *= column(factor, delta)
    return delta.add_(centres).clamp_(0, 1)


def project_exactly(
    points: torch.Tensor, centres: torch.Tensor, norm: str, eps: torch.Tensor
) -> torch.Tensor:
    """The nearest point (in L2) of the intersection of ball and box.

    Args:
        points: float32 (B, C, H, W).
        centres: float32 (B, C, H, W), in the box.
        norm: ``linf``, ``l2`` or ``l1``.
        eps: (B,), radius of each ball.
    """
    delta = (points - centres).double()
    room = torch.where(delta > 0, 1 - centres.double(), centres.double())
    shrink = {"linf": _shrink_linf, "l2": _shrink_l2, "l1": _shrink_l1}[norm]
    size = shrink(delta.abs().flatten(1), room.flatten(1), eps.double()[:, None])
    nearest = (size.view_as(delta) * delta.sign()).to(centres.dtype)
    return apply_delta(centres, nearest, norm)


# The three functions below take float64 tensors: ``size`` (B, P), the distance of each pixel from
# its centre; ``room`` (B, P), how far it may go before it leaves the box; ``eps`` (B, 1). They give
# the distances of the nearest feasible point, (B, P).


def _shrink_linf(size: torch.Tensor, room: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
    return torch.minimum(size, room).minimum(eps)


def _shrink_l2(size: torch.Tensor, room: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
    """``min(t size, room)`` with the factor t <= 1 that spends eps exactly.

    Pixels that reach the end of their room leave budget to the others, so t rises until no more do.
    """
    inside = torch.minimum(size, room)
    outside = inside.square().sum(1, keepdim=True) > eps.square()
    full = torch.zeros_like(size, dtype=torch.bool)
    while True:
        spent = torch.where(full, room, 0).square().sum(1, keepdim=True)
        left = (eps.square() - spent).clamp_min(0)
        free = torch.where(full, 0, size).square().sum(1, keepdim=True)
        scale = (left / free).sqrt()
        reached = full | (outside & (scale * size > room))
        if torch.equal(reached, full):
            return torch.where(outside, torch.minimum(scale * size, room), inside)
        full = reached


def _shrink_l1(size: torch.Tensor, room: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
    """``clip(size - t, 0, room)`` with the threshold t >= 0 that spends eps exactly.

    Croce & Hein 2021, proposition 1. The sum falls with t, piecewise linearly: a pixel begins to
    shrink at t = size - room and is zero at t = size. These knots are sorted, and the piece on
    which the sum passes eps is found.
    """
    eps = (1 - SLACK) * eps
    inside = torch.minimum(size, room)
    knots, order = torch.cat([size - inside, size], 1).sort(1)
    pixels = size.shape[1]
    begins_or_ends = torch.where(order < pixels, 1.0, -1.0).to(size)
    shrinking = begins_or_ends.cumsum(1)  # number of pixels that shrink after each knot
    lost = (shrinking[:, :-1] * knots.diff(dim=1)).cumsum(1)
    total = inside.sum(1, keepdim=True)
    spent = torch.cat([total, total - lost], 1)
    last_above = ((spent >= eps).sum(1, keepdim=True) - 1).clamp_min(0)
    excess = spent.gather(1, last_above) - eps
    slope = shrinking.gather(1, last_above).clamp_min(1)
    threshold = knots.gather(1, last_above) + excess / slope
    shrunk = torch.minimum((size - threshold).clamp_min(0), room)
    return torch.where(total > eps, shrunk, inside)


# -------------------------------------------------------------------------------------------- steps


def steepest_direction(gradient: torch.Tensor, norm: str) -> torch.Tensor:
    """The step of size 1 that climbs fastest: the sign (``linf``) or the unit vector (``l2``).

    Zeros and values that are not finite give zero. However small a gradient is, its step has size
    1.

    >>> import torch
    >>> steepest_direction(torch.tensor([[3e-30, -4e-30]]), "linf").tolist()
    [[1.0, -1.0]]
    """
    gradient = finite(gradient)
    if norm == "linf":
        return gradient.sign_()  # finite() made a copy
    largest = column(norms(gradient, "linf"), gradient)
    # Scaled to a largest value of 1 first, because the squares of small gradients underflow.
    scaled = gradient / torch.where(largest > 0, largest, torch.ones_like(largest))
    size = column(norms(scaled, "l2"), gradient)
    return scaled / torch.where(size > 0, size, torch.ones_like(size))


def steepest_step(
    points: torch.Tensor, gradient: torch.Tensor, norm: str, size: float | torch.Tensor
) -> torch.Tensor:
    """Move the points by the step of a given size that climbs fastest. They are not projected.

    In L1 the pixels with the largest gradients move to the end of their room in the box, one after
    the other, until the size is spent: no step within the box gains more on a linear function.
    Steps that are spread over 1 % of the pixels (SLIDE, Tramer & Boneh 2019) broke as many samples
    of small networks on digits; steps spread over 5 to 20 % broke fewer.

    Args:
        points: float32 (B, C, H, W).
        gradient: float32 (B, C, H, W), of the function that is climbed.
        norm: ``linf``, ``l2`` or ``l1``.
        size: of the step, in the norm: one for all samples, or (B,).
    """
    if norm == "l1":
        return _steepest_l1_step(points, gradient, size)
    length = column(size, points) if isinstance(size, torch.Tensor) else size
    # In place: beside a small network's products, every pass over the pixels counts.
    return steepest_direction(gradient, norm).mul_(length).add_(points)


def _steepest_l1_step(
    points: torch.Tensor, gradient: torch.Tensor, size: float | torch.Tensor
) -> torch.Tensor:
    gradient = finite(gradient).flatten(1)
    steepness, order = gradient.abs().sort(dim=1, descending=True, stable=True)
    budget = torch.as_tensor(size, dtype=torch.float64, device=points.device).reshape(-1, 1)
    flat = points.flatten(1)
    room = torch.where(gradient > 0, 1 - flat, flat).double().gather(1, order)
    most = torch.where(steepness > 0, room, 0)
    spent_before = most.cumsum(1) - most
    amount = (budget - spent_before).clamp_min(0).minimum(most)
    step = torch.zeros_like(amount).scatter(1, order, amount).to(flat.dtype) * gradient.sign()
    return points + step.view_as(points)


# ------------------------------------------------------------------------------------ random points


def random_in_ball(
    rng: Rng, identity: np.ndarray, restart: int, shape: tuple[int, ...], norm: str, eps: float
) -> torch.Tensor:
    """A uniform point of the ball for each sample.

    It depends on the sample's identity and on ``restart`` alone, and scales with ``eps``.

    Args:
        rng: source of randomness.
        identity: int (B,).
        restart: counts from 0.
        shape: of one sample.
        norm: ``linf``, ``l2`` or ``l1``.
        eps: radius of the ball.

    Returns:
        float32 (B, *shape).
    """
    uniform = rng.per_sample_uniform("start", identity, restart, shape)
    if norm == "linf":
        return torch.from_numpy(uniform) * eps
    # A direction, Gaussian (L2) or Laplacian (L1), times a radius u^(1/d) is uniform in the ball.
    ray, length = _random_ray(uniform.reshape(len(identity), -1), norm)
    draws = rng.per_sample_uniform("start radius", identity, restart, (1,))
    radius = draws.astype(np.float64) / 2 + 0.5
    delta = ray / length * radius ** (1 / ray.shape[1])
    return torch.from_numpy(delta.reshape(uniform.shape).astype(np.float32)) * eps


def _random_ray(uniform: np.ndarray, norm: str) -> tuple[np.ndarray, np.ndarray]:
    """Random directions (B, P) from uniform values in [-1, 1), and their lengths (B, 1)."""
    # scipy's functions work value by value. With vectorised functions and their remainder, a
    # sample's noise could depend on its place in the batch.
    from scipy.special import ndtri, xlogy

    centred = uniform.astype(np.float64) + 2**-24
    if norm == "l2":
        ray = ndtri((centred + 1) / 2)
        return ray, np.sqrt(np.einsum("ij,ij->i", ray, ray))[:, None]
    ray = np.sign(centred) * xlogy(-1.0, np.abs(centred))
    return ray, np.abs(ray).sum(1)[:, None] / (1 - SLACK)
