"""Which code each cell starts from: nothing that computes its result is left out of its key."""

from __future__ import annotations

import pytest

from harness.cells.entries import code_definitions
from harness.cells.plan import make
from harness.suite.load import load

SUITE = """
name: entered
learners:
  a: {kind: mlp, hidden: 8}
protocols:
  few: {kind: few_shot, dataset: glyphs, episodes: 10}
  robust: {kind: attack_sweep, dataset: digits, attacks: [{attack: transfer, eps: [0.1]}]}
"""

LEARNER = "baselines.mlp:Mlp"
ATTACKED = {
    "harness.attacks.transfer:Transfer",
    "harness.learning.backprop:Backprop",
    "harness.protocols.attack_sweep:AttackSweepSetting",
}


@pytest.fixture
def definitions(write_suite):
    """The names of the definitions behind the cells of a role and protocol."""
    cells = make(load(write_suite(SUITE)), content_hash=lambda _: "hash").cells

    def find(role: str, protocol: str) -> set[str]:
        cell = next(each for each in cells if (each.role, each.protocol) == (role, protocol))
        return set(code_definitions(cell.identity))

    return find


def test_a_measurement_starts_from_its_protocol_setting_learner_and_attack(definitions):
    few = definitions("measure", "few")
    assert {"harness.protocols.few_shot:FewShot.measure", LEARNER} <= few
    assert "harness.data.sampler:sample" in few and not ATTACKED & few - {
        "harness.learning.backprop:Backprop"
    }
    robust = definitions("measure", "robust")
    assert {"harness.protocols.attack_sweep:AttackSweep.measure", LEARNER, *ATTACKED} <= robust


def test_a_training_starts_from_its_learner_and_no_protocol(definitions):
    train = definitions("train", "")
    assert {LEARNER, "harness.cells.run:train", "harness.data.base:Images"} <= train
    assert not any(name.startswith(("harness.protocols.few", "harness.attacks")) for name in train)


def test_trust_checks_are_no_part_of_a_measurement_and_all_part_of_a_trust_cell(definitions):
    checks = {
        "harness.attacks.trust.converged:Converged",
        "harness.attacks.trust.thresholds:CONVERGED",
        "harness.protocols.attack_sweep:AttackSweep.trust",
    }
    assert checks <= definitions("trust", "robust")
    assert not checks & definitions("measure", "robust")
