"""Glyphs: a few-shot problem worth the name, of characters that can be told apart."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import label as components

from harness.data import acquire, strokes
from harness.data.sampler import sample
from harness.rng import Rng


@pytest.fixture
def glyphs(make, shared_cache):
    return acquire.load(make("glyphs"), shared_cache)[0]


def test_no_alphabet_is_in_two_splits(glyphs):
    groups = np.array(glyphs.groups)
    splits = [
        set(groups[np.unique(glyphs.labels[rows])])
        for rows in glyphs.splittings["alphabets"].values()
    ]
    assert sum(map(len, splits)) == len(set.union(*splits)) >= 8


def test_enough_classes(glyphs):
    assert len(glyphs.class_names) >= 600
    assert glyphs.split("alphabets", "test").n_classes >= 60


def test_pixels_neither_solve_nor_fail_it(glyphs):
    images = glyphs.split("alphabets", "test")
    episodes = sample(images, ways=5, shots=1, queries=5, episodes=400, rng=Rng(0))
    flat = images.pixels.reshape(len(images), -1) / 255
    distance = ((flat[episodes.query][:, :, None] - flat[episodes.support][:, None]) ** 2).sum(-1)
    assert 0.55 < (distance.argmin(-1) == episodes.query_labels).mean() < 0.75


def test_drawings_have_strokes_not_blobs(glyphs):
    ink = (glyphs.pixels[:, 0] > 127).mean((1, 2))
    assert ink.min() > 0.02 and ink.max() < 0.45 and 0.07 < ink.mean() < 0.18


def test_mean_drawings_of_any_two_classes_differ(glyphs):
    """An independent measure of what the list of characters promises: no character twice."""
    means = glyphs.pixels.reshape(-1, 20, 784).mean(1)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    alike = means @ means.T - np.eye(len(means))
    assert alike.max() < 0.99


def test_drawers_differ_and_draw_alike():
    fields = np.stack(
        [np.abs(np.arange(strokes.CANVAS) - 48.0)[None].repeat(strokes.CANVAS, 0)] * 2
    )
    drawn = strokes.draw(fields, 20, 28, Rng(0))
    assert len({image.tobytes() for image in drawn.reshape(-1, 784)}) == 40
    weight = drawn.reshape(2, 20, -1).mean(2)  # the same hand has the same pen in both drawings
    assert np.corrcoef(weight)[0, 1] > 0.7


def test_fill_is_the_winding_rule():
    square = np.array([[10.0, 10], [40, 10], [40, 40], [10, 40]])
    hole = np.array([[20.0, 20], [20, 30], [30, 30], [30, 20]])
    assert strokes.fill([square]).sum() == 900
    assert strokes.fill([square, hole]).sum() == 800
    assert strokes.fill([square, hole[::-1]]).sum() == 900  # same direction: still inside


def test_thinning_keeps_the_topology():
    y, x = np.mgrid[:96, :96] - 48
    ring = (np.hypot(x, y) < 30) & (np.hypot(x, y) > 20)
    bar = (np.abs(x) < 6) & (np.abs(y) < 30)
    for shape, holes in ((ring, 1), (bar, 0)):
        line = strokes.thin(shape[None])[0]
        assert line.sum() < shape.sum() / 5 and not (line & ~shape).any()
        assert components(line, np.ones((3, 3)))[1] == 1
        assert components(~line)[1] == 1 + holes
