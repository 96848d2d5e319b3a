"""Surrogate gradients: exact values, gradients where an attack needs them, none elsewhere."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.attacks.engine.losses import LOSSES
from harness.attacks.engine.straight_through import StraightThrough
from harness.attacks.engine.victim import Victim, View
from harness.learning.surrogate import surrogate
from harness.rng import Rng

GENERATOR = torch.Generator().manual_seed(0)
INTO, OUT = torch.randn(20, 16, generator=GENERATOR) / 4, torch.randn(16, 5, generator=GENERATOR)


def hidden(x):
    return x @ INTO


def kth(z):
    return z.topk(4, dim=1).values[:, -1:]


def cut_off(z):
    z = z.clone()
    z[z < kth(z)] = 0
    return z


JUMPING = {
    "sign": lambda x: hidden(x).sign() @ OUT,
    "sign, in place": lambda x: hidden(x).sign_() @ OUT,
    "heaviside": lambda x: torch.heaviside(hidden(x), torch.tensor(0.5)) @ OUT,
    "comparison": lambda x: (hidden(x) > 0).float() @ OUT,
    "comparison, then arithmetic of integers": lambda x: ((hidden(x) > 0) * 2 - 1).float() @ OUT,
    "comparison, then logic": lambda x: (~(hidden(x) > 0) & (hidden(x) > -1)).float() @ OUT,
    "round": lambda x: (x * 255).round() / 255 @ INTO,
    "cast": lambda x: (x * 255).to(torch.uint8).float() / 255 @ INTO,
    "floor division": lambda x: x * 255 // 1 / 255 @ INTO,
    "remainder": lambda x: (x - x % (1 / 8)) @ INTO,
    "thermometer": lambda x: (x[:, :, None] > torch.linspace(0, 0.9, 16)).float().sum(1) @ OUT,
    "winners by a mask": lambda x: (hidden(x) * (hidden(x) >= kth(hidden(x)))) @ OUT,
    "winners by masked_fill": lambda x: hidden(x).masked_fill(hidden(x) < kth(hidden(x)), 0) @ OUT,
    "winners by where": lambda x: (
        torch.where(hidden(x) >= kth(hidden(x)), hidden(x), torch.zeros(())) @ OUT
    ),
    "winners by assignment": lambda x: cut_off(hidden(x)) @ OUT,
    "winners by a scattered mask": lambda x: (
        (hidden(x) * torch.zeros(len(x), 16).scatter_(1, hidden(x).topk(4, dim=1).indices, 1.0))
        @ OUT
    ),
    "winners by scattered values": lambda x: (
        torch.zeros(len(x), 16).scatter(
            1, hidden(x).topk(4, dim=1).indices, hidden(x).topk(4, dim=1).values
        )
        @ OUT
    ),
    "the winner by one_hot": lambda x: F.one_hot(hidden(x).argmax(1), 16).float() @ OUT,
}
CONTINUOUS = {
    "relu": lambda x: hidden(x).relu() @ OUT,
    "relu as a mask": lambda x: (hidden(x) * (hidden(x) > 0)) @ OUT,
    "relu as a mask of floats": lambda x: (hidden(x) * (hidden(x) > 0).float()) @ OUT,
    "leaky relu by where": lambda x: torch.where(hidden(x) > 0, hidden(x), 0.01 * hidden(x)) @ OUT,
    "absolute value": lambda x: (hidden(x) * hidden(x).sign()) @ OUT,
    "nearest neighbours": lambda x: -torch.cdist(x, INTO.T).topk(5, dim=1, largest=False).values,
    "rounded weights": lambda x: x @ (4 * INTO).round(),
    "declared": lambda x: surrogate(hidden(x).sign(), hidden(x).tanh()) @ OUT,
    "declared by hand": lambda x: (
        (hidden(x).tanh() + (hidden(x).sign() - hidden(x).tanh()).detach()) @ OUT
    ),
}


def passed(function, mode=None):
    """Output, input gradient, and the mode that watched."""
    x = torch.rand(48, 20, generator=torch.Generator().manual_seed(1)).requires_grad_()
    with mode or StraightThrough() as watching:
        out = function(x)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(2))
    return out, torch.autograd.grad((out * weights).sum(), x)[0], watching


@pytest.mark.parametrize("function", JUMPING.values(), ids=JUMPING)
def test_what_jumps_is_named_keeps_its_value_and_passes_a_gradient(function):
    x = torch.rand(48, 20, generator=torch.Generator().manual_seed(1))
    out, gradient, mode = passed(function)
    assert torch.equal(out, function(x)) and mode.jumps()
    assert (gradient != 0).any(1).all() and gradient.isfinite().all()


@pytest.mark.parametrize("function", CONTINUOUS.values(), ids=CONTINUOUS)
def test_what_does_not_jump_is_not_accused(function):
    x = torch.rand(48, 20, generator=torch.Generator().manual_seed(1))
    out, _, mode = passed(function)
    assert torch.equal(out, function(x)) and not mode.jumps()


@pytest.mark.parametrize(
    "name", ["relu", "nearest neighbours", "rounded weights", "declared", "declared by hand"]
)
def test_gradients_that_exist_or_are_declared_are_not_touched(name):
    x = torch.rand(48, 20, generator=torch.Generator().manual_seed(1)).requires_grad_()
    out, gradient, _ = passed(CONTINUOUS[name])
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(2))
    assert torch.equal(gradient, torch.autograd.grad((CONTINUOUS[name](x) * weights).sum(), x)[0])


def test_rounding_passes_its_gradient_straight_through():
    _, gradient, _ = passed(lambda x: (x * 255).round() / 255 @ INTO)
    _, plain, _ = passed(lambda x: x @ INTO)
    torch.testing.assert_close(gradient, plain)


def test_losers_of_a_competition_feel_it():
    x = torch.randn(32, 16, generator=torch.Generator().manual_seed(3)).requires_grad_()
    with StraightThrough():
        out = x * (x >= kth(x))
    (gradient,) = torch.autograd.grad(out.sum(), x)
    losers = x < kth(x)
    assert (gradient[losers] != 0).float().mean() > 0.3
    (exact,) = torch.autograd.grad((x * (x >= kth(x))).sum(), x)
    assert (exact[losers] == 0).all()


def test_a_row_s_gradient_does_not_depend_on_its_company():
    function = JUMPING["winners by a mask"]
    x = torch.rand(32, 20, generator=torch.Generator().manual_seed(4))

    def gradient(rows):
        inputs = rows.clone().requires_grad_()
        with StraightThrough():
            out = function(inputs)
        return torch.autograd.grad(out.sum(), inputs)[0]

    assert torch.equal(gradient(x)[:16], gradient(torch.cat([x[:16], 10 * x[16:]]))[:16])


@given(st.floats(-1e6, 1e6, width=32), st.floats(-1e6, 1e6, width=32))
@settings(max_examples=50, deadline=None)
def test_a_surrogate_has_one_s_value_to_the_bit_and_the_other_s_gradient(value, factor):
    x = torch.tensor([value], requires_grad=True)
    out = surrogate(x.round() + 1e-3, factor * x)
    assert out.item() == (x.round() + 1e-3).item()
    out.backward()
    assert x.grad.item() == torch.tensor(factor).item()


def test_a_saturated_softmax_passes_the_gradient_of_a_soft_one(digits, mlp):
    labels = mlp(digits.images).argmax(1)[:32]

    def gradient(backward):
        hard = torch.nn.Sequential(mlp, Scaled(1e4), torch.nn.Softmax(1)).eval()
        return Victim(hard, view=View(1, backward)).gradient(
            digits.images[:32], labels, None, LOSSES["margin"]
        )[0]

    assert (gradient("exact") == 0).all() and (gradient("straight-through").flatten(1) != 0).any(
        1
    ).all()


class Scaled(torch.nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return self.factor * x


class Noisy(torch.nn.Module):
    """Noise on the input of a network, from torch's global state."""

    def __init__(self, inner, size=0.05):
        super().__init__()
        self.inner, self.size = inner, size

    def forward(self, x):
        return self.inner(x + self.size * torch.randn_like(x))


def test_the_mean_of_passes_approaches_the_expectation_and_repeats(digits, mlp):
    images, labels = digits.images[:64], digits.labels[:64]

    def seen(samples):
        state = torch.get_rng_state()
        victim = Victim.of(Noisy(mlp), images, 256, View(samples), Rng(5))
        found = victim.logits(images), victim.gradient(images, labels, None, LOSSES["margin"])[0]
        assert torch.equal(torch.get_rng_state(), state) and victim.stochastic
        return found

    many, few, again = seen(256), seen(4), seen(4)
    assert torch.equal(few[0], again[0]) and torch.equal(few[1], again[1])
    truth = torch.stack([Noisy(mlp)(images) for _ in range(400)]).mean(0).detach()
    errors = [
        float((logits - truth).square().mean().sqrt()) for logits in (many[0], few[0], seen(1)[0])
    ]
    assert (
        4 * errors[0] < errors[1] < errors[2]
    )  # as 1 / sqrt(samples): 1, 8 and 16 times the smallest
    plain = Victim.of(mlp, images, 256, View(8), Rng(5))
    assert not plain.stochastic and torch.equal(
        plain.logits(images), Victim(mlp).logits(images)
    )  # one pass says all


def test_a_sweep_of_a_network_that_draws_repeats_whatever_the_batch_size(attack, digits, mlp):
    import numpy as np

    from harness.attacks.engine.sweep import sweep

    pgd = attack("pgd", eps=[0.0, 0.05, 0.1], steps=5, loss=["ce", "margin"], samples=4)
    state = torch.get_rng_state()
    results = [
        sweep(
            Noisy(mlp), digits.images, digits.labels, np.arange(320), pgd, Rng(2), batch_size=size
        )
        for size in (16, 100, 256)
    ]
    assert torch.equal(torch.get_rng_state(), state)
    for other in results[1:]:
        for name in ("clean_margin", "correct", "margin", "worst"):
            np.testing.assert_array_equal(getattr(results[0], name), getattr(other, name))


def test_words_say_how_a_network_is_looked_at(attack):
    plain, other = (
        attack("pgd", eps=[0.1]).words(),
        attack("pgd", eps=[0.1], samples=8, backward="straight-through").words(),
    )
    assert "passes" not in plain and "straight" not in plain
    assert "8 passes averaged" in other and "straight-through backward" in other
