"""Networks that give probabilities: a softmax or its logarithm keeps the order of the logits.

For the label y and logits z with z_y - z_c >= m_c > 0 for every class c,

    p_y - p_c = p_y (1 - exp(z_c - z_y)) >= (1 - exp(-m_c)) / (1 + sum_j exp(-m_j)),

and log p_y - log p_c = z_y - z_c. Where some m_c is not positive, nothing is proven. This file
imports torch.
"""

from __future__ import annotations

import math

import torch

from harness.bounds.graph import Graph
from harness.bounds.rounding import gamma
from harness.bounds.shaped import LogSoftmax, Softmax

ROUNDINGS = 12
"""Roundings of an exponential, a logarithm, and the operations around them."""


def logits_of(graph: Graph) -> Graph:
    """The network without a softmax or log-softmax of its outputs; else the same network."""
    last = graph.steps[-1]
    is_output = isinstance(last.op, Softmax | LogSoftmax)
    return (
        Graph(graph.steps[:-1]) if is_output and last.inputs == (len(graph.steps) - 2,) else graph
    )


def margins(graph: Graph, of_logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Lower bounds of margins of the outputs in float32.

    Args:
        graph: the network.
        of_logits: float64 (B, classes), those of its logits in float32; any value at the label.
        labels: int64 (B,).

    Returns:
        float64 (B, classes); 0 at the label.
    """
    at_label = labels.unsqueeze(1)
    if isinstance(graph.steps[-1].op, LogSoftmax):
        # Of the largest logit the maximum is subtracted exactly, and of all the same logarithm.
        error = gamma(ROUNDINGS) * (of_logits.abs() + 1 + math.log(graph.classes))
        bound, least = of_logits - error, -torch.inf
    else:
        others = torch.exp(-of_logits.scatter(1, at_label, torch.inf)).sum(1, keepdim=True)
        slack = gamma(graph.classes + ROUNDINGS)
        bound, least = -torch.expm1(-of_logits) / (1 + others) - slack, -1.0
    certain = (of_logits.scatter(1, at_label, 1.0) > 0).all(1, keepdim=True)
    return torch.where(certain, bound, least).scatter(1, at_label, 0.0)
