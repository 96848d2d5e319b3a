"""Terms of the baselines' rules that their other tests would not miss, each from its formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import Ridge

from baselines.dales_ann import forward
from baselines.feedback_alignment import Alignment
from baselines.target_propagation import DirectTargets
from harness.learning.backprop import Backprop, BackpropConfig
from harness.learning.fitting import EpisodeShape
from harness.learning.nets import init_perceptron, perceptron
from harness.learning.perceptron import in_turn, named
from harness.registry import learners
from harness.rng import Rng


def made(kind: str, train, **switches):
    cls = learners[kind]
    return cls(cls.Config(**switches), train.shape, train.n_classes, Rng(0))


def batch_of(digits, count: int = 30):
    return digits[0].tensor()[:count], torch.from_numpy(digits[0].labels[:count])


def network(*sizes: int) -> dict[str, torch.Tensor]:
    return named(init_perceptron(sizes, torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
@pytest.mark.parametrize("adapting", [False, True])
def test_exponentiated_steps_are_their_equation(digits, optimiser, adapting):
    """Three steps of w exp(-eta sign(w) d) with weight decay, and of the biases' b - eta_b d."""
    x, y = batch_of(digits)
    learner = made(
        "exponentiated-gradient",
        digits[0],
        hidden=9,
        optimiser=optimiser,
        lr=0.2,
        adapt_lr=0.3,
        bias_lr=0.1,
        decay=0.05,
    )
    rule = learner.rule(learner.tensors, adapting=adapting)
    ours = [p.double().clone() for p in in_turn(learner.tensors)]
    signs = [p.sign() for p in ours]
    m = [torch.zeros_like(p) for p in ours]
    v = [torch.zeros_like(p) for p in ours]
    for step, done in enumerate((0.0, 0.25, 0.5), start=1):
        leaves = [p.clone().requires_grad_() for p in ours]
        loss = F.cross_entropy(perceptron(x.double().flatten(1), leaves), y)
        gradients = torch.autograd.grad(loss, leaves)
        fade = 1.0 if adapting else 1 - done
        for i, gradient in enumerate(gradients):
            g = gradient + 0.05 * signs[i] if i % 2 == 0 else gradient
            if optimiser == "sgd":
                m[i] = 0.9 * m[i] + g
                d = m[i]
            else:
                m[i] = 0.9 * m[i] + 0.1 * g
                v[i] = 0.999 * v[i] + 0.001 * g**2
                d = m[i] / (1 - 0.9**step) / ((v[i] / (1 - 0.999**step)).sqrt() + 1e-8)
            eta = 0.3 if adapting else 0.2
            if i % 2:
                ours[i] = ours[i] - fade * 0.1 * d
            else:
                ours[i] = ours[i] * torch.exp(-fade * eta * signs[i] * d)
        rule.step(x, y, done)
    for got, expected in zip(in_turn(learner.tensors), ours, strict=True):
        torch.testing.assert_close(got.double(), expected, rtol=2e-3, atol=1e-5)


def test_dales_layers_are_their_equation(digits):
    """g / gamma (W_EX x - W_EI W_IX x) + b with gamma = W_EI (e^alpha W_IX x), twice."""
    learner = made("dales-ann", digits[0], hidden=12, inhibitory=0.25)
    generator = torch.Generator().manual_seed(1)
    t = {
        name: value.double() * (0.5 + torch.rand(value.shape, generator=generator))
        for name, value in learner.tensors.items()
    }
    t["bias0"] += 0.3
    x = digits[0].tensor()[:8].double()
    h = x.flatten(1).numpy()
    a = {name: value.numpy() for name, value in t.items()}
    for i in (0, 1):
        inhibition = h @ a[f"ix{i}"]
        gamma = (np.exp(a[f"alpha{i}"]) * inhibition) @ a[f"ei{i}"]
        z = a[f"gain{i}"] / gamma * (h @ a[f"ex{i}"] - inhibition @ a[f"ei{i}"]) + a[f"bias{i}"]
        h = z.clip(0) if i == 0 else z
    np.testing.assert_allclose(forward(x, t).numpy(), h, rtol=1e-5)


@pytest.mark.parametrize("adapting", [False, True])
def test_dales_steps_are_corrected_sgd_with_momentum_and_a_clamp(digits, adapting):
    x, y = batch_of(digits)
    learner = made(
        "dales-ann", digits[0], hidden=12, lr=2.0, adapt_lr=1.5, momentum=0.7, inhibitory=0.25
    )
    tensors = {name: value.double().clone() for name, value in learner.tensors.items()}
    ours = {name: value.clone() for name, value in tensors.items()}
    rule, velocity = learner.rule(tensors, adapting=adapting), dict.fromkeys(ours, 0.0)
    clamped = False
    for done in (0.0, 0.5):
        leaves = {name: value.clone().requires_grad_() for name, value in ours.items()}
        loss = F.cross_entropy(forward(x.double(), leaves), y)
        gradients = torch.autograd.grad(loss, list(leaves.values()))
        for (name, value), g in zip(ours.items(), gradients, strict=True):
            kind, layer = name[:-1], name[-1]
            n, e = ours[f"ex{layer}"].shape
            divisor = {"ix": math.sqrt(e), "ei": n, "alpha": n * math.sqrt(e)}.get(kind, 1)
            velocity[name] = 0.7 * velocity[name] + g
            rate = 1.5 if adapting else 2.0 * (1 - done)
            value = value - rate / divisor * velocity[name]
            if kind in ("ex", "ix", "ei", "gain"):
                clamped = clamped or bool((value < 0).any())
                value = value.clamp(min=0)
            ours[name] = value
        rule.step(x.double(), y, done)
    assert clamped
    for name, expected in ours.items():
        torch.testing.assert_close(tensors[name], expected)


def test_layered_feedback_passes_through_each_layer_and_signs_have_their_magnitude():
    tensors = network(12, 9, 7, 5)
    generator = torch.Generator().manual_seed(1)
    fixed = [torch.randn(7, 9, generator=generator), torch.randn(5, 7, generator=generator)]
    config = learners["feedback-alignment"].Config()
    rule = Alignment(tensors, config, feedback="layered", fixed=fixed, adapting=False)
    inputs, _ = rule.run(torch.rand(16, 12, generator=generator))
    output = torch.randn(16, 5, generator=generator)
    second = output @ fixed[1] * (inputs[2] > 0)
    first = second @ fixed[0] * (inputs[1] > 0)
    for got, expected in zip(rule.errors(inputs, output), (first, second), strict=True):
        torch.testing.assert_close(got, expected)
    sign = Alignment(tensors, config, feedback="sign", fixed=[], adapting=False)
    expected = tensors["weight1"].T.sign() * math.sqrt(2 / (9 + 7))
    torch.testing.assert_close(sign.weights_down(1), expected)


@pytest.mark.parametrize("kind", ["layered", "direct"])
def test_fixed_feedback_has_the_variance_of_its_senders(digits, kind):
    learner = made("feedback-alignment", digits[0], hidden=[300, 200], feedback=kind)
    first, second = learner.feedback()
    senders = 200 if kind == "layered" else 10
    assert first.shape == (senders, 300) and second.shape == (10, 200)
    assert first.var().item() == pytest.approx(1 / senders, rel=0.1)
    assert second.var().item() == pytest.approx(1 / 10, rel=0.1)


class Recorded:
    """An optimiser that only records its arguments."""

    def __init__(self):
        self.calls = []

    def step(self, gradients, rate=1.0):
        self.calls.append((gradients, rate))


def direct_targets(adapting: bool = False, **switches) -> DirectTargets:
    config = learners["target-propagation"].Config(**switches)
    return DirectTargets(
        network(12, 9, 7, 5), config, torch.Generator().manual_seed(0), adapting=adapting
    )


def test_feedback_descends_on_the_difference_reconstruction_loss():
    """d/dQ of |Q d - eps|^2 / 2 + decay |Q|^2 / 2, through every layer above, by autograd."""
    rule = direct_targets(feedback_decay=0.3, sigma=0.2)
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(5, units, generator=generator) for units in (9, 7)]
    for q, xi in zip(rule.feedback, drawn, strict=True):
        torch.testing.assert_close(q, xi * math.sqrt(2 / (5 + q.shape[1])))
    inputs, logits = rule.run(torch.rand(16, 12))
    rule.feedback_optimiser = Recorded()
    rule.learn_feedback(inputs)
    for i, q in enumerate(rule.feedback, start=1):
        eps = torch.randn(inputs[i].shape, generator=generator)
        h = inputs[i] + 0.2 * eps
        for layer in range(i, 3):
            a = h @ rule.weights[layer] + rule.biases[layer]
            h = torch.tanh(a)
        d = (a - logits) / 0.2
        leaf = q.clone().requires_grad_()
        loss = (d @ leaf - eps).square().sum(1).mean() / 2 + 0.3 * leaf.square().sum() / 2
        (gradient,) = torch.autograd.grad(loss, leaf)
        got = rule.feedback_optimiser.calls[0][0][i - 1]
        torch.testing.assert_close(got, gradient, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("adapting", "done", "learns"), [(False, 0.09, 0), (False, 0.1, 1), (True, 0.0, 1)]
)
def test_layers_wait_for_their_feedback_in_training(adapting, done, learns):
    rule = direct_targets(adapting, warmup=0.1)
    rule.optimiser = Recorded()
    rule.step(torch.rand(16, 1, 1, 12), torch.arange(16) % 5, done)
    assert len(rule.optimiser.calls) == learns


def test_false_labels_are_drawn_in_proportion_to_belief(digits):
    learner = made("forward-forward", digits[0], hidden=[16, 12])
    rule = learner.rule(learner.tensors, adapting=False)
    logits = torch.randn(4, 10, generator=torch.Generator().manual_seed(2))
    true = F.one_hot(torch.tensor([1, 4, 7, 9]), 10).float()
    seen = []
    rule.draw = lambda weights: seen.append(weights) or weights.argmax(1)
    rule._false_labels(logits, true)
    expected = (logits.softmax(1) + 1e-6) * (1 - true)
    torch.testing.assert_close(seen[0], expected)


def linear_rule(**switches) -> Backprop:
    generator = torch.Generator().manual_seed(0)
    tensors = {"weight0": torch.randn(6, 2, generator=generator), "bias0": torch.zeros(1, 2)}
    return Backprop(
        lambda x, t, _: x.flatten(1) @ t["weight0"] + t["bias0"],
        tensors,
        BackpropConfig(**switches),
        torch.Generator().manual_seed(3),
        adapting=False,
    )


def test_pruning_follows_its_cubic_schedule():
    """d + (1 - d) (1 - t)^3, t from 0 at a tenth of training to 1 at seven tenths."""
    rule, asked = linear_rule(density=0.2), []
    rule.optimiser.prune = asked.append
    for done in (0.0, 0.1, 0.25, 0.4, 0.7, 0.9):
        rule._prune(done)
    expected = [0.2 + 0.8 * (1 - t) ** 3 for t in (0.25, 0.5, 1.0)]
    assert asked == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(("steps", "size"), [(1, 1.25), (2, 1.25), (5, 0.5)])
@pytest.mark.parametrize(("done", "share"), [(0.0, 1e-3 / 0.5), (0.249, 0.5), (0.8, 1.0)])
def test_attacks_start_at_random_and_take_steps_of_their_budget(steps, size, done, share):
    rule = linear_rule(adversarial_eps=0.2, adversarial_steps=steps, adversarial_warmup=0.5)
    x, y = torch.full((4, 1, 2, 3), 0.5), torch.tensor([0, 1, 0, 1])
    eps = 0.2 * share
    noise = torch.rand(x.shape, generator=torch.Generator().manual_seed(3))
    w = rule.tensors["weight0"]
    direction = (w[:, 1 - y] - w[:, y]).T.sign().view(x.shape)
    expected = x + eps * (2 * noise - 1)
    for _ in range(steps):
        expected = torch.minimum(torch.maximum(expected + size * eps * direction, x - eps), x + eps)
    torch.testing.assert_close(rule._attacked(x, y, done), expected)


def test_adversarial_queries_climb_the_loss_within_their_budget(digits):
    switches = {"backbone": "mlp", "width": 16, "adversarial_eps": 0.1, "adversarial_steps": 4}
    learner = made("protonet", digits[0], **switches)
    shape, targets = EpisodeShape(3, 2, 2), torch.arange(3).repeat_interleave(2)
    batch = digits[0].tensor()[:12]
    got = learner.altered(batch, shape, targets, 5)
    body = learner.body()
    known = body(batch[:6]).view(3, 2, -1)
    noise = torch.rand(6, 1, 8, 8, generator=Rng(0).torch("adversarial queries", 5))
    delta = 0.1 * (2 * noise - 1)
    for _ in range(4):
        points = (batch[6:] + delta).clamp(0, 1).requires_grad_()
        distance = (body(points)[:, None] - known.mean(1)).square().sum(2)
        (g,) = torch.autograd.grad(F.cross_entropy(-distance, targets), points)
        delta = (delta + 0.1 * 2.5 / 4 * g.sign()).clamp(-0.1, 0.1)
    assert torch.equal(got[:6], batch[:6])
    torch.testing.assert_close(got[6:], (batch[6:] + delta).clamp(0, 1), rtol=0, atol=1e-4)


def test_relation_scores_are_trained_by_their_squared_error(digits):
    learner = made("relation-net", digits[0], backbone="mlp", width=8)
    logits, y = torch.randn(5, 3), torch.tensor([0, 1, 2, 1, 0])
    expected = (torch.sigmoid(logits) - F.one_hot(y, 3)).square().mean()
    torch.testing.assert_close(learner.loss(logits, y), expected)


def test_the_readout_of_random_features_is_sklearns_ridge(digits):
    learner = made("random-features", digits[0], width=40, ridge=0.02)
    learner.fit(digits[0])
    features = learner.embed(digits[0].tensor()).double().numpy()
    centred = features - features.mean(0)
    penalty = 0.02 * (centred**2).sum(0).mean()
    reference = Ridge(alpha=penalty).fit(features, np.eye(10)[digits[0].labels])
    got = learner.classifier()(digits[1].tensor()).detach().numpy() / 8
    expected = reference.predict(learner.embed(digits[1].tensor()).double().numpy())
    np.testing.assert_allclose(got, expected, atol=2e-3)
    assert learner.tensors["projection"].var().item() == pytest.approx(2 / 64, rel=0.1)


def test_a_hebbian_read_out_descends_on_the_cross_entropy_of_scaled_codes(digits, monkeypatch):
    learner = made("softhebb", digits[0], hidden=20, epochs=1, readout_epochs=1)
    recorded = Recorded()
    monkeypatch.setattr("harness.learning.hebbian.ProximalOptimiser", lambda *_, **__: recorded)
    learner.fit(digits[0])
    codes = learner.embed(digits[0].tensor())
    scale = 1 / codes.square().mean().sqrt()
    order = torch.randperm(1200, generator=learner.rng.torch("read-out order"))[:100]
    # The recorded optimiser changes nothing, so that weights stay at zero and p = 1 / 10.
    error = (
        torch.full((100, 10), 0.1) - F.one_hot(torch.from_numpy(digits[0].labels)[order])
    ) / 100
    (weight, bias), rate = recorded.calls[0]
    torch.testing.assert_close(weight, (codes[order] * scale).T @ error, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(bias, error.sum(0, keepdim=True), rtol=1e-3, atol=1e-6)
    assert rate == 1.0 and recorded.calls[6][1] == pytest.approx(0.5)


@pytest.mark.parametrize(("adapting", "rate"), [(False, 0.75), (True, 1.0)])
@pytest.mark.parametrize("kind", ["mlp", "feedback-alignment", "perturbation", "forward-forward"])
def test_the_rate_falls_in_training_and_stays_constant_from_scratch(digits, kind, adapting, rate):
    learner = made(kind, digits[0], hidden=6)
    rule = learner.rule(learner.tensors, adapting=adapting)
    rule.optimiser = Recorded()
    rule.step(*batch_of(digits), 0.25)
    assert rule.optimiser.calls[0][1] == rate
