"""The images within a budget: {x' : |x' - x| <= eps, 0 <= x' <= 1}. This file imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch

from harness.bounds.box import Box, products

Norm = Literal["linf", "l2", "l1"]

WIDENED = 1e-9
"""Relative excess of the L2 step over its exact length, which covers rounding in float64."""


@dataclass(frozen=True)
class Domain:
    """All images that an attack with one budget may use.

    Attributes:
        images: x, float64 (B, ...) in [0, 1].
        eps: the budget.
        norm: ``linf``, ``l2`` or ``l1``.
    """

    images: torch.Tensor
    eps: float
    norm: Norm

    @cached_property
    def box(self) -> Box:
        """Range of each pixel; for Linf, the domain itself."""
        low = (self.images - self.eps).clamp_min(0)
        high = (self.images + self.eps).clamp_max(1)
        return Box(low, high)

    @property
    def pixels(self) -> Box:
        """Range of each value that the network starts from: the pixels."""
        return self.box

    @property
    def is_box(self) -> bool:
        """Whether every image within the ranges of the pixels is in the domain."""
        return self.norm == "linf"

    @property
    def is_ball(self) -> bool:
        """Whether bounds of linear functions are their value at the image -+ eps dual norms."""
        return self.norm != "linf"

    def minimum(self, rows: torch.Tensor, *, cut: bool = True) -> torch.Tensor:
        """Smallest value of linear functions A . x' on the domain.

        For Linf it is exact. For L2 and L1 it is exact with ``cut``; without, it is the value on
        the ball by the dual norm, which is smaller and costs less.

        Args:
            rows: A, (B, R, ...) or (1, R, ...) if all images share them.
            cut: Whether [0, 1] cuts the ball.

        Returns:
            (B, R).
        """
        if self.norm == "linf":
            return self.box.minimum(rows)
        flat = rows.flatten(2)
        clean = products(flat, self.images.flatten(1))
        if not cut:
            order = 2 if self.norm == "l2" else float("inf")
            return clean - self.eps * torch.linalg.vector_norm(flat, ord=order, dim=2)
        flat = flat.expand(len(self.images), -1, -1)
        gain = _gain_l2 if self.norm == "l2" else _gain_l1
        return clean - gain(flat, self.images.flatten(1), self.eps)

    def range(self, rows: torch.Tensor) -> Box:
        """Smallest and largest values of linear functions on the ball, and for Linf on the box.

        Args:
            rows: A, (B, R, n).
        """
        images = self.images.flatten(1)
        if self.norm == "linf":
            pixels = self.box
            centre = products(rows, pixels.centre.flatten(1))
            reach = products(rows.abs(), pixels.radius.flatten(1))
        else:
            order = 2 if self.norm == "l2" else float("inf")
            centre = products(rows, images)
            reach = self.eps * torch.linalg.vector_norm(rows, ord=order, dim=2)
        return Box(centre - reach, centre + reach)

    def length(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Smallest and largest Euclidean length of an image of the domain, (B,) each.

        Pixels are never negative, so the corners of the box are the shortest and the longest image.
        """
        shortest = torch.linalg.vector_norm(self.box.low.flatten(1), dim=1)
        longest = torch.linalg.vector_norm(self.box.high.flatten(1), dim=1)
        if self.norm == "linf":
            return shortest, longest
        clean = torch.linalg.vector_norm(self.images.flatten(1), dim=1)
        return (
            torch.maximum(shortest, clean - self.eps),
            torch.minimum(longest, clean + self.eps),
        )


def _room(rows: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """How far each pixel can move against a linear function, (B, R, n)."""
    pixels = images.unsqueeze(1)
    return torch.where(rows > 0, pixels, 1 - pixels)


def _gain_l2(rows: torch.Tensor, images: torch.Tensor, eps: float) -> torch.Tensor:
    """Largest decrease of A . x' in the L2 ball and the box.

    The best step is d_i = min(t |A_i|, room_i), with the t for which its length is eps. Pixels
    reach the box in order of room_i / |A_i|; with the first k of them there,

        t_k^2 = (eps^2 - sum of room^2 of these) / (sum of A^2 of the others).
    """
    steep = rows.abs()
    room = _room(rows, images)
    # The box stops such a pixel at no t.
    reached_at = torch.where(steep > 0, room / steep.clamp_min(1e-300), torch.inf)
    order = reached_at.argsort(dim=2)
    reached_at = reached_at.gather(2, order)
    filled = torch.where(steep > 0, room, 0).square().gather(2, order)
    spent = filled.cumsum(2) - filled
    left = steep.square().gather(2, order).flip(2).cumsum(2).flip(2)
    t = ((eps**2 - spent).clamp_min(0) / left.clamp_min(1e-300)).sqrt()
    # t_k is right for the first k that leaves it below the next pixel's stop.
    first = (t <= reached_at).to(torch.uint8).argmax(2, keepdim=True)
    stops = (t <= reached_at).any(2, keepdim=True)
    length = torch.where(stops, t.gather(2, first), torch.inf) * (1 + WIDENED)
    moved = torch.where(steep > 0, torch.minimum(length * steep, room), 0)
    return (steep * moved).sum(2)


def _gain_l1(rows: torch.Tensor, images: torch.Tensor, eps: float) -> torch.Tensor:
    """Largest decrease of A . x' in the L1 ball and the box: the steepest pixels first."""
    steep, order = rows.abs().sort(dim=2, descending=True)
    room = _room(rows, images).gather(2, order)
    spent = room.cumsum(2) - room
    moved = torch.minimum((eps - spent).clamp_min(0), room)
    return (steep * moved).sum(2)
