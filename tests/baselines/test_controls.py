"""What distinguishes the controls from each other."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from harness.data.base import Images
from harness.errors import HarnessError
from harness.learning.fitting import EpisodeShape, balanced_rows, training_episodes
from harness.learning.learner import Budget
from harness.learning.nets import init_perceptron, perceptron
from harness.registry import learners
from harness.rng import Rng


def fit(kind: str, train: Images, **switches):
    cls = learners[kind]
    learner = cls(cls.Config(**switches), train.shape, train.n_classes, Rng(0))
    return learner, learner.fit(train)


def accuracy(learner, test: Images) -> float:
    with torch.no_grad():
        return (learner.classifier()(test.tensor()).argmax(1).numpy() == test.labels).mean()


@pytest.mark.parametrize(
    ("switches", "least"),
    [
        ({}, 0.92),
        ({"l1": 1e-4}, 0.92),
        ({"non_negative": True}, 0.92),
        ({"hidden": [64, 32]}, 0.92),
        ({"optimiser": "sgd", "lr": 0.05}, 0.95),
        ({"non_negative": True, "l1": 1e-4, "hidden": [64, 32]}, 0.90),
    ],
)
def test_every_form_of_backpropagation_learns(digits, switches, least):
    learner, _ = fit("mlp", digits[0], **{"hidden": 100, **switches})
    assert accuracy(learner, digits[1]) >= least


def test_l1_leaves_fewer_synapses_and_masks_the_others(digits):
    share = [
        fit("mlp", digits[0], hidden=100, l1=l1)[0].connectome()[0].mask.float().mean()
        for l1 in (1e-4, 1e-2)
    ]
    assert share[1] < 0.5 * share[0] < 0.5
    assert fit("mlp", digits[0], hidden=100, epochs=1)[0].connectome()[0].mask is None


def test_non_negative_weights_never_change_sign_and_say_that_they_are_clamped(digits):
    learner, log = fit("mlp", digits[0], hidden=100, non_negative=True)
    assert log.sign_changes == 0
    assert all(bundle.enforced and (bundle.weight >= 0).all() for bundle in learner.connectome())
    assert fit("mlp", digits[0], hidden=100)[1].sign_changes > 0


def test_inhibition_is_the_mean_input_of_the_layer():
    generator = torch.Generator().manual_seed(0)
    parameters, x = (
        init_perceptron([12, 9, 5], generator, non_negative=True),
        torch.rand(7, 12, generator=generator),
    )
    z = x @ parameters[0] + parameters[1]
    out = F.relu(z - z.mean(1, keepdim=True)) @ parameters[2] + parameters[3]
    torch.testing.assert_close(
        perceptron(x, parameters, inhibited=True), out - out.mean(1, keepdim=True)
    )
    assert all((weight >= 0).all() for weight in parameters[::2])


def test_training_ends_at_the_budget(digits):
    learner, _ = fit("mlp", digits[0], hidden=20, epochs=3)
    assert learner.fit(digits[0], budget=Budget(1777)).images_seen == 1777
    assert learner.fit(digits[0]).images_seen == 3 * len(digits[0])


def test_from_scratch_and_by_transfer_are_different_classifiers(digits):
    train, test = digits
    rows = np.concatenate([np.flatnonzero(test.labels == c)[:3] for c in (0, 1)])
    x, y = test.take(rows).tensor(), torch.tensor([0] * 3 + [1] * 3)
    learner = learners["mlp"](learners["mlp"].Config(hidden=30), train.shape, 10, Rng(0))
    scratch = learner.adapt(x, y, 2)
    assert not learner.frozen_features
    learner.fit(train, budget=Budget(2000))
    assert learner.frozen_features
    assert type(learner.adapt(x, y, 2)) is not type(scratch)


def test_random_features_never_learn_their_features(digits):
    learner, _ = fit("random-features", digits[0], width=50)
    untrained = learners["random-features"](learner.config, digits[0].shape, 10, Rng(0))
    assert torch.equal(learner.embed(digits[1].tensor()), untrained.embed(digits[1].tensor()))


def test_protonet_compares_with_the_mean_embedding_of_each_class(digits):
    learner, _ = fit("protonet", digits[0], width=32, episodes=60)
    assert accuracy(learner, digits[1]) > 0.8
    with torch.no_grad():
        train, test = learner.embed(digits[0].tensor()), learner.embed(digits[1].tensor())
        means = torch.stack([train[digits[0].labels == c].mean(0) for c in range(10)])
        nearest = torch.cdist(test, means).argmin(1)
    assert (learner.classifier()(digits[1].tensor()).argmax(1) == nearest).float().mean() > 0.995


@pytest.mark.parametrize("kind", ["maml", "fomaml", "anil", "meta-sgd", "reptile"])
def test_meta_learners_learn_weights_that_adapt(digits, kind):
    train, test = digits
    cls = learners[kind]
    learner = cls(cls.Config(iterations=100), train.shape, 10, Rng(0))
    episodes = list(training_episodes(test, EpisodeShape(5, 1, 5), 60, Rng(1)))
    images, way = test.tensor(), torch.arange(5)
    support, queries = (images[np.stack(part)] for part in zip(*episodes, strict=True))

    def score() -> float:
        logits = learner.adapt_many(support, way.repeat(60, 1), 5)(queries)
        return (logits.argmax(2) == way.repeat_interleave(5)).float().mean().item()

    before = score()
    learner.fit(train)
    assert score() > before + 0.05
    assert accuracy(learner, test) > 0.5


@pytest.mark.parametrize("width", [1, 8])
def test_maml_runs_on_narrow_convolutions_of_small_images(digits, width):
    train, test = digits
    learner, _ = fit("maml", train, backbone="conv4", width=width, iterations=2, inner_steps=2)
    images = test.tensor()
    assert learner.adapt(images[:4], torch.arange(4), 4)(images[4:5]).shape == (
        1,
        4,
    )  # a batch of one image used to crash
    assert not any(
        name.startswith(("network.weight", "network.bias")) for name in learner.state_dict()
    )


def test_importing_learn2learn_leaves_the_process_as_it_was():
    code = """
import os, random, sys, warnings
import numpy, torch
from harness.imports import import_learn2learn
def state():
    generators = (random.getstate(), numpy.random.get_state()[1].tobytes(),
                  torch.get_rng_state().numpy().tobytes())
    return dict(os.environ), list(warnings.filters), generators
before = state()
assert import_learn2learn().algorithms.MAML
assert state() == before
import torchvision.transforms
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_training_episodes_shrink_to_the_images_available(digits):
    few = digits[0].take(balanced_rows(digits[0].labels, 30, Rng(0)))
    assert EpisodeShape.within(few, EpisodeShape(20, 1, 5)) == EpisodeShape(10, 1, 2)
    one = digits[0].take(balanced_rows(digits[0].labels, 10, Rng(0)))
    with pytest.raises(HarnessError, match="two images of each class"):
        EpisodeShape.within(one, EpisodeShape(5, 1, 5))


@pytest.mark.parametrize("count", [10, 25, 100])
def test_balanced_rows_are_balanced_and_distinct(digits, count):
    rows = balanced_rows(digits[0].labels, count, Rng(0))
    sizes = np.bincount(digits[0].labels[rows], minlength=10)
    assert len(np.unique(rows)) == count and sizes.max() - sizes.min() <= 1
