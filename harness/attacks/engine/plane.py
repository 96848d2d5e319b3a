"""Projection onto a plane within the box, in Linf, L2 and L1: what one step of FAB needs.

Croce & Hein 2020 (arXiv 1907.02044, section 3.1): the smallest displacement that reaches a plane
moves every pixel straight towards it, some of them to the end of the box. How the length is shared
out follows from the norm, in closed form.
"""

from __future__ import annotations

from harness.lazy import torch

LARGEST_FACTOR = 1e30
"""Moves every pixel that has a slope to the end of its room; not infinite, for those without."""


def to_plane(
    points: torch.Tensor, normals: torch.Tensor, gaps: torch.Tensor, norm: str
) -> torch.Tensor:
    """The smallest displacement, in the norm, from points in the box to a plane in the box.

    Args:
        points: (B, P), in [0, 1].
        normals: (B, P), of each plane.
        gaps: (B,), the wanted product of normal and displacement: offset minus normal * point.
        norm: ``linf``, ``l2`` or ``l1``.

    Returns:
        (B, P). Where the plane misses the box, the way to the corner that comes nearest to it.

    >>> import torch
    >>> point, normal = torch.tensor([[0.5, 0.5]]), torch.tensor([[2.0, 1.0]])
    >>> [to_plane(point, normal, torch.tensor([0.6]), norm).tolist() for norm in ("linf", "l1")]
    [[[0.20000000298023224, 0.20000000298023224]], [[0.30000001192092896, 0.0]]]
    """
    largest = normals.abs().amax(1, keepdim=True)
    scale = torch.where(largest > 0, largest, torch.ones_like(largest))
    direction = normals.sign() * gaps.sign()[:, None]
    steepness = normals.abs() / scale
    wanted = gaps.abs()[:, None] / scale
    room = direction.clamp_min(0) - direction * points
    if norm == "l1":
        distance = _steepest_first(steepness, room, wanted)
    else:
        profile = steepness if norm == "l2" else direction.abs()
        distance = _all_together(profile, steepness, room, wanted)
    return direction * distance


def _all_together(
    profile: torch.Tensor, steepness: torch.Tensor, room: torch.Tensor, wanted: torch.Tensor
) -> torch.Tensor:
    """``min(t profile, room)`` with the factor t that gains what is wanted.

    The gain is a concave function of t: its slope falls as pixels reach the end of their room.
    Newton's method therefore climbs to the solution, and is exact once no more pixels reach it.
    """
    slopes = steepness * profile
    smallest = torch.finfo(steepness.dtype).tiny
    t = torch.zeros_like(wanted)
    slope = None
    while True:
        distance = torch.minimum(t * profile, room)
        before = slope
        slope = (slopes * (distance < room)).sum(1, keepdim=True)
        if before is not None and torch.equal(slope, before):
            return distance
        missing = (wanted - (steepness * distance).sum(1, keepdim=True)).clamp_min(0)
        if before is not None:
            missing = missing * (slope != before)  # a row that is solved waits for the others
        t = (t + missing / slope.clamp_min(smallest)).clamp_max(LARGEST_FACTOR)


def _steepest_first(
    steepness: torch.Tensor, room: torch.Tensor, wanted: torch.Tensor
) -> torch.Tensor:
    """The steepest pixels to the end of their room, one after the other, until it suffices."""
    ordered, order = steepness.sort(dim=1, descending=True, stable=True)
    most = room.gather(1, order)
    gain = ordered * most
    before = gain.cumsum(1) - gain
    smallest = torch.finfo(steepness.dtype).tiny
    distance = ((wanted - before).clamp_min(0) / ordered.clamp_min(smallest)).minimum(most)
    distance = distance * (ordered > 0)
    return torch.zeros_like(distance).scatter(1, order, distance)
