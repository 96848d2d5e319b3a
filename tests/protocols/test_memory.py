"""Memory of learners whose capacity is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.data.base import Facts, Loaded, SplitFacts
from harness.learning.learner import Synapses, silent
from harness.protocols.base import Context
from harness.protocols.memory import Memory
from harness.registry import learners
from harness.rng import Rng

SHAPE = (1, 10, 10)
FACTS = Facts(SHAPE, {"standard": {"train": SplitFacts(2, 4, 8)}})


class Limited:
    """Remembers the mean of each of the first ``room`` classes; others are never recalled."""

    room = 12

    def __init__(self, config, image_shape, n_classes, rng):
        self.config, self.image_shape, self.rng = config, image_shape, rng
        self.n_classes = n_classes
        self.means = torch.zeros(n_classes, 100)

    @classmethod
    def comes_trained(cls, config):
        return False

    def to(self, device):
        return self

    def fit(self, train):
        for label in range(min(self.room, self.n_classes)):
            self.means[label] = train.tensor()[train.labels == label].flatten(1).mean(0)

    def classifier(self):
        layer = torch.nn.Linear(100, self.n_classes, bias=False)
        layer.weight.data = self.means
        return torch.nn.Sequential(torch.nn.Flatten(), layer).eval()

    def connectome(self):
        return [Synapses("input->output", self.means.T)]


def measured(learner, **keys) -> dict:
    protocol = Memory(Memory.Config(dataset="digits", **keys), FACTS)
    assert not list(protocol.faults())
    data = Loaded(np.zeros((1, *SHAPE), np.uint8), np.zeros(1), ("a",), None, {})
    setting = next(protocol.settings())
    found = Memory.measure(learner, data, setting, Context(Rng(0), "cpu", 100, silent))
    numbers = {(v.metric, (v.setting or {}).get("prototypes")): v.value for v in found.values}
    return numbers | {"remarks": found.remarks}


def test_the_capacity_is_found_and_divided_among_synapses():
    found = measured(Limited(None, SHAPE, 2, Rng(0)), prototypes=[10])
    assert found["memory_patterns", None] == 13  # 12 of 13 are more than 90 %
    bits = 0.9 * 13 * np.log2(13) / (100 * 13)
    assert found["memory_bits", None] == pytest.approx(bits)
    assert found["memory_prototypes", 10] == pytest.approx(1)
    assert found["remarks"] == []


def test_a_capacity_beyond_what_was_tried_is_said():
    class Roomy(Limited):
        room = 10_000

    found = measured(Roomy(None, SHAPE, 2, Rng(0)), most=8, draws=1, prototypes=[5])
    assert found["memory_patterns", None] == 8 and "beyond" in found["remarks"][0]


def test_a_learner_of_the_house_remembers():
    cls = learners["head"]
    learner = cls(cls.Config(), SHAPE, 2, Rng(0))
    found = measured(learner, most=8, draws=1, prototypes=[4])
    assert found["memory_prototypes", 4] > 0.9


def test_images_too_small_for_patterns_are_refused():
    facts = Facts((1, 4, 4), FACTS.splittings)
    assert next(Memory(Memory.Config(dataset="digits"), facts).faults()).path == ("dataset",)
