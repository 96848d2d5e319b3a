"""Learners whose synapses keep their sign: exponentiated gradients and Dale's ANN."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from harness.learning.nets import perceptron
from harness.learning.perceptron import in_turn
from harness.registry import learners
from harness.rng import Rng


def made(kind: str, train, **switches):
    cls = learners[kind]
    return cls(cls.Config(**switches), train.shape, train.n_classes, Rng(0))


def accuracy(learner, test) -> float:
    with torch.no_grad():
        return (learner.classifier()(test.tensor()).argmax(1).numpy() == test.labels).mean()


FORMS = [
    {},
    {"signs": "positive"},
    {"optimiser": "sgd", "lr": 1.0, "bias_lr": 0.05},
    {"initial": "uniform"},
    {"signs": "positive", "initial": "uniform", "optimiser": "sgd", "lr": 0.2, "bias_lr": 0.05},
]


@pytest.mark.parametrize("switches", FORMS)
def test_exponentiated_gradients_learn_and_change_no_sign(digits, switches):
    learner = made("exponentiated-gradient", digits[0], **{"hidden": 200, "epochs": 20, **switches})
    log = learner.fit(digits[0])
    assert log.sign_changes == 0 and all(
        (bundle.weight != 0).all() for bundle in learner.connectome()
    )
    assert not any(bundle.enforced for bundle in learner.connectome())
    assert accuracy(learner, digits[1]) > 0.9
    if switches.get("signs") == "positive":
        assert all((bundle.weight > 0).all() for bundle in learner.connectome())


@pytest.mark.parametrize("switches", FORMS)
def test_initial_weights_have_hes_variance(digits, switches):
    learner = made("exponentiated-gradient", digits[0], hidden=4000, **switches)
    assert learner.tensors["weight0"].var() == pytest.approx(2 / 64, rel=0.1)


def test_the_first_step_is_the_published_one(digits):
    """SGD, without momentum yet: w exp(-eta sign(w) g), biases b - eta_b g."""
    x, y = digits[0].tensor()[:40], torch.from_numpy(digits[0].labels[:40])
    learner = made(
        "exponentiated-gradient", digits[0], hidden=20, optimiser="sgd", lr=0.7, bias_lr=0.3
    )
    before = [p.clone().requires_grad_() for p in in_turn(learner.tensors)]
    gradients = torch.autograd.grad(F.cross_entropy(perceptron(x.flatten(1), before), y), before)
    learner.rule(learner.tensors, adapting=False).step(x, y, 0.5)
    for i, (old, new, g) in enumerate(
        zip(before, in_turn(learner.tensors), gradients, strict=True)
    ):
        expected = old - 0.15 * g if i % 2 else old * torch.exp(-0.35 * old.sign() * g)
        torch.testing.assert_close(new, expected.detach())


def test_dales_ann_begins_as_a_layer_normalisation(digits):
    """Interneurons subtract the excitatory mean, and alpha is set for the remaining spread."""
    learner = made("dales-ann", digits[0], hidden=2000)
    x = torch.rand(50, 64, generator=torch.Generator().manual_seed(0))
    t = learner.tensors
    z = (x @ t["ex0"] - x @ t["ix0"] @ t["ei0"]) / ((t["alpha0"].exp() * (x @ t["ix0"])) @ t["ei0"])
    assert z.mean(1).abs().max() < 0.4 * z.std(1).min()
    torch.testing.assert_close(learner.body()(x.view(50, 1, 8, 8)), F.relu(z))


def test_dales_ann_learns_and_every_neuron_keeps_one_sign(digits):
    learner = made("dales-ann", digits[0], hidden=[100, 50])
    log = learner.fit(digits[0])
    assert accuracy(learner, digits[1]) > 0.93 and log.sign_changes == 0
    bundles = learner.connectome()
    assert len(bundles) == 9 and all(bundle.enforced for bundle in bundles)
    assert all(
        (b.weight <= 0).all() if "inhibitory->" in b.name else (b.weight >= 0).all()
        for b in bundles
    )


def test_gradients_of_interneurons_are_corrected(digits):
    """By 1 / sqrt(E), 1 / n and 1 / (n sqrt(E)): read off one step without momentum."""
    x, y = digits[0].tensor()[:40], torch.from_numpy(digits[0].labels[:40])
    steps = {}
    for corrected in (True, False):
        learner = made("dales-ann", digits[0], hidden=25, corrected=corrected, lr=1e-4)
        before = {name: value.double() for name, value in learner.tensors.items()}
        after = {name: value.clone() for name, value in before.items()}
        learner.rule(after, adapting=False).step(x.double(), y, 0.0)
        steps[corrected] = {name: (value - before[name]).norm() for name, value in after.items()}
    # alpha0 has no gradient yet: it scales a layer whose output the next layer normalises.
    expected = {"ex0": 1, "bias0": 1, "ei0": 64, "ix0": 5, "alpha1": 25 * 10**0.5}
    assert {
        name: float(steps[False][name] / steps[True][name]) for name in expected
    } == pytest.approx(expected, rel=1e-3)
