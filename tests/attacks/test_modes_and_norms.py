"""Trust checks that compare a sweep with another mode, and a minimal norm with a fixed budget."""

from __future__ import annotations

import numpy as np
import pytest

from harness.attacks.base import Candidates
from harness.attacks.engine.sweep import sweep
from harness.attacks.fmn import FMN
from harness.attacks.pgd import PGD
from harness.attacks.trust import check
from harness.lazy import torch
from harness.rng import Rng


class ColdStartsFail(PGD):
    """Breaks nothing unless it starts where a smaller eps ended, as on some masked networks."""

    kind = "pgd"

    def perturb(self, victim, task):
        if task.start is None:
            return Candidates(task.images, torch.zeros_like(task.images))
        return super().perturb(victim, task)


class Overshoots(FMN):
    """Finds perturbations that are three times as large as they need to be."""

    kind = "fmn"

    def perturb(self, victim, task):
        found = super().perturb(victim, task).adversarial
        return Candidates((task.images + 3 * (found - task.images)).clamp(0, 1))


def judged(model, digits, attack, name: str, n: int = 320):
    inputs = model, digits.images[:n], digits.labels[:n], np.arange(n), attack, Rng(0)
    (found,) = [each for each in check(*inputs, sweep(*inputs)) if each.name == name]
    return found


@pytest.mark.parametrize("kind, level", [(PGD, "PASS"), (ColdStartsFail, "FAIL")])
def test_a_bisecting_sweep_that_leaves_more_than_a_nested_one_is_seen(mlp, digits, kind, level):
    attack = kind.of(eps=[0.05, 0.1, 0.15], steps=10, sweep="bisect", loss=["ce", "margin"])
    found = judged(mlp, digits, attack, "nested sweep not stronger")
    assert found.level == level
    assert "worst of both" in found.detail


@pytest.mark.parametrize("kind, level", [(FMN, "PASS"), (Overshoots, "FAIL")])
def test_minimal_norms_that_are_too_large_are_seen(mlp, digits, kind, level):
    attack = kind.of(eps=[0.05, 0.1, 0.15], steps=100)
    found = judged(mlp, digits, attack, "minimal norms small enough")
    assert found.level == level, found
