"""Planted flaws: a naive sweep fails a check that names the flaw; the right keys find the truth."""

from __future__ import annotations

import numpy as np
import pytest
from flaws import ADAPTED, AROUND, INSIDE, SAME, adapted, attacked, judged, remarks, train, truth
from torch import nn

EPS = [0.05, 0.1]
REFUSED = {
    "logits x1000": {"scale", "gradients exist"},
    "logits x0.001": {"scale"},
    "saturated softmax": {"gradients exist"},
    "8-bit input": {"non-differentiable parts", "gradients exist"},
    "noise": {"deterministic"},
    "jpeg": {"non-differentiable parts", "gradients exist"},
    "winners": {"non-differentiable parts"},
    "sign": {"non-differentiable parts", "gradients exist"},
    "thermometer": {"non-differentiable parts", "gradients exist"},
    "constant": {"not constant"},
}
"""Checks that must fail under PGD on cross-entropy, or warn if its result is right."""
QUICK = [*SAME, "8-bit input", "constant"]


def assert_refused(name, net, images, labels):
    _, checks = judged(net, images, labels, "pgd", eps=EPS, steps=20, loss=["ce"])
    assert REFUSED.get(name, set()) <= set(remarks(checks, "FAIL")), checks
    if name not in REFUSED:
        assert "scale" in remarks(checks, "WARN") and "probabilities" in next(
            c.detail for c in checks if c.name == "scale"
        )


def planted(name, sound, images, labels):
    """A network with the flaw."""
    return (
        AROUND[name](sound)
        if name in AROUND
        else train(INSIDE[name](images[0].numel()), images, labels, epochs=12)
    )


@pytest.mark.parametrize("name", ADAPTED)
def test_a_naive_sweep_is_refused_by_the_check_that_says_why(mlp, digits, name):
    assert_refused(name, planted(name, mlp, *digits.train), digits.images, digits.labels)


@pytest.mark.parametrize("name", QUICK)
def test_the_right_keys_find_the_truth_on_digits(mlp, digits, name):
    net, images, labels = (
        planted(name, mlp, *digits.train),
        digits.images[:160],
        digits.labels[:160],
    )
    found, checks = adapted(name, net, images, labels, EPS, queries=50)
    real = truth(name, net, mlp, images, labels, EPS, queries=50)
    np.testing.assert_allclose(found, real, atol=0.02)
    if name != "constant":  # what is true of a constant network is still of no use
        assert not remarks(checks, "FAIL"), checks


@pytest.mark.slow
@pytest.mark.parametrize("name", ADAPTED)
def test_the_right_keys_find_the_truth_on_mnist(name):
    from honest import mnist5k

    train_set, (x, y) = mnist5k()
    x, y = x[:300], y[:300]
    sound = train(
        nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10)), *train_set
    )
    net = AROUND[name](sound) if name in AROUND else train(INSIDE[name](784), *train_set)
    assert_refused(name, net, x, y)
    found, checks = adapted(name, net, x, y, EPS)
    np.testing.assert_allclose(found, truth(name, net, sound, x, y, EPS), atol=0.02 + 1e-9)
    assert name == "constant" or not remarks(checks, "FAIL"), checks


def test_what_a_naive_sweep_overstates_is_what_it_is_refused_for(mlp, digits):
    for name in ("logits x1000", "8-bit input", "sign"):
        net = planted(name, mlp, *digits.train)
        images, labels = digits.images[:160], digits.labels[:160]
        naive = attacked(net, images, labels, "pgd", eps=EPS, steps=20).accuracy()
        found = attacked(net, images, labels, "pgd", eps=EPS, steps=20, **ADAPTED[name]).accuracy()
        assert naive[1] > found[1] + 0.3


@pytest.mark.slow
def test_no_check_fails_on_a_network_that_hides_nothing():
    from honest import HONEST, conv, honest, learned

    assert len(HONEST) == 30
    others = {"cnn": conv(8, seed=5), "prototypes": learned("prototypes", hidden=100)}
    failed = {}
    for name in HONEST:
        net, eps, x, y = honest(name)
        keys = {"eps": eps, "steps": 20, "loss": ["ce", "margin"], "relatives": others}
        _, checks = judged(net, x, y, "pgd", **keys)
        if remarks(checks, "FAIL"):
            failed[name] = [check for check in checks if check.level == "FAIL"]
    assert not failed
