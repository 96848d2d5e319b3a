"""Estimates of how long cells take: from similar cells in the store, or as rough guesses."""

from __future__ import annotations

import contextlib
import itertools
from collections import defaultdict
from statistics import median

import numpy as np

from harness.cells.cell import Cell, Identity
from harness.cells.matching import TYPICAL_TRAININGS
from harness.errors import StoreError
from harness.registry import learners
from harness.storage.store import Store

MEASURING_S = 3.0
"""Rough seconds of one measurement, if the store has no similar one."""

SAMPLED = 2000
"""Number of finished cells that are read; keys are hashes, so the first are a fair sample."""

Likeness = tuple[str, ...]
"""Facts of a cell; cells that share them take about the same time."""


def expected_seconds(cells: list[Cell], store: Store) -> tuple[dict[str, float], int]:
    """Estimate the time of cells.

    Cells are similar if role, learner kind, protocol kind, attack, device and dataset agree. If the
    store has no such cell, the dataset may differ.

    Returns:
        cell key -> expected seconds, and how many of them are rough guesses.
    """
    if not cells:
        return {}, 0
    history: dict[Likeness, list[float]] = defaultdict(list)
    for _, result in store.results(store.finished()[:SAMPLED]):
        for likeness in _likenesses(result.identity):
            history[likeness].append(result.wall_s)
    expected = {}
    guesses = 0
    for cell in cells:
        seconds = _from_history(cell.identity, history)
        if seconds is None:
            seconds = _guess(cell)
            guesses += 1
        expected[cell.key] = seconds
    return expected, guesses


def _from_history(identity: Identity, history: dict[Likeness, list[float]]) -> float | None:
    """The median time of similar cells; None if there are none."""
    if identity["role"] == "match":
        # A search takes the time of its trainings, some of which may be in the store.
        training = _from_history({**identity, "role": "train"}, history)
        return None if training is None else TYPICAL_TRAININGS * training
    for likeness in _likenesses(identity):
        if likeness in history:
            return median(history[likeness])
    return None


def spread(cells: list[Cell], store: Store) -> float | None:
    """Standard deviation of the difference between two learners from unit to unit.

    It is the median over all pairs of learners that a store has in one setting and seed. Cells with
    several numbers, such as those of an attack sweep, are left out: their spreads differ too much.

    Returns:
        None if the store has no pair.
    """
    units: dict[str, list[np.ndarray]] = defaultdict(list)
    by_key = {cell.key: cell for cell in cells}
    for key, result in store.results(by_key):
        if len(result.values) != 1:
            continue
        name = result.values[0]["verdicts"]
        if not name:
            continue
        group = str((by_key[key].seed, result.identity["setting"]))
        with contextlib.suppress(StoreError, KeyError):
            units[group].append(store.arrays(key)[name].astype(float))
    spreads = []
    for arrays in units.values():
        for first, second in itertools.combinations(arrays, 2):
            if first.shape == second.shape and len(first) > 1:
                spreads.append(float(np.std(first - second, ddof=1)))
    return median(spreads) if spreads else None


def _guess(cell: Cell) -> float:
    if cell.role in ("measure", "judge", "trust"):
        return MEASURING_S
    training = learners[cell.identity["learner"]["kind"]].typical_training_s
    return TYPICAL_TRAININGS * training if cell.role == "match" else training


def _likenesses(identity: Identity) -> list[Likeness]:
    """The likenesses of a cell, the closest first."""
    dataset: str = identity["dataset"]["kind"]
    without_dataset = (
        identity["role"],
        identity["learner"]["kind"],
        str(identity.get("protocol", {}).get("kind")),
        str(identity.get("setting", {}).get("attack")),
        identity["device"],
    )
    return [(*without_dataset, dataset), without_dataset]
