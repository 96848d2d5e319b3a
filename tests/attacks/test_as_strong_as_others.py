"""PGD, APGD and Square are as strong as those of torchattacks, with equal steps."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from harness.attacks.engine.sweep import sweep
from harness.data.base import Images
from harness.registry import learners
from harness.rng import Rng

EPS = [0.06, 0.12, 0.18]


def learned(kind: str, digits, **keys):
    """The classifier of a learner, trained on digits."""
    images, labels = digits.train
    train = Images(
        images.mul(255).round().to(torch.uint8).numpy(), labels.numpy(), np.arange(len(images)), 10
    )
    cls = learners[kind]
    learner = cls(cls.Config(**keys), (1, 8, 8), 10, Rng(0))
    learner.fit(train)
    return learner.classifier().eval()


@pytest.fixture(scope="module")
def rule(digits):
    """The bio rule."""
    return learned("ech", digits, hidden=100, epochs=4)


@pytest.fixture(scope="module")
def adversarial(digits):
    """A perceptron that trained on PGD examples."""
    return learned(
        "mlp", digits, hidden=64, epochs=20, batch_size=50, adversarial_eps=0.1, adversarial_steps=4
    )


@pytest.fixture(params=["mlp", "conv", "rule", "adversarial"])
def victim(request):
    """Each of the four."""
    return request.getfixturevalue(request.param)


def standing(victim, digits, theirs, seeds=(0,)) -> float:
    """Mean over eps and seeds of accuracy under ``theirs(eps, seed)``."""
    accuracies = []
    for eps, seed in itertools.product(EPS, seeds):
        torch.manual_seed(seed)
        adversarial = theirs(eps, seed)(digits.images, digits.labels)
        assert (adversarial - digits.images).abs().max() <= eps + 1e-6
        with torch.no_grad():
            accuracies.append(
                float((victim(adversarial).argmax(1) == digits.labels).float().mean())
            )
    assert (
        0.02 < np.mean(accuracies) < 0.98
    )  # neither all nor nothing: there is something to compare
    return float(np.mean(accuracies))


def robust_accuracy(victim, digits, attack, seeds=(0,)) -> float:
    """The same under ours."""
    runs = [
        sweep(victim, digits.images, digits.labels, np.arange(320), attack, Rng(seed)).accuracy()
        for seed in seeds
    ]
    return float(np.mean(runs))


@pytest.mark.parametrize("mode", ["independent", "nested", "bisect"])
def test_pgd_is_as_strong_as_that_of_torchattacks_from_the_image(attack, victim, digits, mode):
    import torchattacks

    ours = robust_accuracy(
        victim,
        digits,
        attack("pgd", eps=EPS, steps=20, step_size=0.125, random_start=False, sweep=mode),
    )
    assert (
        ours
        <= standing(
            victim,
            digits,
            lambda eps, _: torchattacks.PGD(victim, eps, eps / 8, 20, random_start=False),
        )
        + 0.002
    )


def test_apgd_is_as_strong_as_that_of_torchattacks_from_the_same_random_start(
    attack, victim, digits, monkeypatch
):
    import torchattacks

    attacked = (
        (victim(digits.images).argmax(1) == digits.labels).nonzero().squeeze(1).numpy()
    )  # theirs leaves out the others
    uniform = torch.from_numpy(Rng(0).per_sample_uniform("start", attacked, 0, (1, 8, 8)))
    monkeypatch.setattr(
        torch, "rand", lambda *_, **__: (uniform + 1) / 2
    )  # theirs is stretched to touch the ball, by 2 % or so
    theirs = standing(
        victim, digits, lambda eps, _: torchattacks.APGD(victim, eps=eps, steps=50, loss="ce")
    )
    monkeypatch.undo()
    assert robust_accuracy(victim, digits, attack("apgd", eps=EPS, steps=50)) <= theirs + 0.002


def test_square_is_as_strong_as_that_of_torchattacks(attack, victim, digits):
    import torchattacks

    theirs = standing(
        victim,
        digits,
        lambda eps, seed: torchattacks.Square(victim, eps=eps, n_queries=150, seed=seed),
        (0, 1),
    )
    assert (
        robust_accuracy(victim, digits, attack("square", eps=EPS, queries=150), (0, 1))
        <= theirs + 0.002
    )


def test_square_in_l2_is_as_strong_as_that_of_torchattacks(attack, network, digits):
    import torchattacks

    images, labels = digits.images, digits.labels
    theirs = torchattacks.Square(network, "L2", 0.7, n_queries=150, seed=0)(images, labels)
    with torch.no_grad():
        standing = float((network(theirs).argmax(1) == labels).float().mean())
    keys = {"norm": "l2", "eps": [0.7], "queries": 150}
    ours = sweep(network, images, labels, np.arange(320), attack("square", **keys), Rng(0))
    assert 0.02 < standing < 0.95 and ours.accuracy()[0] <= standing + 0.02


def test_square_in_l1_breaks_more_than_noise_does(attack, network, digits):
    rows = slice(0, 160)
    left = {}
    for kind, keys in {"square": {"queries": 150}, "noise": {"draws": 150}}.items():
        search = attack(kind, norm="l1", eps=[3.0], **keys)
        images, labels = digits.images[rows], digits.labels[rows]
        left[kind] = sweep(network, images, labels, np.arange(160), search, Rng(0)).accuracy()[0]
    assert left["square"] < left["noise"] - 0.1


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["independent", "nested", "bisect"])
def test_pgd_is_as_strong_as_that_of_torchattacks_over_thirty_random_starts(
    attack, victim, digits, mode
):
    import torchattacks

    ours = robust_accuracy(
        victim, digits, attack("pgd", eps=EPS, steps=20, step_size=0.125, sweep=mode), range(30)
    )
    assert (
        ours
        <= standing(
            victim, digits, lambda eps, _: torchattacks.PGD(victim, eps, eps / 8, 20), range(30)
        )
        + 0.002
    )


@pytest.mark.slow
def test_apgd_is_as_strong_as_that_of_torchattacks_over_thirty_random_starts(
    attack, victim, digits
):
    import torchattacks

    ours = robust_accuracy(victim, digits, attack("apgd", eps=EPS, steps=50), range(30))
    theirs = standing(
        victim,
        digits,
        lambda eps, seed: torchattacks.APGD(victim, "Linf", eps, 50, seed=seed),
        range(30),
    )
    assert ours <= theirs + 0.002
