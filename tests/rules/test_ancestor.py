"""The ancestor rule: inputs choose a neuron, outputs learn by trial, weights stay excitatory."""

from __future__ import annotations

import numpy as np
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
