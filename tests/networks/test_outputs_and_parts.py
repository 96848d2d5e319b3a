"""What networks return, as logits; their features and connections."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from harness.errors import HarnessError
from harness.networks.outputs import Prepared, as_logits
from harness.networks.parts import Features, connections, last_linear

IMAGES = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Returns(nn.Module):
    """Flattens, and wraps its logits by a function."""

    def __init__(self, wrap) -> None:
        super().__init__()
        self.fc = nn.Linear(192, 4)
        self.wrap = wrap

    def forward(self, x):
        return self.wrap(self.fc(x.flatten(1)))


class Named:
    """An output with an attribute, as some libraries return."""

    def __init__(self, logits) -> None:
        self.logits = logits


@pytest.mark.parametrize(
    ("wrap", "output"),
    [
        (lambda z: z, "logits"),
        (lambda z: (None, z), 1),
        (lambda z: {"scores": z}, "scores"),
        (Named, "logits"),
    ],
    ids=["tensor", "tuple", "dict", "attribute"],
)
def test_logits_are_found_in_what_a_network_returns(wrap, output):
    network = Returns(wrap)
    expected = network.fc(IMAGES.flatten(1))
    assert torch.equal(Prepared(network, output)(IMAGES), expected)


def test_probabilities_give_logits_of_the_same_classes_and_softmax():
    network = Returns(lambda z: z.softmax(1))
    logits = Prepared(network, "probabilities")(IMAGES)
    torch.testing.assert_close(logits.softmax(1), network(IMAGES))
    assert Prepared(lambda_of(torch.tensor([[1.0, 0.0]])), "probabilities")(IMAGES).isfinite().all()


def lambda_of(value):
    network = nn.Identity()
    network.forward = lambda x: value
    return network


@pytest.mark.parametrize("shape", [(6,), (6, 1)])
def test_one_logit_is_that_of_the_second_class(shape):
    one = torch.linspace(-2, 2, 6).reshape(shape)
    logits = as_logits(one, "one-logit")
    assert logits.shape == (6, 2)
    torch.testing.assert_close(logits.softmax(1)[:, 1], one.flatten().sigmoid())


def test_normalisation_is_that_of_each_channel():
    mean, std = [0.1, 0.2, 0.3], [1.0, 2.0, 4.0]
    network = Prepared(nn.Flatten(), "logits", mean, std)
    expected = (IMAGES - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    torch.testing.assert_close(network(IMAGES), expected.flatten(1))


@pytest.mark.parametrize(
    ("wrap", "output", "says"),
    [
        (lambda z: (z, z), "logits", "a tuple of 2"),
        (lambda z: {"scores": z}, "logits", "'scores'"),
        (lambda z: (z,), 3, "a tuple of 1"),
        (lambda z: None, "logits", "NoneType"),
    ],
)
def test_another_output_says_what_there_is(wrap, output, says):
    with pytest.raises(HarnessError) as raised:
        Prepared(Returns(wrap), output)(IMAGES)
    assert says in raised.value.message and raised.value.hint


class Two(nn.Module):
    """Convolution, hidden and output layers, called in another order than they were made."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 4)
        self.hidden = nn.Linear(2, 6)
        self.conv = nn.Conv2d(3, 2, 3)

    def forward(self, x):
        return self.head(self.hidden(self.conv(x).mean((2, 3))).relu())


def test_features_are_the_input_of_the_layer_that_is_called_last():
    network = Two()
    assert last_linear(network, IMAGES[:1]) == "head"
    features = Features(network, None, IMAGES[:1])(IMAGES)
    torch.testing.assert_close(network.head(features), network(IMAGES))


def test_features_of_a_named_part_are_its_output_averaged_over_positions():
    network = Two()
    features = Features(network, "conv", IMAGES[:1])(IMAGES)
    torch.testing.assert_close(features, network.conv(IMAGES).mean((2, 3)))


def test_features_carry_gradients():
    images = IMAGES.clone().requires_grad_()
    Features(Two(), None, IMAGES[:1])(images).sum().backward()
    assert images.grad.abs().sum() > 0


def test_missing_parts_are_named():
    with pytest.raises(HarnessError, match="no part 'konv'") as raised:
        Features(Two(), "konv", IMAGES[:1])
    assert "conv" in raised.value.hint
    with pytest.raises(HarnessError, match="no linear layer"):
        last_linear(nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten()), IMAGES[:1])


def test_connections_are_those_of_linear_and_convolution_layers():
    found = connections(Two())
    assert {name: (*weight.shape, dense) for name, (weight, dense) in found.items()} == {
        "head": (6, 4, True),
        "hidden": (2, 6, True),
        "conv": (27, 2, False),
    }
