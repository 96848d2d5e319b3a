"""On the real graph, the gradient is that of the value, whatever was detached."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from harness.attacks.engine.losses import LOSSES
from harness.attacks.engine.real_graph import RealGraph, RealGraphVictim
from harness.attacks.engine.victim import Victim


class Cut(nn.Module):
    """An honest network whose graph is cut, and a linear map whose gradient is passed instead."""

    def __init__(self, inner: nn.Module, how: str):
        super().__init__()
        self.inner, self.how = inner, how
        self.register_buffer("bait", torch.linspace(-1, 1, 640).view(64, 10))

    def forward(self, x):
        soft = x.flatten(1) @ self.bait
        if self.how == "detach":
            return (self.inner(x.detach()) - soft).detach() + soft
        if self.how == "data":
            return self.inner(x.data) - soft.data + soft
        with torch.no_grad():
            hard = self.inner(x) - soft
        return hard + soft


@pytest.mark.parametrize("how", ["detach", "data", "no_grad"])
def test_undoing_a_cut_gives_the_gradient_of_the_value(mlp, digits, how):
    images, labels = digits.images[:32], digits.labels[:32]
    cut = Cut(mlp, how)
    loss = LOSSES["margin"]
    honest, _ = Victim(mlp).gradient(images, labels, None, loss)
    masked, _ = Victim(cut).gradient(images, labels, None, loss)
    real, _ = RealGraphVictim(cut).gradient(images, labels, None, loss)
    torch.testing.assert_close(real, honest, atol=1e-5, rtol=1e-4)
    assert (masked - honest).abs().max() > 0.1


def test_a_gradient_mode_that_the_caller_set_is_left_alone():
    with RealGraph(), torch.no_grad():
        pass
    assert torch.is_grad_enabled()
    with torch.no_grad():
        with RealGraph():
            torch.ones(1).detach()
        assert not torch.is_grad_enabled()
