"""Rules that need no error from the layer above: Mono-Forward, DRTP, PEPITA, error diffusion."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from harness.registry import learners
from harness.rng import Rng

CLASSES = 5


def untrained(kind: str, pixels: int = 12, **keys):
    cls = learners[kind]
    return cls(cls.Config(**keys), (1, 1, pixels), CLASSES, Rng(0))


def batch(pixels: int = 12, count: int = 15) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, 1, 1, pixels, generator=generator), torch.arange(count) % CLASSES


class Recorded:
    """An optimiser that only notes the gradients."""

    def step(self, gradients, rate=1.0):
        self.gradients = [gradient.clone() for gradient in gradients]
        self.rate = rate


def gradients_of(learner, done: float = 0.5, adapting: bool = False) -> Recorded:
    rule = learner.rule(learner.tensors, adapting=adapting)
    rule.optimiser = Recorded()
    rule.step(*batch(), done)
    return rule.optimiser


def accuracy(learner, test) -> float:
    with torch.no_grad():
        return (learner.classifier()(test.tensor()).argmax(1).numpy() == test.labels).mean()


def trained(kind: str, digits, **keys) -> float:
    cls = learners[kind]
    learner = cls(cls.Config(**keys), digits[0].shape, 10, Rng(0))
    learner.fit(digits[0])
    return accuracy(learner, digits[1])


def test_mono_forward_with_one_layer_is_backpropagation():
    learner = untrained("mono-forward", hidden=9)
    x, y = batch()
    leaves = [value.clone().requires_grad_() for value in learner.tensors.values()]
    weight, bias, readout = leaves
    loss = F.cross_entropy(F.relu(x.flatten(1) @ weight + bias) @ readout, y)
    for ours, theirs in zip(
        gradients_of(learner).gradients, torch.autograd.grad(loss, leaves), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("predict", ["last", "sum"])
def test_a_layer_of_mono_forward_descends_on_its_own_loss_alone(predict):
    learner = untrained("mono-forward", hidden=[9, 7, 6], predict=predict)
    x, y = batch()
    got = gradients_of(learner).gradients
    h = x.flatten(1)
    for i in range(3):
        leaves = [
            learner.tensors[f"{part}{i}"].clone().requires_grad_()
            for part in ("weight", "bias", "readout")
        ]
        above = F.relu(h @ leaves[0] + leaves[1])
        expected = torch.autograd.grad(F.cross_entropy(above @ leaves[2], y), leaves)
        for ours, theirs in zip(got[3 * i : 3 * i + 3], expected, strict=True):
            torch.testing.assert_close(ours, theirs)
        h = above.detach()


def test_mono_forward_answers_by_the_last_goodness_or_by_their_sum():
    x, _ = batch()
    answers = {}
    for predict in ("last", "sum"):
        learner = untrained("mono-forward", hidden=[9, 7], predict=predict)
        answers[predict] = learner.classifier()(x)
        first = F.relu(x.flatten(1) @ learner.tensors["weight0"]) @ learner.tensors["readout0"]
    torch.testing.assert_close(answers["sum"] - answers["last"], first)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_drtp_teaches_by_the_projected_label(activation):
    learner = untrained("drtp", hidden=[9, 7], activation=activation)
    x, y = batch()
    first, second = learner.projections(learner.tensors)
    assert first.shape == (CLASSES, 9) and second.shape == (CLASSES, 7)
    f = getattr(torch, activation)
    slope = {"relu": lambda h: (h > 0).float(), "tanh": lambda h: 1 - h**2}[activation]
    h1 = f(x.flatten(1) @ learner.tensors["weight0"])
    h2 = f(h1 @ learner.tensors["weight1"])
    z = h2 @ learner.tensors["weight2"]
    t = F.one_hot(y, CLASSES).float()
    got = gradients_of(learner).gradients
    torch.testing.assert_close(got[0], x.flatten(1).T @ (t @ first * slope(h1)) / 15)
    torch.testing.assert_close(got[2], h1.T @ (t @ second * slope(h2)) / 15)
    torch.testing.assert_close(got[4], h2.T @ (torch.sigmoid(z) - t) / 15)
    torch.testing.assert_close(got[5], (torch.sigmoid(z) - t).mean(0, keepdim=True))


def pepita(**keys):
    return untrained("pepita", **{"hidden": [9, 7], "feedback_scale": 0.4, "dropout": 0.0, **keys})


def test_pepita_learns_from_the_difference_of_two_passes():
    """The equations once more, in numpy and one image at a time."""
    learner = pepita()
    x, y = batch()
    w0, w1, w2 = (learner.tensors[f"weight{i}"].double().numpy() for i in range(3))
    projection = learner.projection(learner.tensors).double().numpy()
    expected = [np.zeros_like(w) for w in (w0, w1, w2)]

    def run(image):
        h1 = np.maximum(image @ w0, 0)
        h2 = np.maximum(h1 @ w1, 0)
        z = h2 @ w2
        return h1, h2, np.exp(z) / np.exp(z).sum()

    for image, label in zip(x.flatten(1).double().numpy(), y.numpy(), strict=True):
        target = np.eye(CLASSES)[label]
        h1, h2, p = run(image)
        changed = image + (p - target) @ projection
        k1, k2, q = run(changed)
        expected[0] += np.outer(changed, h1 - k1) / 15
        expected[1] += np.outer(k1, h2 - k2) / 15
        expected[2] += np.outer(k2, q - target) / 15
    got = gradients_of(learner).gradients
    for ours, theirs in zip(got[::2], expected, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=2e-4, atol=1e-6)
    assert all((bias == 0).all() for bias in got[1::2])


def test_with_a_small_projection_pepita_is_direct_feedback_alignment():
    """Where no unit switches, h - h' = -e F W_1 for the units that are active."""
    learner = pepita(hidden=9, feedback_scale=1e-3)
    x, y = batch()
    x = x.flatten(1)
    weight, readout = learner.tensors["weight0"], learner.tensors["weight1"]
    h = F.relu(x @ weight)
    error = (h @ readout).softmax(1) - F.one_hot(y, CLASSES)
    projection = learner.projection(learner.tensors)
    feedback = -projection @ weight
    by_drive = error @ feedback * (h > 0)
    expected = (x + error @ projection).T @ by_drive / 15
    got = gradients_of(learner).gradients[0]
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-6)


def test_both_passes_of_pepita_share_a_dropout_mask():
    learner = pepita(hidden=200, dropout=0.5)
    rule = learner.rule(learner.tensors, adapting=False)
    seen = []
    run = rule.forward
    rule.forward = lambda x, masks: seen.append((run(x, masks), masks)) or run(x, masks)
    rule.step(*batch(), 0.0)
    (first, masks), (second, again) = seen
    assert masks is again
    silent = masks[0] == 0
    assert 0.4 < silent.float().mean() < 0.6
    assert (masks[0][~silent] == 2).all()
    assert (first.activities[0][silent] == 0).all() and (second.activities[0][silent] == 0).all()


def test_adversarial_training_makes_pepita_more_robust(digits):
    """Under FGSM, which is PGD of one step."""
    images, y = digits[1].tensor(), torch.from_numpy(digits[1].labels)
    robust = []
    for eps in (0.0, 0.1):
        cls = learners["pepita"]
        config = cls.Config(hidden=100, epochs=12, adversarial_eps=eps, adversarial_steps=2)
        learner = cls(config, digits[0].shape, 10, Rng(0))
        learner.fit(digits[0])
        network = learner.classifier()
        point = images.clone().requires_grad_()
        (slope,) = torch.autograd.grad(F.cross_entropy(network(point), y), point)
        with torch.no_grad():
            answers = network((images + 0.1 * slope.sign()).clamp(0, 1)).argmax(1)
        robust.append(float((answers == y).float().mean()))
    assert robust[1] > robust[0] + 0.1


@pytest.mark.parametrize(("done", "rate"), [(0.0, 1), (0.59, 1), (0.6, 0.1), (0.95, 0.01)])
def test_pepitas_rate_falls_in_two_steps(done, rate):
    assert gradients_of(pepita(), done).rate == pytest.approx(rate)
    assert gradients_of(pepita(), done, adapting=True).rate == 1


def diffusion(pixels: int = 12, **keys):
    return untrained("error-diffusion", pixels, **keys)


def test_error_diffusion_without_hidden_layers_is_the_delta_rule():
    """One layer from (x, x): dW_pp = -dW_np = x^T phi' (t - p), as long as no weight is floored."""
    learner = diffusion(hidden=[], centred=False, alpha=2.0)
    for name in ("pp0", "np0"):
        learner.tensors[name].add_(5.0)
    before = {name: value.clone() for name, value in learner.tensors.items()}
    x, y = batch()
    learner.rule(learner.tensors, adapting=False).step(x, y, 0.5)
    flat = x.flatten(1)
    p = torch.sigmoid(flat @ (before["pp0"] - before["np0"]))
    delta = 3.0 * 0.5 / 15 * (F.one_hot(y, CLASSES) - p) * p * (1 - p)
    torch.testing.assert_close(learner.tensors["pp0"] - before["pp0"], flat.T @ delta)
    torch.testing.assert_close(learner.tensors["np0"] - before["np0"], -flat.T @ delta)
    torch.testing.assert_close(learner.tensors["bias_p0"], delta.sum(0, keepdim=True))


@pytest.mark.parametrize("centred", [True, False])
def test_a_hidden_unit_takes_the_error_of_its_class(centred):
    """The equations once more, in numpy, unit by unit."""
    learner = diffusion(hidden=[7], centred=centred, alpha=3.0)
    for value in learner.tensors.values():
        value.add_(0.5)
    t = {name: value.double().numpy().copy() for name, value in learner.tensors.items()}
    x, y = batch()
    flat = x.flatten(1).double().numpy()

    def phi(z):
        return 1 / (1 + np.exp(-2 * z / 3))

    p = phi(flat @ t["pp0"] - flat @ t["np0"] + t["bias_p0"])
    n = phi(flat @ t["nn0"] - flat @ t["pn0"] + t["bias_n0"])
    answer = phi(p @ t["pp1"] - n @ t["np1"] + t["bias_p1"])
    error = np.eye(CLASSES)[y.numpy()] - answer
    if centred:
        error = error - error.mean(0)
    routed = np.stack([error[:, i % CLASSES] for i in range(7)], 1)
    up = 2 / 3 * p * (1 - p) * routed * 3.0 / 15
    un = -2 / 3 * n * (1 - n) * routed * 3.0 / 15
    top = 2 / 3 * answer * (1 - answer) * error * 3.0 / 15
    expected = {
        "pp0": flat.T @ up,
        "np0": -flat.T @ up,
        "nn0": flat.T @ un,
        "pn0": -flat.T @ un,
        "pp1": p.T @ top,
        "np1": -n.T @ top,
    }
    learner.rule(learner.tensors, adapting=False).step(x, y, 0.0)
    for name, change in expected.items():
        got = learner.tensors[name].double().numpy() - t[name]
        np.testing.assert_allclose(got, change, rtol=1e-3, atol=2e-6)


def test_no_pathway_changes_sign_and_the_floor_holds(digits):
    cls = learners["error-diffusion"]
    learner = cls(cls.Config(hidden=[40, 20], epochs=3), digits[0].shape, 10, Rng(0))
    log = learner.fit(digits[0])
    assert log.sign_changes == 0
    for bundle in learner.connectome():
        assert bundle.enforced
        sign = 1 if bundle.name[-7] == bundle.name[-2] else -1
        assert (sign * bundle.weight >= 1e-4 - 1e-9).all()


@pytest.mark.parametrize(
    ("kind", "keys", "least"),
    [
        ("mono-forward", {"hidden": [64, 64], "lr": 5e-3, "epochs": 10}, 0.93),
        ("drtp", {"hidden": 128, "lr": 1e-2, "epochs": 15}, 0.88),
        ("pepita", {"hidden": 128, "epochs": 30}, 0.88),
        ("error-diffusion", {"hidden": [64], "epochs": 30}, 0.85),
    ],
)
def test_digits_are_learned(kind, keys, least, digits):
    assert trained(kind, digits, **keys) > least


def test_a_narrow_sigmoid_does_not_learn(digits):
    """The paper's ablation: with deep streams and alpha 1, units saturate from the start."""
    assert trained("error-diffusion", digits, hidden=[64, 32], alpha=0.2, epochs=10) < 0.5
