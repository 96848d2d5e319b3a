"""Sparse codes at rest are Lasso's; dictionaries stay of length one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso

from baselines.lca import settle, time_constant
from harness.registry import learners
from harness.rng import Rng


def problem(atoms: int = 40, n: int = 25) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(n, atoms, generator=generator, dtype=torch.float64)
    weight = torch.nn.functional.normalize(weight, dim=0)
    x = torch.randn(6, n, generator=generator, dtype=torch.float64)
    return torch.nn.functional.normalize(x, dim=1), weight


@pytest.mark.parametrize("signed", [True, False])
def test_the_rest_state_is_the_solution_of_lasso(signed):
    x, weight = problem()
    tau = time_constant(weight)
    a = settle(x, weight, tau, threshold=0.08, steps=4000, signed=signed).numpy()
    lasso = Lasso(
        alpha=0.08 / 25, fit_intercept=False, positive=not signed, tol=1e-12, max_iter=100000
    )
    for image, ours in zip(x.numpy(), a, strict=True):
        theirs = lasso.fit(weight.numpy(), image).coef_
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
        residual = weight.numpy().T @ (image - weight.numpy() @ ours)
        on = ours != 0
        assert on.any() and not on.all()
        np.testing.assert_allclose(residual[on], 0.08 * np.sign(ours[on]), atol=1e-6)
        assert (residual[~on] < 0.08 + 1e-6).all()


def test_orthogonal_atoms_do_not_compete():
    x, _ = problem()
    basis = torch.eye(25, dtype=torch.float64)
    a = settle(x, basis, time_constant(basis), threshold=0.1, steps=400, signed=True)
    torch.testing.assert_close(a, torch.nn.functional.softshrink(x, 0.1))


def made(digits, **keys):
    cls = learners["lca"]
    config = cls.Config(**{"hidden": 60, "steps": 30, "readout_epochs": 8, **keys})
    return cls(config, digits[0].shape, 10, Rng(0))


@pytest.mark.parametrize("non_negative", [False, True])
def test_learning_explains_more_of_the_images(non_negative, digits):
    train, test = digits
    learner = made(digits, epochs=3, non_negative=non_negative)
    x = torch.nn.functional.normalize(test.tensor().flatten(1), dim=1)

    def unexplained() -> float:
        a = learner.embed(test.tensor())
        weight = learner.tensors["weight"]
        return float((x - a @ weight.T).square().sum(1).mean() / 2 + 0.1 * a.sum(1).mean())

    before = unexplained()
    learner.fit(train)
    assert unexplained() < 0.8 * before
    weight = learner.tensors["weight"]
    torch.testing.assert_close(weight.norm(dim=0), torch.ones(60))
    assert not non_negative or weight.min() >= 0
    answers = learner.classifier()(test.tensor()).argmax(1).numpy()
    assert (answers == test.labels).mean() > 0.85
