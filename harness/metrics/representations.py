"""Representational similarity: does a network find the same stimuli alike as a brain does?

A dissimilarity matrix of S stimuli is kept as the vector of its pairs (S (S - 1) / 2,), in the
order of ``numpy.triu_indices(S, 1)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.lazy import stats

Correlation = Literal["spearman", "tau-a"]

SPEARMAN: Correlation = "spearman"
TAU: Correlation = "tau-a"


def dissimilarities(responses: np.ndarray) -> np.ndarray:
    """1 - Pearson correlation of the responses (S, units) of every two stimuli.

    nan for pairs with a stimulus to which all units respond alike.
    """
    x = np.asarray(responses, np.float64)
    x = x - x.mean(1, keepdims=True)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        x = np.where(length > 1e-12, x / length, np.nan)
    pairs: np.ndarray = 1 - (x @ x.T)[np.triu_indices(len(x), 1)]
    return pairs


def correlation(one: np.ndarray, other: np.ndarray, kind: Correlation = "spearman") -> float:
    """Rank correlation of two vectors of pairs.

    ``tau-a`` (Nili et al. 2014) gives no credit for ties; with many ties in a model, as in one that
    only tells categories apart, Spearman's does. nan if one is constant, or has a nan.
    """
    if np.isnan(one).any() or np.isnan(other).any():
        return float("nan")
    if kind == "spearman":
        ranks = [stats.rankdata(each) for each in (one, other)]
        if min(np.ptp(each) for each in ranks) == 0:
            return float("nan")
        return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return _tau_a(one, other)


def _tau_a(one: np.ndarray, other: np.ndarray) -> float:
    """(concordant - discordant) / all pairs, from scipy's tau-b, whose ties are put back."""
    n = len(one)
    pairs = n * (n - 1) / 2
    tau_b = float(stats.kendalltau(one, other).statistic)
    untied = [
        pairs - sum(c * (c - 1) / 2 for c in np.unique(each, return_counts=True)[1])
        for each in (one, other)
    ]
    return tau_b * float(np.sqrt(untied[0] * untied[1])) / pairs


@dataclass(frozen=True)
class Ceiling:
    """Bounds of what a perfect model could reach with these subjects (Nili et al. 2014).

    Attributes:
        lower: Mean correlation of each subject with the mean of the others.
        upper: The same with the mean of all, itself included.
    """

    lower: float
    upper: float


def noise_ceiling(subjects: np.ndarray, kind: Correlation = "spearman") -> Ceiling:
    """The ceiling of subjects (subjects, pairs), two or more."""
    ranked = _standardised(subjects)
    whole = ranked.mean(0)
    upper = [correlation(each, whole, kind) for each in subjects]
    lower = [
        correlation(subjects[i], np.delete(ranked, i, axis=0).mean(0), kind)
        for i in range(len(subjects))
    ]
    return Ceiling(float(np.mean(lower)), float(np.mean(upper)))


def mean_correlation(
    model: np.ndarray, subjects: np.ndarray, kind: Correlation = "spearman"
) -> float:
    """Mean over subjects (subjects, pairs) of their correlation with a model."""
    if kind == SPEARMAN and np.isfinite(model).all() and np.ptp(model) > 0:
        ranks = _standardised(np.vstack([model, subjects]))
        return float((ranks[1:] @ ranks[0]).mean() / len(model))
    return float(np.mean([correlation(model, each, kind) for each in subjects]))


def _standardised(vectors: np.ndarray) -> np.ndarray:
    """Ranks of each row, at mean 0 and variance 1; a constant row is nan."""
    ranks = stats.rankdata(vectors, axis=1)
    ranks = ranks - ranks.mean(1, keepdims=True)
    with np.errstate(invalid="ignore"):
        standardised: np.ndarray = ranks / ranks.std(1, keepdims=True)
    return standardised


def partial_correlation(model: np.ndarray, subjects: np.ndarray, given: np.ndarray) -> float:
    """Mean over subjects of the Spearman correlation with a model, given a third matrix.

    (r_ms - r_mg r_sg) / sqrt((1 - r_mg^2) (1 - r_sg^2)); nan if the model is the third's.
    """
    of_model = correlation(model, given)
    if not abs(of_model) < 1 - 1e-9:
        return float("nan")
    found = []
    for subject in subjects:
        of_subject = correlation(subject, given)
        size = np.sqrt((1 - of_model**2) * (1 - of_subject**2))
        found.append((correlation(model, subject) - of_model * of_subject) / size)
    return float(np.mean(found))


def count_of_stimuli(pairs: np.ndarray) -> int:
    """Number of stimuli that have so many pairs.

    >>> count_of_stimuli(np.zeros(6))
    4
    """
    return int(round((1 + np.sqrt(1 + 8 * len(pairs))) / 2))


def resampled(
    model: np.ndarray,
    subjects: np.ndarray,
    draws: int,
    seed: int,
    kind: Correlation = "spearman",
    *,
    of_subjects: bool = True,
) -> np.ndarray:
    """``mean_correlation`` in bootstrap samples of stimuli and of subjects, (draws,).

    Stimuli are drawn with replacement, and pairs of a stimulus with itself are left out; resampling
    pairs instead would give intervals that are 2 to 5 times too narrow. The same seed draws the
    same stimuli and subjects for every model, so that differences are paired.
    """
    count = count_of_stimuli(model)
    place = np.zeros((count, count), int)
    place[np.triu_indices(count, 1)] = np.arange(len(model))
    place += place.T
    generator = np.random.default_rng(seed)
    found = np.empty(draws)
    rows, columns = np.triu_indices(count, 1)
    for i in range(draws):
        chosen = generator.integers(0, count, count)
        who = generator.integers(0, len(subjects), len(subjects))
        first, second = chosen[rows], chosen[columns]
        kept = place[first, second][first != second]
        if not of_subjects:
            who = np.arange(len(subjects))
        found[i] = mean_correlation(model[kept], subjects[who][:, kept], kind)
    return found


def standard_error(model: np.ndarray, subjects: np.ndarray, draws: int, seed: int) -> float:
    """Standard error of the mean Spearman correlation, over stimuli and subjects.

    Resampling both counts the noise of measurement twice. 2 (v_stimuli + v_subjects) - v_both
    counts it once (Schuett et al. 2023); it is kept between the larger of the two and v_both.
    """
    stimuli = _variance(resampled(model, subjects, draws, seed, of_subjects=False))
    if len(subjects) == 1:
        return float(np.sqrt(stimuli))
    # Without resampled stimuli it is a mean of correlations that do not change.
    each = np.array([correlation(model, subject) for subject in subjects])
    of_subjects = float(each.var()) / len(subjects)
    both = _variance(resampled(model, subjects, draws, seed))
    corrected = 2 * (stimuli + of_subjects) - both
    return float(np.sqrt(np.clip(corrected, max(stimuli, of_subjects), max(both, stimuli))))


def _variance(draws: np.ndarray) -> float:
    return float(np.var(draws[np.isfinite(draws)], ddof=1))


def permutation_p(model: np.ndarray, subjects: np.ndarray, draws: int, seed: int) -> float:
    """Share of relabelled models (and the model) that correlate at least as much, one-sided."""
    count = count_of_stimuli(model)
    square = np.zeros((count, count))
    square[np.triu_indices(count, 1)] = stats.rankdata(model)
    square += square.T
    target = _standardised(subjects).mean(0)
    generator = np.random.default_rng(seed)
    rows, columns = np.triu_indices(count, 1)
    observed = float(square[rows, columns] @ target)
    at_least = 1
    for _ in range(draws):
        order = generator.permutation(count)
        at_least += float(square[order[rows], order[columns]] @ target) >= observed
    return at_least / (draws + 1)
