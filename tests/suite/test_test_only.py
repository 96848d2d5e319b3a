"""Data without a train split: they serve what trains nothing, and the rest says so in a line."""

from __future__ import annotations

import numpy as np
import pytest

from harness.errors import SuiteError
from harness.suite import load as suites

SUITE = """
name: mine
learners:
  net: {kind: network, module: "torch.nn:Flatten"}
  mlp: {kind: mlp, hidden: 8}
protocols:
  p: {dataset: {kind: npz, file: set.npz}, PROTOCOL}
"""


@pytest.fixture
def write(write_suite, tmp_path):
    """``write(keys of the protocol)`` writes a suite on a set of test images only."""
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8)).astype(np.uint8)
    np.savez(tmp_path / "set.npz", images=images, labels=np.arange(20) % 2)
    return lambda keys: write_suite(SUITE.replace("PROTOCOL", keys))


ATTACK = "attacks: [{attack: pgd, eps: [0.1]}]"


@pytest.mark.parametrize(
    "keys",
    [
        "kind: classification",
        f"kind: attack_sweep, {ATTACK}",
        "kind: corruption, corruptions: [blur], severities: [1]",
        "kind: biology",
    ],
)
def test_a_trained_network_is_measured_and_others_are_left_out(keys, write):
    (entry,) = suites.load(write(keys)).protocols
    assert [learner.name for learner in entry.learners] == ["net"]
    assert entry.skipped["mlp"].startswith("it is trained, and the data have no train split")


@pytest.mark.parametrize(
    "keys, fault",
    [
        ("kind: classification, learners: [mlp]", "cannot measure 'mlp': it is trained, and"),
        ("kind: low_data, per_class: [2]", "learners are trained, and the data have no train"),
        (
            "kind: attack_sweep, attacks: [{attack: transfer, eps: [0.1], surrogate: {kind: mlp}}]",
            "a surrogate is trained, and the data have no train split",
        ),
        (
            "kind: few_shot, regime: class_transfer, ways: 2, shots: 1, queries: 2, episodes: 2, "
            "learners: [mlp]",
            "cannot measure 'mlp'",
        ),
    ],
)
def test_what_trains_says_so_in_one_line(keys, fault, write):
    with pytest.raises(SuiteError, match=fault) as caught:
        suites.load(write(keys))
    assert "suite.yaml:7" in caught.value.where
