"""Interval bounds and CROWN: lower bounds of margins through a whole graph.

Interval bound propagation: Gowal et al. 2018, arXiv 1810.12715. CROWN: Zhang et al. 2018, arXiv
1811.00866. A margin's linear lower bound is carried backward from the logits to the image, so that
what two logits share cancels. This file imports torch.
"""

from __future__ import annotations

import torch

from harness.bounds.affine import Affine, is_affine
from harness.bounds.box import Box
from harness.bounds.domain import Domain, Norm
from harness.bounds.graph import Graph, Step

ROUNDED = 1e-9
"""Relative excess of computed norms, which covers their rounding in float64."""

ROWS = 400
"""Linear functions that are carried backward at once, for each image."""


def margins(graph: Graph, domain: Domain, labels: torch.Tensor) -> torch.Tensor:
    """Lower bounds of the margins: the logit of the label minus that of each class.

    Args:
        graph: Any graph whose operations have bounds of their own.
        domain: B images and a budget.
        labels: int64 (B,).

    Returns:
        float64 (B, classes); 0 at the label.

    Raises:
        NoBound: An operation has none.
    """
    return margins_in(graph, domain, labels, boxes(graph, domain))


def margins_in(
    graph: Graph, domain: Domain, labels: torch.Tensor, limits: list[Box]
) -> torch.Tensor:
    """``margins``, from bounds of every step."""
    rows = specification(labels, graph.classes)
    last = len(graph.steps) - 1
    through_all = backward(graph, last, rows, limits, domain)
    # Now and then the units' own bounds are better than their relaxations.
    from_units = backward(graph, last, rows, limits, domain, relax=False)
    return torch.maximum(through_all, from_units)


def interval_margins(graph: Graph, domain: Domain, labels: torch.Tensor) -> torch.Tensor:
    """``margins`` by interval bounds alone, with the last affine layers folded into the margins."""
    rows = specification(labels, graph.classes)
    limits = intervals(graph, domain)
    return backward(graph, len(graph.steps) - 1, rows, limits, domain, relax=False)


def specification(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Rows e_y - e_c for every class c, (B, classes, classes)."""
    unit_rows = torch.eye(classes, dtype=torch.float64, device=labels.device)
    return unit_rows[labels].unsqueeze(1) - unit_rows


# --------------------------------------------------------------------------------- bounds of units


def intervals(graph: Graph, domain: Domain) -> list[Box]:
    """Bounds of every step by interval arithmetic."""
    limits = [domain.pixels]
    for place in range(1, len(graph.steps)):
        inputs = [limits[i] for i in graph.steps[place].inputs]
        limits.append(graph.op(place).interval(*inputs))
    return limits


def boxes(graph: Graph, domain: Domain) -> list[Box]:
    """Bounds of every step: intervals, tightened by CROWN before each nonlinear operation."""
    limits = [domain.pixels]
    for place in range(1, len(graph.steps)):
        inputs = [limits[i] for i in graph.steps[place].inputs]
        box = graph.op(place).interval(*inputs)
        limits.append(box)
        nonlinear = [op for op in graph.users(place) if not is_affine(op)]
        if not (nonlinear and is_affine(graph.op(place))):
            continue
        if _intervals_exact(graph, place, domain):
            continue
        if domain.is_ball and _depends_linearly(graph, place):
            limits[place] = box.within(_on_ball(graph, place, domain))
            continue
        open_units = torch.stack([op.undecided(box) for op in nonlinear]).any(0)
        limits[place] = _tightened(graph, place, open_units, limits, domain)
    return limits


def _on_ball(graph: Graph, place: int, domain: Domain) -> Box:
    """Bounds of a step that is affine in the image, on an L2 or L1 ball: its value -+ eps norms."""
    key = (place, domain.norm)
    if key not in graph.row_norms:
        graph.row_norms[key] = _row_norms(graph, place, domain.norm)
    value = graph.values(domain.images, place)[place]
    reach = domain.eps * graph.row_norms[key].view(1, *value.shape[1:])
    return Box(value - reach, value + reach)


def _row_norms(graph: Graph, place: int, norm: Norm) -> torch.Tensor:
    """Dual norms of the rows of an affine step, (units,): how far a ball of radius 1 moves it."""
    black = torch.zeros(1, *graph.steps[0].shape, dtype=torch.float64, device=graph.device)
    unit_ball = Domain(black, 1.0, norm)
    at_black = graph.values(black, place)[place]
    norms = []
    for units in torch.arange(at_black.numel(), device=graph.device).split(ROWS):
        rows = torch.zeros(1, len(units), at_black.numel(), dtype=black.dtype, device=graph.device)
        rows.scatter_(2, units.view(1, -1, 1), 1.0)
        shaped = rows.unflatten(2, at_black.shape[1:])
        least = backward(graph, place, shaped, [], unit_ball, cut=False)[0]
        norms.append(at_black.flatten()[units] - least)
    return torch.cat(norms) * (1 + ROUNDED)


def _intervals_exact(graph: Graph, place: int, domain: Domain) -> bool:
    """Whether a step is one layer of weights on a box of pixels."""
    if not domain.is_box:
        return False
    layers = 0
    while place:
        op = graph.op(place)
        if not isinstance(op, Affine):
            return False
        layers += op.mixes
        place = graph.steps[place].inputs[0]
    return layers <= 1


def _depends_linearly(graph: Graph, place: int) -> bool:
    """Whether a step is affine in the image."""
    step = graph.steps[place]
    if step.op is None:
        return True
    return is_affine(step.op) and all(_depends_linearly(graph, i) for i in step.inputs)


def _tightened(
    graph: Graph, place: int, open_units: torch.Tensor, limits: list[Box], domain: Domain
) -> Box:
    """Bounds of a step's open units by CROWN; those of the others stay."""
    box = limits[place]
    low = box.low.flatten(1).clone()
    high = box.high.flatten(1).clone()
    is_open = open_units.flatten(1)
    # Where no relaxation is needed, all images share the rows.
    shared = _depends_linearly(graph, place)
    wanted = is_open.any(0, keepdim=True) if shared else is_open
    most = int(wanted.sum(1).max())
    # Open units first; images with fewer of them are filled up with others.
    order = wanted.to(torch.uint8).argsort(stable=True, dim=1, descending=True)[:, :most]
    for units in order.split(ROWS, dim=1):
        rows = torch.zeros(*units.shape, low.shape[1], dtype=low.dtype, device=low.device)
        rows.scatter_(2, units.unsqueeze(2), 1.0)
        both = torch.cat([rows, -rows], 1).unflatten(2, box.low.shape[1:])
        bound = backward(graph, place, both, limits, domain, cut=False)
        from_below, from_above = bound.chunk(2, 1)
        units = units.expand_as(from_below)
        # Only units of this image's own: no bound may depend on the other images.
        from_below = from_below.where(is_open.gather(1, units), -torch.inf)
        from_above = from_above.where(is_open.gather(1, units), -torch.inf)
        low.scatter_(1, units, torch.maximum(low.gather(1, units), from_below))
        high.scatter_(1, units, torch.minimum(high.gather(1, units), -from_above))
    return Box(low.view_as(box.low), high.view_as(box.high))


# ---------------------------------------------------------------------------------------- backward


def backward(
    graph: Graph,
    start: int,
    rows: torch.Tensor,
    limits: list[Box],
    domain: Domain,
    *,
    relax: bool = True,
    cut: bool = True,
) -> torch.Tensor:
    """Lower bounds of linear functions of one step.

    Args:
        graph: The network.
        start: Place of the step.
        rows: A, (B, R, ...) of the step's shape, or (1, R, ...) if all images share them.
        limits: Bounds of all steps before it.
        domain: The images.
        relax: Whether to pass nonlinear operations by their relaxation, down to the image;
            otherwise the bound is the smallest value on the boxes of their values.
        cut: Whether the box [0, 1] cuts the ball of images (``Domain.minimum``).

    Returns:
        (B, R).
    """
    waiting = {start: rows}
    bound = torch.zeros((), dtype=rows.dtype, device=rows.device)
    for place in range(start, -1, -1):
        if place not in waiting:
            continue
        rows = waiting.pop(place)
        step = graph.steps[place]
        if step.op is None:
            bound = bound + domain.minimum(rows, cut=cut)
            continue
        if not (relax or is_affine(step.op)):
            bound = bound + limits[place].minimum(rows)
            continue
        through, constant = step.op.backward(rows, *_limits_of(step, limits))
        bound = bound + constant
        for source, part in zip(step.inputs, through, strict=True):
            waiting[source] = waiting[source] + part if source in waiting else part
    return bound


def _limits_of(step: Step, limits: list[Box]) -> list[Box]:
    """Bounds of a step's inputs; affine steps need none."""
    return [] if is_affine(step.op) else [limits[i] for i in step.inputs]


# ---------------------------------------------------------------------------------------- rounding


def rounding(
    graph: Graph, limits: list[Box], start_error: torch.Tensor | None = None
) -> torch.Tensor:
    """Largest error of each logit in float32.

    Args:
        graph: The network.
        limits: Bounds of every step.
        start_error: Of what the network starts from; None: it is exact.

    Returns:
        (B, classes).
    """
    errors = [torch.zeros_like(limits[0].low) if start_error is None else start_error]
    for place in range(1, len(graph.steps)):
        inputs = graph.steps[place].inputs
        error = graph.op(place).error([errors[i] for i in inputs], [limits[i] for i in inputs])
        errors.append(error)
    return errors[-1]
