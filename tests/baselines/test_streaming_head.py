"""Running sums on features that never change: against closed forms, and in any order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from baselines.streaming_head import StreamingHead
from harness.batching import in_batches
from harness.learning.frozen_body import RANDOM_BODY
from harness.learning.running import discriminants
from harness.rng import Rng

READOUTS = ("slda", "nearest-mean", "cosine")


def learner(**keys) -> StreamingHead:
    return StreamingHead(StreamingHead.Config(**{"units": 50, **keys}), (1, 8, 8), 10, Rng(0))


def logits(one: StreamingHead, images) -> torch.Tensor:
    return in_batches(one.classifier(), images.tensor(), batch_size=512)


@pytest.mark.parametrize("readout", READOUTS)
def test_the_order_of_images_and_of_tasks_changes_nothing(readout, digits):
    train, test = digits[0].take(range(600)), digits[1].take(range(200))
    at_once = learner(readout=readout)
    at_once.fit(train)
    expected = logits(at_once, test)
    for seed in (1, 2):
        classes = np.random.default_rng(seed).permutation(10)
        one = learner(readout=readout)
        for pair in classes.reshape(5, 2):
            part = train.take(np.flatnonzero(np.isin(train.labels, pair))[::-1])
            for half in np.array_split(np.arange(len(part)), 2):
                one.go_on(part.take(half))
        torch.testing.assert_close(logits(one, test), expected, rtol=1e-6, atol=1e-5)


def test_discriminants_are_those_of_scikit_learn():
    """Without shrinkage, and for equally frequent classes, whose prior shifts all logits alike."""
    generator = np.random.default_rng(0)
    labels = np.arange(90) % 3
    x = generator.normal(size=(90, 4)) @ generator.normal(size=(4, 4)) + labels[:, None]
    means = np.stack([x[labels == c].mean(0) for c in range(3)])
    within = x - means[labels]
    weight, bias = discriminants(torch.tensor(means), torch.tensor(within.T @ within / 90), 0.0)
    ours = x @ weight.numpy() + bias.numpy()
    model = LinearDiscriminantAnalysis(solver="lsqr").fit(x, labels)
    theirs = model.decision_function(x)
    np.testing.assert_allclose(
        ours - ours.mean(1, keepdims=True), theirs - theirs.mean(1, keepdims=True), rtol=1e-6
    )


def test_full_shrinkage_is_the_nearest_mean(digits):
    train, test = digits[0].take(range(400)), digits[1].take(range(200))
    answers = []
    for keys in ({"shrinkage": 1.0}, {"readout": "nearest-mean"}):
        one = learner(**keys)
        one.fit(train)
        answers.append(logits(one, test).argmax(1))
    assert torch.equal(*answers)


def test_classes_without_images_are_never_predicted(digits):
    one = learner()
    for seen in ([3], [3, 7]):
        one.go_on(digits[0].take(np.flatnonzero(digits[0].labels == seen[-1])[:40]))
        assert {*logits(one, digits[1]).argmax(1).tolist()} == {*seen}


def test_discriminants_beat_class_means(digits):
    scores = {}
    for readout in READOUTS:
        one = learner(readout=readout, units=200)
        one.fit(digits[0])
        right = logits(one, digits[1]).argmax(1).numpy() == digits[1].labels
        scores[readout] = right.mean()
    assert scores["slda"] > 0.93 > max(scores["nearest-mean"], scores["cosine"])


def test_without_units_it_reads_the_body_itself(digits):
    pixels = learner(units=0)
    assert torch.equal(pixels.embed(digits[0].tensor()[:4]), digits[0].tensor()[:4].flatten(1))
    on_body = learner(units=0, body="conv4")
    log = on_body.go_on(digits[0].take(range(20)))
    assert log.remarks == [RANDOM_BODY] and log.images_seen == 20
    assert on_body.embed(digits[0].tensor()[:4]).shape == (4, 64)
