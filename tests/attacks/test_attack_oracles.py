"""The attacks against what is known without them: closed forms, torchattacks, foolbox."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from harness.attacks.base import Objective, Task
from harness.attacks.engine.sweep import sweep
from harness.attacks.engine.victim import Victim
from harness.rng import Rng

RNG = Rng(0)


def linear(n_classes: int, seed: int, low: float, high: float):
    """A linear network, and 200 images in [low, high] with its labels, a tenth of them wrong."""
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(30, n_classes))
    with torch.no_grad():
        model[1].weight.copy_(torch.randn(n_classes, 30, generator=generator))
        model[1].bias.copy_(
            torch.randn(n_classes, generator=generator) - model[1].weight.sum(1) / 2
        )
    images = low + (high - low) * torch.rand(200, 1, 5, 6, generator=generator)
    labels = model(images).argmax(1)
    labels[:20] = (labels[:20] + 1) % n_classes
    return model.eval(), images, labels


def least_margin(model, images, labels, eps: float, norm: str) -> np.ndarray:
    """Smallest margin that any perturbation in the ball and the box reaches, in float64: exact.

    The best perturbation against a linear margin w moves pixels to the end of the ball or the box
    (linf); by the same multiple of w, clipped to the box (l2); or in order of w, each to the end of
    the box, until eps is spent (l1).
    """
    w, b = model[1].weight.detach().double(), model[1].bias.detach().double()
    x = images.flatten(1).double()
    difference = w[labels][:, None] - w[None]  # (N, classes, D)
    room = torch.where(difference > 0, x[:, None], 1 - x[:, None])
    steep = difference.abs()
    if norm == "linf":
        moved = room.clamp_max(eps)
    elif norm == "l2":
        low, high = torch.zeros_like(steep[..., :1]), torch.full_like(steep[..., :1], 1e4)
        for _ in range(100):
            middle = (low + high) / 2
            inside = torch.minimum(middle * steep, room).norm(dim=2, keepdim=True) <= eps
            low, high = torch.where(inside, middle, low), torch.where(inside, high, middle)
        moved = torch.minimum(low * steep, room)
    else:
        order = steep.argsort(2, descending=True)
        sorted_room = room.gather(2, order)
        spent = (eps - (sorted_room.cumsum(2) - sorted_room)).clamp_min(0).minimum(sorted_room)
        moved = torch.zeros_like(room).scatter(2, order, spent)
    margin = (
        (difference * x[:, None]).sum(2) + b[labels][:, None] - b[None] - (steep * moved).sum(2)
    )
    margin.scatter_(1, labels[:, None], float("inf"))
    return margin.amin(1).numpy()


def exact(model, images, labels, grid, norm) -> np.ndarray:
    """Robust or not, (E, N); no sample may be so near the boundary that float32 decides."""
    margins = np.stack([least_margin(model, images, labels, eps, norm) for eps in grid])
    assert np.abs(margins).min() > 1e-6
    return margins > 0


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("low, high", [(0.3, 0.7), (0.0, 1.0)])
@pytest.mark.parametrize("loss", ["ce", "margin", "probability-margin", "ce-norm"])
def test_fgsm_meets_exact_robust_accuracy_of_a_two_class_linear_network(
    attack, seed, low, high, loss
):
    grid = [0.0, 0.01, 0.03, 0.06, 0.1, 0.2]
    model, images, labels = linear(2, seed, low, high)
    result = sweep(
        model, images, labels, np.arange(200), attack("fgsm", eps=grid, loss=[loss]), RNG
    )
    np.testing.assert_array_equal(result.worst, exact(model, images, labels, grid, "linf"))
    assert 0 < result.accuracy()[3] < result.accuracy()[0] < 1


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("low, high", [(0.3, 0.7), (0.0, 1.0)])
@pytest.mark.parametrize("loss", ["ce", "margin", "ce-norm"])
def test_l1_fgsm_meets_exact_robust_accuracy_of_a_two_class_linear_network(
    attack, seed, low, high, loss
):
    grid = [0.0, 0.05, 0.1, 0.3, 0.6, 1.5]
    model, images, labels = linear(2, seed, low, high)
    result = sweep(
        model, images, labels, np.arange(200), attack("fgsm", norm="l1", eps=grid, loss=[loss]), RNG
    )
    np.testing.assert_array_equal(result.worst, exact(model, images, labels, grid, "l1"))
    assert 0 < result.accuracy()[3] < result.accuracy()[0] < 1


@pytest.mark.parametrize("mode", ["nested", "independent"])
@pytest.mark.parametrize("keys", [{"random_start": False}, {"restarts": 2, "steps": 20}], ids=str)
def test_l1_pgd_aimed_at_every_class_meets_exact_robust_accuracy_of_a_linear_network(
    attack, mode, keys
):
    grid = [0.0, 0.1, 0.2, 0.4, 0.8]
    model, images, labels = linear(5, 7, 0.0, 1.0)
    pgd = attack(
        "pgd", norm="l1", eps=grid, loss=["margin"], targets=4, step_size=0.25, sweep=mode, **keys
    )
    result = sweep(model, images, labels, np.arange(200), pgd, RNG)
    np.testing.assert_array_equal(result.worst, exact(model, images, labels, grid, "l1"))


@pytest.mark.parametrize("mode", ["nested", "independent"])
@pytest.mark.parametrize(
    "keys", [{"random_start": False}, {"restarts": 2}, {"iterate": "last"}], ids=str
)
def test_pgd_aimed_at_every_class_meets_exact_robust_accuracy_of_a_linear_network(
    attack, mode, keys
):
    grid = [0.0, 0.01, 0.02, 0.04, 0.08]
    model, images, labels = linear(5, 7, 0.0, 1.0)
    pgd = attack("pgd", eps=grid, loss=["margin"], targets=4, steps=8, sweep=mode, **keys)
    result = sweep(model, images, labels, np.arange(200), pgd, RNG)
    np.testing.assert_array_equal(result.worst, exact(model, images, labels, grid, "linf"))


def test_l2_attacks_meet_exact_robust_accuracy_where_the_box_does_not_bind(attack):
    grid = [0.0, 0.05, 0.1, 0.2]
    model, images, labels = linear(5, 3, 0.3, 0.7)
    pgd = attack("pgd", norm="l2", eps=grid, loss=["margin"], targets=4, random_start=False)
    result = sweep(model, images, labels, np.arange(200), pgd, RNG)
    np.testing.assert_array_equal(result.worst, exact(model, images, labels, grid, "l2"))
    # From a random point it comes near the furthest point of the ball, never past it.
    wandering = attack("pgd", norm="l2", eps=grid, loss=["margin"], targets=4, steps=40)
    stands = sweep(model, images, labels, np.arange(200), wandering, RNG).worst
    margins = np.stack([least_margin(model, images, labels, eps, "l2") for eps in grid])
    assert stands[margins > 0].all() and not stands[margins < -0.01].any()
    model, images, labels = linear(2, 3, 0.3, 0.7)
    result = sweep(model, images, labels, np.arange(200), attack("fgsm", norm="l2", eps=grid), RNG)
    np.testing.assert_array_equal(result.worst, exact(model, images, labels, grid, "l2"))


@pytest.mark.parametrize(
    "norm, grid",
    [
        ("linf", [0.0, 0.01, 0.02, 0.04, 0.08]),
        ("l2", [0.0, 0.05, 0.1, 0.2, 0.4]),
        ("l1", [0.0, 0.1, 0.2, 0.4, 0.8]),
    ],
)
def test_autoattack_meets_exact_robust_accuracy_of_a_linear_network(attack, norm, grid):
    model, images, labels = linear(5, 7, 0.0, 1.0)
    aimed = attack("autoattack", norm=norm, eps=grid, steps=10, queries=20)
    result = sweep(model, images, labels, np.arange(200), aimed, RNG)
    np.testing.assert_array_equal(result.worst, exact(model, images, labels, grid, norm))
    # FAB alone comes near the boundary, never past it.
    fab = attack("fab", norm=norm, eps=grid, steps=15)
    stands = sweep(model, images, labels, np.arange(200), fab, RNG).worst
    margins = np.stack([least_margin(model, images, labels, eps, norm) for eps in grid])
    assert stands[margins > 0].all() and not stands[margins < -0.02].any()


def perturbed(attack, model, images, labels, eps, start=None) -> torch.Tensor:
    """What an attack makes of images, all of them."""
    objective = Objective("ce")
    return attack.perturb(
        Victim(model, 96),
        Task(images, labels, None, np.arange(len(images)), eps, objective, 0, start, RNG),
    ).adversarial


def verdicts(model, adversarial, images, labels) -> np.ndarray:
    with torch.no_grad():
        return (
            (model(adversarial).argmax(1) == labels) & (model(images).argmax(1) == labels)
        ).numpy()


def agree(ours, model, images, labels, eps, theirs, start=None, share=1.0):
    """Same images to 1e-6 (a share of them), and same verdicts in a sweep."""
    difference = (
        (perturbed(ours, model, images, labels, eps, start) - theirs).abs().flatten(1).amax(1)
    )
    assert (difference <= 1e-6).float().mean() >= share
    if start is None:
        result = sweep(model, images, labels, np.arange(len(images)), ours, RNG)
        np.testing.assert_array_equal(result.worst[-1], verdicts(model, theirs, images, labels))


@pytest.mark.parametrize("eps", [0.05, 0.2])
def test_fgsm_equals_torchattacks_and_foolbox(attack, network, digits, eps):
    import foolbox
    import torchattacks

    ours = attack("fgsm", eps=[eps])
    agree(
        ours,
        network,
        digits.images,
        digits.labels,
        eps,
        torchattacks.FGSM(network, eps=eps)(digits.images, digits.labels),
    )
    theirs = foolbox.attacks.LinfFastGradientAttack(random_start=False)(
        foolbox.PyTorchModel(network, (0, 1)), digits.images, digits.labels, epsilons=[eps]
    )[1][0]
    agree(ours, network, digits.images, digits.labels, eps, theirs)
    network.zero_grad(set_to_none=True)  # foolbox leaves gradients


@pytest.mark.parametrize("eps", [0.05, 0.2])
def test_pgd_equals_torchattacks_and_foolbox_from_the_image(attack, network, digits, eps):
    import foolbox
    import torchattacks

    keys = {
        "iterate": "last",
        "random_start": False,
        "steps": 10,
        "step_size": 0.25,
        "sweep": "independent",
    }
    ours = attack("pgd", eps=[eps], **keys)
    theirs = torchattacks.PGD(network, eps=eps, alpha=0.25 * eps, steps=10, random_start=False)(
        digits.images, digits.labels
    )
    agree(ours, network, digits.images, digits.labels, eps, theirs)
    theirs = foolbox.attacks.LinfPGD(rel_stepsize=0.25, steps=10, random_start=False)(
        foolbox.PyTorchModel(network, (0, 1)), digits.images, digits.labels, epsilons=[eps]
    )[1][0]
    agree(ours, network, digits.images, digits.labels, eps, theirs)
    network.zero_grad(set_to_none=True)


def test_pgd_equals_torchattacks_from_the_same_random_start(attack, network, digits):
    import torchattacks

    eps, state = 0.1, torch.get_rng_state()
    torch.manual_seed(5)
    start = torch.empty_like(digits.images).uniform_(-eps, eps)
    torch.manual_seed(5)
    theirs = torchattacks.PGD(network, eps=eps, alpha=0.02, steps=10, random_start=True)(
        digits.images, digits.labels
    )
    torch.set_rng_state(state)
    ours = attack("pgd", eps=[eps], iterate="last", steps=10, step_size=0.2)
    agree(ours, network, digits.images, digits.labels, eps, theirs, start)
    unstarted = perturbed(ours, network, digits.images, digits.labels, eps, torch.zeros_like(start))
    assert (unstarted - theirs).abs().amax() > 1e-3, (
        "the start must matter, or the comparison says nothing about it"
    )


def test_l2_pgd_equals_torchattacks_and_foolbox(attack, network, digits):
    import foolbox
    import torchattacks

    # Rounding adds up over L2 steps. Where a path crosses a kink of the network, a few may differ.
    eps = 0.5
    ours = attack(
        "pgd",
        norm="l2",
        eps=[eps],
        iterate="last",
        random_start=False,
        steps=10,
        step_size=0.25,
        sweep="independent",
    )
    theirs = torchattacks.PGDL2(
        network, eps=eps, alpha=0.25 * eps, steps=10, random_start=False, eps_for_division=1e-30
    )(digits.images, digits.labels)
    agree(ours, network, digits.images, digits.labels, eps, theirs, share=0.99)
    theirs = foolbox.attacks.L2PGD(rel_stepsize=0.25, steps=10, random_start=False)(
        foolbox.PyTorchModel(network, (0, 1)), digits.images, digits.labels, epsilons=[eps]
    )[1][0]
    agree(ours, network, digits.images, digits.labels, eps, theirs, share=0.99)
    network.zero_grad(set_to_none=True)


def test_best_iterate_is_at_least_as_strong_as_the_last(attack, network, digits):
    last, best = (
        sweep(
            network,
            digits.images,
            digits.labels,
            np.arange(320),
            attack("pgd", eps=[0.1], iterate=which, steps=6, step_size=1.5, sweep="independent"),
            RNG,
        )
        for which in ("last", "best")
    )
    assert (best.worst <= last.worst).all()
    assert (best.margin[best.correct == 1] <= last.margin[best.correct == 1]).all()
