"""Randomised smoothing as a protocol: certified shares of the smoothed network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from harness.data.base import Facts, Loaded, SplitFacts
from harness.learning.learner import silent
from harness.metrics.statistics import wilson
from harness.protocols.base import Context
from harness.protocols.smoothing import OTHER_NETWORK, Smoothing
from harness.report.formats import metric_name
from harness.rng import Rng

FACTS = Facts(
    (1, 2, 2), {"standard": {"train": SplitFacts(2, 1, 2), "test": SplitFacts(2, 20, 40)}}
)


class Halves:
    """Compares the two rows of an image: the distance to the other class is |difference| / 2."""

    kind = "halves"

    def classifier(self) -> nn.Module:
        network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).requires_grad_(False).eval()
        network[1].weight.copy_(torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 1]]))
        network[1].bias.zero_()
        return network


@pytest.fixture(scope="module")
def data() -> Loaded:
    pixels = np.random.default_rng(0).integers(0, 256, (42, 1, 2, 2)).astype(np.uint8)
    pixels[:2, 0] = [[[9, 9], [0, 0]], [[0, 0], [9, 9]]]
    sums = pixels.reshape(42, 2, 2).astype(int).sum(2)
    labels = (sums[:, 1] > sums[:, 0]).astype(np.int64)
    splits = {"train": np.arange(2), "test": np.arange(2, 42)}
    return Loaded(pixels, labels, ("top", "bottom"), None, {"standard": splits})


def measured(data, **keys):
    config = Smoothing.Config.model_validate({"dataset": "any", "draws": 500, **keys})
    (setting,) = Smoothing(config, FACTS).settings()
    return Smoothing.measure(Halves(), data, setting, Context(Rng(1), "cpu", 256, silent))


def test_shares_are_those_of_radii_below_the_exact_distance(data):
    found = measured(data, radii=[0.3, 0, 0.1])
    test = data.split("standard", "test")
    rows = test.pixels.reshape(40, 2, 2).astype(float).sum(2) / 255
    distance = np.abs(rows[:, 0] - rows[:, 1]) / 2
    assert (found.arrays["radius"] <= distance + 1e-6).all()
    assert [value.setting["radius"] for value in found.values] == [0, 0.1, 0.3]
    for value in found.values:
        radius = value.setting["radius"]
        certified = found.arrays[value.verdicts]
        assert (certified <= (distance > radius)).all()
        assert value.value == certified.mean() <= (distance > radius).mean()
        assert (value.low, value.high) == wilson(int(certified.sum()), 40)
    assert found.values[0].value > 0.7


def test_it_is_named_as_a_number_of_another_network(data):
    found = measured(data)
    assert OTHER_NETWORK in found.remarks
    assert {metric_name(value.metric) for value in found.values} == {
        "proven of the smoothed network, %"
    }


def test_no_batch_size_changes_a_radius(data):
    config = Smoothing.Config.model_validate({"dataset": "any", "draws": 200, "images": 10})
    (setting,) = Smoothing(config, FACTS).settings()
    radii = [
        Smoothing.measure(Halves(), data, setting, Context(Rng(1), "cpu", size, silent)).arrays[
            "radius"
        ]
        for size in (7, 256)
    ]
    assert np.array_equal(*radii)
