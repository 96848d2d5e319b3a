"""Planted Gabor functions have their parameters back; blobs and noise are no Gabors."""

from __future__ import annotations

import numpy as np
import pytest

from harness.metrics.gabors import (
    fit,
    frequency_distance,
    gabor,
    histogram_distance,
    shape_distances,
    tuning,
)
from harness.metrics.macaque import FREQUENCIES, FREQUENCY_EDGES, SHAPE_EDGES, SHAPES

SIZE = 12


def planted(seed: int) -> tuple[dict, np.ndarray]:
    generator = np.random.default_rng(seed)
    keys = {
        "orientation": float(generator.uniform(0, np.pi)),
        "frequency": float(generator.uniform(0.12, 0.3)),
        "phase": float(generator.uniform(0, 2 * np.pi)),
        "sx": float(generator.uniform(1.5, 2.5)),
        "sy": float(generator.uniform(1.5, 2.5)),
        "centre": tuple(generator.uniform(-1.5, 1.5, 2)),
    }
    field = gabor(SIZE, **keys)
    return keys, field + 0.05 * field.std() * generator.standard_normal(field.shape)


@pytest.mark.parametrize("seed", range(6))
def test_a_planted_gabor_is_recovered(seed):
    keys, field = planted(seed)
    found = fit(field)
    assert found.r2 > 0.98 and found.is_gabor
    assert found.frequency == pytest.approx(keys["frequency"], rel=0.05)
    assert found.nx == pytest.approx(keys["sx"] * keys["frequency"], rel=0.1)
    assert found.ny == pytest.approx(keys["sy"] * keys["frequency"], rel=0.1)
    turned = (found.orientation - keys["orientation"] + np.pi / 2) % np.pi - np.pi / 2
    assert abs(np.degrees(turned)) < 3


def test_a_blob_fits_and_is_no_gabor():
    found = fit(gabor(SIZE, 0, 0, 0, 3, 3))
    assert found.r2 > 0.95 and not found.is_gabor


def test_noise_hardly_fits():
    generator = np.random.default_rng(0)
    fits = [fit(generator.standard_normal((SIZE, SIZE))) for _ in range(5)]
    assert np.median([each.r2 for each in fits]) < 0.3
    assert not any(each.is_gabor for each in fits)


def test_horizontal_bars_have_an_upright_grating_vector():
    bars = gabor(SIZE, np.pi / 2, 0.2, 0, 2, 3)
    assert np.allclose(bars[0], bars[0][::-1]) and np.ptp(bars, axis=0).max() > 1
    assert fit(bars).orientation == pytest.approx(np.pi / 2, abs=0.05)
    assert tuning(bars).preferred == pytest.approx(np.pi / 2)


def test_selectivity_of_a_grating_and_of_a_round_field():
    grating = tuning(gabor(SIZE, 0, 0.25, 0, 3, 3))
    assert grating.osi > 0.9 and grating.circular_variance < 0.5
    spot = tuning(gabor(13, 0, 0, 0, 1.5, 1.5))
    assert spot.osi < 0.1 and spot.circular_variance > 0.9
    assert np.isnan(tuning(np.ones((SIZE, SIZE))).osi)


def test_macaque_shapes_are_near_themselves():
    centres = 10 ** ((np.log10(SHAPE_EDGES[1:]) + np.log10(SHAPE_EDGES[:-1])) / 2)
    rows, columns = np.nonzero(SHAPES)
    times = SHAPES[rows, columns]
    nx, ny = np.repeat(centres[rows], times), np.repeat(centres[columns], times)
    assert shape_distances(nx, ny) == pytest.approx((0, 0), abs=1e-12)
    assert shape_distances(10 * nx, ny) == pytest.approx((1, 0), abs=1e-12)


def test_frequencies_are_compared_in_shape_and_not_in_place():
    centres = np.sqrt(FREQUENCY_EDGES[1:] * FREQUENCY_EDGES[:-1])
    macaque = np.repeat(centres, FREQUENCIES)
    assert frequency_distance(0.01 * macaque) == pytest.approx(0, abs=1e-9)
    assert frequency_distance(np.full(50, 0.2)) > 0.5


def test_the_distance_of_histograms_is_a_share():
    edges, counts = np.array([0, 1, 2]), np.array([1, 1])
    assert histogram_distance(np.array([0.1, 0.2]), edges, counts) == 0.5
