"""How far exponents and scaled images move: against points of the ball, with one slice only.

One slice makes the slack of a slice so large that leaving it out shows.
"""

from __future__ import annotations

import pytest
import small
import torch

from harness.bounds import normalised
from harness.bounds.codes import Clean, Competition
from harness.bounds.domain import Domain
from harness.bounds.normalised import ScaledDomain, scale_slices
from harness.bounds.reach import Cone, by_length
from harness.bounds.trace import trace

NORMS = ("linf", "l2", "l1")
EPS = {"linf": 0.15, "l2": 0.3, "l1": 0.6}


def extreme_points(points: torch.Tensor, norm: str) -> torch.Tensor:
    """Points of each ball, many of them brighter or darker everywhere: (N, count, ...)."""
    generator = small.seeded(5)
    moves = torch.rand(len(points), 300, 4, generator=generator, dtype=torch.float64)
    signs = torch.tensor([1.0, -1.0, 0.0]).repeat(100)
    mixed = torch.randn(moves.shape, generator=generator, dtype=torch.float64).sign()
    moves = moves.where(torch.rand(moves.shape, generator=generator) < 0.5, 1)
    moves = moves * signs.view(1, -1, 1).where(signs.view(1, -1, 1) != 0, mixed)
    order = {"linf": torch.inf, "l2": 2, "l1": 1}[norm]
    length = torch.linalg.vector_norm(moves, ord=order, dim=2, keepdim=True)
    moved = points.double().flatten(1)[:, None] + EPS[norm] * moves / length
    return moved.clamp(0, 1)


@pytest.mark.parametrize("norm", NORMS)
def test_exponents_and_their_sums_stay_within_their_reach(monkeypatch, norm):
    monkeypatch.setattr(normalised, "SLICES", 1)
    network = small.competitive(4, 9, 3, 20.0)
    points = 0.3 + 0.7 * small.images(6, 1, 2, 2)
    labels = torch.arange(6) % 3
    parts = Competition.of(trace(network, points))
    domain = Domain(points.double(), EPS[norm], norm)
    clean = Clean.of(parts, domain.images, labels)
    near = extreme_points(points, norm)
    directions = near * parts.scale(near.norm(dim=2)).unsqueeze(2)
    start = clean.images * parts.scale(parts.length(clean.images)).unsqueeze(1)
    tau = torch.einsum("bhn,bkn->bkh", clean.centred(), directions - start[:, None])
    factors = torch.randn(6, 20, 9, generator=small.seeded(1), dtype=torch.float64)
    sums = torch.einsum("brh,bkh->brk", factors, tau).amin(2)
    reaches = [*by_length(clean, domain)] + ([Cone(clean, domain)] if norm == "l2" else [])
    for reach in reaches:
        assert (tau >= reach.tau.low[:, None] - 1e-9).all()
        assert (tau <= reach.tau.high[:, None] + 1e-9).all()
        least = reach.least(factors)
        assert (least <= sums + 1e-9).all()


@pytest.mark.parametrize("norm", NORMS)
def test_linear_functions_of_scaled_images_are_at_least_their_minimum(monkeypatch, norm):
    monkeypatch.setattr(normalised, "SLICES", 1)
    points = 0.3 + 0.7 * small.images(6, 1, 2, 2)
    op = normalised.Normalised(added=1e-6)
    domain = Domain(points.double(), EPS[norm], norm)
    (ends,) = scale_slices(op, domain)
    near = extreme_points(points, norm)
    scale = op.scale(near.norm(dim=2)).unsqueeze(2)
    assert (scale >= ends[0].unsqueeze(1) - 1e-12).all()
    assert (scale <= ends[1].unsqueeze(1) + 1e-12).all()
    rows = torch.randn(6, 30, 4, generator=small.seeded(2), dtype=torch.float64)
    rows[:, :10] = -rows[:, :10].abs()
    values = torch.einsum("brn,bkn->brk", rows, near * scale).amin(2)
    least = ScaledDomain.of(domain, ends).minimum(rows)
    assert (least <= values + 1e-12).all()
    darker = ends[1] * torch.einsum("brn,bkn->brk", rows, near).amin(2)
    assert (least <= darker + 1e-12).all()  # whatever the scale within the slice
