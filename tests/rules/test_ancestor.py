"""The ancestor rule: inputs choose a neuron, outputs learn by perturbation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.data.base import Images
from harness.registry import learners
from harness.rng import Rng

ANCESTOR = learners["ancestor"]


def images(n: int = 600) -> Images:
    generator, labels = Rng(0).numpy("images"), np.arange(n) % 3
    pixels = generator.integers(0, 60, (n, 1, 6, 6)).astype(np.uint8)
    pixels[np.arange(n), 0, 2 * labels] = 230
    return Images(pixels, labels, np.arange(n), 3)


def trained(**config):
    settings = ANCESTOR.Config.model_validate(
        {"hidden": 12, "epochs": 60, "readout_steps": 100} | config
    )
    one = ANCESTOR(settings, (1, 6, 6), 3, Rng(0))
    return one, one.fit(images())


def test_presynaptic_competition_leaves_about_one_synapse_an_input():
    one, log = trained()
    per_input = one.connectome()[0].mask.sum(1).float()
    assert log.sign_changes == 0 and per_input.mean() < 3
    without, _ = trained(presynaptic=False)
    assert without.connectome()[0].mask.sum(1).float().mean() > per_input.mean()


def test_it_learns_and_stays_excitatory():
    one, _ = trained()
    assert all((s.weight >= 0).all() for s in one.connectome()) and (one.tensors["V"] > 0).all()
    with torch.no_grad():
        assert (
            one.classifier()(images().tensor()).argmax(1).numpy() == images().labels
        ).mean() > 0.6  # chance: 1 / 3


def test_activity_is_the_published_one():
    one, _ = trained()
    module = one.body()
    x = images(5).tensor()
    flat = x.flatten(1) / x.flatten(1).norm(dim=1, keepdim=True)
    drive = flat @ (one.tensors["W"] / one.tensors["W"].norm(dim=0).clamp_min(1e-12))
    z = one.config.gain * (drive - drive.mean(1, keepdim=True)) + one.tensors["b"]
    assert torch.allclose(module(x), torch.where(z >= 0, 2 * torch.sigmoid(z) - 1, 0.0), atol=1e-5)


@pytest.mark.parametrize("presynaptic", [True, False])
@pytest.mark.parametrize("competition", [0.0, 6.0])
def test_a_hebbian_step_is_its_equation(presynaptic, competition):
    """eta f (a - r) / mean a: replicator shares of an input, or a neuron's fixed length."""
    settings = ANCESTOR.Config(
        hidden=7,
        presynaptic=presynaptic,
        activity_competition=competition,
        eta=0.4,
        homeostasis=1.5,
        target=0.2,
        clip=0.2,
    )
    one = ANCESTOR(settings, (1, 6, 6), 3, Rng(0))
    one.tensors["b"] = 0.1 * torch.rand(7, generator=Rng(1).torch("b"))
    x = images(40).tensor().flatten(1)
    x[:, 4] = 0.0  # an input that is silent in the batch
    h = one.body()(x).double().numpy()
    w, b = (one.tensors[name].double().numpy().copy() for name in ("W", "b"))
    one.learn(x, 0.6)
    inputs = x.double().numpy()
    y = h
    if competition:
        e = np.exp(competition * h)
        y = h * 7 * e / e.sum(1, keepdims=True)
    a = inputs.T @ y / 40
    if presynaptic:
        share = w / w.sum(1, keepdims=True)
        reference = (share * a).sum(1, keepdims=True)
    else:
        reference = (w**2 * a).sum(0, keepdims=True) / (w**2).sum(0, keepdims=True)
    mean = a.mean(1, keepdims=True)
    active = mean[:, 0] > 0
    delta = np.zeros_like(a)
    delta[active] = 0.4 * 0.6 * ((a - reference) / np.where(mean > 0, mean, 1))[active]
    expected = w * np.exp(np.clip(delta, -0.2, 0.2))
    np.testing.assert_allclose(one.tensors["W"].numpy(), expected, rtol=1e-4)
    assert np.array_equal(one.tensors["W"][4].double().numpy(), w[4])
    np.testing.assert_allclose(
        one.tensors["b"].numpy(), b + 1.5 * 0.6 * (0.2 - h.mean(0)), rtol=1e-4, atol=1e-6
    )


def test_the_output_starts_at_the_mean_code_of_each_class():
    one, _ = trained(readout_steps=0, epochs=2)
    codes, labels = one.embed(images().tensor()), torch.from_numpy(images().labels)
    means = torch.stack([codes[labels == c].mean(0) for c in range(3)], 1)
    torch.testing.assert_close(one.tensors["V"], means + 0.01, rtol=1e-4, atol=1e-6)


def test_silent_synapses_are_removed_at_the_end():
    one, _ = trained()
    weight = one.tensors["W"]
    strength = weight / weight.max(1).values.mean()
    assert ((strength > 0.01) | (weight == 0)).all() and (weight == 0).any()
