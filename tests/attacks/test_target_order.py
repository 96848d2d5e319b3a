"""The order in which attacks aim at classes: exact on linear networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from test_attack_oracles import exact, linear

from harness.attacks.engine.sweep import sweep
from harness.attacks.engine.target_order import by_distance, by_logits
from harness.attacks.engine.victim import Victim
from harness.attacks.pgd import PGD
from harness.attacks.transfer import Transfer
from harness.protocols.attack_settings import AttackEntry
from harness.rng import Rng

ORDER = {"linf": 1, "l2": 2, "l1": float("inf")}
"""Norm of the budget -> order of the norm in which a linear boundary's weights are measured."""


def uneven():
    """A linear network whose classes differ in how steep they are, images and their labels."""
    model, images, _ = linear(6, 3, 0.3, 0.7)
    with torch.no_grad():
        model[1].weight.mul_(torch.tensor([0.2, 0.5, 1, 1, 2, 3])[:, None])
        model[1].bias.copy_(-model[1].weight.sum(1) / 2)
    return model, images, model(images).argmax(1)


@pytest.mark.parametrize("norm", ORDER)
def test_the_order_is_that_of_exact_distances_to_linear_boundaries(norm):
    model, images, labels = uneven()
    logits = model(images).detach()
    weight = model[1].weight.detach()
    gap = logits.gather(1, labels[:, None]) - logits
    slope = (weight[labels][:, None] - weight[None]).norm(p=ORDER[norm], dim=2)
    distance = (gap / slope).scatter(1, labels[:, None], float("inf"))
    order = by_distance(Victim(model), images, labels, logits, norm)
    assert torch.equal(order, distance.argsort(1))
    assert not torch.equal(order[:, 0], by_logits(logits, labels)[:, 0])


def test_one_target_is_exact_on_a_linear_network():
    model, images, labels = uneven()
    grid = [0.005, 0.01, 0.02, 0.04]
    keys = {"eps": grid, "steps": 3, "random_start": False, "loss": ["margin"], "targets": 1}

    def left(order: str) -> np.ndarray:
        attack = PGD.of(**keys, target_order=order)
        return sweep(model, images, labels, np.arange(len(images)), attack, Rng(0)).worst

    truth = exact(model, images, labels, grid, "linf")
    assert left("malt").tolist() == truth.tolist()
    assert left("logits").sum() > truth.sum()


def test_the_default_order_is_no_part_of_the_identity():
    def keys(**more) -> dict:
        config = PGD.of(eps=[0.1], targets=2, **more).config
        return AttackEntry("pgd", config).to_identity()["config"]

    assert "target_order" not in keys()
    assert keys(target_order="malt")["target_order"] == "malt"


def test_an_order_needs_targets_and_a_gradient_of_the_victim():
    with pytest.raises(ValidationError, match="without targets"):
        PGD.of(eps=[0.1], target_order="malt")
    attack = Transfer.of(eps=[0.1], targets=2, target_order="malt")
    assert [path for path, _, _ in attack.faults((1, 8, 8), 10)] == [("target_order",)]
