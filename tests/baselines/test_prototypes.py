"""The control of the competitive rules: clusters or stored images as weights of their layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from baselines.prototypes import Prototypes
from harness.data.base import Images
from harness.errors import HarnessError
from harness.learning.clusters import kmeans_step, moved
from harness.learning.learner import Budget, TrainingLog, silent
from harness.registry import learners
from harness.rng import Rng
from harness.rules.modules.competitive import inhibited
from harness.rules.training_plan import TrainingPlan


def new(kind: str, train: Images, seed: int = 0, **switches):
    cls = learners[kind]
    return cls(cls.Config(**switches), train.shape, train.n_classes, Rng(seed))


@pytest.mark.parametrize("by", ["kmeans", "exemplars"])
def test_it_classifies(digits, by):
    learner = new("prototypes", digits[0], by=by, hidden=100, readout_steps=200)
    learner.fit(digits[0])
    with torch.no_grad():
        right = learner.classifier()(digits[1].tensor()).argmax(1).numpy() == digits[1].labels
    assert right.mean() > 0.85


@pytest.mark.parametrize("batch", [300, 2000])
def test_layer_and_readout_are_those_of_the_rule(digits, batch, monkeypatch):
    """With the hidden weights of a rule without plasticity, it is the same classifier."""
    train, test = digits
    shared = {"hidden": 50, "readout_steps": 30, "readout_batch": batch}
    rule = new(
        "ech", train, **shared, eta=0, homeostasis=0, prune=0, noise=0, maintenance=0, epochs=1
    )
    rule.fit(train)
    given = rule.connectome()[0].weight.T.clone()
    monkeypatch.setattr(
        Prototypes, "_fit_prototypes", lambda self, *_: self.tensors.update(prototypes=given)
    )
    control = new("prototypes", train, **shared)
    control.fit(train)
    images = test.tensor()
    torch.testing.assert_close(control.embed(images), rule.embed(images))
    torch.testing.assert_close(
        control.classifier()(images), rule.classifier()(images), rtol=1e-4, atol=1e-4
    )


def test_readout_keys_have_the_defaults_of_the_rule():
    control, rule = learners["prototypes"].Config(), learners["ech"].Config()
    for key in ("hidden", "readout_eta", "readout_steps", "readout_batch", "clip"):
        assert getattr(control, key) == getattr(rule, key)
    assert control.temperature == rule.code_temperature


def test_a_pass_of_kmeans_is_assignment_and_mean():
    generator = np.random.default_rng(0)
    x, centres = (
        F.normalize(torch.from_numpy(generator.random(shape, np.float32)))
        for shape in ((9000, 12), (5, 12))
    )
    got, explained = kmeans_step(x, centres, torch.zeros(5, 12))
    cosine = x.numpy().astype(float) @ centres.numpy().T
    nearest = cosine.argmax(1)
    for j in range(5):
        mean = x.numpy()[nearest == j].astype(float).mean(0)
        np.testing.assert_allclose(got[j], mean / np.linalg.norm(mean), atol=1e-6)
    assert explained == pytest.approx(cosine.max(1).mean(), abs=1e-5)


def test_centres_without_an_image_and_with_black_ones_alone_are_replaced():
    x = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    spare = torch.tensor([[0.6, 0.8], [0.8, 0.6], [0.0, 1.0]])
    got, _ = kmeans_step(x, torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 0.9]]), spare)
    assert torch.equal(got, torch.tensor([[0.6, 0.8], [1.0, 0.0], [0.0, 1.0]]))


def test_kmeans_explains_more_with_every_pass(digits):
    learner = new("prototypes", digits[0], hidden=40, iterations=6, readout_steps=1)
    explained = [row["explained"] for row in learner.fit(digits[0]).rows if "explained" in row]
    assert len(explained) == 6 and explained == sorted(explained)
    assert torch.linalg.vector_norm(learner.connectome()[0].weight, dim=0).sub(1).abs().max() < 1e-5


def test_exemplars_are_distinct_training_images_and_more_than_there_are_repeat(digits):
    few = digits[0].take(np.arange(30))
    rows = inhibited(few.tensor())
    for hidden, times in ((20, {0, 1}), (60, {2})):
        learner = new("prototypes", few, by="exemplars", hidden=hidden, readout_steps=1)
        learner.fit(few)
        same = (learner.connectome()[0].weight.T[:, None] == rows).all(2)
        assert same.any(1).all() and set(same.sum(0).tolist()) <= times


def test_labels_do_not_touch_the_hidden_layer(digits):
    with_labels, without = (
        new("prototypes", digits[0], hidden=30, readout_steps=2) for _ in range(2)
    )
    with_labels.fit(digits[0])
    without.fit(digits[0].unlabelled())
    assert torch.equal(with_labels.state_dict()["prototypes"], without.state_dict()["prototypes"])
    with pytest.raises(HarnessError, match="without labels"):
        without.classifier()


@pytest.mark.parametrize("by", ["kmeans", "exemplars"])
@pytest.mark.parametrize("images", [700, 5000])
def test_a_budget_is_kept(digits, by, images):
    learner = new("prototypes", digits[0], by=by, hidden=30, readout_steps=2)
    assert (
        0.5 * min(images, 1230)
        < learner.fit(digits[0], budget=Budget(images)).images_seen
        <= images
    )


def test_a_centre_is_the_mean_of_the_images_that_were_nearest_to_it():
    generator = torch.Generator().manual_seed(0)
    inputs = F.normalize(torch.rand(60, 5, generator=generator), dim=1)
    centres, counts = inputs[:4].clone(), torch.ones(4, dtype=torch.float64)
    members = [[row] for row in inputs[:4]]
    for one in inputs[4:].split(1):
        directions = F.normalize(centres, dim=1)
        members[int((directions @ one[0]).argmax())].append(one[0])
        centres, counts = moved(centres, counts, one)
    assert counts.tolist() == [len(each) for each in members]
    means = torch.stack([torch.stack(each).mean(0) for each in members])
    torch.testing.assert_close(centres, means)


def test_the_first_images_of_a_stream_become_prototypes(digits):
    learner = new("prototypes", digits[0], by="exemplars", hidden=30)
    learner.go_on(digits[0].take(range(20)))
    assert int(learner.tensors["prototypes"].any(1).sum()) == 20
    learner.go_on(digits[0].take(range(20, 60)))
    kept = learner.tensors["prototypes"].clone()
    learner.go_on(digits[0].take(range(60, 80)))
    assert torch.equal(learner.tensors["prototypes"], kept), "all are taken, and exemplars stay"


def test_classes_in_turn_are_remembered(digits):
    learner = new("prototypes", digits[0], hidden=100)
    for first in range(0, 10, 2):
        rows = np.flatnonzero(digits[0].labels // 2 == first // 2)
        learner.go_on(digits[0].take(rows))
    answers = learner.classifier()(digits[1].tensor()).argmax(1).numpy()
    assert (answers == digits[1].labels).mean() > 0.8


def test_the_third_factor_is_that_of_the_rule(digits):
    """From the same hidden weights and read-out, both move the hidden layer alike."""
    train = digits[0]
    keys = {"hidden": 30, "readout_steps": 20, "third_factor": 0.03, "third_factor_epochs": 1}
    control = new("prototypes", train, **keys, temperature=20.0)
    control.fit(train)
    rule = new("ech", train, **keys, code_temperature=20.0, prune=0, epochs=1, batch=50)
    plain = new("prototypes", train, **keys | {"third_factor": 0.0}, temperature=20.0)
    plain.fit(train)
    rule.layer.weight = plain.tensors["prototypes"].clone().unsqueeze(0)
    rule.output = plain.tensors["readout"].clone()
    labels = torch.from_numpy(train.labels)
    plan = TrainingPlan(0, len(train) // 50, 50, len(train))
    rule._fit_gated(inhibited(train.tensor()), labels, plan, TrainingLog(), silent)
    torch.testing.assert_close(rule.layer.weight[0], control.tensors["prototypes"])
    assert not torch.equal(plain.tensors["prototypes"], control.tensors["prototypes"])


def test_means_of_classes_count_each_image_once_with_a_third_factor(digits):
    train = digits[0]
    learner = new("prototypes", train, hidden=20, readout_steps=5, third_factor=0.03)
    learner.fit(train)
    assert learner.carried["counts"].sum() == len(train)


def test_a_budget_too_small_for_the_third_factor_leaves_it_out(digits):
    train = digits[0]
    keys = {"hidden": 20, "readout_steps": 5, "iterations": 2}
    gated = new("prototypes", train, **keys, third_factor=0.03)
    plain = new("prototypes", train, **keys)
    log = gated.fit(train, budget=Budget(images=3 * len(train)))
    plain.fit(train, budget=Budget(images=3 * len(train)))
    torch.testing.assert_close(gated.tensors["prototypes"], plain.tensors["prototypes"])
    assert log.images_seen <= 3 * len(train)


def test_fewer_images_than_a_batch_are_one_batch_of_the_third_factor(digits):
    train = digits[0].take(np.arange(30))
    learner = new("prototypes", train, hidden=10, readout_steps=5, third_factor=0.03)
    log = learner.fit(train)
    assert log.images_seen == (15 + 2 + 2) * len(train)  # k-means, third factor, two read-outs


def test_surprise_needs_clusters():
    with pytest.raises(ValueError, match="by: kmeans"):
        Prototypes.Config(surprise=0.7, by="exemplars")


def test_surprise_and_third_factor_exclude_each_other():
    with pytest.raises(ValueError, match="exclude each other"):
        Prototypes.Config(surprise=0.7, third_factor=0.03)
