"""Drives whose balance is known."""

from __future__ import annotations

import numpy as np
import pytest

from harness.metrics.balance import balance

INPUTS = np.random.default_rng(0).random((400, 40))


def test_equal_and_opposite_drives_cancel():
    positive = np.random.default_rng(1).random((40, 15))
    found = balance(np.hstack([INPUTS, INPUTS]), np.vstack([positive, -positive]))
    assert found.ratio == pytest.approx(1) and found.cancelled == pytest.approx(1)
    assert found.correlation == pytest.approx(1) and found.given_common == pytest.approx(1)


def test_drives_from_independent_inputs_are_uncorrelated():
    weight = np.random.default_rng(1).random((40, 200))
    weight[20:] *= -1
    found = balance(INPUTS, weight)
    assert abs(found.correlation) < 0.1
    assert found.ratio == pytest.approx(1, abs=0.15)


def test_ink_that_all_inputs_share_is_no_balance():
    ink = np.random.default_rng(2).uniform(0.2, 3, (400, 1))
    weight = np.random.default_rng(1).standard_normal((40, 50))
    found = balance(INPUTS * ink, weight)
    assert found.correlation > 0.8 > 0.3 > found.given_common


def test_one_sign_has_no_balance():
    assert balance(INPUTS, np.ones((40, 3))) is None
    assert balance(INPUTS, -np.ones((40, 3))) is None
