"""Patches of the two photographs that come with scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

from harness.data import acquire
from harness.registry import datasets


@pytest.fixture(scope="module")
def patches():
    def made(**keys):
        cls = datasets["natural-patches"]
        return cls(cls.Config(source="shipped", patches=400, **keys), None)

    return made


def test_patches_are_what_the_facts_say_and_have_no_mean(patches):
    dataset = patches()
    loaded = dataset.build()
    assert loaded.pixels.shape == (480, 1, 12, 12)
    assert np.abs(loaded.pixels.mean((1, 2, 3)) - 128).max() < 4  # some are clipped
    assert 15 < loaded.pixels.std() < 40  # about a quarter of 128: one standard deviation is 32
    for split, facts in dataset.facts().splittings["patches"].items():
        images = loaded.split("patches", split)
        assert len(images) == facts.images and images.n_classes == facts.classes == 2


def test_the_same_places_are_cut_every_time(patches):
    assert patches().build().content_hash() == patches().build().content_hash()


def test_on_and_off_are_the_halves_of_the_same_patch(patches):
    one = patches().build().pixels[:, 0].astype(float) - 128
    on, off = patches(on_off=True).build().pixels.astype(float).transpose(1, 0, 2, 3) / 2
    assert not np.any((on > 0) & (off > 0))
    assert np.abs(on - off - one)[np.abs(one) < 120].max() <= 1


def test_it_is_a_dataset_like_any_other(patches, tmp_path):
    loaded, _ = acquire.load(patches(size=8), tmp_path)
    assert loaded.pixels.shape[2:] == (8, 8)
