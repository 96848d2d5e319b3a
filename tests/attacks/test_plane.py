"""Projection onto a plane within the box, against linear and quadratic programs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import linprog, minimize

from harness.attacks.engine.geometry import norms
from harness.attacks.engine.plane import to_plane

PIXELS = 7


def problem(seed: int):
    """A point in the box, a plane that the box meets, and the product that reaches it."""
    generator = np.random.default_rng(seed)
    point = generator.random(PIXELS)
    point[0], point[1] = 0.0, 1.0  # pixels at the end of the box have room on one side only
    normal = generator.normal(size=PIXELS)
    normal[2] = 0.0
    low = np.where(normal > 0, -point, 1 - point) @ normal
    high = np.where(normal > 0, 1 - point, -point) @ normal
    gap = low + (high - low) * generator.uniform(0.02, 0.98)
    return point, normal, gap


def least_norm(point, normal, gap, norm: str) -> float:
    """Smallest norm of a displacement within the box whose product with the normal is the gap."""
    bounds = list(zip(-point, 1 - point, strict=True))
    if norm == "l2":
        found = minimize(
            lambda step: step @ step,
            np.zeros(PIXELS),
            jac=lambda step: 2 * step,
            bounds=bounds,
            constraints={"type": "eq", "fun": lambda step: step @ normal - gap},
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 500},
        )
        return float(np.sqrt(found.fun))
    # Variables: the displacement, and bounds of its absolute values (one for all in linf).
    extra = 1 if norm == "linf" else PIXELS
    of_each = np.ones((PIXELS, 1)) if norm == "linf" else np.eye(PIXELS)
    above = np.hstack([np.eye(PIXELS), -of_each])
    below = np.hstack([-np.eye(PIXELS), -of_each])
    found = linprog(
        np.concatenate([np.zeros(PIXELS), np.ones(extra)]),
        A_ub=np.vstack([above, below]),
        b_ub=np.zeros(2 * PIXELS),
        A_eq=[np.concatenate([normal, np.zeros(extra)])],
        b_eq=[gap],
        bounds=[*bounds, *[(0, None)] * extra],
    )
    return float(found.fun)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_the_displacement_reaches_the_plane_with_the_least_norm(norm):
    problems = [problem(seed) for seed in range(25)]
    points, normals, gaps = (torch.tensor(np.array(part)) for part in zip(*problems, strict=True))
    step = to_plane(points, normals, gaps, norm)
    torch.testing.assert_close((step * normals).sum(1), gaps)
    moved = points + step
    assert moved.min() >= -1e-12 and moved.max() <= 1 + 1e-12
    least = [least_norm(*one, norm) for one in problems]
    np.testing.assert_allclose(norms(step, norm).numpy(), least, rtol=2e-6)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_a_plane_beyond_the_box_gives_the_nearest_corner(norm):
    point = torch.tensor([[0.25, 0.5, 0.75]])
    normal = torch.tensor([[1.0, -2.0, 0.0]])
    step = to_plane(point, normal, torch.tensor([100.0]), norm)
    torch.testing.assert_close(step, torch.tensor([[0.75, -0.5, 0.0]]))


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_without_a_normal_nothing_moves(norm):
    step = to_plane(torch.rand(2, 5), torch.zeros(2, 5), torch.tensor([1.0, 0.0]), norm)
    assert torch.equal(step, torch.zeros(2, 5))
