"""``harness.attack``: what suites run, on tensors, with the network left as it is."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

from harness.attacks.engine.network_state import NetworkState
from harness.attacks.engine.sweep import sweep
from harness.attacks.pgd import PGD
from harness.errors import HarnessError
from harness.interactive.attack import attack
from harness.rng import Rng

EPS = [0.05, 0.1, 0.2]


class Counting(nn.Module):
    """A small network that counts its passes in a buffer, as some do."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.out = nn.Linear(144, 5)
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.passes += 1
        return self.out(self.norm(self.conv(x)).relu().flatten(1))


@pytest.fixture
def model() -> Counting:
    return Counting()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(24, 1, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def labels(model, images) -> torch.Tensor:
    with torch.no_grad():
        labels = model.eval()(images).argmax(1)
    model.train().passes.zero_()
    labels[0] = (labels[0] + 1) % 5  # one that is wrong without an attack
    return labels


@pytest.mark.parametrize("name", ["pgd", "fgsm", "fmn", "autoattack"])
@pytest.mark.parametrize("grid", [{}, {"sweep": "bisect"}])
def test_each_success_is_an_image_within_its_budget_that_misleads(
    model, images, labels, name, grid
):
    steps = {"steps": 5} if name != "fgsm" else {}
    few = {"queries": 10} if name == "autoattack" else {}
    found = attack(model, images, labels, name, eps=EPS, **grid, **steps, **few)
    model.eval()
    assert found.adversarial.shape == (3, *images.shape)
    for eps, adversarial, success, distance in zip(
        EPS, found.adversarial, found.success, found.distance, strict=True
    ):
        with torch.no_grad():
            wrong = model(adversarial).argmax(1) != labels
        assert torch.equal(wrong, success)
        assert distance.max() <= eps + 1e-6
        assert adversarial.min() >= 0 and adversarial.max() <= 1
    assert not found.clean[0] and torch.equal(found.adversarial[2, 0], images[0])
    assert found.success[0].sum() <= found.success[1].sum() <= found.success[2].sum()
    assert found.success[2].sum() > 1


def test_the_verdicts_are_those_of_a_suite(model, images, labels):
    found = attack(model, images, labels, "pgd", eps=EPS, steps=4, seed=3)
    pgd = PGD.of(eps=EPS, steps=4)
    of_suite = sweep(model.eval(), images, labels, np.arange(24), pgd, Rng(3))
    assert np.array_equal(~of_suite.worst, found.success.numpy())
    assert found.accuracy == list(of_suite.accuracy())


@pytest.mark.parametrize("training", [True, False])
def test_the_network_and_all_random_states_are_left_as_they_were(model, images, labels, training):
    model.train(training)
    model.conv.eval()
    model.out.weight.grad = torch.ones_like(model.out.weight)
    model.norm.weight.requires_grad_(False)
    before = NetworkState.of(model)
    drawn = random.getstate(), torch.get_rng_state()
    attack(model, images, labels, eps="8/255", steps=2)
    assert before.changed(model) == []
    assert drawn[0] == random.getstate() and torch.equal(drawn[1], torch.get_rng_state())


def test_the_network_is_restored_after_an_error(model, images, labels):
    before = NetworkState.of(model)
    with pytest.raises(HarnessError):
        attack(model, images[:, :, :5], labels, eps=0.1)
    assert before.changed(model) == []


def test_normalisation_and_probabilities_change_nothing_but_the_form(model, images, labels):
    class Elsewhere(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x * 0.5 + 0.25).softmax(1)

    plain = attack(model, images, labels, "fgsm", eps=0.1)
    normalise = {"mean": [0.25], "std": [0.5]}
    other = attack(
        Elsewhere(), images, labels, "fgsm", eps=0.1, normalise=normalise, output="probabilities"
    )
    assert torch.equal(plain.success, other.success)


def test_results_print_in_a_line_and_give_a_typed_frame(model, images, labels):
    found = attack(model, images, labels, "fgsm", eps=["16/255", 0.1])
    assert repr(found).startswith("Attacked 24 images: 95.8 % correct, ")
    assert "16/255" in repr(found)
    frame = found.frame()
    assert len(frame) == 48
    kinds = [str(kind) for kind in frame.dtypes]
    assert kinds == ["float64", "int64", "bool", "bool", "float32"]
    assert 1 - frame.groupby("eps")["success"].mean().iloc[0] == found.accuracy[0]


NAN = torch.full((2, 1, 8, 8), float("nan"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": torch.rand(2, 8, 8, 1)}, r"shape \(2, 8, 8, 1\)"),
        ({"images": torch.rand(2, 64)}, r"shape \(2, 64\)"),
        ({"images": torch.rand(0, 1, 8, 8)}, r"shape \(0, 1, 8, 8\)"),
        ({"images": torch.zeros(2, 1, 8, 8, dtype=torch.uint8)}, "torch.uint8"),
        ({"images": NAN}, "not finite"),
        ({"images": torch.full((2, 1, 8, 8), 200.0)}, "pixels from 200 to 200"),
        ({"images": torch.full((2, 1, 8, 8), -0.5)}, "pixels from -0.5"),
        ({"images": torch.rand(2, 3, 8, 8)}, "does not take images of 3x8x8: RuntimeError"),
        ({"labels": [0]}, r"2 images, and labels of shape \(1,\)"),
        ({"labels": [0.0, 1.0]}, "the labels are torch.float32"),
        ({"labels": [0, 5]}, "label 5, and the network has classes 0 to 4"),
        ({"labels": [0, -1]}, "label -1"),
        ({"attack": "pgt"}, "unknown attack 'pgt'"),
        ({"attack": {"eps": 0.1}}, "unknown attack"),
        ({"attack": "transfer"}, "needs a dataset"),
        ({"steps": 0}, "steps should be greater"),
        ({"stesp": 3}, "unknown key 'stesp'"),
        ({"eps": None}, "key 'eps' is missing"),
        ({"eps": [0.2, 0.1]}, "eps must ascend"),
        ({"output": "key"}, "not 'key'"),
    ],
)
def test_a_fault_of_the_input_is_one_clear_line(model, change, message):
    given = {"images": torch.rand(2, 1, 8, 8), "labels": [0, 1], "eps": 0.1, **change}
    with pytest.raises(HarnessError, match=message) as caught:
        attack(model, given.pop("images"), given.pop("labels"), **given)
    assert len(str(caught.value).splitlines()) <= 2
