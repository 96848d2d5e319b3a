"""Which networks become a graph, what the graph computes, and why others have no bound."""

from __future__ import annotations

import pytest
import small
import torch
from torch import nn
from torch.nn import functional as F

from harness.bounds.graph import NoBound
from harness.bounds.prove import Prover, prove
from harness.bounds.trace import trace
from harness.registry import learners
from harness.rng import Rng

SHAPE = (1, 8, 8)
IMAGES = small.images(20, *SHAPE)


def untrained(kind: str, **keys) -> nn.Module:
    learner = learners[kind](learners[kind].Config(**keys), SHAPE, 10, Rng(0))
    if hasattr(learner, "stage"):
        learner.stage = "classifier"
    return learner.classifier()


LEARNERS = {
    "mlp": ({"hidden": [12, 9]}, "CROWN"),
    "cnn": ({"filters": 2, "units": 9}, "CROWN"),
    "eg-3f": ({}, "CROWN"),
    "target-propagation": ({"hidden": 9}, "CROWN"),
    "feedback-alignment": ({"hidden": 9}, "CROWN"),
    "nearest-mean": ({}, "linear"),
    "ancestor": ({"hidden": 12}, "CROWN"),
    "krotov-hopfield": ({"hidden": 12}, "CROWN"),
    "ech": ({"hidden": 12}, "competitive code"),
    "prototypes": ({"hidden": 12}, "competitive code"),
    "softhebb": ({"hidden": 12}, "competitive code"),
}


@pytest.mark.parametrize("kind", LEARNERS)
def test_learners_get_the_method_made_for_them(kind):
    keys, method = LEARNERS[kind]
    proof = prove(untrained(kind, **keys), IMAGES, torch.zeros(20).long(), 0.01)
    assert proof.method == method
    assert proof.margins.shape == (20, 10)


class Function(nn.Module):
    """A forward pass as a function."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


WEIGHT = torch.randn(64, 5, generator=small.seeded(1))

EQUIVALENT = {
    "addmm": lambda x: torch.addmm(torch.ones(5), x.flatten(1), WEIGHT, beta=2, alpha=0.5),
    "pixels normalised": lambda x: ((x - 0.13) / 0.31).view(len(x), -1) @ WEIGHT,
    "in place": lambda x: (x.flatten(1) @ WEIGHT).mul_(2).add_(1).relu_(),
    "branches": lambda x: F.relu(x.flatten(1) @ WEIGHT) - 2 * (x.flatten(1) @ WEIGHT),
    "slices": lambda x: x[:, :, 1:, ::2].flatten(1)[:, :5] + x[:, 0, 0, :5],
    "padding": lambda x: F.avg_pool2d(F.pad(x, (1, 2, 0, 1)), 2).flatten(1)[:, 3:8],
    "sums": lambda x: x.sum((1, 2))[:, :5] - x.mean(3)[:, 0, :5],
    "permuted": lambda x: x.permute(0, 3, 2, 1).reshape(len(x), 64) @ WEIGHT,
    "transposed": lambda x: x[:, 0].transpose(1, 2).flatten(1) @ WEIGHT,
    "three minus": lambda x: 3 - torch.sigmoid(x.flatten(1) @ WEIGHT / 3),
    "image clipped": lambda x: x.clamp(0, 1).flatten(1) @ WEIGHT,
    "weights by value": lambda x: x.flatten(1) @ (WEIGHT - WEIGHT.mean(0)).abs(),
}


@pytest.mark.parametrize("name", EQUIVALENT)
def test_a_graph_computes_what_the_network_computes(name):
    network = Function(EQUIVALENT[name]).eval()
    found = trace(network, IMAGES).values(IMAGES.double())[-1]
    torch.testing.assert_close(found.float(), network(IMAGES), rtol=1e-5, atol=1e-5)


def test_normalisation_pooling_and_convolutions_are_recorded():
    network = small.conv(0, channels=2, side=7)
    points = small.images(9, 2, 7, 7)
    found = trace(network, points).values(points.double())[-1]
    torch.testing.assert_close(found.float(), network(points), rtol=1e-5, atol=1e-5)


NO_BOUND = {
    "layer norm": (lambda x: F.layer_norm(x.flatten(1), (64,)), "native_layer_norm has no bound"),
    "random": (lambda x: x.flatten(1) + torch.rand(64), "it draws random numbers (rand)"),
    "branch on values": (
        lambda x: x.flatten(1) if x.max() > 0.5 else 2 * x.flatten(1),
        "its forward pass cannot be recorded",
    ),
    "batch": (lambda x: (x - x.mean(0)).flatten(1), "images of a batch influence each other"),
    "rounding": (lambda x: x.flatten(1).round(), "round has no bound"),
    "product": (lambda x: x.flatten(1) * x.flatten(1).flip(1), "flip has no bound"),
    "k winners": (
        lambda x: x.flatten(1).topk(5).values,
        "topk has no bound",
    ),
    "largest of units": (
        lambda x: (x.flatten(1) @ WEIGHT).view(len(x), 5, 1).amax(2),
        "maximum is only bounded as part of nearest prototypes",
    ),
    "units clipped": (lambda x: (x.flatten(1) @ WEIGHT).clamp(0, 1), "clamping has no bound"),
    "maps": (lambda x: x * 2, "it does not give logits (B, classes)"),
    "double": (lambda x: x.flatten(1).double(), "it computes in float64"),
    "probabilities inside": (
        lambda x: torch.softmax(x.flatten(1) @ WEIGHT, 1) - 1,
        "softmax is only bounded as part of a competitive code",
    ),
    "cosine of a hidden layer": (
        lambda x: F.normalize(F.relu(x.flatten(1) @ WEIGHT), dim=1),
        "division by the length of the values is only bounded as part of a competitive code",
    ),
}


@pytest.mark.parametrize("name", NO_BOUND)
def test_a_network_without_a_bound_says_which_part_prevents_it(name):
    function, reason = NO_BOUND[name]
    with pytest.raises(NoBound) as raised:
        Prover.of(Function(function).eval(), IMAGES)
    assert raised.value.reason.startswith(reason)


def test_a_network_in_training_mode_has_no_bound():
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.Dropout())
    with pytest.raises(NoBound, match="training mode"):
        Prover.of(network, IMAGES)
    assert Prover.of(network.eval(), IMAGES).method == "linear"


def test_a_network_that_changes_from_call_to_call_has_no_bound():
    class Drifting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls = 0

        def forward(self, x):
            self.calls += 1
            return x.flatten(1) @ WEIGHT * self.calls

    with pytest.raises(NoBound, match="not a function of the image alone"):
        Prover.of(Drifting().eval(), IMAGES)


def test_max_pooling_before_and_after_a_relu_has_the_same_bounds():
    def network(pool_first: bool) -> nn.Module:
        pair = [nn.MaxPool2d(2), nn.ReLU()]
        pair = pair if pool_first else pair[::-1]
        layers = nn.Sequential(nn.Conv2d(1, 3, 3), *pair, nn.Flatten(), nn.Linear(27, 4))
        return small.randomised(layers, 0)

    labels = torch.arange(20) % 4
    one, other = (prove(network(first), IMAGES, labels, 0.05).margins for first in (True, False))
    torch.testing.assert_close(one, other)
