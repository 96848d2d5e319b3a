"""AutoAttack: its parts in turn, their shares, few classes, and peers; and FAB."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from harness.attacks.autoattack import PARTS
from harness.attacks.engine.parts import first_breaker, shares
from harness.attacks.engine.sweep import SKIPPED, sweep
from harness.attacks.trust import check
from harness.registry import attacks
from harness.rng import Rng

SHORT = {"steps": 6, "queries": 40}
EPS = {"linf": [0.05, 0.1], "l2": [0.3, 0.6], "l1": [1.0, 2.5]}


def run(model, digits, attack, n: int = 96, **keys):
    return sweep(model, digits.images[:n], digits.labels[:n], np.arange(n), attack, Rng(0), **keys)


@pytest.mark.parametrize("norm", EPS)
def test_the_cascade_equals_running_every_part_alone(attack, mlp, digits, norm):
    eps = EPS[norm][1:]
    cascade, alone = (
        run(mlp, digits, attack("autoattack", norm=norm, eps=eps, sweep=mode, **SHORT))
        for mode in ("nested", "independent")
    )
    np.testing.assert_array_equal(cascade.worst, alone.worst)
    made = cascade.correct != SKIPPED
    np.testing.assert_array_equal(cascade.correct[made], alone.correct[made])
    standing = cascade.clean.copy()
    for part in range(len(PARTS)):
        np.testing.assert_array_equal(made[0, part, 0], standing)
        standing &= alone.correct[0, part, 0] != 0


def test_the_first_part_is_apgd_on_cross_entropy(attack, network, digits):
    ours = run(network, digits, attack("autoattack", eps=[0.08], **SHORT))
    apgd = run(network, digits, attack("apgd", eps=[0.08], steps=SHORT["steps"]))
    np.testing.assert_array_equal(ours.correct[:, 0], apgd.correct[:, 0])
    np.testing.assert_array_equal(ours.margin[:, 0], apgd.margin[:, 0])


def test_sparse_steps_in_l1_are_about_as_strong_as_pgd(attack, network, digits):
    grid = [1.0, 2.0, 3.0]
    aa = attack("autoattack", norm="l1", eps=grid, steps=20, queries=1)
    sparse = run(network, digits, aa).correct[:, 0, 0] == 0
    pgd = run(network, digits, attack("pgd", norm="l1", eps=grid, steps=20)).correct[:, 0, 0] == 0
    assert sparse.sum() >= 0.95 * pgd.sum()
    assert sparse.any(1).all()


@pytest.mark.parametrize("mode", ["nested", "bisect", "independent"])
def test_the_shares_of_the_parts_sum_to_what_was_broken(attack, mlp, digits, mode):
    grid = [0.0, 0.04, 0.08, 0.12]
    result = run(mlp, digits, attack("autoattack", eps=grid, sweep=mode, **SHORT))
    broken = (result.clean & ~result.worst).mean(1)
    of_parts = shares(result.correct, result.objectives)
    np.testing.assert_allclose([sum(each.values()) for each in of_parts], broken)
    assert list(of_parts[0]) == list(PARTS)
    assert of_parts[-1]["apgd-ce"] > 0.1


def test_a_sample_belongs_to_the_part_that_broke_it_at_the_smallest_eps():
    correct = np.full((2, 2, 1, 3), SKIPPED, np.uint8)
    correct[1, 0, 0] = [0, 0, 1]  # the larger eps was attacked first, as bisection does
    correct[0, :, 0, 0] = [1, 0]
    assert first_breaker(correct).tolist() == [[1, -1, -1], [1, 0, -1]]


@pytest.mark.parametrize("norm", EPS)
@pytest.mark.parametrize("kind", ["autoattack", "square", "fab"])
def test_perturbations_stay_in_the_ball_and_the_box(attack, conv, digits, kind, norm):
    keys = {"autoattack": SHORT, "square": {"queries": 40}, "fab": {"steps": 6, "targets": 2}}
    result = run(conv, digits, attack(kind, norm=norm, eps=EPS[norm], **keys[kind]), 48)
    limits = np.array(result.eps)[:, None, None, None] * np.ones_like(result.norm)
    counted = result.correct == 0 if kind == "fab" else result.correct != SKIPPED
    assert counted.any() and (result.norm[counted] <= limits[counted] + 1e-6).all()
    assert result.outside <= 0


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_with_few_classes_every_wrong_class_is_aimed_at(attack, classes):
    generator = torch.Generator().manual_seed(classes)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, classes)).eval()
    with torch.no_grad():
        model[1].weight.copy_(torch.randn(classes, 36, generator=generator))
        model[1].bias.copy_(-model[1].weight.sum(1) / 2)  # grey is on every boundary
    images = 0.2 + 0.6 * torch.rand(64, 1, 6, 6, generator=generator)
    labels = model(images).argmax(1)
    aa = attack("autoattack", eps=[0.02], **SHORT)
    result = sweep(model, images, labels, np.arange(64), aa, Rng(0))
    weights = model[1].weight.detach()
    logits = model(images).detach()
    slopes = (weights[labels][:, None] - weights[None]).abs().sum(2)
    least = logits.gather(1, labels[:, None]) - logits - 0.02 * slopes
    exact = (least.scatter(1, labels[:, None], 1.0) > 0).all(1).numpy()
    np.testing.assert_array_equal(result.worst[0], exact)
    assert 0 < exact.mean() < 1
    assert bool(aa.notes(logits)) == (classes < 4)


def test_other_versions_are_refused_with_what_does_the_same():
    for version, instead in {"rand": "samples 20", "plus": "5 restarts"}.items():
        with pytest.raises(ValidationError, match=instead) as caught:
            attacks["autoattack"].of(eps=[0.1], version=version)
        assert [error["loc"] for error in caught.value.errors()] == [("version",)]


def test_only_the_standard_settings_carry_the_plain_name(attack):
    assert attack("autoattack", eps=[0.1]).label == "autoattack"
    assert attack("autoattack", eps=[0.1], norm="l2").label == "autoattack-l2"
    assert attack("autoattack", eps=[0.1], steps=20).label == "autoattack-20-5000"
    standard = attack("autoattack", eps=[0.1]).words()
    assert "100 steps" in standard and "5000 queries" in standard and "9 runner-up" in standard
    assert "5 random starts" in attack("autoattack", eps=[1.0], norm="l1").words()


def checked(attack, model, digits):
    aa = attack("autoattack", eps=[0.03, 0.08], **SHORT)
    result = run(model, digits, aa)
    labels = digits.labels[:96]
    reports = check(model, digits.images[:96], labels, np.arange(96), aa, Rng(0), result)
    return {report.name: report for report in reports}


def test_the_trust_report_says_what_each_part_took(attack, mlp, digits):
    reports = checked(attack, mlp, digits)
    assert {report.level for report in reports.values()} == {"PASS"}, reports
    assert all(part in reports["parts"].detail for part in PARTS)


def test_a_masked_gradient_is_caught_by_what_square_takes(attack, mlp, digits):
    class Quantised(nn.Module):
        def forward(self, x):
            return mlp((x * 8).round() / 8)

    reports = checked(attack, Quantised().eval(), digits)
    assert reports["parts"].level == "WARN" and reports["gradients exist"].level == "FAIL"


# ---------------------------------------------------------------------------------------------- FAB


@pytest.mark.parametrize("norm", EPS)
def test_fab_finds_perturbations_as_small_as_those_of_fmn(attack, network, digits, norm):
    largest = [1.0] if norm == "linf" else [100.0]
    found = {}
    for kind, keys in {"fab": {"steps": 20, "targets": 3}, "fmn": {"steps": 80}}.items():
        result = run(network, digits, attack(kind, norm=norm, eps=largest, **keys), 64)
        found[kind] = np.where(result.correct[0, 0, 0] == 0, result.norm[0, 0, 0], np.inf)
    both = result.clean & np.isfinite(found["fmn"])
    assert np.isfinite(found["fab"][both]).all()
    assert np.median(found["fab"][both] / found["fmn"][both]) < 1.02


def test_fab_is_as_strong_as_that_of_torchattacks(attack, network, digits):
    import torchattacks

    images, labels = digits.images[:160], digits.labels[:160]
    theirs = torchattacks.FAB(network, eps=0.08, steps=10, multi_targeted=True, n_classes=10)
    adversarial = theirs(images, labels)
    with torch.no_grad():
        standing = float((network(adversarial).argmax(1) == labels).float().mean())
    network.zero_grad(set_to_none=True)  # torchattacks leaves gradients
    ours = run(network, digits, attack("fab", eps=[0.08], steps=10), 160).accuracy()[0]
    assert 0.02 < standing < 0.98 and abs(ours - standing) <= 0.01


# -------------------------------------------------------------------------------------------- peers


@pytest.mark.slow
@pytest.mark.parametrize("norm, eps", [("linf", 0.08), ("l2", 0.5)])
def test_autoattack_agrees_with_that_of_torchattacks(attack, network, digits, norm, eps):
    import torchattacks

    theirs = torchattacks.AutoAttack(network, norm.capitalize(), eps, n_classes=10, seed=0)
    adversarial = theirs(digits.images, digits.labels)
    with torch.no_grad():
        standing = float((network(adversarial).argmax(1) == digits.labels).float().mean())
    network.zero_grad(set_to_none=True)  # torchattacks leaves gradients
    ours = run(network, digits, attack("autoattack", norm=norm, eps=[eps]), 320).accuracy()[0]
    assert standing - 0.01 <= ours <= standing
