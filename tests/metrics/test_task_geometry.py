"""Task alignment orders codes whose order is known, and is zero where labels play no part."""

from __future__ import annotations

import numpy as np
import pytest

from harness.metrics.task_geometry import Unlabelled, upper

N = 400


@pytest.fixture(scope="module")
def stimuli() -> tuple[np.ndarray, np.ndarray, Unlabelled]:
    """Pixels of noisy prototypes, their labels, and the family of the pixels."""
    generator = np.random.default_rng(0)
    labels = np.arange(N) % 5
    prototypes = generator.random((5, 3, 30))
    pixels = prototypes[labels, generator.integers(0, 3, N)] + 0.5 * generator.random((N, 30))
    return pixels, labels, Unlabelled(pixels, seed=0)


def test_a_rotated_and_scaled_image_has_no_task_in_it(stimuli):
    pixels, labels, family = stimuli
    rotation, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((30, 30)))
    assert family.geometry(3 * pixels @ rotation, labels).alignment == 0


def test_noise_and_random_features_have_nearly_none(stimuli):
    pixels, labels, family = stimuli
    generator = np.random.default_rng(1)
    noise = generator.standard_normal((N, 300))
    assert abs(family.geometry(noise, labels).alignment) < 0.03
    features = np.maximum(pixels @ generator.standard_normal((30, 3000)), 0)
    assert abs(family.geometry(features, labels).alignment) < 0.1


def test_a_code_of_the_task_is_aligned_whatever_its_size(stimuli):
    pixels, labels, family = stimuli
    one_hot = np.eye(5)[labels]
    small = family.geometry(np.hstack([pixels, 0.1 * one_hot]), labels)
    large = family.geometry(np.hstack([pixels, one_hot]), labels)
    assert small.alignment == pytest.approx(1) and large.alignment == pytest.approx(1)
    assert small.share < 0.01 < large.share < family.geometry(one_hot, labels).share


def test_the_share_of_a_mixture_is_that_of_the_construction(stimuli):
    """K = K_pixels + w L: only w L's part outside the family is left."""
    pixels, labels, family = stimuli
    one_hot = np.eye(5)[labels]
    weight = 2.5
    got = family.geometry(np.hstack([pixels, np.sqrt(weight) * one_hot]), labels)
    left, _ = family.left_of(one_hot @ one_hot.T)
    whole = upper(pixels @ pixels.T + weight * one_hot @ one_hot.T)
    assert got.share == pytest.approx(weight**2 * (left @ left) / (whole @ whole), rel=1e-6)


def test_alignment_rises_with_the_share_of_true_labels(stimuli):
    pixels, labels, family = stimuli
    generator = np.random.default_rng(2)
    found = []
    for wrong in (0.0, 0.5, 1.0):
        told = labels.copy()
        changed = generator.random(N) < wrong
        told[changed] = generator.permutation(labels[changed])
        code = np.hstack([pixels, np.eye(5)[told]])
        found.append(family.geometry(code, labels).alignment)
    assert found[0] > found[1] + 0.1 and found[1] > found[2] + 0.1 and abs(found[2]) < 0.05


def test_rotation_changes_nothing_and_constant_responses_say_nothing(stimuli):
    pixels, labels, family = stimuli
    code = np.hstack([pixels, np.eye(5)[labels]])
    rotation, _ = np.linalg.qr(np.random.default_rng(3).standard_normal((35, 35)))
    assert family.geometry(code @ rotation, labels).share == pytest.approx(
        family.geometry(code, labels).share, abs=1e-9
    )
    assert np.isnan(family.geometry(np.ones((N, 4)), labels).alignment)
    assert np.isnan(family.geometry(code, np.zeros(N, int)).alignment)


def test_centring_leaves_rows_that_sum_to_zero_without_the_diagonal():
    generator = np.random.default_rng(0)
    x = generator.standard_normal((7, 3))
    pairs = np.zeros((7, 7))
    pairs[np.triu_indices(7, 1)] = upper(x @ x.T)
    pairs += pairs.T
    np.testing.assert_allclose(pairs.sum(0), 0, atol=1e-12)
