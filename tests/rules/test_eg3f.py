"""EG-3F: its drives are gradients, its weights keep their signs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from harness.data.base import Images
from harness.registry import learners
from harness.rng import Rng
from harness.rules import eg3f
from harness.rules.modules.excitatory import activity

EG = learners["eg-3f"]


def learner(**config):
    return EG(EG.Config.model_validate(config), (1, 6, 6), 3, Rng(0))


def images(n: int = 300) -> Images:
    generator, labels = Rng(0).numpy("images"), np.arange(n) % 3
    pixels = generator.integers(0, 60, (n, 1, 6, 6)).astype(np.uint8)
    pixels[np.arange(n), 0, 2 * labels] = 230
    return Images(pixels, labels, np.arange(n), 3)


@pytest.mark.parametrize("hidden", [20, [20, 15, 10]])
@pytest.mark.parametrize("winners", [None, 5])
def test_drives_are_minus_the_gradient_of_the_cross_entropy(hidden, winners, monkeypatch):
    one = learner(hidden=hidden, winners=winners)
    weights, drives = one.initial_weights(3), {}
    monkeypatch.setattr(
        eg3f.ThreeFactorRule,
        "_change_weights",
        lambda self, depth, drive, fade: drives.__setitem__(depth, drive),
    )
    x, y = images(30).tensor().flatten(1)[None], torch.arange(30)[None] % 3
    eg3f.ThreeFactorRule(one, weights).step(x, y, 1.0)
    leaves = [w.clone().requires_grad_() for w in weights]
    h = x
    for weight in leaves[:-1]:
        h = activity(h @ weight, winners)
    o = h @ leaves[-1]
    F.cross_entropy((o - o.mean(2, keepdim=True))[0], y[0]).backward()
    for depth, leaf in enumerate(leaves):
        # The pool subtracts the mean over neurons: a part that all drives share has no effect.
        drive = drives[depth] - drives[depth].mean(2, keepdim=True)
        assert torch.allclose(drive, -(leaf.grad - leaf.grad.mean(2, keepdim=True)), atol=1e-6)
        assert drive.abs().max() > 1e-5


@pytest.mark.parametrize(
    "config",
    [{}, {"hidden": [30, 30, 30]}, {"feedback": "random"}, {"winners": 8}, {"noise": 0.05}],
    ids=str,
)
def test_it_learns_and_no_weight_changes_its_sign(config):
    one = learner(**config)
    log = one.fit(images())
    assert log.sign_changes == 0 and all((s.weight > 0).all() for s in one.connectome())
    with torch.no_grad():
        assert (
            one.classifier()(images().tensor()).argmax(1).numpy() == images().labels
        ).mean() > 0.9


def test_cost_makes_weights_smaller():
    dear, free = learner(cost=0.3), learner(cost=0.0)
    dear.fit(images())
    free.fit(images())
    assert dear.connectome()[0].weight.mean() < free.connectome()[0].weight.mean()


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_a_log_step_is_its_equation(noise):
    """eta f (G / r - l) + nu xi, with r a bias-corrected running RMS above its layer's floor."""
    one = learner(hidden=5, eta=0.2, cost=0.3, output_cost=0.7, noise=noise, clip=0.25)
    weights = one.initial_weights(3)
    rule, generator = eg3f.ThreeFactorRule(one, weights), one.rng.torch("noise")
    pushes = Rng(1).torch("push")
    w = [weight[0].double().numpy().copy() for weight in weights]
    square = [np.zeros((1, 5)), np.zeros((1, 3))]
    clipped = []
    for step in (1, 2, 3):
        rule.steps = step
        for depth, cost in ((1, 0.7), (0, 0.3)):
            push = torch.randn(weights[depth].shape, generator=pushes)
            push[..., 0] *= 0.01  # far below its layer's floor
            g = push[0].double().numpy()
            rule._change_weights(depth, push, 0.8)
            square[depth] = 0.99 * square[depth] + 0.01 * (g**2).mean(0, keepdims=True)
            r = np.sqrt(square[depth] / (1 - 0.99**step))
            r = np.maximum(r, 0.3 * r.mean())
            d = 0.2 * 0.8 * (g / r - cost)
            if noise:
                xi = torch.randn(weights[depth].shape[1:], generator=generator)
                d = d + noise * xi.double().numpy()
            clipped.append(np.abs(d) > 0.25)
            w[depth] = w[depth] * np.exp(np.clip(d, -0.25, 0.25))
            np.testing.assert_allclose(weights[depth][0].numpy(), w[depth], rtol=1e-4)
    assert any(c.any() for c in clipped)


def test_random_feedback_carries_the_centred_error_to_active_neurons():
    one = learner(hidden=5, feedback="random")
    rule = eg3f.ThreeFactorRule(one, one.initial_weights(3))
    generator = Rng(2).torch("error")
    error = torch.randn(1, 7, 3, generator=generator)
    active = torch.rand(1, 7, 5, generator=generator) - 0.5
    got = rule._passed_down(1, error, active.clamp_min(0))[0].numpy()
    drawn = one.rng.torch("feedback")
    torch.randn(36, 5, generator=drawn)
    back = torch.randn(5, 3, generator=drawn).numpy()
    e = error[0].numpy()
    below = (e - e.mean(1, keepdims=True)) @ back.T * (active[0].numpy() > 0)
    np.testing.assert_allclose(got, below - below.mean(1, keepdims=True), atol=1e-5)


def test_networks_start_excitatory_and_the_output_twice_as_strong():
    weights = learner(hidden=[40, 30]).initial_weights(20)
    ranges = [(w.min().item(), w.max().item()) for w in weights]
    for low, high in ranges[:2]:
        assert 0.01 <= low < 0.012 and 0.098 < high <= 0.1
    assert 0.02 <= ranges[2][0] < 0.024 and 0.196 < ranges[2][1] <= 0.2


def test_the_rate_falls_linearly_to_zero(monkeypatch):
    fades = []
    step = eg3f.ThreeFactorRule.step
    monkeypatch.setattr(
        eg3f.ThreeFactorRule,
        "step",
        lambda self, x, y, fade: fades.append(fade) or step(self, x, y, fade),
    )
    learner(epochs=1, batch=100).fit(images())
    assert fades == pytest.approx([1, 2 / 3, 1 / 3])


def test_only_the_winners_above_the_inhibition_respond():
    drive = torch.tensor([[5.0, 1.0, 4.0, 3.0, 2.0]])  # mean 3
    assert activity(drive, None).tolist() == [[2.0, 0.0, 1.0, 0.0, 0.0]]
    assert activity(drive, 1).tolist() == [[2.0, 0.0, 0.0, 0.0, 0.0]]
    assert activity(drive, 4).tolist() == [[2.0, 0.0, 1.0, 0.0, 0.0]]
