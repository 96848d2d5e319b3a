"""Variants of backpropagation: pruning, constraints, adversarial training, convolutions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from harness.learning.backprop import Backprop, BackpropConfig
from harness.learning.convnets import convnet, folded, init_convnet
from harness.learning.optimisers import ProximalOptimiser
from harness.registry import learners
from harness.rng import Rng


def made(kind: str, train, **switches):
    cls = learners[kind]
    return cls(cls.Config(**switches), train.shape, train.n_classes, Rng(0))


def fitted(kind: str, train, **switches):
    learner = made(kind, train, **switches)
    learner.fit(train)
    return learner


def accuracy(learner, test) -> float:
    with torch.no_grad():
        return (learner.classifier()(test.tensor()).argmax(1).numpy() == test.labels).mean()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    "switches",
    [
        {"kind": "mlp", "hidden": [60, 30]},
        {"kind": "cnn", "filters": 4, "units": 20, "batch_size": 100},
        {"kind": "cnn", "body": "conv4", "filters": 4, "batch_size": 100},
    ],
)
@pytest.mark.parametrize("density", [0.28, 0.1])
def test_pruning_leaves_exactly_the_share_asked_for(digits, switches, density):
    learner = fitted(train=digits[0], epochs=2, density=density, **switches)
    for bundle in learner.connectome():
        kept = round(density * bundle.weight.numel())
        assert bundle.mask.sum() == kept == (bundle.weight != 0).sum()


def test_a_pruned_network_stays_accurate(digits):
    assert accuracy(fitted("mlp", digits[0], hidden=400, density=0.1), digits[1]) > 0.9


def test_a_network_is_pruned_from_scratch_too(digits):
    images, labels = digits[1].tensor()[:20], torch.from_numpy(digits[1].labels[:20])
    module = made("mlp", digits[0], hidden=50, density=0.2).adapt(images, labels, 10)
    assert [(w != 0).sum() for w in list(module.layers)[::2]] == [
        round(0.2 * 64 * 50),
        round(0.2 * 50 * 10),
    ]


def test_the_smallest_weights_are_pruned_and_stay_zero():
    weight, bias = torch.randn(8, 5, generator=generator()), torch.zeros(1, 5)
    kept = weight.abs() >= weight.abs().flatten().sort(descending=True).values[9]
    optimiser = ProximalOptimiser([weight, bias], optimiser="sgd", lr=0.1)
    optimiser.prune(0.25)
    assert torch.equal(weight != 0, kept) and kept.sum() == 10
    for _ in range(3):
        optimiser.step([torch.randn(8, 5, generator=generator(1)), torch.ones(1, 5)])
        assert torch.equal(weight != 0, kept)
    assert (bias != 0).all()


def test_constrained_backpropagation_has_no_inhibitory_pool(digits):
    learner = fitted("mlp", digits[0], hidden=100, non_negative=True, pool=False, l1=1e-5)
    tensors, x = learner.tensors, digits[1].tensor()
    plain = (
        F.relu(x.flatten(1) @ tensors["weight0"] + tensors["bias0"]) @ tensors["weight1"]
        + tensors["bias1"]
    )
    torch.testing.assert_close(learner.classifier()(x), plain)
    assert (
        all((b.weight >= 0).all() and b.enforced for b in learner.connectome())
        and accuracy(learner, digits[1]) > 0.85
    )


def test_adversarial_examples_of_a_linear_network_are_the_worst_case():
    """With two classes, every pixel goes to the end of the budget or of [0, 1]."""
    tensors = {"weight0": torch.randn(6, 2, generator=generator()), "bias0": torch.zeros(1, 2)}
    x, y = torch.rand(9, 1, 2, 3, generator=generator()), torch.arange(9) % 2
    direction = (tensors["weight0"][:, 1 - y] - tensors["weight0"][:, y]).T.sign().view(9, 1, 2, 3)
    for steps in (1, 5):
        config = BackpropConfig(adversarial_eps=0.2, adversarial_steps=steps)
        rule = Backprop(
            lambda x, t, _: x.flatten(1) @ t["weight0"] + t["bias0"],
            tensors,
            config,
            generator(),
            adapting=False,
        )
        found, worst = rule._attacked(x, y, 0.5), (x + 0.2 * direction).clamp(0, 1)
        if steps == 5:
            torch.testing.assert_close(found, worst)
        assert (found - x).abs().max() <= 0.2 + 1e-6 and found.min() >= 0 and found.max() <= 1


@pytest.mark.parametrize("steps", [1, 7])
def test_adversarial_training_is_more_robust_than_plain_training(digits, steps):
    train, test = digits
    x, y = test.tensor(), torch.from_numpy(test.labels)

    def under_attack(learner) -> float:
        module, point = learner.classifier(), x.clone()
        for _ in range(10):
            point = point.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(F.cross_entropy(module(point), y), point)
            point = torch.minimum(
                torch.maximum(point.detach() + 0.025 * gradient.sign(), x - 0.1), x + 0.1
            ).clamp(0, 1)
        return (module(point).argmax(1) == y).float().mean().item()

    switches = {"hidden": 200, "adversarial_steps": steps, "epochs": 15}
    plain, robust = (fitted("mlp", train, adversarial_eps=eps, **switches) for eps in (0.0, 0.1))
    assert under_attack(robust) > under_attack(plain) + 0.15 and accuracy(robust, test) > 0.85


def reference(tensors: dict[str, torch.Tensor], normed: bool) -> nn.Sequential:
    """The same network out of torch's own layers, in the usual order: ReLU, then pooling."""
    layers, flat = [], False
    names = sorted(name for name in tensors if name.startswith("weight"))
    for i, name in enumerate(names):
        weight, bias = tensors[name].clone(), tensors[f"bias{i}"].clone()
        if weight.ndim == 4:
            conv = nn.Conv2d(*weight.shape[1::-1], weight.shape[2], padding="same", bias=not normed)
            conv.weight = nn.Parameter(weight)
            layers.append(conv)
            if normed:
                norm = nn.BatchNorm2d(len(bias))
                norm.weight, norm.bias = (
                    nn.Parameter(tensors[f"scale{i}"].clone()),
                    nn.Parameter(bias),
                )
                layers.append(norm)
            else:
                conv.bias = nn.Parameter(bias)
            layers += [nn.ReLU(), nn.MaxPool2d(2)]
        else:
            layers += [] if flat else [nn.Flatten()]
            flat, linear = True, nn.Linear(*weight.shape)
            linear.weight, linear.bias = nn.Parameter(weight.T.contiguous()), nn.Parameter(bias[0])
            layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@pytest.mark.parametrize("normed", [False, True])
def test_convolutional_networks_are_torchs_own_layers(normed):
    filters, kernel, dense = ([6] * 3, 3, [10]) if normed else ([4, 8], 5, [12, 10])
    tensors = init_convnet((1, 16, 16), filters, kernel, dense, generator(), normed=normed)
    for name, value in tensors.items():
        if name.startswith(("bias", "scale")):
            value.add_(0.3 * torch.randn(value.shape, generator=generator(1)))
    theirs, x = reference(tensors, normed), torch.rand(16, 1, 16, 16, generator=generator())
    for _ in range(3):
        torch.testing.assert_close(
            convnet(x, tensors, training=True), theirs.train()(x), rtol=1e-4, atol=1e-5
        )
    torch.testing.assert_close(convnet(x, tensors), theirs.eval()(x), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(convnet(x, folded(tensors)), theirs(x), rtol=1e-4, atol=1e-5)


def test_the_pool_of_a_convolution_is_the_mean_over_its_filters():
    tensors = init_convnet((1, 8, 8), [5], 3, [4], generator(), normed=False, non_negative=True)
    x = torch.rand(3, 1, 8, 8, generator=generator())
    z = F.conv2d(x, tensors["weight0"], padding=1)
    h = F.max_pool2d(F.relu(z - z.mean(1, keepdim=True)), 2).flatten(1) @ tensors["weight1"]
    torch.testing.assert_close(
        convnet(x, tensors, inhibited=True), h - h.mean(1, keepdim=True), rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(
        convnet(x, folded(tensors, inhibited=True)),
        h - h.mean(1, keepdim=True),
        rtol=1e-4,
        atol=1e-5,
    )
    assert all((value >= 0).all() for name, value in tensors.items() if name.startswith("weight"))


@pytest.mark.parametrize(
    "switches", [{}, {"l1": 1e-4}, {"non_negative": True}, {"body": "conv4", "epochs": 20}]
)
def test_every_form_of_convolutional_network_learns(digits, switches):
    learner = fitted(
        "cnn", digits[0], **{"filters": 8, "units": 64, "epochs": 12, "lr": 3e-3, **switches}
    )
    assert accuracy(learner, digits[1]) > 0.85
    assert all(np.isfinite(b.weight.numpy()).all() for b in learner.connectome())
