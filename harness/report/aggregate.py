"""From the records of several seeds to one number with its interval, and from two such numbers to a paired test."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.metrics.statistics import (
    DRAWS,
    hierarchical_bootstrap,
    holm,
    mcnemar_exact,
    paired_t,
    ranks_with_ties,
    t_interval,
)
from harness.records import CROSSED, Record
from harness.report.formats import is_nominal
from harness.report.resample import resampled
from harness.rng import Rng

LEVEL = 0.05
"""A difference counts when its corrected p is below this."""

MANY_SEEDS = 5
"""With fewer, a bootstrap over seeds sees too little of their spread to be asked for an interval (by simulation it covers 75 %
at 2 seeds, 85 % at 3). At 5 it still is too narrow where seeds differ more than units do, so a t interval over the seeds' values
stands beside it at any number, and the wider of the two counts."""

LEAST_P = 2 / (DRAWS + 1)
"""The smallest p that so many draws can give."""

Verdicts = Callable[[str, str], np.ndarray]


@dataclass(frozen=True)
class Aggregate:
    """A mean over seeds with its 95 % interval."""

    value: float
    low: float | None
    high: float | None


def enough_draws(rivals: int) -> int:
    """How many draws a bootstrap takes to tell the best from so many rivals.

    Holm's correction asks of the first of them a p of at most ``LEVEL / rivals``, and no p is below ``2 / (draws + 1)``: with
    ``DRAWS``, and more than a hundred rivals, nothing would ever differ. There the least p is half of what is asked.

    >>> enough_draws(1), enough_draws(100), enough_draws(101), enough_draws(1000)
    (4000, 4000, 8080, 80000)
    """
    return DRAWS if rivals * LEAST_P <= LEVEL else math.ceil(4 * rivals / LEVEL)


def aggregate(seeds: Sequence[Record], verdicts: Verdicts) -> Aggregate:
    """The mean over ``seeds``, one record each.

    One seed keeps the interval it was measured with (Wilson over samples, t over episodes). Several seeds: a t interval
    over the seeds' values, or a hierarchical bootstrap if that is wider, where there are enough of them and the units are
    stored. It is never narrower than what one seed has on average: equal seeds do not make the units certain.
    """
    if len(seeds) == 1:
        return Aggregate(seeds[0].value, seeds[0].low, seeds[0].high)
    if is_nominal(seeds[0].metric):  # seeds may agree; half of one name and half of another is none
        return Aggregate(
            seeds[0].value if len({r.value for r in seeds}) == 1 else math.nan, None, None
        )
    value = float(np.mean([r.value for r in seeds]))
    low, high = t_interval([r.value for r in seeds])
    if is_bootstrapped(seeds):
        drawn = _bootstrap([_units(r, verdicts) for r in seeds], seeds[0])
        low, high = min(low, drawn[0]), max(high, drawn[1])
    if any(r.low is None or r.high is None for r in seeds):
        return Aggregate(value, low, high)
    low, high = (
        min(low, float(np.mean([r.low for r in seeds]))),
        max(high, float(np.mean([r.high for r in seeds]))),
    )
    share = all(r.low >= 0 and r.high <= 1 for r in seeds)
    return Aggregate(value, max(low, 0.0) if share else low, min(high, 1.0) if share else high)


def is_bootstrapped(seeds: Sequence[Record]) -> bool:
    """Whether the interval over ``seeds`` is a bootstrap's, where that is wider than t."""
    return len(seeds) >= MANY_SEEDS and all(r.verdicts is not None for r in seeds)


def same_as_best(
    candidates: Sequence[Sequence[Record]], verdicts: Verdicts, *, sign: int = 1
) -> tuple[list[int], list[int]]:
    """Which of the candidates is the best, and which are not significantly worse than it.

    Each is tested against the best on the seeds and units that both have: exact McNemar (samples) or a paired t test
    (images, episodes) for one seed; for several a paired hierarchical bootstrap and a paired t test over seeds, of which the
    larger p counts. Five seeds that differ in one direction, as equal learners' do in one of sixteen cases, are all that a
    bootstrap needs for the least p that it can give. Holm's correction runs over the candidates, and the bootstrap
    has draws enough for them.

    Args:
        candidates: records, one a seed, of at least two candidates with verdicts.
        sign: 1 where higher values are better, -1 where lower ones are.

    Returns:
        positions of the best (several where equal), and of its ties. Candidates that share no units with the best
        are in neither.
    """
    means = [sign * float(np.mean([r.value for r in seeds])) for seeds in candidates]
    top = max(means)
    best = [i for i, mean in enumerate(means) if mean == top]
    first = candidates[best[0]]
    pairs = {
        i: found
        for i, seeds in enumerate(candidates)
        if means[i] != top and (found := _paired(first, seeds, verdicts))
    }
    draws = enough_draws(len(pairs))
    # What ties by the least that its p can be is a tie, and stays out of the way of the rest: most are spared the bootstrap.
    p = {i: _least_p(found, first[0], draws) for i, found in pairs.items()}
    left = [
        i
        for i, least in zip(p, holm(list(p.values())), strict=True)
        if least <= LEVEL and len(pairs[i]) > 1
    ]
    drawn = _bootstrapped({i: pairs[i] for i in left}, first[0], draws)
    p |= {i: max(p[i], drawn[i]) for i in left}
    return best, [
        i for i, corrected in zip(p, holm(list(p.values())), strict=True) if corrected > LEVEL
    ]


def ranks(
    candidates: Sequence[Sequence[Record]], verdicts: Verdicts, *, sign: int = 1
) -> np.ndarray:
    """Rank of each candidate, 1 the best; what is not significantly worse than the best of a group shares its mean rank.

    Args:
        candidates, verdicts, sign: as for ``same_as_best``, whose test it is.
    """
    means = [sign * float(np.mean([r.value for r in seeds])) for seeds in candidates]

    def alike(best: int, rest: list[int]) -> list[int]:
        ties = same_as_best(
            [candidates[best], *(candidates[i] for i in rest)], verdicts, sign=sign
        )[1]
        return [rest[i - 1] for i in ties if i > 0]

    return ranks_with_ties(means, alike)


Pairs = list[tuple[np.ndarray, np.ndarray]]
"""The units of two candidates, a seed each."""


def _paired(a: Sequence[Record], b: Sequence[Record], verdicts: Verdicts) -> Pairs:
    """The units that both have; nothing where they cannot be paired."""
    of_a, of_b = {r.seed: r for r in a}, {r.seed: r for r in b}
    shared = sorted(of_a.keys() & of_b.keys())
    pairs = [(_units(of_a[s], verdicts), _units(of_b[s], verdicts)) for s in shared]
    return [] if any(x.shape != y.shape or len(x) < 2 for x, y in pairs) else pairs


def _least_p(pairs: Pairs, like: Record, draws: int) -> float:
    """The p of one seed; of several what it is at least: no bootstrap tells more apart than its draws can."""
    if len(pairs) == 1:
        return mcnemar_exact(*pairs[0]) if like.unit == "sample" else paired_t(*pairs[0])[3]
    return max(2 / (draws + 1), paired_t(*np.array([(x.mean(), y.mean()) for x, y in pairs]).T)[3])


def _bootstrapped(pairs: Mapping[int, Pairs], like: Record, draws: int) -> dict[int, float]:
    """The p of a paired hierarchical bootstrap of each; where it takes more draws than usual, all of like shape share them."""
    if draws == DRAWS:
        return {i: _bootstrap([x - y for x, y in found], like)[2] for i, found in pairs.items()}
    alike = defaultdict(list)
    for i, found in pairs.items():
        alike[tuple(len(x) for x, _ in found)].append(i)
    return {
        i: p
        for members in alike.values()
        for i, p in zip(
            members, _shared_bootstrap([pairs[i] for i in members], like, draws), strict=True
        )
    }


def _shared_bootstrap(pairs: Sequence[Pairs], like: Record, draws: int) -> list[float]:
    gaps = [np.array([x - y for x, y in of_seed]) for of_seed in zip(*pairs, strict=True)]
    below, above = np.zeros(len(pairs), int), np.zeros(len(pairs), int)
    for means in resampled(
        gaps, Rng(0).numpy("report bootstrap"), draws, crossed=_is_crossed(gaps, like)
    ):
        below, above = below + (means <= 0).sum(axis=0), above + (means >= 0).sum(axis=0)
    return np.minimum(1.0, 2 * (np.minimum(below, above) + 1) / (draws + 1)).tolist()


def _units(record: Record, verdicts: Verdicts) -> np.ndarray:
    return np.asarray(verdicts(record.cell, record.verdicts), np.float64)


def _bootstrap(values: list[np.ndarray], like: Record) -> tuple[float, float, float]:
    """Test images are the same for every seed; episodes are each seed's own."""
    return hierarchical_bootstrap(
        values, Rng(0).numpy("report bootstrap"), crossed=_is_crossed(values, like)
    )


def _is_crossed(values: Sequence[np.ndarray], like: Record) -> bool:
    """Whether units, an array a seed, are the same ones in every seed."""
    return like.unit in CROSSED and len({v.shape for v in values}) == 1
