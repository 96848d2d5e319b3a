"""The optimiser against torch.optim, its constraints against their optimality conditions."""

from __future__ import annotations

import pytest
import torch

from harness.learning.optimisers import ProximalOptimiser


def parameters(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(6, 4, generator=generator, dtype=dtype),
        torch.randn(1, 4, generator=generator, dtype=dtype),
    ]


def gradients(steps: int):
    generator = torch.Generator().manual_seed(1)
    return [
        [
            torch.randn(6, 4, generator=generator, dtype=torch.float64),
            torch.randn(1, 4, generator=generator, dtype=torch.float64),
        ]
        for _ in range(steps)
    ]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("adam", lambda p: torch.optim.Adam(p, lr=0.1)),
        ("sgd", lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)),
    ],
)
def test_without_constraints_it_is_torch_optim(ours, theirs):
    mine, reference = parameters(), [torch.nn.Parameter(p) for p in parameters()]
    proximal, optimiser = ProximalOptimiser(mine, optimiser=ours, lr=0.1), theirs(reference)
    for step in gradients(30):
        proximal.step(step)
        for p, g in zip(reference, step, strict=True):
            p.grad = g.clone()
        optimiser.step()
    for p, q in zip(mine, reference, strict=True):
        torch.testing.assert_close(p, q.detach(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("optimiser", "lr"), [("adam", 0.02), ("sgd", 0.01)])
def test_l1_reaches_the_lasso_optimum_with_exact_zeros(optimiser, lr):
    """Subgradient conditions of 0.5/n |x w + b - y|^2 + l1 |w|_1.

    The gradient is -l1 sign(w) where w != 0, and within [-l1, l1] where w = 0.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 6, generator=generator, dtype=torch.float64)
    truth = torch.tensor([[2.0], [-1.0], [0.5], [0.0], [0.0], [0.0]], dtype=torch.float64)
    y = x @ truth + 0.3 + 0.1 * torch.randn(200, 1, generator=generator, dtype=torch.float64)
    w, b = torch.zeros(6, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    proximal, l1 = ProximalOptimiser([w, b], optimiser=optimiser, lr=lr, l1=0.1), 0.1
    for step in range(4000):
        residual = x @ w + b - y
        proximal.step([x.T @ residual / 200, residual.mean(0, keepdim=True)], rate=1 - step / 4000)
    slope = x.T @ (x @ w + b - y) / 200
    live = w != 0
    assert live.flatten().tolist() == [True, True, True, False, False, False]
    torch.testing.assert_close(slope[live], -l1 * w[live].sign(), rtol=0, atol=2e-3)
    assert (slope[~live].abs() <= l1).all()
    assert b.item() == pytest.approx(0.3, abs=0.05)  # biases are not penalised


def test_non_negative_holds_after_every_step_and_leaves_biases_alone():
    mine = parameters()
    proximal = ProximalOptimiser(mine, optimiser="adam", lr=0.5, non_negative=True)
    for step in gradients(10):
        proximal.step(step)
        assert (mine[0] >= 0).all()
    assert (mine[1] < 0).any()


def test_weight_decay_shrinks_weights_only():
    w, b = torch.ones(2, 2), torch.ones(1, 2)
    ProximalOptimiser([w, b], optimiser="sgd", lr=0.1, weight_decay=0.5).step(
        [torch.zeros(2, 2), torch.zeros(1, 2)]
    )
    assert torch.equal(w, torch.full((2, 2), 0.95)) and torch.equal(b, torch.ones(1, 2))


def test_the_rate_scales_the_step():
    whole, half = parameters(), parameters()
    step = gradients(1)[0]
    ProximalOptimiser(whole, optimiser="adam", lr=0.1).step(step, rate=0.5)
    ProximalOptimiser(half, optimiser="adam", lr=0.05).step(step)
    torch.testing.assert_close(whole, half)
