"""Competitive codes: bounds of a softmax of a normalised image, without relaxing the softmax.

The network is o = h V + c with h = softmax(a), a = M x / length(x). With h and a at the clean
image, t_j = a_j(x') - a_j(x), and d_j = V_jy - V_jc, class y beats c at x' exactly if

    S = sum_j h_j (d_j + c_y - c_c) exp(t_j) > 0,

since the softmax's denominator is positive. The sign of S does not change if all exponents lose
their common part sum_j h_j t_j, which leaves

    tau_j = (M_j - sum_i h_i M_i) . (x' / length' - x / length).

Each exp(tau_j) is then bounded by a line in tau_j, from below by a tangent where its factor is
positive, from above by a chord elsewhere. All lines together are one linear function of the image,
so what units have in common cancels. The margin of logits is S / sum_j h_j exp(tau_j).

This file imports torch.
"""

from __future__ import annotations

import torch

from harness.bounds.box import Box
from harness.bounds.codes import Clean, Competition
from harness.bounds.domain import Domain
from harness.bounds.graph import Graph
from harness.bounds.normalised import normalised_size
from harness.bounds.reach import Cone, Reach, by_length
from harness.bounds.rounding import gamma

TANGENTS = (0.0, 0.4)
"""Where exp is touched from below, as shares of the lower end of a unit's range."""

SOFTMAX_ROUNDINGS = 10
"""Roundings of a softmax in float32 besides those of its sum."""


def margins(parts: Competition, domain: Domain, labels: torch.Tensor) -> torch.Tensor:
    """Lower bounds of the margins of the network in float32.

    Args:
        parts: The network.
        domain: B images and a budget.
        labels: int64 (B,).

    Returns:
        float64 (B, classes), the logit of the label minus that of each class.
    """
    clean = Clean.of(parts, domain.images, labels)
    argument_error = _argument_error(parts, domain)
    reaches = [Cone(clean, domain)] if domain.norm == "l2" else by_length(clean, domain)
    bounds = [_margins_within(clean, reach, labels, argument_error) for reach in reaches]
    # ``amin`` keeps a NaN (of a black image, or of infinite exponents): it proves nothing.
    return torch.stack(bounds).amin(0)


def _margins_within(
    clean: Clean, reach: Reach, labels: torch.Tensor, argument_error: torch.Tensor
) -> torch.Tensor:
    """``margins`` on the part of the domain that ``reach`` describes."""
    bound = _sums(clean, reach)
    largest_denominator = -bound[:, -1:]
    rounded = _readout_error(clean, reach, argument_error)
    rounded = rounded + rounded.gather(1, labels.unsqueeze(1))
    exact = bound[:, :-1] - rounded
    # By Jensen's inequality the denominator is at least exp(sum_j h_j tau_j) = 1.
    return torch.where(exact > 0, exact / largest_denominator, exact)


def _sums(clean: Clean, reach: Reach) -> torch.Tensor:
    """Lower bounds of sum_j h_j d_j exp(tau_j), (B, classes + 1)."""
    low, high = reach.tau.low, reach.tau.high
    width = high - low
    rise = torch.where(width > 0, torch.expm1(width) / width.where(width > 0, 1), 1)
    chord = low.exp() * rise
    chord_at_zero = low.exp() - chord * low
    positive = clean.advantage.clamp_min(0)
    negative = clean.advantage.clamp_max(0)
    best = _dot(positive, low.exp()) + _dot(negative, high.exp())
    for share in TANGENTS:
        touched = share * low
        tangent = touched.exp()
        factors = positive * tangent.unsqueeze(1) + negative * chord.unsqueeze(1)
        at_zero = _dot(positive, tangent * (1 - touched)) + _dot(negative, chord_at_zero)
        best = torch.maximum(best, at_zero + reach.least(factors))
    return best


def _dot(rows: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """(B, R, H) times (B, H), as (B, R)."""
    return torch.bmm(rows, values.unsqueeze(2)).squeeze(2)


# ---------------------------------------------------------------------------------------- rounding


def _argument_error(parts: Competition, domain: Domain) -> torch.Tensor:
    """Largest error in float32 of the softmax's arguments, less their maximum, (B,)."""
    size, error = normalised_size(parts.division, domain)
    last = parts.graph.steps[parts.softmax].inputs[0]
    size, error = _spread(parts.graph, parts.normalised, last, size, error)
    return error.amax(1) + gamma(2) * 2 * size.amax(1)


def _readout_error(clean: Clean, reach: Reach, argument_error: torch.Tensor) -> torch.Tensor:
    """Largest error in float32 of each logit, times the denominator, (B, classes).

    Errors of the arguments change each unit of the code by a factor. The products h_j exp(tau_j)
    are at most ``size``. The bound is proportional to them, so it is computed for a sum of one.
    """
    parts = clean.parts
    graph = parts.graph
    size = clean.code * reach.tau.high.exp()
    total = size.sum(1, keepdim=True)
    grown = torch.expm1(2 * argument_error).unsqueeze(1)
    share = grown + gamma(size.shape[1] + SOFTMAX_ROUNDINGS) * (1 + grown)
    last = len(graph.steps) - 1
    _, error = _spread(graph, parts.softmax, last, size / total, share * size / total)
    return error * total


def _spread(
    graph: Graph, start: int, end: int, size: torch.Tensor, error: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Carry largest values and largest errors through an affine part of a graph."""
    boxes = {start: Box(-size, size)}
    errors = {start: error}
    for place in range(start + 1, end + 1):
        inputs = graph.steps[place].inputs
        op = graph.op(place)
        of_inputs = [boxes[i] for i in inputs]
        errors[place] = op.error([errors[i] for i in inputs], of_inputs)
        # W z + b of abs(z) <= m is at most abs(W) m + abs(b): boxes stay symmetric.
        largest = op.interval(*of_inputs).magnitude
        boxes[place] = Box(-largest, largest)
    return boxes[end].high, errors[end]
