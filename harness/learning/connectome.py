"""The weights that a learner's neurons read, which may differ from the weights that it stores."""

from __future__ import annotations

from dataclasses import replace

from harness.lazy import torch
from harness.learning.learner import Learner, Synapses

READOUT = "hidden->output"
"""Name of the bundle from the last hidden layer to the outputs."""


def effective(learner: Learner) -> list[Synapses]:
    """The learner's bundles of synapses, with the weights that its neurons read.

    With ``synaptic_scaling``, a neuron's drive is divided by the length of its weights. The stored
    length then has no effect and may differ by orders of magnitude between neurons, so hidden
    weights are scaled to length one. Read-outs are not scaled.
    """
    bundles = learner.connectome()
    if not getattr(learner.config, "synaptic_scaling", False):
        return bundles
    return [
        bundle if bundle.name == READOUT else replace(bundle, weight=unit_columns(bundle.weight))
        for bundle in bundles
    ]


def unit_columns(weight: torch.Tensor) -> torch.Tensor:
    """Weights (pre, post) in float64, each column (a neuron's input weights) at length one."""
    weight = weight.double()
    return weight / torch.linalg.vector_norm(weight, dim=0).clamp_min(1e-30)
