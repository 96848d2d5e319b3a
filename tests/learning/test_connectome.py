"""Weights as neurons read them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from harness.learning.connectome import READOUT, effective
from harness.learning.learner import Synapses


def scripted(**config) -> SimpleNamespace:
    weight = torch.tensor([[3.0, 0.0], [4.0, 0.0]])
    bundles = [Synapses("input->hidden", weight), Synapses(READOUT, 2 * weight)]
    return SimpleNamespace(config=SimpleNamespace(**config), connectome=lambda: bundles)


def test_with_synaptic_scaling_hidden_weights_are_read_at_length_one():
    hidden, readout = effective(scripted(synaptic_scaling=True))
    assert hidden.weight.tolist() == [[0.6, 0.0], [0.8, 0.0]]  # a neuron without weights keeps none
    assert readout.weight.tolist() == [[6.0, 0.0], [8.0, 0.0]]


@pytest.mark.parametrize("config", [{}, {"synaptic_scaling": False}])
def test_otherwise_weights_are_read_as_stored(config):
    learner = scripted(**config)
    assert effective(learner) == learner.connectome()
