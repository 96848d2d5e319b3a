"""Estimates of how long cells take: from finished cells of their like, or as rough guesses.

Finished cells are compared by their rate: seconds over the work that ``harness.cells.cost`` sees in
them. So a training of ten epochs tells how long one of twenty takes. Rates come from the store, or
else from what this user's earlier runs learned (``harness.cells.learned``).
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Literal

import numpy as np

from harness.cells.cell import Cell, Identity
from harness.cells.cost import CELL_S, cost
from harness.cells.learned import Rate, Rates, learned_rates
from harness.errors import StoreError
from harness.storage.store import Store

SAMPLED = 2000
"""Number of finished cells that are read; keys are hashes, so the first are a fair sample."""

SHORT_S = 0.3
"""Added to seconds and to work before they are divided: a shorter cell says little of its rate."""
NEAR = 4.0
"""Cells of up to this many times the work have the same rate."""
FURTHER = 0.4
"""Doubt for each factor e of work beyond that."""

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
        group: what it shares with likenesses whose times are off in part by the same factor.
    """

    seconds: float
    doubt: float
    like: Likeness
    basis: Basis
    group: Likeness = ()


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
    here = {likeness: _typical(rates) for likeness, rates in finished.items()}
    before = learned_rates()
    return {cell.key: _expected(cell.identity, here, before) for cell in cells}


def observed(store: Store, keys: Iterable[str]) -> dict[Likeness, list[Rate]]:
    """The rates of finished cells, by likeness: seconds over the work that is seen in them."""
    rates: dict[Likeness, list[Rate]] = defaultdict(list)
    for _, result in store.results(keys):
        work = cost(result.identity)
        rate = Rate((result.wall_s + SHORT_S) / (work + SHORT_S), work)
        for likeness in likenesses(result.identity):
            rates[likeness].append(rate)
    return rates


def _typical(rates: list[Rate]) -> Rate:
    return Rate(median(rate.value for rate in rates), median(rate.work for rate in rates))


def _expected(identity: Identity, here: Rates, before: Rates) -> Expected:
    work = cost(identity)
    alike = likenesses(identity)
    sources: tuple[tuple[Basis, Rates], ...] = (("store", here), ("learned", before))
    for basis, known in sources:
        for likeness, doubt in zip(alike, DOUBTS[basis], strict=True):
            if likeness in known:
                seconds, doubt = _scaled(known[likeness], work, doubt)
                return Expected(seconds, doubt, alike[0], basis, group_of(alike[0]))
    return Expected(work, DOUBTS["guess"][0], alike[0], "guess", group_of(alike[0]))


def _scaled(rate: Rate, work: float, doubt: float) -> tuple[float, float]:
    """Seconds of a cell and the doubt about them, from the rate of cells of another size.

    The rate of far smaller cells says little of large ones: overhead is most of their time. So the
    further away they are, the more the guess counts, whose rate is 1.
    """
    distance = abs(math.log((work + SHORT_S) / (rate.work + SHORT_S)))
    further = FURTHER * max(0.0, distance - math.log(NEAR))
    guess = DOUBTS["guess"][0]
    weight = guess**2 / (guess**2 + further**2)
    seconds = (work + SHORT_S) * rate.value**weight - SHORT_S
    return max(seconds, CELL_S), math.hypot(doubt, math.sqrt(weight) * further)


def group_of(likeness: Likeness) -> Likeness:
    """All learners: what is off of one learner's measurement is off of the others', in part."""
    role, _, protocol, attack, device, _ = likeness
    return (role, protocol, attack, device)


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
