"""Estimates of how long cells take: from finished cells of their like, or as rough guesses.

Finished cells are compared by their rate: seconds over the work that ``harness.cells.cost`` sees in
them. So a training of ten epochs tells how long one of twenty takes. Rates come from the store, or
else from what this user's earlier runs learned (``harness.cells.learned``).
"""

from __future__ import annotations

import contextlib
import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Literal

import numpy as np

from harness.cells.cell import Cell, Identity
from harness.cells.cost import cost
from harness.cells.learned import Rates, learned_rates
from harness.errors import StoreError
from harness.storage.store import Store

SAMPLED = 2000
"""Number of finished cells that are read; keys are hashes, so the first are a fair sample."""

Likeness = tuple[str, ...]
"""Facts of a cell; cells that share them take about the same time for the same work."""

Basis = Literal["store", "learned", "guess"]

DOUBTS: Mapping[Basis, tuple[float, ...]] = {
    "store": (0.25, 0.5, 0.8),
    "learned": (0.45, 0.65, 0.9),
    "guess": (1.1,),
}
"""Standard deviation of log seconds around an estimate, for each likeness from the closest on."""


@dataclass(frozen=True)
class Expected:
    """What is expected of a cell.

    Attributes:
        seconds: that it takes.
        doubt: standard deviation of the logarithm of the seconds: 0.7 is a factor of two.
        like: the likeness that it shares with cells whose times are off by the same factor.
        basis: cells of the store, earlier runs of this user, or neither.
    """

    seconds: float
    doubt: float
    like: Likeness
    basis: Basis


def expectations(cells: list[Cell], store: Store) -> dict[str, Expected]:
    """Estimate the time of cells.

    Cells are alike if role, learner kind, protocol kind, attack, device and dataset agree. If there
    is none like it, the dataset may differ, then the attack.

    Returns:
        Cell key -> what is expected of it.
    """
    if not cells:
        return {}
    finished = observed(store, store.finished()[:SAMPLED])
    here = {likeness: median(rates) for likeness, rates in finished.items()}
    before = learned_rates()
    return {cell.key: _expected(cell.identity, here, before) for cell in cells}


def observed(store: Store, keys: Iterable[str]) -> dict[Likeness, list[float]]:
    """The rates of finished cells, by likeness: seconds over the work that is seen in them."""
    rates: dict[Likeness, list[float]] = defaultdict(list)
    for _, result in store.results(keys):
        rate = result.wall_s / cost(result.identity)
        for likeness in likenesses(result.identity):
            rates[likeness].append(rate)
    return rates


def _expected(identity: Identity, here: Rates, before: Rates) -> Expected:
    work = cost(identity)
    alike = likenesses(identity)
    sources: tuple[tuple[Basis, Rates], ...] = (("store", here), ("learned", before))
    for basis, known in sources:
        for likeness, doubt in zip(alike, DOUBTS[basis], strict=True):
            if likeness in known:
                return Expected(work * known[likeness], doubt, alike[0], basis)
    return Expected(work, DOUBTS["guess"][0], _wide(alike[0]), "guess")


def _wide(likeness: Likeness) -> Likeness:
    """The likeness of a guess: what is off of one learner's measurement is off of all learners'."""
    role, _, protocol, attack, device, _ = likeness
    return likeness if role == "train" else (role, protocol, attack, device)


def likenesses(identity: Identity) -> list[Likeness]:
    """The likenesses of a cell, the closest first."""
    # A search takes the time of its trainings, some of which may be in the store.
    role = "train" if identity["role"] == "match" else identity["role"]
    kinds = (role, identity["learner"]["kind"], str(identity.get("protocol", {}).get("kind")))
    attack = str(identity.get("setting", {}).get("attack"))
    device: str = identity["device"]
    return [
        (*kinds, attack, device, identity["dataset"]["kind"]),
        (*kinds, attack, device),
        (*kinds, device),
    ]


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
