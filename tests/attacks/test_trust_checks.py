"""Each trust check passes on an honest network, and fails on one that is built to be caught."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from harness.attacks.base import Candidates
from harness.attacks.engine.network_state import NetworkState
from harness.attacks.engine.sweep import Sweep, sweep
from harness.attacks.trust import check
from harness.attacks.trust.base import Check
from harness.attacks.trust.thresholds import Threshold
from harness.registry import checks
from harness.rng import Rng

GRID = [0.0, 0.03, 0.06, 0.1, 0.2]


def levels(model, digits, attack) -> dict[str, str]:
    """Check -> level, after a sweep."""
    identity = np.arange(320)
    result = sweep(model, digits.images, digits.labels, identity, attack, Rng(1))
    checks = check(model, digits.images, digits.labels, identity, attack, Rng(1), result)
    assert len({c.name for c in checks}) == len(checks) and all(c.detail for c in checks)
    for c in checks:
        print(c.level, c.name, "|", c.detail)  # shown where a test fails
    return {c.name: c.level for c in checks}


class Wrapped(nn.Module):
    """A function before and one after a network."""

    def __init__(self, inner, before=lambda x: x, after=lambda x: x):
        super().__init__()
        self.inner, self.before, self.after = inner, before, after

    def forward(self, x):
        return self.after(self.inner(self.before(x)))


COMMON = {
    "eps 0 equals clean",
    "not constant",
    "inside the budget and the box",
    "perturbs",
    "deterministic",
    "unbounded",
    "model left as found",
    "same on a fresh copy",
    "keeps no state",
}
BLACK = COMMON | {"upper bound: no gradient attack"}
WHITE = COMMON | {
    "gradients exist",
    "non-differentiable parts",
    "scale",
    "black box not stronger",
    "gradient matches the function",
    "gradient agrees with outputs",
    "estimated gradient not better",
    "real graph not stronger",
    "relative not stronger",
}
ITERATIVE = WHITE | {"converged", "at least as strong as FGSM"}


@pytest.mark.parametrize(
    "kind, keys, expected",
    [
        ("fgsm", {}, WHITE),
        ("pgd", {}, ITERATIVE),
        ("pgd", {"loss": ["ce", "margin"]}, ITERATIVE),
        (
            "pgd",
            {"loss": ["ce", "margin"], "sweep": "bisect"},
            ITERATIVE | {"verdicts carried down", "nested sweep not stronger"},
        ),
        ("pgd", {"norm": "l2", "eps": [0.0, 0.3, 0.6, 1.2], "loss": ["ce", "margin"]}, ITERATIVE),
        ("noise", {}, BLACK),
        ("torchattacks", {"name": "PGD"}, ITERATIVE),
        ("torchattacks", {"name": "Square", "params": {"n_queries": 100}, "eps": [0.1]}, BLACK),
    ],
    ids=lambda value: None if isinstance(value, set) else str(value),
)
def test_an_honest_network_passes_every_check(attack, network, digits, kind, keys, expected):
    found = levels(network, digits, attack(kind, **{"eps": GRID, **keys}))
    assert set(found) == expected
    if expected is BLACK:
        assert found.pop("upper bound: no gradient attack") == "WARN"
    if (
        kind == "fgsm" or keys == {}
    ):  # one step, or cross-entropy alone: a search may find a few more, and says so
        for name in ("black box not stronger", "relative not stronger"):
            assert found.pop(name, "PASS") != "FAIL"
    # torchattacks returns the last iterate, not the best, and may be told so
    assert set(found.values()) <= ({"PASS", "WARN"} if kind == "torchattacks" else {"PASS"})


class Prototypes(nn.Module):
    """Log-probabilities of a softmax over squared distances to training images, summed by class."""

    def __init__(self, images, labels):
        super().__init__()
        self.centres = torch.stack([images[labels == k][:12].flatten(1) for k in range(10)])

    def forward(self, x):
        distances = (x.flatten(1)[:, None, None] - self.centres).square().sum(-1)
        return torch.log_softmax(torch.logsumexp(-2 * distances, -1), 1)


def test_an_honest_softmax_over_prototypes_passes_every_check(attack, digits):
    model = Prototypes(*digits.train)
    assert set(levels(model, digits, attack("pgd", eps=GRID, loss=["ce", "margin"])).values()) == {
        "PASS"
    }
    assert "FAIL" not in levels(model, digits, attack("fgsm", eps=GRID)).values()


PHASE = 2 * np.pi * torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(3))


def ripple(size, waves):
    """Moves no pixel by more than twice ``size``, and points the gradient anywhere."""
    return lambda x: x + size * (torch.sin(waves * x + PHASE) - torch.sin(PHASE))


def wrong_sign(share):
    """The identity, with the gradient of a share of the pixels turned round."""
    turned = torch.where(
        torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(5)) < share, -1.0, 1.0
    )
    return lambda x: x.detach() + turned * x - (turned * x).detach()


@pytest.mark.parametrize(
    "before",
    [ripple(0.01, 300), ripple(0.015, 150), ripple(0.02, 100), wrong_sign(0.3), wrong_sign(0.4)],
)
def test_a_gradient_that_misleads_is_caught(attack, mlp, digits, before):
    masked = Wrapped(mlp, before=before)
    found = levels(masked, digits, attack("pgd", eps=GRID, steps=20, loss=["ce", "margin"]))
    assert found["gradient matches the function"] == found["black box not stronger"] == "FAIL"
    for kind, keys in (("fgsm", {}), ("pgd", {"norm": "l2", "eps": [0.0, 0.3, 0.6, 1.2]})):
        assert (
            levels(masked, digits, attack(kind, **{"eps": GRID, **keys}))[
                "gradient matches the function"
            ]
            == "FAIL"
        )


def test_saturated_logits_are_caught(attack, mlp, digits):
    loud = Wrapped(mlp, after=lambda z: 1000 * z)
    for kind in ("fgsm", "pgd"):
        found = levels(loud, digits, attack(kind, eps=GRID))
        assert {
            found[name]
            for name in ("gradients exist", "scale", "unbounded", "black box not stronger")
        } == {"FAIL"}
    sighted = levels(loud, digits, attack("pgd", eps=GRID, loss=["ce", "margin"]))
    assert "FAIL" not in sighted.values()


def test_gradient_masking_by_quantisation_is_caught(attack, mlp, digits):
    masked = Wrapped(mlp, before=lambda x: (x * 16).round() / 16)
    found = levels(
        masked, digits, attack("pgd", eps=GRID, loss=["ce", "margin"], random_start=False)
    )
    assert {
        found[name]
        for name in ("gradients exist", "unbounded", "black box not stronger", "perturbs")
    } == {"FAIL"}


def test_dropout_left_on_is_caught(attack, mlp, digits):
    noisy = Wrapped(mlp, before=lambda x: nn.functional.dropout(x, 0.3, training=True))
    found = levels(noisy, digits, attack("fgsm", eps=GRID))
    assert found["deterministic"] == "FAIL"
    assert found["model left as found"] == "PASS"  # what it draws is drawn from a seed of ours


def test_batch_norm_in_train_mode_is_caught(attack, mlp, digits):
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), *copy.deepcopy(mlp)[1:]).train()
    found = levels(model, digits, attack("fgsm", eps=GRID))
    assert found["eps 0 equals clean"] == "FAIL" and found["model left as found"] == "FAIL"


def changed(attack, **methods):
    """The attack with methods replaced."""
    return type("Changed", (type(attack),), methods)(attack.config)


@pytest.mark.parametrize(
    "perturb, name",
    [
        (
            lambda self, victim, task: Candidates((task.images + 1.1 * task.eps).clamp(0, 1)),
            "inside the budget and the box",
        ),
        (
            lambda self, victim, task: Candidates(task.images + task.eps),
            "inside the budget and the box",
        ),
        (lambda self, victim, task: Candidates(task.images), "perturbs"),
        (lambda self, victim, task: Candidates(task.images), "black box not stronger"),
        (lambda self, victim, task: Candidates(1 - task.images), "eps 0 equals clean"),
        (
            lambda self, victim, task: Candidates(task.images + 0 * torch.rand(1)),
            "model left as found",
        ),
    ],
)
def test_a_bad_attack_is_caught(attack, mlp, digits, perturb, name):
    assert levels(mlp, digits, changed(attack("fgsm", eps=GRID), perturb=perturb))[name] == "FAIL"


def test_an_attack_that_fails_with_more_budget_is_caught_where_its_failures_are_carried_down(
    attack, mlp, digits
):
    pgd = attack("pgd", eps=[0.02, 0.06, 0.1], steps=10, sweep="bisect")

    def perturb(self, victim, task):
        return (
            type(pgd).perturb(self, victim, task)
            if task.eps < 0.06
            else Candidates(task.images + 0.01)
        )

    grid = attack("pgd", eps=[0.05, 0.06, 0.1], steps=10, sweep="bisect")
    assert levels(mlp, digits, changed(grid, perturb=perturb))["verdicts carried down"] == "FAIL"
    assert levels(mlp, digits, pgd)["verdicts carried down"] == "PASS"


def test_too_few_steps_are_caught(attack, mlp, digits):
    found = levels(
        mlp, digits, attack("pgd", eps=[0.1], steps=5, step_size=0.05, random_start=False)
    )
    assert found["converged"] == "FAIL" and found["at least as strong as FGSM"] == "FAIL"


def test_a_stand_in_is_named(attack, digits):
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()
    with torch.no_grad():
        model[1].weight.copy_(torch.randn(3, 64, generator=generator))
    few = type(digits)(images=digits.images, labels=model(digits.images).argmax(1))
    assert (
        levels(model, few, attack("torchattacks", name="APGDT", eps=[0.05]))["as named"] == "WARN"
    )


def test_everything_that_measuring_must_not_change_is_compared(mlp):
    import random

    def train(model):
        model[2].train()

    def gradient(model):
        model[1].weight.grad = torch.ones_like(model[1].weight)

    def weights(model):
        with torch.no_grad():
            model[1].bias[0] += 1e-6

    acts = {
        "training flags": train,
        "param.grad": gradient,
        "weights and buffers": weights,
        "requires_grad": lambda model: model[1].bias.requires_grad_(False),
        "torch's random state": lambda _: torch.rand(1),
        "numpy's random state": lambda _: np.random.rand(),
        "Python's random state": lambda _: random.random(),
    }
    for what, act in acts.items():
        model = copy.deepcopy(mlp)
        found = NetworkState.of(model)
        assert found.changed(model) == []
        act(model)
        assert found.changed(model) == [what]


def test_nothing_correct_and_nothing_attacked_are_no_fault(attack, mlp, digits):
    wrong = type(digits)(images=digits.images, labels=mlp(digits.images).argmin(1))
    assert set(levels(mlp, wrong, attack("pgd", eps=GRID)).values()) == {"PASS"}


def test_checks_on_a_rebuilt_sweep_give_the_same_answers(attack, mlp, digits):
    identity, pgd = np.arange(320), attack("pgd", eps=GRID, steps=5)
    arguments = mlp, digits.images, digits.labels, identity, pgd, Rng(1)
    result = sweep(*arguments)
    rebuilt = Sweep.from_arrays(
        result.to_arrays(), result.eps, result.objectives, result.outside, result.changed
    )
    assert check(*arguments, rebuilt) == check(*arguments, result)


def test_every_check_is_registered_described_and_has_a_place_of_its_own():
    registered = [checks[name] for name in checks]
    assert len({each.order for each in registered}) == len(registered) == 26
    for name in checks:
        assert issubclass(checks[name], Check) and checks.describe(name)
        assert list(checks[name].Config.model_fields) == []


@pytest.mark.parametrize(
    "value, level", [(0.0, "PASS"), (0.1, "PASS"), (0.15, "WARN"), (0.2, "WARN"), (0.21, "FAIL")]
)
def test_a_threshold_includes_its_limits(value, level):
    assert Threshold(0.1, 0.2).level(value) == level


def test_what_is_not_a_number_fails():
    assert Threshold(0.1, 0.2).level(float("nan")) == "FAIL"


@pytest.mark.parametrize("number", [1, 5])
def test_constancy_is_not_judged_on_one_image_or_equal_ones(attack, mlp, digits, number):
    equal = digits.images[:1].expand(number, -1, -1, -1).clone()
    degenerate = type(digits)(images=equal, labels=digits.labels[:1].expand(number).clone())
    found = levels(mlp, degenerate, attack("pgd", eps=GRID))
    assert found["not constant"] == "-" and "FAIL" not in found.values()
