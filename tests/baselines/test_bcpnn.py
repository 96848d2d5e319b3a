"""BCPNN: weights of known probabilities, running means, and wiring that finds information."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from baselines.bcpnn import both, compete
from harness.registry import learners
from harness.rng import Rng


def made(shape=(1, 8, 8), **keys):
    cls = learners["bcpnn"]
    keys = {"hidden": 40, "hypercolumns": 4, "share": 0.3, **keys}
    learner = cls(cls.Config(**keys), shape, 10, Rng(0))
    learner._time, learner._weighed = 500.0, 1 / 500
    return learner


def images(count: int, pixels: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, pixels, generator=torch.Generator().manual_seed(seed))


def estimated(learner, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """log(p_ij / (p_i p_j)) of given codes y (B, hidden) of images x (B, n)."""
    units = both((x > 0.5).float())
    learner.joint = units.T @ y / len(x)
    learner.pre = units.mean(0)[:, None]
    learner.post = y.mean(0, keepdim=True)
    return learner.information()


def test_weights_of_independent_units_are_zero():
    learner = made(shape=(1, 1, 2), hidden=2, hypercolumns=1)
    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]).repeat(2, 1)
    y = torch.eye(2).repeat_interleave(4, 0)
    torch.testing.assert_close(estimated(learner, x, y), torch.zeros(4, 2))


def test_the_weight_between_units_that_are_always_together_is_minus_log_p():
    learner = made(shape=(1, 1, 1), hidden=2, hypercolumns=1)
    x = torch.tensor([[1.0], [0.0], [0.0], [0.0]])
    y = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    weight = estimated(learner, x, y)
    assert float(weight[0, 0]) == pytest.approx(-math.log(0.25))
    assert float(weight[1, 1]) == pytest.approx(-math.log(0.75), abs=1e-6)


def test_a_step_is_that_of_a_loop():
    learner = made(shape=(1, 2, 3), hidden=6, hypercolumns=2, share=0.5, rewire_every=0)
    x = images(7, 6)
    pre, post, joint = learner.pre.clone(), learner.post.clone(), learner.joint.clone()
    units = both((x > 0.5).float())
    y = compete(units @ learner.tensors["weight"] + learner.tensors["bias"], 2)
    kept = (1 - 1 / 500) ** 7
    rate = (1 - kept) / (kept / 500 + 1 - kept)
    for i in range(12):
        seen = sum(float(units[b, i]) for b in range(7)) / 7
        pre[i] += rate * (seen - pre[i])
        for j in range(6):
            together = sum(float(units[b, i] * y[b, j]) for b in range(7)) / 7
            joint[i, j] += rate * (together - joint[i, j])
    for j in range(6):
        post[0, j] += rate * (float(y[:, j].mean()) - post[0, j])
    learner.learn(learner.tensors["weight"], x, 0.0)
    for ours, loop in ((learner.pre, pre), (learner.post, post), (learner.joint, joint)):
        torch.testing.assert_close(ours, loop)
    weight = learner.tensors["weight"]
    for i in range(12):
        for j in range(6):
            live = learner.tensors["live"][i % 6, j // 3]
            expected = torch.log(joint[i, j] / (pre[i, 0] * post[0, j])) if live else 0.0
            assert float(weight[i, j]) == pytest.approx(float(expected), abs=1e-5)
    torch.testing.assert_close(learner.tensors["bias"], post.log())


def test_means_weigh_all_images_alike_at_first():
    """After 4 batches of a time constant that is much longer, as after one of all the images."""
    learner = made(rewire_every=0)
    learner._time, learner._weighed = 1e6, 1e-6
    rates = [learner._rate(25) for _ in range(4)]
    np.testing.assert_allclose(rates, [25 / 26, 25 / 51, 25 / 76, 25 / 101], rtol=1e-4)


def test_probabilities_of_a_hypercolumn_sum_to_one_for_each_pixel():
    learner = made()
    for seed in range(3):
        learner.learn(learner.tensors["weight"], images(20, 64, seed), 0.0)
    pairs = learner.joint.view(2, 64, 4, 10).sum((0, 3))
    torch.testing.assert_close(pairs, torch.ones(64, 4))
    torch.testing.assert_close(learner.post.view(4, 10).sum(1), torch.ones(4))
    code = learner.embed(images(5, 64).view(5, 1, 8, 8))
    torch.testing.assert_close(code.view(5, 4, 10).sum(2), torch.ones(5, 4))


def test_wiring_leaves_pixels_without_information_and_keeps_its_number(digits):
    learner = made(epochs=3, readout_epochs=1)
    before = learner.tensors["live"].clone()
    learner.fit(digits[0])
    live = learner.tensors["live"]
    assert live.sum(0).tolist() == before.sum(0).tolist() == [19] * 4
    variance = (digits[0].tensor().flatten(1) > 0.5).float().var(0)[:, None]
    share = (variance * live).sum() / live.sum()
    assert share > 1.2 * (variance * before).sum() / before.sum()
    mask = learner.connectome()[0].mask
    assert int((learner.tensors["weight"][~mask] != 0).sum()) == 0


def test_digits_are_learned(digits):
    learner = made(hidden=200, hypercolumns=10, epochs=3, readout_epochs=10, readout_lr=1e-2)
    learner.fit(digits[0])
    with torch.no_grad():
        answers = learner.classifier()(digits[1].tensor()).argmax(1).numpy()
    assert (answers == digits[1].labels).mean() > 0.8


def test_attacks_pass_the_binarisation():
    learner = made()
    x = images(3, 64).view(3, 1, 8, 8).requires_grad_()
    (slope,) = torch.autograd.grad(learner.embed(x).square().sum(), x)
    assert (slope != 0).float().mean() > 0.5


def test_units_that_do_not_divide_into_hypercolumns_are_refused():
    for keys in ({"hidden": 41}, {"hidden": 4}):
        with pytest.raises(ValueError, match="multiple|two units"):
            made(**keys)
