"""Budgets and training logs."""

from __future__ import annotations

import torch

from harness.learning.learner import Budget, Synapses, TrainingLog


class Scripted:
    """Shows one weight matrix after the other."""

    watch = None

    def __init__(self, *weights):
        self.weights = [torch.tensor(weight) for weight in weights]

    def connectome(self):
        return [Synapses("all", self.weights.pop(0))]


def test_sign_changes_are_counted_through_zero():
    learner, log = (
        Scripted([[1.0, 1.0, 0.0]], [[0.0, -1.0, 1.0]], [[-1.0, -1.0, 0.0]], [[-1.0, 1.0, -1.0]]),
        TrainingLog(),
    )
    for _ in range(4):
        log.add(learner)
    assert log.sign_changes == 4  # + 0 -, + -, - +, and 0 + 0 -


def test_a_budget_caps_and_never_adds():
    assert Budget().cap(50) == 50 and Budget(20).cap(50) == 20 and Budget(80).cap(50) == 50
