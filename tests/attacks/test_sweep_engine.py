"""The engine: verdicts depend on the sample alone, and no needless work is done."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest
import torch
from torch import nn

from harness.attacks.base import Candidates
from harness.attacks.engine.sweep import SKIPPED, Sweep, sweep
from harness.rng import Rng

GRID = [0.0, 0.05, 0.1, 0.2]
ARRAYS = ("clean", "clean_margin", "correct", "margin", "norm", "worst")


def run(model, digits, attack, rows=slice(None), **keys):
    identity = np.arange(1000, 1320)[rows]
    return sweep(model, digits.images[rows], digits.labels[rows], identity, attack, Rng(3), **keys)


def assert_same(one, other, rows=slice(None)):
    for name in ARRAYS:
        np.testing.assert_array_equal(
            getattr(one, name)[..., rows], getattr(other, name), err_msg=name
        )


@pytest.mark.parametrize(
    "kind, keys",
    [
        ("fgsm", {}),
        ("pgd", {"steps": 7, "restarts": 2, "loss": ["ce", "margin"]}),
        ("pgd", {"steps": 7, "sweep": "independent", "loss": ["ce-norm"]}),
        (
            "pgd",
            {
                "steps": 7,
                "sweep": "bisect",
                "restarts": 2,
                "loss": ["ce", "margin"],
                "eps": [0.0, 0.02, 0.05, 0.1, 0.15, 0.2],
            },
        ),
        ("pgd", {"steps": 7, "norm": "l2", "eps": [0.0, 0.3, 0.6]}),
        ("pgd", {"steps": 7, "norm": "l1", "eps": [0.0, 2.0, 4.0], "restarts": 2}),
        ("fgsm", {"norm": "l1", "eps": [0.0, 2.0, 4.0]}),
        ("noise", {"draws": 3}),
        ("square", {"queries": 40}),
        ("noise", {"draws": 3, "norm": "l2", "eps": [0.5, 1.0]}),
    ],
    ids=str,
)
def test_every_bit_is_the_same_whatever_the_batch_size(attack, network, digits, kind, keys):
    chosen = attack(kind, **{"eps": GRID, **keys})
    results = [run(network, digits, chosen, batch_size=size) for size in (16, 64, 100, 512)]
    for other in results[1:]:
        assert_same(results[0], other)


class Products(nn.Module):
    """An MLP as bare products, ``x @ w``: their kernels round a row by its place among 16."""

    def __init__(self, n_inputs, n_hidden):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first = torch.randn(n_inputs, n_hidden, generator=generator) / n_inputs**0.5
        self.second = torch.randn(n_hidden, 10, generator=generator) / n_hidden**0.5

    def forward(self, x):
        return torch.relu(x.flatten(1) @ self.first) @ self.second


@pytest.mark.parametrize("side, n_hidden", [(8, 400), (28, 100)])
def test_every_bit_of_l2_is_the_same_whatever_the_batch_size_where_rows_round_by_their_place(
    attack, digits, side, n_hidden
):
    images = nn.functional.interpolate(digits.images, (side, side))
    model = Products(side * side, n_hidden)
    own = type(digits)(images=images, labels=model(images).argmax(1))
    pgd = attack("pgd", norm="l2", eps=[0.2, 0.4, 0.8], steps=6, loss=["ce", "margin"])
    results = [run(model, own, pgd, batch_size=size) for size in (16, 48, 112, 256)]
    assert 0 < results[0].accuracy()[1] < 0.9
    for other in results[1:]:
        assert_same(results[0], other)


def test_a_verdict_does_not_depend_on_other_samples_or_their_order(attack, conv, digits):
    pgd = attack("pgd", eps=GRID, steps=7, restarts=2)
    whole = run(conv, digits, pgd)
    rows = np.array([300, 5, 17, 200])
    assert_same(whole, run(conv, digits, pgd, rows), rows)


def test_blocks_change_nothing(attack, mlp, digits):
    pgd = attack("pgd", eps=GRID, steps=5, loss=["ce", "margin"])

    class InBlocks(type(pgd)):
        block = 70

    assert_same(run(mlp, digits, pgd), run(mlp, digits, InBlocks(pgd.config)))


@pytest.mark.parametrize("mode", ["nested", "bisect", "independent"])
def test_robust_accuracy_falls_with_eps_and_starts_at_clean(attack, network, digits, mode):
    result = run(
        network,
        digits,
        attack("pgd", eps=GRID, steps=5, restarts=2, loss=["ce", "margin"], sweep=mode),
    )
    assert (result.worst[1:] <= result.worst[:-1]).all()
    np.testing.assert_array_equal(result.worst[0], result.clean)
    with torch.no_grad():
        np.testing.assert_array_equal(
            result.clean, (network(digits.images).argmax(1) == digits.labels).numpy()
        )
    assert 0.1 < result.accuracy()[2] < 0.9


@pytest.mark.parametrize("mode", ["nested", "independent"])
def test_worst_is_the_and_over_losses_restarts_and_smaller_eps(attack, mlp, digits, mode):
    result = run(
        mlp, digits, attack("pgd", eps=GRID, steps=5, restarts=2, loss=["ce", "margin"], sweep=mode)
    )
    broken = (result.correct == 0).any((1, 2))
    np.testing.assert_array_equal(result.worst, result.clean & ~np.logical_or.accumulate(broken))
    attacked = result.correct != SKIPPED
    np.testing.assert_array_equal(np.isnan(result.margin), ~attacked)
    np.testing.assert_array_equal(np.isnan(result.norm), ~attacked)
    np.testing.assert_array_equal(result.margin[attacked] > 0, result.correct[attacked] == 1)
    assert not attacked[..., ~result.clean].any()


def test_nested_attacks_only_unbroken_samples_and_is_about_as_strong(attack, network, digits):
    keys = {"eps": [0.02, 0.05, 0.1, 0.2], "steps": 10, "loss": ["ce", "margin"]}
    nested, independent = (
        run(network, digits, attack("pgd", sweep=mode, **keys))
        for mode in ("nested", "independent")
    )
    for place in range(1, 4):
        assert (nested.correct[place][..., ~nested.worst[place - 1]] == SKIPPED).all()
        assert (independent.correct[place][..., independent.clean] != SKIPPED).all()
    assert (nested.accuracy() <= independent.accuracy() + 0.01).all()
    assert (nested.correct != SKIPPED).sum() < 0.8 * (independent.correct != SKIPPED).sum()


FINE = [0.0, 0.02, 0.05, 0.08, 0.1, 0.15, 0.2]


@pytest.mark.parametrize("grid", [FINE, FINE[1:], [0.1], [0.0, 0.1]], ids=len)
def test_bisection_finds_each_samples_first_eps_in_few_attacks(attack, network, digits, grid):
    keys = {"eps": grid, "steps": 10, "loss": ["ce", "margin"]}
    bisected, nested = (
        run(network, digits, attack("pgd", sweep=mode, **keys)) for mode in ("bisect", "nested")
    )
    np.testing.assert_array_equal(bisected.clean, nested.clean)
    assert (bisected.accuracy() <= nested.accuracy() + 0.01).all()
    tried = (bisected.correct != SKIPPED).any((1, 2))[np.array(grid) > 0].sum(0)
    assert (tried[bisected.clean] <= np.ceil(np.log2(len(grid) + 1))).all() and not tried[
        ~bisected.clean
    ].any()
    if len(grid) == len(FINE):
        assert (bisected.correct != SKIPPED).sum() < 0.8 * (nested.correct != SKIPPED).sum()


def test_bisected_verdicts_follow_from_the_attacks_that_were_made(attack, mlp, digits):
    result = run(
        mlp,
        digits,
        attack("pgd", eps=FINE, steps=5, restarts=2, loss=["ce", "margin"], sweep="bisect"),
    )
    tried = (result.correct != SKIPPED).any((1, 2))
    broken = (result.correct == 0).any((1, 2))
    for sample in np.flatnonzero(result.clean):
        places = np.flatnonzero(tried[:, sample])
        for place in range(1, len(FINE)):
            below = places[(places <= place) & broken[places, sample]]
            above = places[(places >= place) & ~broken[places, sample]]
            assert len(below) > 0 or len(above) > 0, "no attack says anything about this verdict"
            assert result.worst[place, sample] == (len(below) == 0)


class Strict(nn.Module):
    """Takes ``view`` of what a convolution gave, which channels last does not allow."""

    def __init__(self, conv):
        super().__init__()
        self.conv = conv

    def forward(self, x):
        for layer in self.conv[:-2]:
            x = layer(x)
        return self.conv[-1](x.view(len(x), -1))


def test_the_layout_that_a_network_is_found_in_changes_no_bit_and_stays(attack, conv, digits):
    import copy

    pgd = attack("pgd", eps=GRID, steps=5, loss=["ce", "margin"])
    other = copy.deepcopy(conv).to(memory_format=torch.channels_last)
    layouts = [parameter.stride() for parameter in other.parameters()]
    assert_same(run(conv, digits, pgd), run(other, digits, pgd))
    assert [parameter.stride() for parameter in other.parameters()] == layouts
    assert conv[0].weight.is_contiguous() and not other[3].weight.is_contiguous()


def test_a_network_that_cannot_be_laid_out_otherwise_is_attacked_as_it_is(attack, conv, digits):
    strict, pgd = Strict(conv), attack("pgd", eps=GRID, steps=5)
    np.testing.assert_array_equal(run(strict, digits, pgd).worst, run(conv, digits, pgd).worst)
    assert conv[0].weight.is_contiguous()


def test_perturbations_stay_in_the_ball_and_the_box(attack, network, digits):
    for norm, grid in (("linf", GRID), ("l2", [0.0, 0.5, 1.0]), ("l1", [0.0, 1.0, 3.0])):
        for kind in ("fgsm", "pgd", "noise"):
            result = run(network, digits, attack(kind, norm=norm, eps=grid))
            assert np.nanmax(result.norm - np.array(grid, np.float32)[:, None, None, None]) <= 1e-6
            assert result.outside <= 0


def test_more_restarts_and_losses_only_break_more(attack, mlp, digits):
    keys = {"eps": GRID, "steps": 5, "sweep": "independent"}
    few = run(mlp, digits, attack("pgd", **keys))
    more = run(mlp, digits, attack("pgd", restarts=3, loss=["ce", "margin"], **keys))
    assert (more.worst <= few.worst).all()
    np.testing.assert_array_equal(few.correct[:, 0, 0], more.correct[:, 0, 0])


def test_targeted_runs_break_more(attack, mlp, digits):
    keys = {"eps": [0.1], "steps": 5, "loss": ["margin"], "sweep": "independent"}
    plain, aimed = (
        run(mlp, digits, attack("pgd", **keys)),
        run(mlp, digits, attack("pgd", targets=9, **keys)),
    )
    assert aimed.objectives == ("margin", *(f"margin->{rank}" for rank in range(1, 10)))
    assert (aimed.worst <= plain.worst).all()


def scaled(model: nn.Module, factor: float) -> nn.Module:
    """The same network with its read-out multiplied."""
    import copy

    other = copy.deepcopy(model)
    with torch.no_grad():
        other[-1].weight.mul_(factor)
        other[-1].bias.mul_(factor)
    return other


def test_standardised_and_margin_losses_see_through_logit_scale_and_cross_entropy_does_not(
    attack, mlp, digits
):
    def robust(factor, loss):
        return run(
            scaled(mlp, factor), digits, attack("pgd", eps=[0.1], steps=10, loss=[loss])
        ).accuracy()[0]

    for loss in ("margin", "ce-norm"):
        assert abs(robust(1024, loss) - robust(1, loss)) < 0.01
    assert robust(1024, "ce") > robust(1, "ce") + 0.3


def test_model_and_global_randomness_are_left_as_found(attack, digits):
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(144, 10)
    ).eval()
    model[2].train()
    model[0].weight.requires_grad_(False)
    model[4].weight.grad = torch.full_like(model[4].weight, 3.0)
    flags = [module.training for module in model.modules()]
    asks = [parameter.requires_grad for parameter in model.parameters()]
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    model[2].eval()
    flags[3] = False
    torch_state, numpy_state, python_state = (
        torch.get_rng_state(),
        np.random.get_state()[1].copy(),
        random.getstate(),
    )
    run(model, digits, attack("pgd", eps=[0.1], steps=3, restarts=2))
    run(model, digits, attack("noise", norm="l2", eps=[0.1]))
    assert [module.training for module in model.modules()] == flags
    assert [parameter.requires_grad for parameter in model.parameters()] == asks
    assert all((value == weights[name]).all() for name, value in model.state_dict().items())
    assert (model[4].weight.grad == 3).all() and model[0].bias.grad is None
    assert (torch.get_rng_state() == torch_state).all()
    assert (np.random.get_state()[1] == numpy_state).all() and random.getstate() == python_state


def test_a_network_without_gradients_or_with_bad_logits_is_measured_all_the_same(attack, digits):
    class Detached(nn.Module):
        def forward(self, x):
            return x.detach().flatten(1)[:, :10]

    class NotANumber(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :10] * float("nan")

    stands = run(Detached(), digits, attack("pgd", eps=[0.0, 0.2], random_start=False, steps=2))
    np.testing.assert_array_equal(stands.worst[1], stands.clean)
    assert not run(NotANumber(), digits, attack("pgd", eps=[0.0, 0.2], steps=2)).worst.any()


def test_images_outside_the_box_are_refused(attack, mlp, digits):
    for bad in (digits.images * 2, digits.images - 0.5, digits.images * float("nan")):
        with pytest.raises(ValueError, match=r"\[0, 1\]"):
            sweep(mlp, bad, digits.labels, np.arange(320), attack("fgsm", eps=[0.1]), Rng(0))


def test_an_attack_of_ones_own_is_judged_by_the_engine(attack, mlp, digits):
    fgsm = attack("fgsm", eps=[0.1])

    class Boastful(type(fgsm)):
        def perturb(self, victim, task):
            return Candidates(task.images)

    result = run(mlp, digits, Boastful(fgsm.config))
    np.testing.assert_array_equal(result.worst[0], result.clean)
    assert np.nanmax(result.norm) == 0


@pytest.mark.parametrize(
    "keys", [{}, {"sweep": "bisect"}, {"restarts": 2, "loss": ["ce", "margin"]}]
)
def test_a_sweep_is_rebuilt_exactly_from_what_is_stored(attack, mlp, digits, keys):
    pgd = attack("pgd", eps=[0.0, 0.05, 0.1], steps=3, **keys)
    result = sweep(mlp, digits.images, digits.labels, np.arange(320), pgd, Rng(1))
    arrays = result.to_arrays()
    assert set(arrays) == {
        "correct/eps=0",
        "correct/eps=0.05",
        "correct/eps=0.1",
        "attack/correct",
        "attack/margin",
        "attack/norm",
        "clean/correct",
        "clean/margin",
    }
    assert {arrays[name].dtype.name for name in arrays} == {"uint8", "float32"}
    rebuilt = Sweep.from_arrays(
        arrays, result.eps, result.objectives, result.outside, result.changed
    )
    for field in dataclasses.fields(Sweep):
        before, after = getattr(result, field.name), getattr(rebuilt, field.name)
        assert type(before) is type(after)
        np.testing.assert_array_equal(before, after)
        assert getattr(before, "dtype", None) == getattr(after, "dtype", None)


def test_a_sweep_says_what_the_attack_changed(attack, mlp, digits):
    fgsm = attack("fgsm", eps=[0.1])

    def perturb(self, victim, task):
        torch.rand(1)
        return Candidates(task.images)

    careless = type("Careless", (type(fgsm),), {"perturb": perturb})(fgsm.config)
    arguments = digits.images[:16], digits.labels[:16], np.arange(16)
    assert sweep(mlp, *arguments, careless, Rng(1)).changed == ("torch's random state",)
    assert sweep(mlp, *arguments, fgsm, Rng(1)).changed == ()
