"""``go_on``, for every registered learner that has it."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from harness.data.base import Images
from harness.errors import HarnessError
from harness.learning.going_on import add_to_means, among_rivals, heads_of_known
from harness.learning.learner import Budget, Learner
from harness.registry import learners
from tests.learning.test_learner_contract import CLASSES, TEST, TRAIN, fresh, same

every_going_on = pytest.mark.parametrize(
    "kind", [kind for kind in sorted({*learners}) if learners[kind].goes_on]
)

PASSES = 10
LIKE_FIT = 0.03
"""Accuracy that ``PASSES`` calls may lack beside ``fit`` on as many images."""


def of_classes(*classes: int) -> Images:
    """The first images of some classes."""
    return TRAIN.take(np.flatnonzero(np.isin(TRAIN.labels, classes))[: 30 * len(classes)])


def copied(learner: Learner) -> Learner:
    """Another learner with the same state; its own start is overwritten."""
    copy = fresh(learner.kind)
    state = {name: tensor.clone() for name, tensor in learner.state_dict().items()}
    copy.load_state_dict(state)
    return copy


def state_bytes(learner: Learner) -> int:
    return sum(each.numel() * each.element_size() for each in learner.state_dict().values())


def answers(learner: Learner) -> np.ndarray:
    with torch.no_grad():
        return learner.classifier()(TEST.tensor()).argmax(1).numpy()


@cache
def after_one(kind: str) -> Learner:
    """A learner after a first part, for tests that copy it."""
    learner = fresh(kind)
    learner.go_on(of_classes(0, 1))
    return learner


@every_going_on
def test_a_learner_loaded_between_two_parts_goes_on_bit_for_bit(kind):
    loaded = copied(after_one(kind))
    straight = fresh(kind)
    straight.go_on(of_classes(0, 1))
    for learner in (loaded, straight):
        learner.go_on(of_classes(2, 3))
    assert same(loaded, straight)


@every_going_on
def test_reading_the_classifier_between_parts_changes_nothing(kind):
    read, unread = copied(after_one(kind)), copied(after_one(kind))
    module = read.classifier()
    before = module(TEST.tensor()[:32])
    for learner in (read, unread):
        learner.go_on(of_classes(2, 3))
    assert same(read, unread)
    assert torch.equal(module(TEST.tensor()[:32]), before), "a classifier kept its tensors"


@every_going_on
def test_classes_that_came_one_by_one_are_learned_together(kind):
    learner = fresh(kind)
    learner.go_on(of_classes(0))
    learner.go_on(of_classes(4))
    # A learner without memory may have lost class 0: parts with both bring it back.
    for _ in range(10):
        learner.go_on(of_classes(0, 4))
    assert {0, 4} <= {*answers(learner).tolist()}


@every_going_on
def test_a_part_of_one_image_works(kind):
    learner = copied(after_one(kind))
    log = learner.go_on(of_classes(2).take(np.array([0])))
    assert log.images_seen == 1
    assert torch.isfinite(learner.classifier()(TEST.tensor()[:4])).all()


@every_going_on
def test_going_on_with_all_images_is_as_good_as_fit(kind):
    if not fit_is_quick(kind):
        pytest.skip("its default training takes too long for a fast test")
    steady = fresh(kind)
    for _ in range(PASSES):
        steady.go_on(TRAIN)
    fitted = fresh(kind)
    fitted.fit(TRAIN, budget=Budget(PASSES * len(TRAIN)))
    reached, wanted = ((answers(each) == TEST.labels).mean() for each in (steady, fitted))
    assert reached >= wanted - LIKE_FIT


@every_going_on
def test_the_state_does_not_grow_with_the_number_of_parts(kind):
    learner = copied(after_one(kind))
    before = state_bytes(learner)
    for _ in range(3):
        learner.go_on(of_classes(2, 3))
    assert state_bytes(learner) == before


@every_going_on
def test_fit_starts_anew_after_parts(kind):
    gone_on = copied(after_one(kind))
    anew = fresh(kind)
    for learner in (gone_on, anew):
        learner.fit(of_classes(*range(CLASSES)), budget=Budget(400))
    assert same(gone_on, anew)


def fit_is_quick(kind: str) -> bool:
    return learners[kind].typical_training_s <= 120


def test_learners_without_it_say_so():
    with pytest.raises(HarnessError, match="'protonet' cannot go on learning"):
        fresh("protonet").go_on(TRAIN)


def test_backprop_leaves_the_outputs_of_no_rivals_alone():
    pairs = torch.eye(CLASSES, dtype=torch.bool)
    pairs[:2, :2] = True
    learner = fresh("mlp")
    before = {name: tensor.clone() for name, tensor in learner.tensors.items()}
    learner.go_on(of_classes(0, 1), rivals=pairs)
    moved = (learner.tensors["bias1"] != before["bias1"])[0]
    assert moved.tolist() == [True, True, False, False, False, False]


def test_backprop_carries_its_moments():
    learner = fresh("mlp")
    learner.go_on(of_classes(0))
    steps = int(learner.state_dict()["carried.steps"])
    learner.go_on(of_classes(0))
    assert int(learner.state_dict()["carried.steps"]) == 2 * steps > 0
    assert learner.state_dict()["carried.second.weight0"].abs().sum() > 0


def test_running_means_do_not_depend_on_the_order_of_parts():
    points, labels = torch.rand(40, 5), torch.arange(40) % 4
    means, counts = torch.zeros(4, 5), torch.zeros(4, dtype=torch.int64)
    for rows in (slice(0, 7), slice(7, 40)):
        means, counts = add_to_means(means, counts, points[rows], labels[rows])
    expected = torch.stack([points[labels == label].mean(0) for label in range(4)])
    torch.testing.assert_close(means, expected)
    assert counts.tolist() == [10] * 4


def test_classes_without_images_are_never_predicted():
    means = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    points = torch.rand(50, 2)
    for counts, known in (([3, 0, 2], {0, 2}), ([0, 0, 2], {2})):
        head = heads_of_known(means, torch.tensor(counts))
        assert {*head(points[None])[0].argmax(1).tolist()} == known


def test_an_excluded_class_has_no_share_and_no_gradient():
    logits = torch.tensor([[0.0, 5.0, 1.0]], requires_grad=True)
    pairs = torch.tensor([[1, 0, 1], [0, 1, 0], [1, 0, 1]], dtype=torch.bool)
    among = among_rivals(logits, torch.tensor([0]), pairs)
    assert among.softmax(1)[0, 1] == 0
    among.logsumexp(1).backward()
    assert logits.grad[0, 1] == 0
