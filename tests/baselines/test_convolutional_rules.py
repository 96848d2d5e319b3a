"""Convolutions of PEPITA, DRTP, error diffusion and Mono-Forward, each against its equations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from harness.bounds.prove import prove
from harness.errors import HarnessError
from harness.learning.convolutional import bias_gradient, drive, weight_gradient
from harness.learning.nets import ACTIVATIONS
from harness.registry import bodies, learners
from harness.rng import Rng

CLASSES = 3
SHAPE = (2, 7, 6)
COUNT = 6
KINDS = ("pepita", "drtp", "error-diffusion", "mono-forward")

every_rule = pytest.mark.parametrize("kind", KINDS)


def untrained(kind: str, shape: tuple[int, int, int] = SHAPE, **keys):
    cls = learners[kind]
    return cls(cls.Config(**{"channels": [4, 5], "hidden": [6], **keys}), shape, CLASSES, Rng(0))


def batch(shape: tuple[int, int, int] = SHAPE) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(COUNT, *shape, generator=generator), torch.arange(COUNT) % CLASSES


class Recorded:
    """An optimiser that only notes the gradients."""

    def step(self, gradients, rate=1.0):
        self.gradients = [gradient.clone() for gradient in gradients]


def gradients_of(learner) -> list[torch.Tensor]:
    rule = learner.rule(learner.tensors, adapting=False)
    rule.optimiser = Recorded()
    rule.step(*batch(), 0.5)
    return rule.optimiser.gradients


def patch(image: np.ndarray, row: int, column: int, side: int) -> np.ndarray:
    """The patch (c, side, side) around a place of an image (c, H, W), zeros outside."""
    margin = side // 2
    padded = np.pad(image, ((0, 0), (margin, margin), (margin, margin)))
    return padded[:, row : row + side, column : column + side]


def naive_drive(image: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The drive (C, H, W), place by place."""
    rows, columns = image.shape[1:]
    result = np.zeros((len(weight), rows, columns))
    for row in range(rows):
        for column in range(columns):
            seen = patch(image, row, column, weight.shape[-1])
            result[:, row, column] = (weight * seen).sum((1, 2, 3))
    return result


def naive_gradient(image: np.ndarray, error: np.ndarray, side: int) -> np.ndarray:
    """The sum over places of error times patch, (C, c, side, side)."""
    total = np.zeros((len(error), len(image), side, side))
    for row in range(image.shape[1]):
        for column in range(image.shape[2]):
            seen = patch(image, row, column, side)
            total += error[:, row, column][:, None, None, None] * seen
    return total


def naive_pool(h: np.ndarray) -> np.ndarray:
    """The largest of each 2x2 square; what is left over at an edge is dropped."""
    rows, columns = h.shape[1] // 2, h.shape[2] // 2
    squares = h[:, : 2 * rows, : 2 * columns].reshape(len(h), rows, 2, columns, 2)
    return squares.max((2, 4))


# ------------------------------------------------------------------------------ parts they share


@pytest.mark.parametrize("side", [1, 3, 5])
def test_a_filters_drive_and_gradient_are_sums_over_its_patch(side):
    generator = torch.Generator().manual_seed(side)
    images = torch.rand(2, *SHAPE, generator=generator)
    weight = torch.randn(3, 2, side, side, generator=generator)
    error = torch.randn(2, 3, *SHAPE[1:], generator=generator)
    seen = images.double().numpy()
    expected = sum(naive_gradient(x, e, side) for x, e in zip(seen, error.numpy(), strict=True))
    got = weight_gradient(images, weight, error).numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
    driven = np.stack([naive_drive(x, weight.numpy()) for x in seen])
    np.testing.assert_allclose(drive(images, weight).numpy(), driven, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(bias_gradient(error), error.transpose(0, 1).flatten(1).sum(1))


PINNED = {
    "pepita": [-7.774825522, 0.099581986, 1.827181729],
    "drtp": [-7.782443264, 0.087038703, 1.819680339],
    "error-diffusion": [22.850358512, 21.229649053, 7.387833220, 6.687887848],
    "mono-forward": [-7.920403556, 1.949803977, -5.587344475, 0.556039690],
}
"""Sums of weights after two steps, from the version that had perceptrons only."""


@every_rule
def test_a_perceptron_learns_as_it_did_before_there_were_convolutions(kind):
    own = {"dropout": 0.2, "feedback_scale": 0.4} if kind == "pepita" else {}
    cls = learners[kind]
    learner = cls(cls.Config(hidden=[9, 7], **own), (1, 3, 4), 5, Rng(0))
    rule = learner.rule(learner.tensors, adapting=False)
    x = torch.rand(15, 1, 3, 4, generator=torch.Generator().manual_seed(1))
    for step in range(2):
        rule.step(x, torch.arange(15) % 5, step / 2)
    weights = [value for name, value in learner.tensors.items() if not name.startswith("bias")]
    sums = [float(weight.double().sum()) for weight in weights[: len(PINNED[kind])]]
    np.testing.assert_allclose(sums, PINNED[kind], rtol=1e-5, atol=1e-5)


@every_rule
def test_an_even_filter_and_an_image_that_is_too_small_are_refused(kind):
    with pytest.raises(ValidationError, match="kernel must be odd"):
        untrained(kind, kernel=4)
    with pytest.raises(HarnessError, match="too small for 3 convolutions"):
        untrained(kind, channels=[2, 2, 2])


def test_mono_forward_without_any_layer_is_refused():
    with pytest.raises(ValidationError, match="give hidden or channels"):
        untrained("mono-forward", channels=[], hidden=[])


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_body_for_backprop_is_the_network_of_the_rules(activation):
    """The same tensors give the same activity."""
    learner = untrained("drtp", activation=activation, kernel=5)
    cls = bodies["convolutions"]
    config = cls.Config(channels=[4, 5], hidden=[6], kernel=5, activation=activation)
    body = cls(config).build(SHAPE, torch.Generator().manual_seed(0))
    tensors = [learner.tensors[f"{part}{i}"] for i in range(3) for part in ("weight", "bias")]
    for parameter, tensor in zip(body.parameters(), tensors, strict=True):
        parameter.data = tensor.T if parameter.ndim == 2 else tensor.reshape(parameter.shape)
    x, _ = batch()
    torch.testing.assert_close(learner.network(learner.tensors, activity=True)(x), body(x))


# ------------------------------------------------------------------------------------- the rules


def test_pepitas_filters_take_the_difference_of_two_passes_at_each_place():
    """The equations once more, in numpy, one image and one place at a time."""
    learner = untrained("pepita", dropout=0.0, feedback_scale=0.4)
    x, y = batch()
    w0, w1, w2, w3 = (learner.tensors[f"weight{i}"].double().numpy() for i in range(4))
    projection = learner.projection(learner.tensors).double().numpy()
    expected = [np.zeros_like(w) for w in (w0, w1, w2, w3)]

    def run(image):
        h0 = np.maximum(naive_drive(image, w0), 0)
        below = naive_pool(h0)
        h1 = np.maximum(naive_drive(below, w1), 0)
        flat = naive_pool(h1).ravel()
        h2 = np.maximum(flat @ w2, 0)
        z = h2 @ w3
        return h0, below, h1, flat, h2, np.exp(z) / np.exp(z).sum()

    for image, label in zip(x.double().numpy(), y.numpy(), strict=True):
        target = np.eye(CLASSES)[label]
        h0, _, h1, _, h2, p = run(image)
        changed = image + ((p - target) @ projection).reshape(image.shape)
        k0, below, k1, flat, k2, q = run(changed)
        expected[0] += naive_gradient(changed, h0 - k0, 3) / (COUNT * h0[0].size)
        expected[1] += naive_gradient(below, h1 - k1, 3) / (COUNT * h1[0].size)
        expected[2] += np.outer(flat, h2 - k2) / COUNT
        expected[3] += np.outer(k2, q - target) / COUNT
    got = gradients_of(learner)
    for ours, theirs in zip(got[::2], expected, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=2e-3, atol=1e-6)
    assert all((bias == 0).all() for bias in got[1::2])


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_a_filter_of_drtp_descends_on_its_activity_times_the_projected_label(activation):
    """The gradient of <h, t B> through its own layer alone."""
    learner = untrained("drtp", activation=activation)
    x, y = batch()
    target = F.one_hot(y, CLASSES).float()
    projections = learner.projections(learner.tensors)
    assert projections[0].shape == (CLASSES, 4, 7, 6) and projections[1].shape[1:] == (5, 3, 3)
    got = gradients_of(learner)
    below = x
    for i, projection in enumerate(projections):
        leaves = [learner.tensors[f"{part}{i}"].requires_grad_() for part in ("weight", "bias")]
        if projection.ndim == 2:
            below = below.flatten(1)
        h = ACTIVATIONS[activation](drive(below, *leaves))
        taught = (target @ projection.flatten(1)).view_as(h)
        expected = torch.autograd.grad((h * taught).sum() / COUNT, leaves)
        for ours, theirs in zip(got[2 * i : 2 * i + 2], expected, strict=True):
            torch.testing.assert_close(ours, theirs)
        below = (F.max_pool2d(h, 2) if h.ndim == 4 else h).detach()
    output = torch.sigmoid(below @ learner.tensors["weight3"]) - target
    torch.testing.assert_close(got[6], below.T @ output / COUNT)


def test_random_convolutions_of_drtp_keep_their_weights_and_the_rest_learns():
    learner = untrained("drtp", random_convolutions=True)
    before = {name: value.clone() for name, value in learner.tensors.items()}
    learner.rule(learner.tensors, adapting=False).step(*batch(), 0.0)
    kept = [name for name, value in before.items() if torch.equal(value, learner.tensors[name])]
    assert kept == ["weight0", "bias0", "weight1", "bias1"]


@pytest.mark.parametrize("predict", ["last", "sum"])
def test_a_convolution_of_mono_forward_descends_on_its_own_loss_alone(predict):
    learner = untrained("mono-forward", predict=predict)
    x, y = batch()
    got = gradients_of(learner)
    below, goodness = x, []
    for i in range(3):
        names = [f"{part}{i}" for part in ("weight", "bias", "readout")]
        weight, bias, readout = leaves = [learner.tensors[name].requires_grad_() for name in names]
        if weight.ndim == 2:
            below = below.flatten(1)
        h = F.relu(drive(below, weight, bias))
        h = F.max_pool2d(h, 2) if h.ndim == 4 else h
        goodness.append(h.flatten(1) @ readout)
        expected = torch.autograd.grad(F.cross_entropy(goodness[-1], y), leaves)
        for ours, theirs in zip(got[3 * i : 3 * i + 3], expected, strict=True):
            torch.testing.assert_close(ours, theirs)
        below = h.detach()
    answer = goodness[-1] if predict == "last" else sum(goodness)
    torch.testing.assert_close(learner.classifier()(x), answer.detach())


def test_mono_forward_with_one_convolution_is_backpropagation():
    learner = untrained("mono-forward", channels=[4], hidden=[])
    x, y = batch()
    leaves = [value.requires_grad_() for value in learner.tensors.values()]
    weight, bias, readout = leaves
    maps = F.max_pool2d(F.relu(F.conv2d(x, weight, bias, padding=1)), 2)
    expected = torch.autograd.grad(F.cross_entropy(maps.flatten(1) @ readout, y), leaves)
    for ours, theirs in zip(gradients_of(learner), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_channel_of_error_diffusion_takes_the_error_of_its_class():
    """The equations once more, in numpy, one image and one place at a time."""
    learner = untrained("error-diffusion", channels=[4], hidden=[], alpha=4.0, alpha_conv=3.0)
    for value in learner.tensors.values():
        value.add_(0.3)  # so that no weight reaches the floor
    t = {name: value.double().numpy().copy() for name, value in learner.tensors.items()}
    x, y = batch()
    images = x.double().numpy()

    def phi(z, alpha):
        return 1 / (1 + np.exp(-2 * z / alpha))

    p0, n0, answers = [], [], []
    for image in images:
        excited, inhibited = (naive_drive(image, t["pp0"]), naive_drive(image, t["np0"]))
        p0.append(phi(excited - inhibited + t["bias_p0"][:, None, None], 3.0))
        excited, inhibited = (naive_drive(image, t["nn0"]), naive_drive(image, t["pn0"]))
        n0.append(phi(excited - inhibited + t["bias_n0"][:, None, None], 3.0))
        p, n = naive_pool(p0[-1]).ravel(), naive_pool(n0[-1]).ravel()
        answers.append(phi(p @ t["pp1"] - n @ t["np1"] + t["bias_p1"][0], 4.0))
    error = np.eye(CLASSES)[y.numpy()] - np.stack(answers)
    error = error - error.mean(0)
    expected = {name: np.zeros_like(value) for name, value in t.items()}
    for image, p, n, answer, s in zip(images, p0, n0, answers, error, strict=True):
        routed = s[np.arange(4) % CLASSES][:, None, None]
        up = 2 / 3 * p * (1 - p) * routed * 3.0 / COUNT
        un = -2 / 3 * n * (1 - n) * routed * 3.0 / COUNT
        top = 2 / 4 * answer * (1 - answer) * s * 3.0 / COUNT
        expected["pp0"] += naive_gradient(image, up, 3)
        expected["np0"] -= naive_gradient(image, up, 3)
        expected["nn0"] += naive_gradient(image, un, 3)
        expected["pn0"] -= naive_gradient(image, un, 3)
        expected["pp1"] += np.outer(naive_pool(p), top)
        expected["np1"] -= np.outer(naive_pool(n), top)
        expected["bias_p0"] += up.sum((1, 2))
        expected["bias_n0"] += un.sum((1, 2))
        expected["bias_p1"] += top
    learner.rule(learner.tensors, adapting=False).step(x, y, 0.0)
    for name, change in expected.items():
        got = learner.tensors[name].double().numpy() - t[name]
        np.testing.assert_allclose(got, change, rtol=2e-3, atol=2e-6)


# --------------------------------------------------------------------- what comes out of learning


@pytest.fixture(scope="module")
def trained(digits):
    """Each rule on 8x8 digits, with its log."""
    keys = {
        "pepita": {"channels": [16], "kernel": 5, "lr": 0.1, "epochs": 4, "batch_size": 20},
        "drtp": {"channels": [16], "hidden": [64], "lr": 1e-2, "epochs": 8},
        "error-diffusion": {"channels": [20], "lr": 10.0, "epochs": 8},
        "mono-forward": {"channels": [8, 16], "lr": 1e-2, "epochs": 5},
    }
    results = {}
    for kind in KINDS:
        cls = learners[kind]
        config = cls.Config(**{"hidden": [], **keys[kind]})
        learner = cls(config, digits[0].shape, 10, Rng(0))
        results[kind] = (learner, learner.fit(digits[0]))
    return results


@every_rule
def test_a_convolutional_rule_learns_digits(kind, trained, digits):
    learner, log = trained[kind]
    with torch.no_grad():
        answers = learner.classifier()(digits[1].tensor()).argmax(1).numpy()
    assert (answers == digits[1].labels).mean() > 0.85
    assert log.rows[-1]["loss"] < log.rows[1]["loss"]


def test_no_filter_of_error_diffusion_changes_sign_and_the_floor_holds(trained):
    learner, log = trained["error-diffusion"]
    assert log.sign_changes == 0
    for bundle in learner.connectome():
        sign = 1 if bundle.name[-7] == bundle.name[-2] else -1
        assert bundle.enforced and bundle.weight.ndim == 2
        assert (sign * bundle.weight >= 1e-4 - 1e-9).all()


@every_rule
def test_an_attack_sees_the_gradient_of_the_answer(kind, trained):
    """Against finite differences, in float64."""
    network = trained[kind][0].classifier().double()
    x = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    assert torch.autograd.gradcheck(network, x.requires_grad_(), eps=1e-6, atol=1e-4)


@every_rule
def test_what_is_proven_of_a_convolutional_rule_holds_at_random_points(kind, trained, digits):
    network = trained[kind][0].classifier()
    points = digits[1].tensor()[:4]
    labels = network(points).argmax(1)
    eps = 0.01
    margins = prove(network, points, labels, eps).margins
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        noise = eps * (2 * torch.rand(points.shape, generator=generator) - 1).sign()
        scores = network((points + noise).clamp(0, 1))
        own = scores.gather(1, labels[:, None])
        others = scores.scatter(1, labels[:, None], -torch.inf)
        assert (margins.amin(1) <= (own - others.amax(1, keepdim=True)).flatten() + 1e-5).all()
