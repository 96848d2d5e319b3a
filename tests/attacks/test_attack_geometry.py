"""Balls, boxes, steps and random starts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.attacks.engine.geometry import (
    apply_delta,
    norms,
    project,
    project_exactly,
    random_in_ball,
    steepest_direction,
    steepest_step,
)
from harness.attacks.engine.losses import LOSSES
from harness.rng import Rng

SEEDS = st.integers(0, 2**31)
EPS = st.floats(0, 1)


def points(seed: int, low: float = 0.0, high: float = 1.0) -> torch.Tensor:
    return low + (high - low) * torch.rand(
        4, 1, 3, 5, generator=torch.Generator().manual_seed(seed)
    )


@given(SEEDS, st.floats(0, 4), st.sampled_from(["linf", "l2", "l1"]))
@settings(max_examples=90, deadline=None)
def test_projection_is_inside_and_leaves_alone_what_was(seed, eps, norm):
    centres, far = points(seed), points(seed + 1, -2, 3)
    inside = project(far, centres, norm, eps)
    assert (norms(inside - centres, norm) <= eps + 1e-6).all()
    assert inside.min() >= 0 and inside.max() <= 1
    assert (project(inside, centres, norm, eps) - inside).abs().max() <= 1e-6


@given(SEEDS, st.floats(0, 4), st.sampled_from(["linf", "l2"]))
@settings(max_examples=60, deadline=None)
def test_projection_scales_into_the_ball_then_clips_to_the_box(seed, eps, norm):
    centres, far = points(seed), points(seed + 1, -2, 3)
    delta = (far - centres).double().numpy()
    if norm == "linf":
        inside = np.clip(delta, -eps, eps)
    else:
        length = np.sqrt((delta**2).sum((1, 2, 3), keepdims=True))
        inside = delta * np.minimum(1, eps / length)
    expected = np.clip(centres.double().numpy() + inside, 0, 1)
    np.testing.assert_allclose(project(far, centres, norm, eps).numpy(), expected, atol=2e-6)


@given(SEEDS, st.floats(1e-3, 4), st.sampled_from(["linf", "l2", "l1"]))
@settings(max_examples=30, deadline=None)
def test_exact_projection_agrees_with_a_numerical_solver(seed, eps, norm):
    """Projections in two pixels, against the best point of a fine grid over ball and box."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.rand(1, 1, 1, 2, generator=generator)
    far = 5 * torch.rand(1, 1, 1, 2, generator=generator) - 2
    projected = project_exactly(far, centre, norm, torch.tensor([eps]))
    line = torch.linspace(0, 1, 401, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    order = {"linf": float("inf"), "l2": 2, "l1": 1}[norm]
    feasible = grid[torch.linalg.vector_norm(grid - centre.view(2), order, dim=1) <= eps]
    if not len(feasible):
        return
    distances = (feasible - far.view(2)).norm(dim=1)
    own = (projected.double().view(2) - far.view(2)).norm()
    assert norms(projected - centre, norm) <= eps + 1e-6
    assert projected.min() >= 0 and projected.max() <= 1
    assert own <= distances.min() + 1e-6  # no point of the grid is nearer


@given(SEEDS, st.floats(1e-3, 4), st.sampled_from(["linf", "l2", "l1"]))
@settings(max_examples=90, deadline=None)
def test_the_nearest_point_is_nearer_than_any_other_of_ball_and_box(seed, eps, norm):
    centres, far, others = points(seed), points(seed + 1, -2, 3), points(seed + 2, -1, 2)
    found = project_exactly(far, centres, norm, torch.full((4,), eps)).double()
    feasible = project(others, centres, norm, eps).double()
    # In a convex set p is the nearest point to y iff (y - p) . (z - p) <= 0 for every z of the set.
    assert (((far.double() - found) * (feasible - found)).flatten(1).sum(1) <= 1e-5).all()


def test_the_nearest_point_takes_each_samples_own_budget():
    centres, far, eps = points(0), points(1, -2, 3), torch.tensor([0.0, 0.1, 0.5, 3.0])
    for norm in ("linf", "l2", "l1"):
        each = torch.cat(
            [
                project_exactly(far[i : i + 1], centres[i : i + 1], norm, eps[i : i + 1])
                for i in range(4)
            ]
        )
        torch.testing.assert_close(project_exactly(far, centres, norm, eps), each, rtol=0, atol=0)


@given(SEEDS, st.integers(1, 5000))
@settings(max_examples=30, deadline=None)
def test_rounding_never_leaves_the_l1_ball(seed, pixels):
    generator = torch.Generator().manual_seed(seed)
    centres = torch.rand(3, pixels, generator=generator)
    eps = 0.02 * pixels
    for start in (torch.rand(3, pixels, generator=generator), torch.full((3, pixels), 0.7)):
        assert (norms(project(start, centres, "l1", eps) - centres, "l1") <= np.float32(eps)).all()
    delta = torch.randn(3, pixels, generator=generator) / 10
    assert (
        (apply_delta(centres, delta, "l1").double() - centres.double()).abs()
        <= delta.double().abs()
    ).all()


@given(SEEDS, st.floats(0.01, 20))
@settings(max_examples=40, deadline=None)
def test_an_l1_step_is_the_best_on_a_linear_function(seed, size):
    from scipy.optimize import linprog

    start, gradient = points(seed)[:1], points(seed + 1, -1, 1)[:1]
    gained = ((steepest_step(start, gradient, "l1", size) - start) * gradient).double().sum()
    # the same as a linear programme in what each pixel gains and loses
    w, x = gradient.flatten().double().numpy(), start.flatten().double().numpy()
    best = linprog(
        np.r_[-w, w],
        A_ub=np.ones((1, 30)),
        b_ub=[size],
        bounds=[(0, 1 - v) for v in x] + [(0, v) for v in x],
    )
    np.testing.assert_allclose(gained, -best.fun, rtol=1e-5, atol=1e-6)


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_norms_are_numpys(seed):
    delta = points(seed, -1, 1)
    delta[0, 0, 0, :3] = 0
    for norm, order in (("linf", np.inf), ("l2", 2), ("l1", 1), ("l0", 0)):
        expected = [np.linalg.norm(row.ravel(), order) for row in delta.double().numpy()]
        np.testing.assert_allclose(norms(delta, norm).numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("size", [1e-44, 1e-38, 1e-30, 1.0, 1e30])
def test_a_step_is_of_size_one_however_small_the_gradient(size):
    gradient = points(0, 0.5, 1).double().mul(size).float()
    for norm in ("linf", "l2"):
        torch.testing.assert_close(
            norms(steepest_direction(gradient, norm), norm), torch.ones(4), rtol=1e-5, atol=0
        )


@given(SEEDS, st.sampled_from([("linf", 1), ("l2", 2)]))
@settings(max_examples=30, deadline=None)
def test_the_steepest_direction_gains_the_dual_norm_of_the_gradient(seed, pair):
    norm, dual = pair
    gradient = points(seed, -1, 1)
    gained = (steepest_direction(gradient, norm) * gradient).double().flatten(1).sum(1)
    # No step of size 1 gains more on a linear function (Hoelder), so the direction is the steepest.
    expected = torch.linalg.vector_norm(gradient.double().flatten(1), dual, dim=1)
    torch.testing.assert_close(gained, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_steps_have_their_sizes_each_sample_its_own(norm):
    centre = torch.full((4, 1, 3, 5), 0.5)
    gradient = points(1, -1, 1)
    sizes = torch.tensor([0.0, 0.1, 0.2, 0.4])
    moved = steepest_step(centre, gradient, norm, sizes)
    torch.testing.assert_close(norms(moved - centre, norm), sizes, rtol=1e-5, atol=1e-6)
    for i, size in enumerate(sizes):
        alone = steepest_step(centre[i : i + 1], gradient[i : i + 1], norm, float(size))
        torch.testing.assert_close(moved[i : i + 1], alone, rtol=0, atol=1e-7)


def test_applying_a_perturbation_adds_and_clips():
    centres = torch.tensor([[0.2, 0.9]])
    for norm in ("linf", "l2", "l1"):
        moved = apply_delta(centres, torch.tensor([[-0.5, 0.05]]), norm)
        torch.testing.assert_close(moved, torch.tensor([[0.0, 0.95]]), rtol=0, atol=1e-6)


def test_no_step_without_gradient_or_with_one_that_is_not_a_number():
    for value in (0.0, float("nan"), float("inf")):
        for norm in ("linf", "l2"):
            assert (steepest_direction(torch.full((2, 1, 3, 3), value), norm) == 0).all()
        assert (
            steepest_step(points(0), torch.full((4, 1, 3, 5), value), "l1", 1.0) == points(0)
        ).all()


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_starts_are_uniform_in_the_ball_scale_with_eps_and_belong_to_the_sample(norm):
    identity, shape = np.arange(4000), (1, 2, 3)
    start = random_in_ball(Rng(1), identity, 0, shape, norm, 0.5)
    radius = norms(start, norm).double().numpy() / 0.5
    assert (
        stats.kstest(radius**6, "uniform").pvalue > 1e-3
    )  # the share of volume within a radius, in 6 dimensions
    assert (start.flatten(1).mean(0).abs() < 0.02).all()
    torch.testing.assert_close(random_in_ball(Rng(1), identity, 0, shape, norm, 0.25), start / 2)
    assert (random_in_ball(Rng(1), identity[[7, 3]], 0, shape, norm, 0.5) == start[[7, 3]]).all()
    assert not (random_in_ball(Rng(1), identity, 1, shape, norm, 0.5) == start).any()


@given(
    SEEDS, st.sampled_from(["ce", "ce-norm", "margin"])
)  # dlr is flat where the right logit is the third largest
@settings(max_examples=40, deadline=None)
def test_losses_rise_towards_a_mistake(seed, loss):
    generator = torch.Generator().manual_seed(seed)
    logits, labels = (
        torch.randn(6, 5, generator=generator),
        torch.randint(5, (6,), generator=generator),
    )
    targets = (labels + 1) % 5
    for aim in (None, targets):
        x = logits.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(LOSSES[loss](x, labels, aim).sum(), x)
        if aim is None:
            assert (gradient.gather(1, labels[:, None]) < 0).all()
        else:
            assert (gradient.gather(1, targets[:, None]) > 0).all()


def test_losses_of_one_row_by_hand():
    logits, labels = torch.tensor([[3.0, 1.0, 2.0, -1.0]]), torch.tensor([0])
    target = torch.tensor([1])
    total = torch.tensor([3.0, 1.0, 2.0, -1.0]).exp().sum().log()
    expected = {
        ("ce", None): total - 3.0,
        ("ce", 1): 1.0 - total,
        ("margin", None): 2.0 - 3.0,
        ("margin", 1): 1.0 - 3.0,
        ("dlr", None): (2.0 - 3.0) / (3.0 - 1.0),
        ("dlr", 1): (1.0 - 3.0) / (3.0 - (1.0 - 1.0) / 2),
    }
    for (loss, aim), value in expected.items():
        given_target = None if aim is None else target
        result = LOSSES[loss](logits, labels, given_target)
        torch.testing.assert_close(result, torch.as_tensor([float(value)]))


@given(SEEDS, st.floats(0.01, 1000))
@settings(max_examples=40, deadline=None)
def test_standardised_cross_entropy_does_not_see_scale_or_shift(seed, factor):
    generator = torch.Generator().manual_seed(seed)
    logits, labels = (
        torch.randn(6, 5, generator=generator, dtype=torch.float64),
        torch.randint(5, (6,), generator=generator),
    )

    def loss(scale, shift):
        return LOSSES["ce-norm"](logits * scale + shift, labels, None)

    torch.testing.assert_close(loss(factor, 3.0), loss(1.0, 0.0))
    spread = (logits - logits.mean(1, keepdim=True)) / logits.numpy().std(1, keepdims=True)
    torch.testing.assert_close(
        loss(1.0, 0.0), torch.nn.functional.cross_entropy(spread, labels, reduction="none")
    )
