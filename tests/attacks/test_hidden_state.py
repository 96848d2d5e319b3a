"""State that is neither a parameter nor a buffer is found wherever a network can keep it."""

from __future__ import annotations

from collections import deque
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from harness.attacks.engine.hidden_state import hidden_state

SEEN: list[int] = []


class Net(nn.Module):
    """Calls ``remember`` in each pass."""

    shared: dict[int, int] = {}

    def __init__(self, remember):
        super().__init__()
        self.remember = remember

    def forward(self, x):
        self.remember(self, x)
        return x


class Notebook:
    """An object with a slot."""

    __slots__ = ("pages",)

    def __init__(self):
        self.pages = []


def in_closure():
    kept = []
    return lambda net, x: kept.append(float(x.sum()))


def in_partial():
    def note(kept, net, x):
        kept.append(1)

    return partial(note, [])


def in_module(net, x):
    SEEN.append(1)


def in_class(net, x):
    type(net).shared[len(type(net).shared)] = 1


def in_place(net, x):
    net.trace.mul_(0.5).add_(x.mean())


def in_object(net, x):
    net.book.pages.append(x.clone())


def in_hidden_module(net, x):
    with torch.no_grad():
        net.parts[0].weight += 1


def in_counter(net, x):
    net.calls += 1


def in_queue(net, x):
    net.queue.append(x.sum())


def in_array(net, x):
    net.array[0] += 1


def in_generator(net, x):
    torch.rand(1, generator=net.generator)


@pytest.mark.parametrize(
    "remember",
    [
        in_closure(),
        in_partial(),
        in_module,
        in_class,
        in_place,
        in_object,
        in_hidden_module,
        in_counter,
        in_queue,
        in_array,
        in_generator,
    ],
)
def test_what_a_pass_leaves_behind_is_seen_to_change(remember):
    net = Net(remember)
    net.trace, net.calls, net.queue = torch.zeros(3), 0, deque(maxlen=2)
    net.book, net.parts = Notebook(), [nn.Linear(2, 2)]
    net.array, net.generator = np.zeros(2), torch.Generator()
    before = hidden_state(net)
    assert hidden_state(net) == before
    net(torch.ones(2, 3))
    assert hidden_state(net) != before


def test_layers_of_torch_keep_nothing_but_buffers():
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout()).train()
    before = hidden_state(net)
    mean = net[1].running_mean.clone()
    net(torch.randn(8, 2, generator=torch.Generator().manual_seed(0)))
    assert hidden_state(net) == before and not torch.equal(net[1].running_mean, mean)
