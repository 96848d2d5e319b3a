"""A learner behind a front is audited as any other."""

from __future__ import annotations

import numpy as np

from harness import registry
from harness.data.base import Images
from harness.fronts.learner import Fronted, untrained
from harness.protocols.synapse_numbers import synaptic_values
from harness.rng import Rng


def test_a_fronted_learner_is_rebuilt_with_its_front():
    front_of = registry.fronts["v1"]
    front = front_of(front_of.Config(filters=4), (1, 8, 8), Rng(0))
    cls = registry.learners["mlp"]
    learner = Fronted(front, cls(cls.Config(hidden=5, epochs=1), front.shape, 2, Rng(1)))
    before = [synapses.weight.clone() for synapses in learner.connectome()]
    pixels = np.random.default_rng(0).integers(0, 256, (20, 1, 8, 8), dtype=np.uint8)
    learner.fit(Images(pixels, np.arange(20) % 2, np.arange(20), 2))
    rebuilt = untrained(learner)
    for ours, theirs in zip(before, rebuilt.connectome(), strict=True):
        assert ours.equal(theirs.weight)
    for name, tensor in front.tensors.items():
        assert tensor.equal(rebuilt.front.tensors[name])
    assert "sign_flips" in {value.metric for value in synaptic_values(learner)}
