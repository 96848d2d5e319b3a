"""Bodies: shapes at every image size, folding, adaptation of many episodes together."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from harness.learning.bodies import Conv4, Dense, GroupNorm, freeze, without_batch_statistics
from harness.learning.inner_loop import AdaptableNetwork, adapt_dense, add_outputs


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize(("size", "width"), [(8, 64), (12, 64), (28, 64), (84, 64 * 25)])
def test_embedding_sizes(size, width):
    """64 values for small images; 1,600 for 84 x 84, as published for miniImageNet."""
    assert Conv4(3, 64, generator()).eval()(torch.rand(2, 3, size, size)).shape == (2, width)


def reference(body: Conv4) -> nn.Sequential:
    """The published block, conv - batch norm - ReLU - max pooling, out of torch's own layers."""
    layers = []
    for weight, norm in zip(body.weights, body.norms, strict=True):
        conv = nn.Conv2d(*weight.shape[1::-1], 3, padding=1, bias=False)
        conv.weight = nn.Parameter(weight.detach().clone())
        layers += [conv, copy.deepcopy(norm), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten())


def warmed(body: Conv4) -> Conv4:
    """With running statistics, scales and shifts that are not the initial ones."""
    with torch.no_grad():
        for norm in body.norms:
            norm.weight.uniform_(-1, 1, generator=generator())
            norm.bias.uniform_(-1, 1, generator=generator())
        for _ in range(3):
            body.train()(torch.rand(16, 1, 28, 28, generator=generator()))
    return body


@pytest.mark.parametrize("training", [True, False])
def test_conv4_is_the_published_network(training):
    body = warmed(Conv4(1, 16, generator()))
    images = torch.rand(8, 1, 28, 28, generator=generator())
    torch.testing.assert_close(
        reference(body).train(training)(images), body.train(training)(images), rtol=1e-4, atol=1e-4
    )


def test_folding_changes_neither_values_nor_gradients():
    body, images = (
        warmed(Conv4(1, 16, generator())).eval(),
        torch.rand(8, 1, 28, 28, generator=generator()),
    )
    folded, grads = body.folded(), []
    torch.testing.assert_close(folded(images), body(images), rtol=1e-4, atol=1e-4)
    for module in (body, folded):
        x = images.clone().requires_grad_()
        grads.append(torch.autograd.grad(module(x).square().sum(), x)[0])
    torch.testing.assert_close(*grads, rtol=1e-3, atol=1e-3)
    assert not any(p.requires_grad for p in folded.parameters())


@pytest.mark.parametrize("training", [True, False])
def test_group_normalisation_sees_one_image_at_a_time(training):
    body = without_batch_statistics(Conv4(1, 12, generator())).train(training)
    images = torch.rand(4, 1, 28, 28, generator=generator())
    torch.testing.assert_close(body(images)[:1], body(images[:1]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [4, 8, 12])
@pytest.mark.parametrize("width", [1, 2, 8, 12])
def test_group_normalisation_distinguishes_images_on_maps_of_one_pixel(size, width):
    body = without_batch_statistics(Conv4(1, width, generator()))
    images = torch.rand(64, 1, size, size, generator=generator())
    out = body(images)
    torch.testing.assert_close(body(images[:1]), out[:1], rtol=1e-4, atol=1e-5)
    live = (
        out.detach().std(0) > 1e-3
    )  # a filter may be silent; that all are the same for every image is the fault
    assert out.isfinite().all() and (live.any() or width == 1)


def test_larger_maps_are_normalised_as_usual():
    x = torch.randn(2, 8, 2, 3, generator=generator())
    assert torch.equal(GroupNorm(4, 8)(x), nn.GroupNorm(4, 8)(x))


def test_added_outputs_start_equal_and_only_on_the_clone():
    network = AdaptableNetwork(Dense(9, 8, generator()), (1, 3, 3))
    names = [name for name, _ in network.named_parameters()]
    clone = copy.deepcopy(network)
    add_outputs(clone, 3)
    assert torch.equal(clone(torch.rand(5, 1, 3, 3)), torch.zeros(5, 3))
    assert [name for name, _ in network.named_parameters()] == names and all(
        n.startswith("body.") for n in names
    )


@pytest.mark.parametrize("scale", [0.0, 1.0])
@pytest.mark.parametrize(("ways", "shots"), [(3, 1), (5, 4)])
def test_episodes_adapted_together_take_plain_gradient_steps(ways, shots, scale):
    """Against torch.optim.SGD, from zero or from any other column that all classes share."""
    network = AdaptableNetwork(Dense(16, 16, generator()), (1, 4, 4))
    column = scale * torch.randn(16, 1, generator=generator())
    x, labels = (
        torch.rand(2, ways * shots, 1, 4, 4),
        torch.arange(ways).repeat_interleave(shots).repeat(2, 1),
    )
    queries = torch.rand(2, 6, 1, 4, 4)
    logits = adapt_dense(network, x, labels, ways, steps=4, rates=[0.3] * 6)(queries)
    for e in range(2):
        one = copy.deepcopy(network)
        one.weight, one.bias = (
            nn.Parameter(column.repeat(1, ways)),
            nn.Parameter(torch.full((1, ways), scale)),
        )
        optimiser = torch.optim.SGD(one.parameters(), lr=0.3)
        for _ in range(4):
            optimiser.zero_grad()
            F.cross_entropy(one(x[e]), labels[e]).backward()
            optimiser.step()
        torch.testing.assert_close(
            logits[e].softmax(1), one(queries[e]).detach().softmax(1), rtol=1e-4, atol=1e-5
        )


def test_freezing_cuts_graphs():
    module = freeze(nn.Sequential(nn.Linear(3, 2), nn.Dropout()))
    assert not module.training and not any(p.requires_grad for p in module.parameters())


def test_each_parameter_has_its_own_rate():
    """Rates come output first: weight, bias, then those of the body."""
    network = AdaptableNetwork(Dense(16, 8, generator()), (1, 4, 4))
    x, labels = torch.rand(1, 6, 1, 4, 4), torch.arange(3).repeat_interleave(2)[None]
    queries, rates = torch.rand(1, 4, 1, 4, 4), [0.5, 0.4, 0.3, 0.2, 0.1, 0.05]
    logits = adapt_dense(network, x, labels, 3, steps=3, rates=rates)(queries)
    one = copy.deepcopy(network)
    add_outputs(one, 3)
    for _ in range(3):
        loss = F.cross_entropy(one(x[0]), labels[0])
        parameters = [one.weight, one.bias, *one.body.parameters()]
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for p, g, rate in zip(parameters, gradients, rates, strict=True):
                p -= rate * g
    torch.testing.assert_close(logits[0], one(queries[0]).detach(), rtol=1e-4, atol=1e-5)
