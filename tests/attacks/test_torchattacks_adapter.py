"""The defects of torchattacks, each of which must not reach a verdict or the network."""

from __future__ import annotations

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn

from harness.attacks.engine.network_state import NetworkState
from harness.attacks.engine.sweep import SKIPPED, sweep
from harness.attacks.torchattacks_source import names, signature
from harness.rng import Rng

FEW = slice(0, 48)


def run(model, digits, attack, rows=FEW, **keys):
    return sweep(
        model,
        digits.images[rows],
        digits.labels[rows],
        np.arange(320)[rows],
        attack,
        Rng(3),
        **keys,
    )


def few_classes(n_classes: int, seed: int = 0) -> nn.Module:
    """An untrained network with so many classes."""
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, n_classes))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 4)
    return model.eval()


@pytest.mark.parametrize("name", ["FGSM", "PGD", "APGD", "FAB", "CW", "MIFGSM"])
def test_verdicts_do_not_depend_on_the_batch_size_or_the_global_random_state(
    attack, conv, digits, name
):
    chosen = attack("torchattacks", name=name, eps=[0.0, 0.1, 0.3])
    one = run(conv, digits, chosen, batch_size=16)
    torch.rand(3), np.random.rand(3), random.random()
    other = run(conv, digits, chosen, batch_size=512)
    for field in ("correct", "margin", "norm", "worst"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field))


@pytest.mark.parametrize(
    "name", ["APGD", "Square", "FAB", "CW", "DeepFool", "JSMA", "EADL1", "OnePixel", "AutoAttack"]
)
def test_network_and_global_random_states_are_left_as_found(attack, digits, name):
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.3), nn.Flatten(), nn.Linear(144, 10)
    )
    model.train()
    model[1].eval()  # a frozen batch norm
    model[2].eval()
    model[0].weight.requires_grad_(False)
    model[4].bias.grad = torch.ones(10)
    before = NetworkState.of(model)
    images = digits.images[:3]
    labels = model(images).argmax(1)
    small = {"params": {"n_queries": 20}} if name == "Square" else {}
    eps = [2.0] if signature(name).norms[0] == "l0" else [0.05]
    sweep(
        model,
        images,
        labels,
        np.arange(3),
        attack("torchattacks", name=name, eps=eps, **small),
        Rng(0),
    )
    assert before.changed(model) == []


def test_network_is_left_as_found_after_an_exception(attack, mlp, digits):
    class Fails(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.calls = copy.deepcopy(mlp), 0

        def forward(self, x):
            self.calls += 1
            if self.calls > 4:
                raise RuntimeError("out of luck")
            return self.inner(x)

    model = Fails().train()
    found = NetworkState.of(model)
    with pytest.raises(RuntimeError, match="out of luck"):
        run(model, digits, attack("torchattacks", name="PGD", eps=[0.1]))
    assert found.changed(model) == []


def test_a_step_that_fits_the_budget(attack, mlp, digits):
    ours = run(mlp, digits, attack("pgd", eps=[0.2], sweep="independent")).accuracy()[0]
    theirs = run(mlp, digits, attack("torchattacks", name="PGD", eps=[0.2])).accuracy()[0]
    fixed = run(
        mlp, digits, attack("torchattacks", name="PGD", eps=[0.2], params={"alpha": 2 / 255})
    ).accuracy()[0]
    assert abs(ours - theirs) < 0.05 and fixed > theirs + 0.1


def test_robust_samples_are_counted_among_the_correct_ones(attack, mlp, digits):
    with torch.no_grad():
        clean = (mlp(digits.images).argmax(1) == digits.labels).numpy()
    assert not clean.all()
    result = run(mlp, digits, attack("torchattacks", name="FGSM", eps=[0.01]), slice(None))
    assert (result.correct[..., ~clean] == SKIPPED).all() and (
        result.correct[..., clean] != SKIPPED
    ).all()
    assert not result.worst[0, ~clean].any()


@pytest.mark.parametrize(
    "name, n_classes",
    [("APGDT", 3), ("AutoAttack", 3), ("APGDT", 5), ("AutoAttack", 5), ("FAB", 2)],
)
def test_attacks_that_assume_ten_classes_run_on_fewer_and_say_what_they_stand_for(
    attack, digits, name, n_classes
):
    model = few_classes(n_classes)
    images, labels = digits.images[:8], model(digits.images[:8]).argmax(1)
    chosen = attack("torchattacks", name=name, eps=[0.5])
    assert sweep(model, images, labels, np.arange(8), chosen, Rng(0)).accuracy()[0] < 0.5
    assert bool(chosen.notes(model(images).detach())) == (n_classes < 4 and name != "FAB")


def test_dlr_with_two_classes_becomes_cross_entropy_and_says_so(attack, digits):
    model = few_classes(2)
    labels = model(digits.images).argmax(1)
    chosen = attack("torchattacks", name="APGD", eps=[0.3], params={"loss": "dlr"})
    assert not sweep(model, digits.images, labels, np.arange(320), chosen, Rng(0)).worst.all()
    assert "dlr" in chosen.notes(model(digits.images).detach())[0]


def test_deepfool_is_carried_over_the_boundary(attack, network, digits):
    import torchattacks

    few = slice(0, 12)
    result = run(network, digits, attack("torchattacks", name="DeepFool", eps=[0.5, 20.0]), few)
    assert not result.worst[1].any() and result.worst[0].any()
    # what it found is hardly further away than what the package itself returns
    rows = result.clean.nonzero()[0]
    images, labels = digits.images[few][rows], digits.labels[few][rows]
    theirs = torchattacks.DeepFool(network)(images, labels)
    distance = (theirs - images).flatten(1).norm(dim=1).numpy()
    assert (result.norm[1, 0, 0, rows] <= 1.021 * distance + 1e-5).all()
    network.zero_grad(set_to_none=True)


def test_minimal_attacks_run_once_and_are_counted_by_norm(attack, mlp, digits):
    grid = [0.2, 0.5, 1.0, 3.0]
    result = run(
        mlp, digits, attack("torchattacks", name="CW", eps=grid, params={"c": 5, "steps": 60})
    )
    for place, eps in enumerate(grid):
        inside = result.norm[place] <= eps + 1e-6
        np.testing.assert_array_equal(result.norm[place], result.norm[0])
        assert not ((result.correct[place] == 0) & ~inside).any()
    assert (np.diff(result.accuracy()) <= 0).all() and result.accuracy()[-1] < 0.5


def test_cw_moves_pixels_that_are_black_or_white(attack, digits, monkeypatch):
    model = few_classes(4)
    images = (digits.images[:32] > 0.5).float()
    labels = model(images).argmax(1)
    cw = attack("torchattacks", name="CW", eps=[8.0], params={"c": 10, "lr": 0.1, "steps": 100})
    assert sweep(model, images, labels, np.arange(32), cw, Rng(0)).accuracy()[0] < 0.5
    monkeypatch.setattr("harness.attacks.torchattacks_adapter.CW_MARGIN", 0.0)
    assert sweep(model, images, labels, np.arange(32), cw, Rng(0)).accuracy()[0] == 1


def test_the_version_that_was_run_is_printed(attack):
    import torchattacks

    assert (
        f"torchattacks {torchattacks.__version__}"
        in attack("torchattacks", name="CW", eps=[1.0]).words()
    )


def test_cw_warns_of_log_probabilities(attack, mlp, digits):
    cw = attack("torchattacks", name="CW", eps=[1.0])
    logits = mlp(digits.images).detach()
    assert cw.notes(logits) == [] and "log-prob" in cw.notes(logits.log_softmax(1))[0]


def test_smoothing_kernels_for_three_channels_are_refused_on_one(attack):
    for name in ("TIFGSM", "PIFGSM", "PIFGSMPP"):
        chosen = attack("torchattacks", name=name, eps=[0.1])
        assert [path for path, _, _ in chosen.faults((1, 8, 8), 10)] == [("name",)]
        assert list(chosen.faults((3, 8, 8), 10)) == []


def test_small_gradients_still_move_l2_pgd(attack, mlp, digits):
    class Faint(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = mlp

        def forward(self, x):
            return self.inner(x) * 1e-12

    ours, packages = (
        run(
            Faint(), digits, attack("torchattacks", name="PGDL2", eps=[1.0], params=params)
        ).accuracy()[0]
        for params in ({}, {"eps_for_division": 1e-10})
    )
    assert ours < packages - 0.2


def test_outputs_outside_the_budget_are_projected(attack, mlp, digits, monkeypatch):
    import torchattacks

    monkeypatch.setattr(torchattacks.FGSM, "forward", lambda self, images, labels: 1 - images)
    result = run(mlp, digits, attack("torchattacks", name="FGSM", eps=[0.05]))
    assert np.nanmax(result.norm) <= 0.05 + 1e-6
    monkeypatch.setattr(
        torchattacks.FGSM, "forward", lambda self, images, labels: images * float("nan")
    )
    result = run(mlp, digits, attack("torchattacks", name="FGSM", eps=[0.05]))
    np.testing.assert_array_equal(result.worst[0], result.clean)


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", names())
def test_every_attack_of_torchattacks_runs_by_its_name(attack, name, channels):
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(400, 5)
    ).eval()
    images = torch.rand(10, channels, 12, 12, generator=generator)
    labels, found = model(images).argmax(1), NetworkState.of(model)
    grid = [0.0, 0.02, 0.1] if signature(name).norms[0] == "linf" else [0.0, 1.0, 20.0]
    chosen = attack("torchattacks", name=name, eps=grid)
    if list(chosen.faults((channels, 12, 12), 5)):
        return
    result = sweep(model, images, labels, np.arange(10), chosen, Rng(0))
    assert result.worst[0].all() and found.changed(model) == []
