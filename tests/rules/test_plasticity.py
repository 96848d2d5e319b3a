"""The hidden rule against closed forms and against a naive loop over samples and synapses."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.rng import Rng
from harness.rules import plasticity, structural
from harness.rules.competition import Layer, compete, drive


@dataclass(frozen=True)
class Rates:
    eta: float = 0.3
    offset: float = 0.02
    clip: float = 0.5
    surprise: float | None = None
    maintenance: float = 0.0
    noise: float = 0.0
    turnover_every: int = 1
    homeostasis: float = 0.05
    synaptic_scaling: bool = True


def small_layer(hidden: int = 6, inputs: int = 9, layers: int = 1, seed: int = 0) -> Layer:
    weight = 0.01 + 0.09 * torch.rand(layers, hidden, inputs, generator=Rng(seed).torch("w"))
    return Layer(weight, 0.01 * torch.rand(layers, hidden, generator=Rng(seed).torch("b")))


def unit_inputs(samples: int = 20, inputs: int = 9, layers: int = 1, seed: int = 0) -> torch.Tensor:
    x = torch.rand(layers, samples, inputs, generator=Rng(seed).torch("x"))
    return x / x.norm(dim=2, keepdim=True)


def naive_step(w, b, x, temperature, fade, rates):
    """Equations 2, 3, 5 - 7, 9 and 10 in float64, one sample and one synapse at a time."""
    hidden, inputs = w.shape
    q = np.zeros((len(x), hidden))
    for s, sample in enumerate(x):
        u = [
            sum(w[j, i] * sample[i] for i in range(inputs)) / math.sqrt(sum(w[j] ** 2))
            for j in range(hidden)
        ]
        e = [math.exp(temperature * (u[j] - b[j])) for j in range(hidden)]
        q[s] = [value / sum(e) for value in e]
    new = w.copy()
    for j in range(hidden):
        m = sum(q[:, j]) / len(x)
        for i in range(inputs):
            a = sum(q[s, j] * x[s, i] for s in range(len(x))) / len(x)
            delta = (
                rates.eta
                * fade
                * min(1, hidden * m)
                * (a - m * w[j, i])
                / (m * (w[j, i] + rates.offset))
            )
            delta -= rates.maintenance * (math.log(w[j, i]) - math.log(sum(w[j]) / inputs))
            new[j, i] = w[j, i] * math.exp(min(max(delta, -rates.clip), rates.clip))
    return new, b + rates.homeostasis * fade * (q.mean(0) - 1 / hidden)


@pytest.mark.parametrize(
    "temperature, rates", [(20.0, Rates()), (80.0, Rates(maintenance=0.05, clip=0.2))]
)
def test_a_batch_step_equals_the_loop_over_samples_and_synapses(temperature, rates):
    layer, x = small_layer(), unit_inputs()
    w, b = layer.weight[0].double().numpy().copy(), layer.threshold[0].double().numpy().copy()
    for fade in (1.0, 0.4):
        plasticity.learn(layer, x, temperature, fade, rates, Rng(0).torch("noise"))
        w, b = naive_step(w, b, x[0].double().numpy(), temperature, fade, rates)
    np.testing.assert_allclose(layer.weight[0].numpy(), w, rtol=2e-5)
    np.testing.assert_allclose(layer.threshold[0].numpy(), b, rtol=1e-5, atol=1e-8)


def test_the_fixed_point_is_the_mean_input_of_a_neurons_wins():
    layer, x = small_layer(), unit_inputs()
    q = torch.softmax(3 * torch.randn(1, 20, 6, generator=Rng(1).torch("q")), dim=2)
    for _ in range(800):
        plasticity.apply_log_step(
            layer, plasticity.hebbian_delta(layer, x, q, rate=0.3, offset=0.02), clip=0.5
        )
    expected = torch.einsum("ebh,ebn->ehn", q, x) / q.sum(1).unsqueeze(2)
    torch.testing.assert_close(layer.weight, expected, rtol=1e-4, atol=1e-6)


@given(
    eta=st.floats(0, 1e6),
    temperature=st.floats(0.01, 1e4),
    clip=st.floats(0.01, 1.0),
    noise=st.floats(0, 50),
    maintenance=st.floats(0, 50),
    offset=st.floats(1e-6, 1),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_no_step_however_wild_changes_a_sign_or_makes_a_zero(
    eta, temperature, clip, noise, maintenance, offset, seed
):
    layer, x = small_layer(seed=seed), unit_inputs(seed=seed)
    rates = Rates(eta=eta, clip=clip, noise=noise, maintenance=maintenance, offset=offset)
    for step in range(20):
        before = layer.weight.clone()
        plasticity.learn(layer, x, temperature, 1.0, rates, Rng(seed).torch("noise", step))
        ratio = (layer.weight / before).double().log()
        assert (
            ratio.isfinite().all() and ratio.abs().max() <= clip + 1e-5
        )  # an exponential step and nothing besides
        assert (layer.weight > 0).all()


def test_a_removed_synapse_stays_removed_while_its_neighbours_learn():
    layer, x = small_layer(), unit_inputs()
    layer.weight[0, 2, 3:6] = 0.0
    rates = Rates(maintenance=0.01, noise=0.05)
    for _ in range(30):
        plasticity.learn(layer, x, 20.0, 1.0, rates, Rng(0).torch("noise"))
    assert (layer.weight[0, 2, 3:6] == 0).all() and int(layer.live.sum()) == 6 * 9 - 3
    assert layer.weight.isfinite().all()


@pytest.mark.parametrize("every", [1, 10])
def test_maintenance_and_noise_alone_are_an_ornstein_uhlenbeck_process_in_log_w(every):
    rates = Rates(eta=0.0, homeostasis=0.0, maintenance=0.01, noise=0.05, turnover_every=every)
    layer, x, noise = small_layer(20, 300), unit_inputs(4, 300), Rng(0).torch("noise")
    measured = []
    for step in range(2400):
        plasticity.learn(layer, x, 20.0, 1.0, rates, noise)
        if step >= 800 and step % 100 == 99:
            measured.append(layer.weight[0].log().var(dim=1).mean().item())
    pull = rates.maintenance * every
    stationary = rates.noise * math.sqrt(every / (1 - (1 - pull) ** 2))  # of an AR(1) process
    assert math.sqrt(sum(measured) / len(measured)) == pytest.approx(stationary, rel=0.03)


def test_layers_that_learn_side_by_side_learn_as_they_would_alone():
    x, rates = unit_inputs(5, 16, layers=5), Rates(noise=0.05, maintenance=0.01)

    def learned(inputs: torch.Tensor) -> torch.Tensor:
        alone, noise = small_layer(inputs=16), Rng(0).torch("noise")
        layer = Layer(
            alone.weight.repeat(len(inputs), 1, 1), alone.threshold.repeat(len(inputs), 1)
        )
        for _ in range(10):
            plasticity.learn(layer, inputs, 20.0, 1.0, rates, noise)
        return layer.weight

    together = learned(x)
    for episode in range(5):
        assert torch.equal(together[episode], learned(x[episode : episode + 1])[0])


def test_homeostasis_spreads_the_wins_over_the_neurons():
    """Without Hebbian learning, thresholds alone give each neuron the same share of wins."""
    layer, x = small_layer(10, 30), unit_inputs(200, 30)

    def usage() -> torch.Tensor:
        return compete(layer, drive(layer, x), 40.0).mean((0, 1))

    assert usage().min() < 0.05 and usage().max() > 0.15
    for _ in range(1500):
        plasticity.learn(layer, x, 40.0, 1.0, Rates(eta=0.0), Rng(0).torch("noise"))
    assert usage().min() > 0.097 and usage().max() < 0.103


def test_pruning_removes_exactly_the_synapses_below_the_threshold():
    layer = small_layer(4, 10)
    layer.weight[0, 0] = torch.tensor([1.0] * 8 + [0.05, 0.0])
    below = layer.weight < 0.1 * layer.weight.sum(2, keepdim=True) / layer.live.sum(2, keepdim=True)
    expected = int((below & layer.live).sum())
    assert expected >= 1 and structural.prune(layer, 0.1) == expected
    assert layer.weight[0, 0].tolist() == [1.0] * 8 + [0.0, 0.0]


def test_pruning_at_zero_removes_only_what_float32_cannot_carry():
    layer = small_layer()
    layer.weight[0, 0, 0] = 1e-35
    assert structural.prune(layer, 0.0) == 1


@given(gone=st.integers(1, 40), count=st.integers(0, 60), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_regrowth_fills_that_many_empty_sites_and_touches_no_other(gone, count, seed):
    layer = small_layer(8, 10)
    layer.weight.view(-1)[torch.randperm(80, generator=Rng(seed).torch("gone"))[:gone]] = 0.0
    before, live = layer.weight.clone(), layer.live
    assert structural.regrow(layer, count, Rng(seed).torch("regrow")) == min(count, gone)
    assert int(layer.live.sum()) == 80 - gone + min(count, gone)
    assert torch.equal(layer.weight[live], before[live]) and (layer.weight >= 0).all()


def test_the_third_factor_pulls_rewarded_neurons_towards_the_input_and_pushes_the_punished_away():
    layer, x = small_layer(2, 9), unit_inputs(1)
    error = torch.tensor([[[1.0, -1.0]]])
    before = drive(layer, x)[0, 0].clone()
    for _ in range(20):
        plasticity.third_factor(layer, x, error, 0.02, 30.0, 0.02, True)
    after = drive(layer, x)[0, 0]
    assert after[0] > before[0] and after[1] < before[1] and (layer.weight > 0).all()


def softmax_competition(w, b, x, temperature, scaling=True):
    """Drives and responses of one layer, (B, H), in float64."""
    u = x @ w.T
    if scaling:
        u = u / np.linalg.norm(w, axis=1)
    e = np.exp(temperature * (u - b))
    return u, e / e.sum(1, keepdims=True)


def arrays(layer: Layer, x: torch.Tensor):
    """Weights, thresholds and inputs of a single layer, as float64 arrays."""
    return tuple(t[0].double().numpy().copy() for t in (layer.weight, layer.threshold, x))


@pytest.mark.parametrize("scaling", [True, False])
def test_a_gate_scales_the_response_to_each_input(scaling):
    """q_j <- gate q_j, in the Hebbian step, the thresholds and what is explained."""
    layer, x = small_layer(), unit_inputs()
    w, b, inputs = arrays(layer, x)
    gate = 0.2 + torch.rand(1, 20, generator=Rng(3).torch("gate"))
    gate = gate / gate.mean(1, keepdim=True)
    rates = Rates(synaptic_scaling=scaling)
    got = plasticity.learn(layer, x, 20.0, 0.7, rates, Rng(0).torch("noise"), gate)
    u, q = softmax_competition(w, b, inputs, 20.0, scaling)
    q = q * gate[0].double().numpy()[:, None]
    a, m = q.T @ inputs / 20, q.mean(0)[:, None]
    s = 0.3 * 0.7 * np.minimum(1, 6 * m)
    delta = s * (a - m * w) / (m * (w + rates.offset))
    expected = w * np.exp(np.clip(delta, -rates.clip, rates.clip))
    np.testing.assert_allclose(layer.weight[0].numpy(), expected, rtol=2e-5)
    b = b + rates.homeostasis * 0.7 * (q.mean(0) - 1 / 6)
    np.testing.assert_allclose(layer.threshold[0].numpy(), b, rtol=1e-5, atol=1e-8)
    assert got.item() == pytest.approx((q * u).sum(1).mean(), rel=1e-5)


@pytest.mark.parametrize("every", [1, 4])
def test_turnover_adds_its_two_terms(every):
    """D - k lambda (log w - log mean w) + sqrt(k) nu xi, the mean over live synapses."""
    layer = small_layer()
    layer.weight[0, 1, :3] = 0.0
    w = layer.weight[0].double().numpy()
    change = 0.1 * torch.randn(1, 6, 9, generator=Rng(5).torch("change"))
    before = change[0].double().numpy().copy()
    rates = Rates(maintenance=0.05, noise=0.04, turnover_every=every)
    plasticity.add_turnover(layer, change, rates, Rng(0).torch("noise"))
    xi = torch.randn(6, 9, generator=Rng(0).torch("noise")).double().numpy()
    live = w > 0
    mean = w.sum(1, keepdims=True) / live.sum(1, keepdims=True)
    pull = every * 0.05 * (np.log(w, where=live, out=np.zeros_like(w)) - np.log(mean))
    expected = before - pull + np.sqrt(every) * 0.04 * xi
    np.testing.assert_allclose(change[0].numpy()[live], expected[live], rtol=1e-4, atol=1e-6)
    plasticity.apply_log_step(layer, change, 0.5)
    assert (layer.weight[0].numpy()[~live] == 0).all()


@pytest.mark.parametrize("scaling", [True, False])
def test_the_third_factor_is_its_equation(scaling):
    """g = q e, D = eta_3 (<g x> - <g> w) / (<|g|> (w + c)), with e centred and at RMS one."""
    layer, x = small_layer(), unit_inputs()
    w, b, inputs = arrays(layer, x)
    error = torch.randn(1, 20, 6, generator=Rng(2).torch("error")) + 0.5
    plasticity.third_factor(layer, x, error, 0.04, 30.0, 0.03, scaling, clip=0.02)
    e = error[0].double().numpy()
    e = e - e.mean(1, keepdims=True)
    e = e / np.sqrt((e**2).mean())
    _, q = softmax_competition(w, b, inputs, 30.0, scaling)
    g = q * e
    size = np.abs(g).mean(0)[:, None]
    delta = 0.04 * (g.T @ inputs / 20 - g.mean(0)[:, None] * w) / (size * (w + 0.03))
    assert (np.abs(delta) > 0.02).any() and (np.abs(delta) < 0.02).any()
    expected = w * np.exp(np.clip(delta, -0.02, 0.02))
    np.testing.assert_allclose(layer.weight[0].numpy(), expected, rtol=1e-5)


def test_new_synapses_are_a_log_normal_share_of_their_neurons_mean():
    """w = 0.3 mean exp(0.5 xi), the mean over the neuron's live synapses."""
    layer = small_layer(3, 8)
    layer.weight[0, :, :4] = 0.0
    w = layer.weight[0].double().numpy().copy()
    structural.regrow(layer, 5, Rng(4).torch("regrow"))
    generator = Rng(4).torch("regrow")
    torch.rand(3, 8, generator=generator)
    xi = torch.randn(5, generator=generator).double().numpy()
    mean = w.sum(1) / 4
    ratio = layer.weight[0].double().numpy() / mean[:, None]
    grown = ratio[(w == 0) & (layer.weight[0].numpy() > 0)]
    np.testing.assert_allclose(np.sort(grown), np.sort(0.3 * np.exp(0.5 * xi)), rtol=1e-5)


def test_the_threshold_of_pruning_is_relative_to_the_mean_of_live_synapses():
    layer = small_layer(1, 10)
    layer.weight[0, 0] = torch.tensor([1.0, 1.0, 0.2] + [0.0] * 7)  # mean 2.2 / 3, not 2.2 / 10
    assert structural.prune(layer, 0.3) == 1
    assert layer.weight[0, 0].tolist() == [1.0, 1.0] + [0.0] * 8
