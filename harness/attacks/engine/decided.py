"""A sweep that leaves out what is known already: samples that are proven robust."""

from __future__ import annotations

import copy
import math

import numpy as np

from harness.attacks.base import Attack
from harness.attacks.engine.sweep import SKIPPED, Sweep, sweep
from harness.lazy import nn, torch
from harness.learning.learner import Progress, silent
from harness.rng import Rng

ATTACKED_ANYWAY = 0.05
"""Share of the decided samples that are attacked all the same, to test the proofs."""


def sweep_undecided(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    identity: np.ndarray,
    attack: Attack,
    rng: Rng,
    decided: np.ndarray,
    *,
    batch_size: int = 256,
    progress: Progress = silent,
) -> Sweep:
    """``sweep`` without the runs whose outcome is known.

    Each sample is attacked from the first budget at which its verdict is open. With ``sweep:
    independent`` all other runs are those of ``sweep``. Otherwise they may start elsewhere, since
    a run at one budget starts where that at a smaller one ended.

    Args:
        model, images, labels, identity, attack, rng, batch_size, progress: as for ``sweep``.
        decided: bool (E, N): the sample withstands every attack at this budget.
    """
    grid = attack.config.eps
    # Counted from the smallest budget: up to the first one that is open.
    first_open = np.logical_and.accumulate(decided, axis=0).sum(0)
    groups = []
    finished = 0
    for first in np.unique(first_open):
        rows = np.flatnonzero(first_open == first)
        at = torch.from_numpy(rows).to(images.device)
        own_grid = sorted({0.0, *grid[first:]})
        part = sweep(
            model,
            images[at],
            labels[at],
            np.asarray(identity)[rows],
            _on_grid(attack, own_grid),
            rng,
            batch_size=batch_size,
            progress=_share(progress, finished, len(rows), len(images)),
        )
        groups.append((rows, part))
        finished += len(rows)
    return _joined(grid, len(images), groups)


def attacked_anyway(decided: np.ndarray, identity: np.ndarray, rng: Rng) -> np.ndarray:
    """Choose samples that are attacked although some budget is decided, one at least.

    Args:
        decided: bool (E, N), as for ``sweep_undecided``.
        identity: int (N,), what the choice depends on.
        rng: Source of the choice.

    Returns:
        bool (N,).
    """
    rows = np.flatnonzero(decided.any(0))
    drawn = [rng.numpy("attacked anyway", int(identity[row])).random() for row in rows]
    count = math.ceil(ATTACKED_ANYWAY * len(rows))
    chosen = np.zeros(decided.shape[1], bool)
    chosen[rows[np.argsort(drawn, kind="stable")[:count]]] = True
    return chosen


def _on_grid(attack: Attack, grid: list[float]) -> Attack:
    """The same attack, with what was attached to it, over other budgets."""
    other = copy.copy(attack)
    other.config = attack.config.model_copy(update={"eps": grid})
    return other


def _share(progress: Progress, before: int, rows: int, total: int) -> Progress:
    """Progress of a group as progress of the whole."""

    def report(fraction: float, note: str = "") -> None:
        progress((before + fraction * rows) / total, note)

    return report


def _joined(grid: list[float], samples: int, groups: list[tuple[np.ndarray, Sweep]]) -> Sweep:
    """One sweep over the whole grid, of those of groups of rows over parts of it."""
    parts = [part for _, part in groups]
    first = parts[0]
    shape = (len(grid), *first.correct.shape[1:-1], samples)
    clean = np.zeros(samples, bool)
    clean_margin = np.zeros(samples, np.float32)
    correct = np.full(shape, SKIPPED, np.uint8)
    margin = np.full(shape, np.nan, np.float32)
    norm = np.full(shape, np.nan, np.float32)
    worst = np.zeros((len(grid), samples), bool)
    for rows, part in groups:
        clean[rows] = part.clean
        clean_margin[rows] = part.clean_margin
        worst[:, rows] = part.clean
        for place, eps in enumerate(grid):
            if eps in part.eps:
                own = part.eps.index(eps)
                correct[place][..., rows] = part.correct[own]
                margin[place][..., rows] = part.margin[own]
                norm[place][..., rows] = part.norm[own]
                worst[place, rows] = part.worst[own]
    return Sweep(
        eps=tuple(grid),
        objectives=first.objectives,
        clean=clean,
        clean_margin=clean_margin,
        correct=correct,
        margin=margin,
        norm=norm,
        worst=worst,
        outside=max(part.outside for part in parts),
        changed=tuple(dict.fromkeys(each for part in parts for each in part.changed)),
    )
