"""The entry: lower bounds of a network's margins within a budget, by the tightest method.

This file imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from harness.bounds import competitive, crown, normalised, outputs, prototypes
from harness.bounds.affine import is_affine
from harness.bounds.codes import Competition
from harness.bounds.domain import Domain, Norm
from harness.bounds.graph import Graph
from harness.bounds.normalised import AfterNormalisation
from harness.bounds.outputs import logits_of
from harness.bounds.prototypes import Prototypes
from harness.bounds.rounding import FLOAT64
from harness.bounds.trace import trace

EXCESS = 1e-6
"""By how much the norm of a perturbation may exceed eps: what attacks allow for float32 pixels."""

MEMORY = 2**24
"""Values of one intermediate result, about: 128 MB in float64."""

Bound = Callable[[Domain, torch.Tensor], torch.Tensor]
"""A domain and labels to margins (B, classes) of the network in float32."""


@dataclass(frozen=True)
class Proof:
    """What is proven of N images at one budget.

    Attributes:
        eps: the budget.
        margins: float64 (N, classes), lower bounds of the label's logit minus that of each class,
            for the network as float32 computes it; inf at the label.
        proven: bool (N,): no image in the box [0, 1] within the budget gets another class.
        method: ``linear``, ``nearest prototypes``, ``competitive code`` or ``CROWN``.
    """

    eps: float
    margins: torch.Tensor
    proven: torch.Tensor
    method: str


@dataclass(frozen=True)
class Prover:
    """A network that has a bound.

    Attributes:
        bound: the method, on some of the images.
        method: its name.
        chunk: images that it takes at once; changes no value.
    """

    bound: Bound
    method: str
    chunk: int

    @classmethod
    def of(cls, network: nn.Module, images: torch.Tensor) -> Prover:
        """Record a network and choose the method.

        Args:
            network: float32 (B, ...) in [0, 1] to logits (B, classes), in eval mode.
            images: float32 (N, ...), N >= 1, on which the recording is checked.

        Raises:
            NoBound: No method applies; the reason names the part that prevents it.
        """
        graph = trace(network, images)
        logits = logits_of(graph)
        prover = cls._of_logits(logits)
        if logits is graph:
            return prover

        def of_outputs(domain: Domain, labels: torch.Tensor) -> torch.Tensor:
            return outputs.margins(graph, prover.bound(domain, labels), labels)

        return cls(of_outputs, prover.method, prover.chunk)

    @classmethod
    def _of_logits(cls, graph: Graph) -> Prover:
        """Choose the method for a network that gives logits."""
        codes = Competition.of(graph)
        if codes is not None:
            units = codes.weight.numel()
            return cls(_of_codes(codes), "competitive code", max(1, MEMORY // units // 4))
        classifier = Prototypes.of(graph)
        if classifier is not None:
            units = classifier.prototypes.numel()
            return cls(_of_prototypes(classifier), "nearest prototypes", max(1, MEMORY // units))
        rest = AfterNormalisation.of(graph)
        if rest is not None:
            _check_operations(rest.rest)
            return cls(_of_rest(rest), "CROWN", _chunk(rest.rest))
        _check_operations(graph)
        linear = all(is_affine(step.op) for step in graph.steps[1:])
        return cls(_of_graph(graph), "linear" if linear else "CROWN", _chunk(graph))

    def prove(
        self, images: torch.Tensor, labels: torch.Tensor, eps: float, norm: Norm = "linf"
    ) -> Proof:
        """What is proven at one budget.

        Args:
            images: float32 (N, ...) in [0, 1].
            labels: int64 (N,).
            eps: The budget, in units of pixels.
            norm: ``linf``, ``l2`` or ``l1``.
        """
        reach = eps + EXCESS if eps else 0.0
        parts = []
        with torch.no_grad():
            for x, y in zip(images.split(self.chunk), labels.split(self.chunk), strict=True):
                parts.append(self.bound(Domain(x.double(), reach, norm), y))
        margins = torch.cat(parts) - FLOAT64
        return _proof(eps, margins.scatter(1, labels.unsqueeze(1), torch.inf), self.method)

    def prove_grid(
        self,
        images: torch.Tensor,
        labels: torch.Tensor,
        grid: Sequence[float],
        norm: Norm = "linf",
    ) -> list[Proof]:
        """``prove`` at several budgets.

        A bound on a ball holds on every smaller one, so bounds are carried down the grid.
        """
        proofs: dict[float, Proof] = {}
        carried = None
        for eps in sorted(grid, reverse=True):
            proof = self.prove(images, labels, eps, norm)
            if carried is not None:
                proof = _proof(eps, torch.maximum(proof.margins, carried), self.method)
            proofs[eps] = proof
            carried = proof.margins
        return [proofs[eps] for eps in grid]


def prove(
    network: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    eps: float,
    norm: Norm = "linf",
) -> Proof:
    """Prove which images no perturbation within a budget can change the class of.

    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).eval()
    >>> network = network.requires_grad_(False)
    >>> _ = network[1].weight.copy_(torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 1]]))
    >>> _ = network[1].bias.zero_()
    >>> image = torch.tensor([[[[0.5, 0.5], [0.25, 0.25]]]])
    >>> proof = prove(network, image, torch.tensor([0]), eps=0.1)
    >>> proof.method, bool(proof.proven), round(float(proof.margins[0, 1]), 3)
    ('linear', True, 0.1)

    Raises:
        NoBound: The network has no bound; the reason names the part that prevents it.
    """
    return Prover.of(network, images).prove(images, labels, eps, norm)


def _proof(eps: float, margins: torch.Tensor, method: str) -> Proof:
    margins = margins.nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
    return Proof(eps, margins, (margins > 0).all(1), method)


# ----------------------------------------------------------------------------------------- methods


def _of_codes(parts: Competition) -> Bound:
    return lambda domain, labels: competitive.margins(parts, domain, labels)


def _of_prototypes(parts: Prototypes) -> Bound:
    return lambda domain, labels: prototypes.margins(parts, domain, labels)


def _of_graph(graph: Graph) -> Bound:
    def bound(domain: Domain, labels: torch.Tensor) -> torch.Tensor:
        limits = crown.boxes(graph, domain)
        error = crown.rounding(graph, limits)
        slack = error + error.gather(1, labels.unsqueeze(1))
        return crown.margins_in(graph, domain, labels, limits) - slack

    return bound


def _of_rest(parts: AfterNormalisation) -> Bound:
    return lambda domain, labels: normalised.margins(parts, domain, labels)


def _check_operations(graph: Graph) -> None:
    """Raise ``NoBound`` if some operation is only bounded as a part of another kind of network."""
    black = torch.zeros(1, *graph.steps[0].shape, dtype=torch.float64, device=graph.device)
    crown.intervals(graph, Domain(black, 0.0, "linf"))


def _chunk(graph: Graph) -> int:
    """Images at once, so that rows of the widest layer fit in memory."""
    widths = [math.prod(step.shape) for step in graph.steps]
    nonlinear = [i for i, step in enumerate(graph.steps) if step.op and not is_affine(step.op)]
    deep = len(nonlinear) > 1
    rows = min(2 * crown.ROWS, 2 * max(widths)) if deep else graph.classes
    return max(1, MEMORY // (rows * max(widths)))
