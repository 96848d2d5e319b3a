"""The batch size changes no bit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from harness.batching import in_batches

NETWORKS = {
    "perceptron": nn.Sequential(nn.Flatten(), nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 10)),
    "convolutions": nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.Flatten(),
        nn.Linear(6272, 10),
    ),
}


def gradient(network):
    def of(x):
        x = x.detach().requires_grad_()
        return torch.autograd.grad(network(x).square().sum(), x)[0]

    return of


@pytest.mark.parametrize("kind", ["forward", "gradient"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_batch_size_gives_the_same_bits(name, kind):
    network = NETWORKS[name]
    function = network if kind == "forward" else gradient(network)
    images = torch.rand(117, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    whole = in_batches(function, images, batch_size=117)
    for batch_size in (1, 7, 16, 50, 64, 100, 1000):
        assert torch.equal(in_batches(function, images, batch_size=batch_size), whole), batch_size


def test_several_tensors_go_together_and_padding_is_dropped():
    a, b = torch.arange(37.0), torch.arange(37.0) * 2
    assert torch.equal(in_batches(lambda x, y: x + y, a, b, batch_size=10), 3 * a)
