"""Weights that learn a mean input and its surprise: each term, the fixed point, and the control."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.data.base import Images
from harness.metrics.distributions import FAMILIES, aic, ks_lognormal, log_moments
from harness.registry import datasets, learners
from harness.rng import Rng
from harness.rules import plasticity
from harness.rules.competition import Layer, compete, drive, uniform_weights
from harness.rules.surprise import SLOWEST, Traces, log_weight

ECH, PROTOTYPES = learners["ech"], learners["prototypes"]


def config(**keys):
    return ECH.Config(**{"hidden": 12, "surprise": 0.7, **keys})


def layer(neurons: int = 12) -> Layer:
    weight = uniform_weights(1, neurons, 20, generator=torch.Generator().manual_seed(0))
    return Layer(weight, torch.zeros(1, neurons))


def inputs(count: int = 30) -> torch.Tensor:
    x = torch.rand(1, count, 20, generator=torch.Generator().manual_seed(1)) ** 3
    return x / x.norm(dim=2, keepdim=True)


def literal(e, mean, sd, scale, c):
    """The formula of the module, as it is written there."""
    return (np.log(e + c) + (e - mean) / (scale * (sd + c))) / 2


def test_log_weight_is_its_formula():
    rng = np.random.default_rng(0)
    e, mean, sd = rng.random((5, 7)), rng.random((1, 7)), rng.random((1, 7))
    got = log_weight(*map(torch.from_numpy, (e, mean, sd)), 0.7, 0.02)
    np.testing.assert_allclose(got, literal(e, mean, sd, 0.7, 0.02), rtol=1e-12)


def test_a_step_is_its_formula():
    """Trace of the synapse, traces of the input, target, constant and rate, from scratch."""
    one, x = layer(), inputs()
    one.weight[0, 3, :4] = 0.0
    w, start = one.weight[0].double().numpy(), one.weight[0].double().numpy()
    q = compete(one, drive(one, x), 20.0)
    got = plasticity.surprise_delta(one, x, q, 0.3, 0.02, 0.7)[0].double().numpy()

    q, x = q[0].double().numpy(), x[0].double().numpy()
    m = q.mean(0)
    s = 0.3 * np.minimum(1, 12 * m)[:, None]
    e = start + s * (q.T @ x / len(x) / m[:, None] - start)
    target = literal(e, x.mean(0), x.std(0), 0.7, 0.02)
    live = w > 0
    gap = np.where(live, target - np.log(np.where(live, w, 1)), 0)
    gap -= gap.sum(1, keepdims=True) / live.sum(1, keepdims=True)
    np.testing.assert_allclose(got[live], (s * gap)[live], rtol=1e-3, atol=1e-6)


def test_learning_ends_at_the_formula():
    one, x = layer(), inputs()
    still = config(eta=0.3, homeostasis=0.0)
    for _ in range(400):
        plasticity.learn(one, x, 20.0, 1.0, still, Rng(0).torch("noise"))
    q = compete(one, drive(one, x), 20.0)[0].double()
    e = (q.T @ x[0].double() / q.sum(0)[:, None]).numpy()
    target = literal(
        e, x[0].double().mean(0).numpy(), x[0].double().std(0, False).numpy(), 0.7, 0.02
    )
    logs = one.weight[0].double().log().numpy()
    centred = target - target.mean(1, keepdims=True)
    np.testing.assert_allclose(logs - logs.mean(1, keepdims=True), centred, atol=0.01)


def test_a_neurons_mean_log_weight_stays():
    one = layer()
    before = one.weight.log().mean(2)
    for _ in range(5):
        plasticity.learn(one, inputs(), 20.0, 1.0, config(), Rng(0).torch("noise"))
    torch.testing.assert_close(one.weight.log().mean(2), before, rtol=1e-3, atol=1e-3)


def test_what_does_not_exist_neither_grows_nor_remembers():
    one = layer()
    one.weight[0, :, :5] = 0.0
    for _ in range(5):
        plasticity.learn(one, inputs(), 20.0, 1.0, config(), Rng(0).torch("noise"))
    assert (one.weight[0, :, :5] == 0).all() and (one.weight[0, :, 5:] > 0).all()
    assert (one.traces.given_win[0, :, :5] == 0).all()


def test_traces_of_the_input_are_means_until_they_forget():
    traces = Traces.before(torch.ones(1, 3, 20))
    batches = torch.rand(5, 1, 8, 20, generator=torch.Generator().manual_seed(0))
    for batch in batches:
        traces.see(batch)
    seen = batches.flatten(0, 2)
    torch.testing.assert_close(traces.mean[0], seen.mean(0))
    torch.testing.assert_close(traces.deviation[0], seen.std(0, correction=0), rtol=1e-4, atol=1e-5)
    traces.batches = 10_000
    before = traces.mean.clone()
    traces.see(torch.ones(1, 8, 20))
    torch.testing.assert_close(traces.mean, before + SLOWEST * (1 - before))


def test_without_surprise_a_step_is_the_hebbian_one():
    one, other, x = layer(), layer(), inputs()
    q = compete(one, drive(one, x), 20.0)
    got = plasticity.log_step(one, x, q, 0.3, config(surprise=None)).clone()
    torch.testing.assert_close(got, plasticity.hebbian_delta(other, x, q, 0.3, 0.02))
    assert one.traces is None


def images(count: int) -> Images:
    return (
        datasets["mnist5k"](datasets["mnist5k"].Config())
        .build()
        .split("standard", "train")
        .take(np.arange(count))
    )


def fitted(train: Images, **keys):
    learner = ECH(
        ECH.Config(**{"hidden": 30, "surprise": 0.7, "epochs": 2, "readout_steps": 5, **keys}),
        train.shape,
        train.n_classes,
        Rng(0),
    )
    learner.fit(train)
    return learner


def test_what_it_remembers_is_part_of_its_state():
    train = images(200)
    first = fitted(train)
    second = ECH(first.config, train.shape, train.n_classes, Rng(0))
    second.load_state_dict(first.state_dict())
    for learner in (first, second):
        learner.go_on(train)
    for name, value in first.state_dict().items():
        torch.testing.assert_close(second.state_dict()[name], value)
    assert first.carried["traces.batches"] > 2 * 200 // 50


@pytest.mark.parametrize("prune_from", [2, 99])
def test_with_fewer_epochs_than_planned_the_last_one_prunes(prune_from):
    learner = fitted(images(200), prune=1.0, prune_from=prune_from, prune_until=1.0, regrow=0.0)
    assert 0.1 < (learner.layer.weight > 0).float().mean() < 0.6


def test_the_control_has_what_the_rule_would_settle_at():
    """k-means' clusters in the formula: their means, and the statistics of all images."""
    train = images(300)
    learner = PROTOTYPES(
        PROTOTYPES.Config(hidden=10, surprise=0.7, prune=1.0, readout_steps=5, iterations=40),
        train.shape,
        train.n_classes,
        Rng(0),
    )
    learner.fit(train)
    x = train.tensor().flatten(1).double()
    x = (x / x.norm(dim=1, keepdim=True)).numpy()
    centres = learner.tensors["prototypes"].double().numpy()
    nearest = (x @ (centres / np.linalg.norm(centres, axis=1, keepdims=True)).T).argmax(1)
    means = np.stack([x[nearest == j].mean(0) for j in range(10)])
    np.testing.assert_allclose(centres, means, atol=1e-5)
    weight = np.exp(literal(means, x.mean(0), x.std(0), 0.7, 0.02))
    weight *= weight >= weight.mean(1, keepdims=True)
    got = learner.weights().double().numpy()
    ours, theirs = (w / np.linalg.norm(w, axis=1, keepdims=True) for w in (got, weight))
    np.testing.assert_allclose(ours, theirs, atol=1e-3)
    before = learner.carried["statistics"].clone()
    learner.go_on(train)
    torch.testing.assert_close(learner.carried["statistics"], 2 * before)


@pytest.mark.slow
def test_weights_are_lognormal_by_learning():
    """On the 3,500 training images of ``mnist5k``, without noise, from a uniform start."""
    train = images(3500)
    learner = ECH(
        ECH.Config(surprise=0.7, prune=1.0, prune_from=5, prune_until=0.34, regrow=0.0),
        train.shape,
        train.n_classes,
        Rng(0),
    )
    before = learner.layer.weight.flatten().double().numpy()
    assert ks_lognormal(before) > 0.08
    learner.fit(train)
    weight = learner.layer.weight[learner.layer.live].double().numpy()
    criteria = aic(weight)
    assert min(criteria, key=criteria.get) == FAMILIES[0] == "lognormal"
    assert ks_lognormal(weight) < 0.05
    sigma, skew, _ = log_moments(weight)
    assert 0.5 < sigma < 0.75 and abs(skew) < 0.4
