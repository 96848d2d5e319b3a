"""How long cells will take: from the times of like cells in the store, else a rough guess that says it is one."""

from __future__ import annotations

import contextlib
import itertools
from collections import defaultdict
from statistics import median
from typing import Any

import numpy as np

from harness.cells.cell import Cell
from harness.cells.matching import TYPICAL_TRAININGS
from harness.errors import StoreError
from harness.registry import learners
from harness.storage.store import Store

MEASURING_S = 3.0
"""Rough seconds of one measurement, where nothing like it is in the store."""


SAMPLED = 2000
"""Finished cells that are looked at: the first by key, a hash, hence a fair sample."""


def expected_seconds(cells: list[Cell], store: Store) -> tuple[dict[str, float], int]:
    """Cell key -> expected seconds, and how many of them are rough guesses.

    A cell is like another if role, learner kind, dataset and protocol kind agree; failing that, if all but the dataset do.
    """
    history: dict[tuple, list[float]] = defaultdict(list)
    for _, result in store.results(store.finished()[:SAMPLED]) if cells else ():
        for likeness in _likenesses(result.identity):
            history[likeness].append(result.wall_s)
    expected, guesses = {}, 0
    for cell in cells:
        seconds = _seen(cell.identity, history)
        expected[cell.key] = _guess(cell) if seconds is None else seconds
        guesses += seconds is None
    return expected, guesses


def _seen(identity: dict[str, Any], history: dict[tuple, list[float]]) -> float | None:
    """From like cells. A search takes the time of its trainings, of which some may be in the store."""
    if identity["role"] == "match":
        training = _seen({**identity, "role": "train"}, history)
        return None if training is None else TYPICAL_TRAININGS * training
    times = next(
        (history[likeness] for likeness in _likenesses(identity) if likeness in history), None
    )
    return median(times) if times else None


def spread(cells: list[Cell], store: Store) -> float | None:
    """How much two learners' numbers differ from unit to unit (episode, image): a standard deviation, as far as is known.

    The median over all pairs of learners that a store has in one setting and seed; None where it has no pair, or where cells
    have several numbers each (those of an attack sweep differ too much to be told by one).
    """
    units: dict[str, list[np.ndarray]] = defaultdict(list)
    by_key = {cell.key: cell for cell in cells}
    for key, result in store.results(by_key):
        if len(result.values) == 1 and (name := result.values[0]["verdicts"]):
            with contextlib.suppress(StoreError, KeyError):
                units[str((by_key[key].seed, result.identity["setting"]))].append(
                    store.arrays(key)[name].astype(float)
                )
    found = [
        float(np.std(a - b, ddof=1))
        for arrays in units.values()
        for a, b in itertools.combinations(arrays, 2)
        if a.shape == b.shape and len(a) > 1
    ]
    return median(found) if found else None


def _guess(cell: Cell) -> float:
    if cell.role == "measure":
        return MEASURING_S
    training = learners[cell.identity["learner"]["kind"]].typical_training_s
    return TYPICAL_TRAININGS * training if cell.role == "match" else training


def _likenesses(identity: dict) -> list[tuple]:
    like = (
        identity["role"],
        identity["learner"]["kind"],
        identity.get("protocol", {}).get("kind"),
        str(identity.get("setting", {}).get("attack")),
        identity["device"],
    )
    return [(*like, identity["dataset"]["kind"]), like]
