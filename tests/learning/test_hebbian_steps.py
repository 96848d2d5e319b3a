"""Hebbian steps beside loops over patches and units, and where they come to rest."""

from __future__ import annotations

import pytest
import torch

from harness.learning import hebbian_steps as steps

P, D, C = 40, 6, 5


@pytest.fixture
def data() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    p = torch.randn(P, D, generator=generator, dtype=torch.float64)
    weight = torch.randn(C, D, generator=generator, dtype=torch.float64)
    return p, weight


def test_sangers_step_is_that_of_a_loop(data):
    p, weight = data
    centred = p - p.mean(0)
    u = centred @ weight.T
    expected = torch.zeros_like(weight)
    for n in range(P):
        for i in range(C):
            rest = centred[n] - sum(u[n, j] * weight[j] for j in range(i + 1))
            expected[i] += u[n, i] * rest
    expected /= u.square().sum()
    torch.testing.assert_close(steps.sanger(p, p @ weight.T, weight), expected)


def test_the_instars_step_is_that_of_a_loop(data):
    p, weight = data
    u = p @ weight.T
    expected = torch.zeros_like(weight)
    for n in range(P):
        j = int(u[n].argmax())
        expected[j] += u[n, j] * (p[n] - weight[j])
    torch.testing.assert_close(steps.instar(p, u, weight), expected)


def test_the_soft_step_is_that_of_a_loop(data):
    p, weight = data
    u = p @ weight.T
    expected = torch.zeros_like(weight)
    for n in range(P):
        y = torch.softmax(0.7 * u[n], 0)
        for j in range(C):
            sign = 1 if j == int(u[n].argmax()) else -1
            expected[j] += sign * y[j] * (p[n] - u[n, j] * weight[j])
    torch.testing.assert_close(steps.soft(p, u, weight, 0.7), expected)


def test_the_bcm_step_is_that_of_a_loop(data):
    p, weight = data
    u = p @ weight.T
    before = torch.linspace(0.1, 1, C, dtype=torch.float64)
    squares = torch.zeros(C, dtype=torch.float64)
    for n in range(P):
        squares[int(u[n].argmax())] += u[n].max() ** 2
    after = 0.8 * before + 0.2 * squares / P
    expected = torch.zeros_like(weight)
    for n in range(P):
        j = int(u[n].argmax())
        expected[j] += u[n, j] * (u[n, j] - after[j]) * p[n]
    threshold = before.clone()
    torch.testing.assert_close(steps.bcm(p, u, threshold, 0.2), expected)
    torch.testing.assert_close(threshold, after)


def test_sangers_units_become_the_principal_components_in_order():
    generator = torch.Generator().manual_seed(1)
    basis = torch.linalg.qr(torch.randn(8, 8, generator=generator, dtype=torch.float64)).Q
    scales = 0.6 ** (torch.arange(8.0, dtype=torch.float64) / 2)  # eigenvalues fall by 0.6
    sample = torch.linalg.qr(torch.randn(200, 8, generator=generator, dtype=torch.float64)).Q
    sample = torch.linalg.qr(sample - sample.mean(0)).Q  # centred and exactly uncorrelated
    p = 14 * sample * scales @ basis.T
    weight = torch.randn(3, 8, generator=generator, dtype=torch.float64) / 8
    for _ in range(1500):
        weight += 0.3 * steps.sanger(p, p @ weight.T, weight)
    torch.testing.assert_close((weight @ basis[:, :3]).abs(), torch.eye(3, dtype=torch.float64))
    # One unit is Oja's: it finds the first component.
    one = torch.randn(1, 8, generator=generator, dtype=torch.float64) / 8
    for _ in range(500):
        one += 0.3 * steps.sanger(p, p @ one.T, one)
    assert float((one @ basis[:, 0]).abs()) == pytest.approx(1)


def clusters() -> tuple[torch.Tensor, torch.Tensor]:
    """Patches around three orthogonal directions, and the mean of each cluster."""
    generator = torch.Generator().manual_seed(2)
    centres = 3 * torch.eye(3, 6, dtype=torch.float64)
    noise = 0.2 * torch.randn(3, 30, 6, generator=generator, dtype=torch.float64)
    p = centres[:, None] + noise
    return p.flatten(0, 1), p


def test_instars_rest_at_the_weighted_mean_of_what_they_win():
    p, by_cluster = clusters()
    weight = by_cluster[:, 0].clone()
    for _ in range(300):
        u = torch.cosine_similarity(p[:, None], weight[None], dim=2)
        weight += 0.01 * steps.instar(p, u, weight)
    u = torch.cosine_similarity(by_cluster, weight[:, None], dim=2)[..., None]
    torch.testing.assert_close(weight, (u * by_cluster).sum(1) / u.sum(1))
    torch.testing.assert_close(weight, by_cluster.mean(1), atol=5e-3, rtol=0)


def test_soft_winners_shrink_to_length_one():
    p, by_cluster = clusters()
    weight = 8 * by_cluster[:, 0]
    for _ in range(2000):
        weight += 1e-4 * steps.soft(p, p @ weight.T, weight, 20.0)
    torch.testing.assert_close(
        weight.norm(dim=1), torch.ones(3, dtype=torch.float64), atol=1e-3, rtol=0
    )


def test_bcms_threshold_slides_to_the_mean_square_of_the_response():
    """Over all patches, lost ones too: at most the share that a unit wins, for a cosine."""
    p, by_cluster = clusters()
    weight = by_cluster.mean(1)
    u = torch.cosine_similarity(p[:, None], weight[None], dim=2)
    threshold = torch.ones(3, dtype=torch.float64)
    steps.bcm(p, u, threshold, 0.3)
    rest = steps.winners(u).square().mean(0)
    torch.testing.assert_close(threshold, 0.7 + 0.3 * rest)
    for _ in range(100):
        steps.bcm(p, u, threshold, 0.3)
    torch.testing.assert_close(threshold, rest)
    assert float(threshold.max()) <= 1 / 3


def test_bcm_weakens_a_response_below_the_threshold_and_strengthens_one_above():
    p = torch.tensor([[1.0, 0.0]])
    for u, sign in ((0.2, -1), (0.9, 1)):
        step = steps.bcm(p, torch.tensor([[u, 0.0]]), torch.full((2,), 0.5), 1e-9)
        assert step[0, 0].sign() == sign
        assert step[1].abs().sum() == 0


def test_steps_are_divided_by_their_largest_entry():
    step = steps.by_largest(torch.tensor([[2.0, -8.0]]))
    assert step.tolist() == [[0.25, -1.0]]
    assert steps.by_largest(torch.zeros(1, 2)).tolist() == [[0.0, 0.0]]
