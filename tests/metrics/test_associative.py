"""Associative memory: exact recall, bounds, and the published order of rules."""

from __future__ import annotations

import numpy as np
import pytest

from harness.metrics.associative import (
    RULES,
    bits_a_synapse,
    capacity,
    distort,
    prototype_share,
    random_patterns,
    recall,
    recalled_share,
    store,
)

H, M = 20, 10


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("rule", RULES)
def test_a_few_patterns_are_recalled_exactly(rule):
    patterns = random_patterns(3, H, M, generator())
    weight, bias = store(rule, patterns, M)
    assert not weight.reshape(H, M, H, M)[range(H), :, range(H)].any()  # none inside a module
    cues = distort(patterns, M, 0.2, generator(1))
    assert (cues != patterns).sum(1).tolist() == [4, 4, 4]
    assert np.array_equal(recall(weight, bias, cues, M, generator(2)), patterns)


def test_the_rules_have_their_published_order():
    """Additive Hebb is worst, covariance between, Bayesian-Hebbian best (arXiv 2605.01074)."""
    shares = {
        rule: np.mean([recalled_share(rule, 75, H, M, generator(seed)) for seed in range(3)])
        for rule in RULES
    }
    assert shares["hebb"] < 0.1 < shares["covariance"] < 0.95
    assert shares["willshaw"] > 0.9 and shares["bcpnn"] > 0.99
    assert np.mean([recalled_share("bcpnn", 110, H, M, generator(s)) for s in range(3)]) > 0.9
    assert np.mean([recalled_share("willshaw", 110, H, M, generator(s)) for s in range(3)]) < 0.7


def test_prototypes_that_nobody_saw_are_found_by_rules_that_subtract_chance():
    found = {
        rule: np.mean([prototype_share(rule, 10, H, M, generator(seed)) for seed in range(4)])
        for rule in RULES
    }
    assert found["covariance"] > 0.4 and found["bcpnn"] > 0.2
    assert found["willshaw"] < 0.1


def test_the_capacity_is_where_recall_falls():
    assert capacity(lambda count: float(count <= 37), 1000) == 37
    assert 95 <= capacity(lambda count: 1.0, 100) <= 100
    assert capacity(lambda count: 0.0, 100) == 0


def test_bits_stay_below_the_bound_of_binary_synapses():
    assert bits_a_synapse(84, H, M) < np.log(2)
