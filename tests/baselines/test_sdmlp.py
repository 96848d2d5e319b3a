"""SDMLP: its sparseness, its switch, its constraints, and the gradient that an attack sees."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from baselines.sdmlp import Sdmlp, SparseDescent, hidden_activity
from harness.rng import Rng

SHAPE = {"k": 3, "switch": 100}


def sdmlp(**keys) -> Sdmlp:
    config = Sdmlp.Config(**{"hidden": 40, "batch_size": 20, **SHAPE, **keys})
    return Sdmlp(config, (1, 8, 8), 10, Rng(0))


def switched(one: Sdmlp, activations: float) -> dict[str, torch.Tensor]:
    return {**one.tensors, "activations": torch.full((40,), activations, dtype=torch.float64)}


def test_inhibition_first_excites_then_leaves_k_units_active(digits):
    one = sdmlp()
    images = digits[0].tensor()[:30]
    a = (F.normalize(images.flatten(1), dim=1) @ one.tensors["weight0"]).relu()
    fourth = a.sort(1, descending=True).values[:, 3:4]
    for activations, gain in ((0, -1.0), (50, 0.0), (75, 0.5), (100, 1.0), (500, 1.0)):
        h = hidden_activity(images, switched(one, activations), **SHAPE)
        torch.testing.assert_close(h, (a - gain * fourth).relu())
    assert ((h > 0).sum(1) == 3).all()
    assert (hidden_activity(images, switched(one, 0), **SHAPE) > 0).all(), "all are active"


def test_each_unit_has_a_switch_of_its_own(digits):
    one = sdmlp()
    images = digits[0].tensor()[:5]
    tensors = switched(one, 100)
    tensors["activations"][7] = 0
    h = hidden_activity(images, tensors, **SHAPE)
    assert (h[:, 7] > 0).all() and (h > 0).sum() <= 4 * 5


def test_steps_keep_signs_and_lengths_and_count_active_units(digits):
    one = sdmlp(lr=1.0)
    images = digits[0].tensor()[:20]
    active = (hidden_activity(images, one.tensors, **SHAPE) > 0).sum(0)
    rule = SparseDescent(one.tensors, 1.0, **SHAPE)
    rule.step(images, torch.from_numpy(digits[0].labels[:20]), 0.0)
    assert torch.equal(one.tensors["activations"], active.double())
    lengths = one.tensors["weight0"].norm(dim=0)
    torch.testing.assert_close(lengths, torch.ones(40))
    assert all((one.tensors[name] >= 0).all() for name in ("weight0", "weight1"))


def test_a_step_is_no_longer_than_its_rate(digits):
    one = sdmlp()
    before = one.tensors["weight1"].clone() + 10  # far from the clamp
    one.tensors["weight1"] = before.clone()
    rule = SparseDescent(one.tensors, 0.01, **SHAPE)
    rule.step(digits[0].tensor()[:20], torch.from_numpy(digits[0].labels[:20]), 0.0)
    assert 0 < (one.tensors["weight1"] - before).norm() <= 0.01 * (1 + 1e-4)


def test_attacks_differentiate_through_the_inhibition(digits):
    one = sdmlp()
    one.tensors = {name: value.double() for name, value in switched(one, 90).items()}
    module = one.classifier()
    x = digits[1].tensor()[:1].double().requires_grad_()
    (slope,) = torch.autograd.grad(module(x)[0, 3], x)
    step = 1e-7 * torch.eye(64, dtype=torch.float64).reshape(64, 1, 8, 8)
    with torch.no_grad():
        numeric = (module(x + step)[:, 3] - module(x - step)[:, 3]) / 2e-7
    torch.testing.assert_close(slope.flatten(), numeric, rtol=1e-4, atol=1e-6)


def test_digits_are_told_apart(digits):
    one = sdmlp(hidden=100, k=10, switch=4000, lr=0.3, epochs=12)
    one.fit(digits[0])
    answers = one.classifier()(digits[1].tensor()).argmax(1).numpy()
    assert (answers == digits[1].labels).mean() > 0.8
    weights = [bundle.weight for bundle in one.connectome()]
    assert all((weight >= 0).all() for weight in weights)
