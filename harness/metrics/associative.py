"""Associative memory: what a rule stores in recurrent synapses, and what it finds again.

A pattern has one active unit in each of H modules of M units, as in minicolumns of a hypercolumn.
It is kept as the active unit of each module, int (H,). A network recalls by letting the winner of
each module drive the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

Rule = Literal["hebb", "willshaw", "covariance", "bcpnn"]

STEPS = 12
"""Steps of recall."""

RECALLED = 0.9
"""Share of patterns that are recalled exactly at the capacity."""

DISTORTED = 0.2
"""Share of modules of a cue that have a wrong winner."""


def random_patterns(
    count: int, modules: int, units: int, generator: np.random.Generator
) -> np.ndarray:
    """Patterns (count, modules) whose winners are equally likely and independent."""
    return generator.integers(0, units, (count, modules))


def distort(
    patterns: np.ndarray, units: int, share: float, generator: np.random.Generator
) -> np.ndarray:
    """Give a share of the modules of each pattern a wrong winner."""
    count, modules = patterns.shape
    wrong = max(1, round(share * modules))
    chosen = generator.permuted(np.tile(np.arange(modules), (count, 1)), axis=1)[:, :wrong]
    shift = generator.integers(1, units, (count, wrong))
    distorted = patterns.copy()
    rows = np.arange(count)[:, None]
    distorted[rows, chosen] = (patterns[rows, chosen] + shift) % units
    return distorted


def as_units(patterns: np.ndarray, units: int) -> np.ndarray:
    """Patterns (count, modules) as activities, float (count, modules * units)."""
    return np.eye(units)[patterns].reshape(len(patterns), -1)


def store(rule: Rule, patterns: np.ndarray, units: int) -> tuple[np.ndarray, np.ndarray]:
    """Learn patterns (P, H) in one pass.

    Returns:
        Weights (N, N) with none inside a module, and biases (N,).
    """
    active = as_units(patterns, units)
    count = len(active)
    together = active.T @ active
    share = active.mean(0)
    weight, bias = _LEARNED[rule](together, share, count)
    module = np.arange(len(share)) // units
    weight = np.where(module[:, None] == module[None, :], 0.0, weight)
    return weight, bias


Learned = tuple[np.ndarray, np.ndarray]


def _hebb(together: np.ndarray, share: np.ndarray, count: int) -> Learned:
    """How often two units were active together."""
    return together, np.zeros_like(share)


def _willshaw(together: np.ndarray, share: np.ndarray, count: int) -> Learned:
    """Whether they ever were."""
    return (together > 0).astype(float), np.zeros_like(share)


def _covariance(together: np.ndarray, share: np.ndarray, count: int) -> Learned:
    """Together, less what chance explains."""
    return together / count - np.outer(share, share), np.zeros_like(share)


def _bcpnn(together: np.ndarray, share: np.ndarray, count: int) -> Learned:
    """Log odds of activity given activity, and of activity (Lansner & Ekeberg 1989)."""
    little = 1 / (count + 1)
    expected = np.outer(share + little, share + little)
    weight = np.log((together / count + little**2) / expected)
    return weight, np.log(share + little)


_LEARNED: dict[Rule, Callable[[np.ndarray, np.ndarray, int], Learned]] = {
    "hebb": _hebb,
    "willshaw": _willshaw,
    "covariance": _covariance,
    "bcpnn": _bcpnn,
}

RULES: tuple[Rule, ...] = tuple(_LEARNED)


def recall(
    weight: np.ndarray,
    bias: np.ndarray,
    cues: np.ndarray,
    units: int,
    generator: np.random.Generator,
) -> np.ndarray:
    """Let cues (count, H) settle; ties are broken at random."""
    winners = cues
    for _ in range(STEPS):
        drive = as_units(winners, units) @ weight + bias
        scale = float(np.abs(drive).max(initial=1e-300))
        drive = drive + 1e-9 * scale * generator.random(drive.shape)
        settled = drive.reshape(len(cues), -1, units).argmax(2)
        if np.array_equal(settled, winners):
            break
        winners = settled
    return winners


def recalled_share(
    rule: Rule, count: int, modules: int, units: int, generator: np.random.Generator
) -> float:
    """Share of ``count`` stored patterns that are recalled exactly from distorted cues."""
    patterns = random_patterns(count, modules, units, generator)
    weight, bias = store(rule, patterns, units)
    cues = distort(patterns, units, DISTORTED, generator)
    return float((recall(weight, bias, cues, units, generator) == patterns).all(1).mean())


def capacity(share: Callable[[int], float], most: int) -> int:
    """The largest number of patterns of which ``share`` is at least ``RECALLED``.

    Doubled until it is too many, then by bisection; at most ``most``. It starts at eight: with two
    patterns, covariances of what both share are zero.
    """
    low, high = 0, min(8, most)
    while high <= most and share(high) >= RECALLED:
        low, high = high, 2 * high
    high = min(high, most + 1)
    while high - low > max(1, low // 20):
        middle = (low + high) // 2
        if share(middle) >= RECALLED:
            low = middle
        else:
            high = middle
    return low


def bits_a_synapse(count: int, modules: int, units: int) -> float:
    """Bits recalled at capacity over undirected synapses between modules.

    >>> round(bits_a_synapse(126, 20, 10), 2)
    0.4
    """
    total = modules * units
    synapses = total * (total - units) / 2
    return RECALLED * count * modules * math.log2(units) / synapses


def prototype_share(
    rule: Rule,
    prototypes: int,
    modules: int,
    units: int,
    generator: np.random.Generator,
    instances: int = 10,
    share: float = 0.3,
) -> float:
    """Share of new distorted instances from which their prototype is found exactly.

    Only instances are stored, each with ``share`` of its modules wrong: nobody saw a prototype.
    """
    originals = random_patterns(prototypes, modules, units, generator)
    seen = distort(np.repeat(originals, instances, axis=0), units, share, generator)
    weight, bias = store(rule, seen, units)
    cues = distort(originals, units, share, generator)
    return float((recall(weight, bias, cues, units, generator) == originals).all(1).mean())
