"""The steady mode of ``ech``: its step beside that of ``fit``, use, structure, and what is kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.data.base import Images
from harness.registry import learners
from harness.rng import Rng
from harness.rules import plasticity, steady
from harness.rules.competition import Layer, uniform_weights

ECH = learners["ech"]


def config(**keys):
    return ECH.Config(**{"hidden": 12, **keys})


def layer() -> Layer:
    weight = uniform_weights(1, 12, 20, generator=torch.Generator().manual_seed(0))
    return Layer(weight, torch.zeros(1, 12))


def inputs(count: int = 30) -> torch.Tensor:
    x = torch.rand(count, 20, generator=torch.Generator().manual_seed(1))
    return x / x.norm(dim=1, keepdim=True)


def noise() -> torch.Generator:
    return torch.Generator().manual_seed(2)


def test_without_metaplasticity_a_step_is_that_of_fit_at_constant_rates():
    keys = {"noise": 0.04, "maintenance": 0.003, "turnover_every": 1}
    at = config(steady_temperature=60.0, steady_rate=0.4, metaplasticity=0.0, **keys)
    in_fit = config(homeostasis=at.steady_homeostasis, **keys)
    ours, theirs = layer(), layer()
    got = steady.step(ours, inputs(), torch.zeros(12), at, noise())
    expected = plasticity.learn(theirs, inputs()[None], 60.0, 0.4, in_fit, noise())
    torch.testing.assert_close(ours.weight, theirs.weight)
    torch.testing.assert_close(ours.threshold, theirs.threshold)
    torch.testing.assert_close(got, expected[0])


def test_a_neuron_that_has_won_so_often_learns_at_half_the_rate():
    changes = []
    for wins in (torch.zeros(12), torch.full((12,), 20.0), torch.full((12,), 60.0)):
        one = layer()
        before = one.weight.log()
        steady.step(one, inputs(), wins.clone(), config(metaplasticity=20.0), noise())
        changes.append(one.weight.log() - before)
    torch.testing.assert_close(changes[0], 2 * changes[1], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(changes[0], 4 * changes[2], rtol=1e-3, atol=1e-5)


def test_wins_are_shares_of_images():
    wins = torch.zeros(12)
    steady.step(layer(), inputs(), wins, config(), noise())
    steady.step(layer(), inputs(7), wins, config(), noise())
    assert wins.sum() == pytest.approx(37, rel=1e-5) and (wins >= 0).all()


def clusters() -> Images:
    """Six classes of noisy images with a pattern each, 30 of each."""
    generator = np.random.default_rng(0)
    labels = np.tile(np.arange(6), 30)
    patterns = generator.integers(0, 200, (6, 1, 6, 6)) * (generator.random((6, 1, 6, 6)) < 0.4)
    pixels = patterns[labels] + generator.integers(0, 50, (180, 1, 6, 6))
    return Images(pixels.astype(np.uint8), labels.astype(np.int64), np.arange(180), 6)


def untrained(**keys):
    keys = {"hidden": 30, "batch": 10, "epochs": 4, "readout_steps": 40, **keys}
    return ECH(ECH.Config(**keys), (1, 6, 6), 6, Rng(0))


def of_classes(images: Images, *classes: int) -> Images:
    return images.take(np.flatnonzero(np.isin(images.labels, classes)))


def accuracy(learner, images: Images) -> float:
    with torch.no_grad():
        answers = learner.classifier()(images.tensor()).argmax(1).numpy()
    return float((answers == images.labels).mean())


def test_structure_changes_every_so_many_steps_of_all_calls():
    images = clusters()
    learner = untrained(restructure_every=10, prune=0.9)
    live = []
    for _ in range(4):
        learner.go_on(of_classes(images, 0, 1))  # six steps
        live.append(int(learner.layer.live.sum()))
    # Steps 10 and 20 are in the second and in the fourth call.
    assert live[0] == 30 * 36 > live[1] == live[2] > live[3]


def test_a_fitted_learner_goes_on_from_there():
    images = clusters()
    learner = untrained()
    learner.fit(of_classes(images, 0, 1, 2))
    before = learner.layer.weight.clone()
    learner.go_on(of_classes(images, 3, 4, 5))
    assert (learner.layer.weight - before).abs().max() > 0
    assert accuracy(learner, of_classes(images, 0, 1, 2)) > 0.8, "old classes are still read"
    assert accuracy(learner, of_classes(images, 3, 4, 5)) > 0.8


def test_classes_in_turn_are_remembered():
    images = clusters()
    learner = untrained()
    for pair in ((0, 1), (2, 3), (4, 5)):
        for _ in range(3):
            learner.go_on(of_classes(images, *pair))
    assert accuracy(learner, images) > 0.9
    assert [bundle.name for bundle in learner.connectome()] == ["input->hidden", "hidden->output"]


def test_only_the_keys_of_fit_are_written_at_the_defaults():
    """Results that were published before these keys existed keep their identity."""
    written = ECH.Config().model_dump(mode="json")
    assert not [key for key in written if key.startswith("steady")]
    assert not {"metaplasticity", "restructure_every"} & {*written}
