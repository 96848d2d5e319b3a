"""Runs every trust check on the result of one attack."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import numpy as np

from harness.attacks.base import Attack
from harness.attacks.engine.memory_layout import channels_last
from harness.attacks.engine.sweep import Sweep
from harness.attacks.engine.victim import restoring
from harness.attacks.trust.base import Check
from harness.attacks.trust.context import CheckContext
from harness.lazy import nn, torch
from harness.records import TrustCheck
from harness.registry import checks
from harness.rng import Rng


def check(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    identity: np.ndarray,
    attack: Attack,
    rng: Rng,
    result: Sweep,
    *,
    batch_size: int = 256,
    fresh: Callable[[], nn.Module] | None = None,
    relatives: Mapping[str, nn.Module] | None = None,
    plastic: bool = False,
) -> list[TrustCheck]:
    """Run every check that applies to a sweep, in the order of their ``order``.

    The checks use a tenth or a twentieth of the images each (``CheckContext.sample_size``), so that
    together they cost a fraction of the sweep.

    Args:
        model: the network that was attacked; left unchanged.
        images: float32 (N, C, H, W) in [0, 1], those that the sweep attacked.
        labels: int64 (N,).
        identity: int (N,), as given to the sweep.
        attack: the attack that was run.
        rng: the source of randomness that the sweep was given.
        result: the sweep's verdicts.
        batch_size: rows per forward pass; changes no result.
        fresh: gives the network as it was before it classified anything, e.g. rebuilt from its
            learner; None: a copy of the model as it is now.
        relatives: name -> another network, trained on the same images, to transfer from.
        plastic: whether the network changes while it classifies, and says so.
    """
    context = CheckContext(
        model,
        images,
        labels,
        np.asarray(identity),
        attack,
        rng,
        result,
        batch_size,
        fresh or _copies_of(model),
        relatives or {},
        plastic,
    )
    results: list[TrustCheck] = []
    with restoring(model), channels_last(model, images):
        for each in _in_order():
            results += context.results_of(each)
    return results


def _copies_of(model: nn.Module) -> Callable[[], nn.Module]:
    """Copies of a network as it is now."""
    try:
        kept = copy.deepcopy(model)
    except (RuntimeError, TypeError, ValueError):  # e.g. it holds a lock, or part of a graph
        return lambda: model
    return lambda: copy.deepcopy(kept)


def _in_order() -> list[type[Check]]:
    registered: list[type[Check]] = [checks[name] for name in checks]
    return sorted(registered, key=lambda check: check.order)
