"""How far off expected times are: what finished cells tell of the cells to come.

The logarithm of seconds over expected seconds has four parts:

    log factor = machine + group + kind + own

``machine`` is one number for the run: this machine, and how busy it is. ``group`` is one for the
measurements of a protocol, or for all trainings, ``kind`` one for the cells that resemble each
other closely, ``own`` one for each cell. Finished cells narrow the first three down: a linear mixed
model, whose posterior is solved in closed form. A kind that is far off has a heavy tail to go to
(Student's t, by reweighting), so that it does not drag all others along.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from harness.cells.estimate import Likeness

OWN = 0.3
"""Doubt about one cell among its like, until the run shows how much they differ; a standard
deviation of log seconds, as all doubts are."""
COMMON = 0.4
"""Share of the variance of a doubt that the kinds of a group have in common."""
FREEDOM = 4.0
"""Degrees of freedom of Student's t for kinds."""
ROUNDS = 3
"""Rounds of reweighting."""


@dataclass(frozen=True)
class Kind:
    """What is known in advance of the cells of a likeness.

    Attributes:
        doubt: about their common factor, given the machine.
        group: the likenesses that share a part of it.
    """

    doubt: float
    group: Likeness


@dataclass(frozen=True)
class Machine:
    """What is known in advance of this machine: mean and doubt of its log factor."""

    mean: float
    doubt: float


@dataclass(frozen=True)
class Sample:
    """Weighted log factors of the finished cells of one likeness."""

    mean: float
    variance: float
    weight: float

    @classmethod
    def of(cls, points: Iterable[tuple[float, float]]) -> Sample:
        """The sample of pairs of a log factor and its weight."""
        factors, weights = np.array(list(points)).T
        mean = float(np.average(factors, weights=weights))
        variance = float(np.average((factors - mean) ** 2, weights=weights))
        return cls(mean, variance, float(weights.sum()))


def own_doubt(samples: Iterable[Sample]) -> float:
    """How much cells of one likeness differ, pooled over likenesses."""
    squares, count = 4 * OWN**2, 4.0
    for each in samples:
        squares += each.weight * each.variance
        count += max(0.0, each.weight - 1)
    return math.sqrt(squares / count)


def drawn(
    machine: Machine,
    kinds: Mapping[Likeness, Kind],
    samples: Mapping[Likeness, Sample],
    draws: np.random.Generator,
    number: int,
) -> dict[Likeness, np.ndarray]:
    """Draw the log factor of each likeness from what is known of it now.

    Args:
        machine: in advance.
        kinds: likeness -> what is known in advance; all that are wanted or have a sample.
        samples: likeness -> its finished cells.
        draws: source of random numbers.
        number: how many to draw.

    Returns:
        Likeness -> draws, (number,).
    """
    order = list(kinds)
    effects = _effects(machine, kinds)
    seen = [place for place, like in enumerate(order) if like in samples]
    rows = effects[seen]
    # Expected seconds are means, and the mean of a lognormal number is above its median.
    centre = machine.mean - np.array([each.doubt**2 / 2 for each in kinds.values()])
    values = np.array([samples[order[place]].mean for place in seen]) - centre[seen]
    weights = np.array([samples[order[place]].weight for place in seen])
    weights /= own_doubt(samples.values()) ** 2
    told = (rows * weights[:, None]).T @ rows
    towards = rows.T @ (weights * values)
    prior = np.ones(effects.shape[1])  # effects are in units of their doubt
    for _ in range(ROUNDS):
        covariance = np.linalg.inv(np.diag(prior) + told)
        mean = covariance @ towards
        squares = (mean**2 + np.diag(covariance))[-len(order) :]
        prior[-len(order) :] = (FREEDOM + 1) / (FREEDOM + squares)
    normal = draws.standard_normal((len(mean), number))
    each = mean[:, None] + np.linalg.cholesky(covariance) @ normal
    return dict(zip(order, centre[:, None] + effects @ each, strict=True))


def _effects(machine: Machine, kinds: Mapping[Likeness, Kind]) -> np.ndarray:
    """What the machine, each group and each kind add to each likeness, (kinds, effects).

    The last columns are those of kinds.
    """
    groups = {
        group: place for place, group in enumerate({each.group: 0 for each in kinds.values()})
    }
    doubts = np.array([each.doubt for each in kinds.values()])
    shared = np.zeros((len(kinds), len(groups)))
    for place, each in enumerate(kinds.values()):
        shared[place, groups[each.group]] = each.doubt * math.sqrt(COMMON)
    own = np.diag(doubts * math.sqrt(1 - COMMON))
    return np.hstack([np.full((len(kinds), 1), machine.doubt), shared, own])
