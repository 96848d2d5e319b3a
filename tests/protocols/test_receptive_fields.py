"""Receptive fields of units whose fields are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.data.base import Facts, Images, Loaded, SplitFacts
from harness.learning.learner import Synapses, silent
from harness.metrics.gabors import gabor
from harness.protocols.base import Context
from harness.protocols.receptive_fields import ReceptiveFields
from harness.registry import learners
from harness.rng import Rng

SIDE = 12
SPLIT = {"train": SplitFacts(2, 4, 8)}


def planted(count: int) -> np.ndarray:
    """Gabors (count, SIDE * SIDE) of n_x 0.4 and n_y 0.5, at all angles."""
    angles = np.arange(count) * np.pi / count
    fields = [gabor(SIDE, angle, 0.2, 0.3, 2.0, 2.5) for angle in angles]
    return np.stack(fields).reshape(count, -1)


class Linear:
    """Units that respond to their field, with synapses or without."""

    config = None

    def __init__(self, fields: np.ndarray, *, channels: int = 1, hidden: bool = False) -> None:
        self.weight = torch.from_numpy(fields.T).float()
        self.image_shape = (channels, SIDE, SIDE)
        self.hidden = hidden

    def connectome(self) -> list[Synapses]:
        return [] if self.hidden else [Synapses("input->hidden", self.weight)]

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1) @ self.weight


def measured(learner: Linear) -> dict[str, tuple[float, float | None, float | None]]:
    facts = Facts(learner.image_shape, {"standard": SPLIT})
    protocol = ReceptiveFields(ReceptiveFields.Config(dataset="digits", units=12), facts)
    assert not list(protocol.faults())
    data = Loaded(np.zeros((1, *learner.image_shape), np.uint8), np.zeros(1), ("a",), None, {})
    context = Context(Rng(0), "cpu", 500, silent)
    values = ReceptiveFields.measure(learner, data, next(protocol.settings()), context).values
    return {value.metric: (value.value, value.low, value.high) for value in values}


def test_planted_shapes_come_back_with_their_distance_and_interval():
    found = measured(Linear(planted(12)))
    assert found["rf_r2"][0] > 0.99 and found["rf_gabors"][0] == 1
    assert found["rf_nx"][0] == pytest.approx(0.4, rel=0.03)
    assert found["rf_ny"][0] == pytest.approx(0.5, rel=0.03)
    for metric in ("rf_distance_nx", "rf_distance_frequency", "rf_distance_orientation"):
        value, low, high = found[metric]
        assert 0 <= low <= value <= high


def test_fields_without_synapses_come_from_white_noise():
    found = measured(Linear(planted(6), hidden=True))
    assert found["rf_r2"][0] > 0.8
    assert found["rf_nx"][0] == pytest.approx(0.4, rel=0.1)


def test_on_and_off_are_subtracted():
    halves = planted(6).reshape(6, 1, -1)
    fields = np.concatenate([np.maximum(halves, 0), np.maximum(-halves, 0)], 1).reshape(6, -1)
    assert measured(Linear(fields, channels=2))["rf_r2"][0] > 0.99


def test_blobs_are_counted_apart_and_have_no_shape():
    blob = gabor(SIDE, 0, 0, 0, 3, 3).reshape(1, -1)
    found = measured(Linear(np.repeat(blob, 6, axis=0)))
    assert (found["rf_gabors"][0], found["rf_blobs"][0]) == (0, 1)
    assert "rf_nx" not in found


def test_images_that_are_no_square_are_refused():
    protocol = ReceptiveFields(
        ReceptiveFields.Config(dataset="digits"), Facts((1, 1, 30), {"standard": SPLIT})
    )
    (fault,) = protocol.faults()
    assert "natural-patches" in fault.hint


def test_independent_sources_are_unmixed():
    """Each component reads one source, whatever the mixing."""
    generator = np.random.default_rng(0)
    sources = generator.laplace(size=(3000, 4)).clip(-6, 6)
    mixed = sources @ generator.standard_normal((4, 4))
    pixels = (128 + 12 * mixed).clip(0, 255).astype(np.uint8).reshape(-1, 1, 2, 2)
    cls = learners["ica"]
    learner = cls(cls.Config(hidden=10, readout_epochs=1), (1, 2, 2), 2, Rng(0))
    images = Images(pixels, np.arange(3000) % 2, np.arange(3000), 2)
    learner.fit(images)
    code = learner.embed(images.tensor()).numpy()
    assert code.shape == (3000, 4)  # no more components than pixels
    best = np.abs(np.corrcoef(code.T, sources.T)[:4, 4:]).max(1)
    assert (best > 0.9).all()
