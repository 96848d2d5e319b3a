"""Which of several learners is the best on one number, and which are tied with it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from harness.metrics.statistics import DRAWS, holm, mcnemar_exact, paired_t, ranks_with_ties
from harness.records import Record
from harness.report.aggregate import Verdicts, bootstrap, is_crossed, units_of
from harness.report.resample import resampled_means
from harness.rng import Rng

LEVEL = 0.05
"""A difference counts if its corrected p is at most this."""

LEAST_P = 2 / (DRAWS + 1)
"""The smallest p that ``DRAWS`` draws can give."""

Candidates = Sequence[Sequence[Record]]
"""The records of each candidate, one per seed."""

Pairs = list[tuple[np.ndarray, np.ndarray]]
"""The units of two candidates, one pair of arrays per seed."""


def enough_draws(rivals: int) -> int:
    """How many bootstrap draws can distinguish the best from so many rivals.

    Holm's correction asks of the first rival a p of at most ``LEVEL / rivals``, and no p is
    below ``2 / (draws + 1)``: with ``DRAWS`` and more than a hundred rivals, nothing would ever
    differ. There, the least possible p is half of what is asked.

    >>> enough_draws(1), enough_draws(100), enough_draws(101), enough_draws(1000)
    (4000, 4000, 8080, 80000)
    """
    if rivals * LEAST_P <= LEVEL:
        return DRAWS
    return math.ceil(4 * rivals / LEVEL)


def same_as_best(
    candidates: Candidates, verdicts: Verdicts, *, sign: int = 1
) -> tuple[list[int], list[int]]:
    """Find the best candidate, and those that are not significantly worse.

    Each candidate is tested against the best on the seeds and units that both have. One seed:
    exact McNemar test (samples) or paired t test (images, episodes). Several seeds: a paired
    hierarchical bootstrap and a paired t test over seeds, of which the larger p counts. The
    t test is needed because five seeds that differ in the same direction, as equal learners do
    in one of sixteen cases, give the bootstrap's least p. Holm's correction runs over the
    candidates.

    Args:
        candidates: At least two candidates with stored verdicts.
        verdicts: Reads the stored units.
        sign: 1 if higher values are better, -1 if lower ones are.

    Returns:
        Positions of the best (several if equal), and of its ties. Candidates that share no
        units with the best are in neither.
    """
    means = _signed_means(candidates, sign)
    top = max(means)
    best = [i for i, mean in enumerate(means) if mean == top]
    first = candidates[best[0]]
    like = first[0]
    pairs: dict[int, Pairs] = {}
    for i, seeds in enumerate(candidates):
        if means[i] == top:
            continue
        paired = paired_units(first, seeds, verdicts)
        if paired:
            pairs[i] = paired

    draws = enough_draws(len(pairs))
    p = {i: _least_p(paired, like, draws) for i, paired in pairs.items()}
    # A candidate that ties by the least that its p can be is a tie anyway. This spares most
    # candidates the bootstrap.
    undecided = [i for i, least in _holm(p).items() if least <= LEVEL and len(pairs[i]) > 1]
    drawn = bootstrapped_p({i: pairs[i] for i in undecided}, like, draws)
    for i in undecided:
        p[i] = max(p[i], drawn[i])
    return best, [i for i, corrected in _holm(p).items() if corrected > LEVEL]


def _signed_means(candidates: Candidates, sign: int) -> list[float]:
    return [sign * float(np.mean([record.value for record in seeds])) for seeds in candidates]


def _holm(p: Mapping[int, float]) -> dict[int, float]:
    """Candidate -> its Holm-corrected p."""
    return dict(zip(p, holm(list(p.values())), strict=True))


def ranks(candidates: Candidates, verdicts: Verdicts, *, sign: int = 1) -> np.ndarray:
    """Rank candidates, 1 for the best; ties share the mean of their ranks.

    A group of ties is the best of those left and all that are not significantly worse.

    Args:
        candidates, verdicts, sign: As for ``same_as_best``, which provides the test.

    Returns:
        Rank of each candidate, float (candidates,).
    """

    def tied_with(best: int, rest: list[int]) -> list[int]:
        chosen = [candidates[best], *(candidates[i] for i in rest)]
        _, ties = same_as_best(chosen, verdicts, sign=sign)
        return [rest[i - 1] for i in ties if i > 0]

    return ranks_with_ties(_signed_means(candidates, sign), tied_with)


def paired_units(a: Sequence[Record], b: Sequence[Record], verdicts: Verdicts) -> Pairs:
    """The units of the seeds that both have; empty if they cannot be paired."""
    a_by_seed = {record.seed: record for record in a}
    b_by_seed = {record.seed: record for record in b}
    pairs = []
    for seed in sorted(a_by_seed.keys() & b_by_seed.keys()):
        x = units_of(a_by_seed[seed], verdicts)
        y = units_of(b_by_seed[seed], verdicts)
        if x.shape != y.shape or len(x) < 2:
            return []
        pairs.append((x, y))
    return pairs


def _least_p(pairs: Pairs, like: Record, draws: int) -> float:
    """The p of one seed; of several, a lower bound of their p."""
    if len(pairs) == 1:
        x, y = pairs[0]
        return mcnemar_exact(x, y) if like.unit == "sample" else paired_t(x, y)[3]
    means = np.array([(x.mean(), y.mean()) for x, y in pairs])
    return max(2 / (draws + 1), paired_t(means[:, 0], means[:, 1])[3])


def bootstrapped_p(pairs: Mapping[int, Pairs], like: Record, draws: int) -> dict[int, float]:
    """Two-sided p of a paired hierarchical bootstrap for each pair of candidates.

    With more than ``DRAWS`` draws, all pairs of equal shape share their resamples.
    """
    if draws == DRAWS:
        out = {}
        for i, paired in pairs.items():
            out[i] = bootstrap([x - y for x, y in paired], like)[2]
        return out
    by_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for i, paired in pairs.items():
        by_shape[tuple(len(x) for x, _ in paired)].append(i)
    out = {}
    for members in by_shape.values():
        shared = _shared_bootstrap([pairs[i] for i in members], like, draws)
        out.update(zip(members, shared, strict=True))
    return out


def _shared_bootstrap(pairs: Sequence[Pairs], like: Record, draws: int) -> list[float]:
    """The p of each pair, all from the same resamples."""
    gaps = [np.array([x - y for x, y in of_seed]) for of_seed in zip(*pairs, strict=True)]
    generator = Rng(0).numpy("report bootstrap")
    crossed = is_crossed(gaps, like)
    below = np.zeros(len(pairs), int)
    above = np.zeros(len(pairs), int)
    for means in resampled_means(gaps, generator, draws, crossed=crossed):
        below = below + (means <= 0).sum(axis=0)
        above = above + (means >= 0).sum(axis=0)
    tail = np.minimum(below, above)
    p: list[float] = np.minimum(1.0, 2 * (tail + 1) / (draws + 1)).tolist()
    return p
