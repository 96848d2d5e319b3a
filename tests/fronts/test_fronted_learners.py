"""A learner behind a front is a learner, in suites too."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from harness.cells import plan as planning
from harness.data.base import Images
from harness.errors import HarnessError
from harness.fronts.learner import Fronted, front_of
from harness.learning.learner import Budget
from harness.protocols.requirements import rebuilt
from harness.registry import learners
from harness.rng import Rng
from harness.suite import load as suite


def digits() -> tuple[Images, Images]:
    pixels, labels = load_digits(return_X_y=True)
    pixels = (pixels.reshape(-1, 1, 8, 8) * 15.9).astype(np.uint8)
    whole = Images(pixels, labels.astype(np.int64), np.arange(len(pixels)), 10)
    return whole.take(np.arange(1200)), whole.take(np.arange(1200, len(pixels)))


def behind(front: dict, kind: str, **keys) -> Fronted:
    before = front_of(front, (1, 8, 8), Rng(1))
    cls = learners[kind]
    return Fronted(before, cls(cls.Config(**keys), before.shape, 10, Rng(0)))


CASES = [
    ({"kind": "pixel-sigmoid"}, "mlp", {"hidden": 40, "lr": 5e-3, "epochs": 8}),
    ({"kind": "whitening", "channels": "split"}, "prototypes", {"hidden": 60}),
    ({"kind": "v1", "size": 5, "pool": 1}, "mlp", {"hidden": 40, "lr": 1e-2, "epochs": 8}),
    ({"kind": "divisive"}, "protonet", {"episodes": 60}),
]


@pytest.mark.parametrize(("front", "kind", "keys"), CASES, ids=lambda each: str(each)[:30])
def test_it_learns_adapts_and_travels_like_any_other(front, kind, keys):
    train, test = digits()
    learner = behind(front, kind, **keys)
    learner.fit(train)
    images = test.tensor()
    with torch.no_grad():
        right = (learner.classifier()(images).argmax(1).numpy() == test.labels).mean()
    assert right > 0.7
    copy = behind(front, kind, **keys)
    copy.load_state_dict(learner.state_dict())
    assert torch.equal(copy.classifier()(images[:20]), learner.classifier()(images[:20]))
    assert copy.fitted and copy.kind == kind
    support = images[:40].reshape(2, 20, 1, 8, 8)
    labels = torch.arange(20).remainder(4).expand(2, 20)
    alone = torch.stack(
        [learner.adapt(x, y, 4)(images[40:60]) for x, y in zip(support, labels, strict=True)]
    )
    together = learner.adapt_many(support, labels, 4)(images[40:60].expand(2, -1, -1, -1, -1))
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-3)
    if learner.frozen_features:
        embedded = learner.embed(images[:60])
        heads = learner.head_many(embedded[:40].reshape(2, 20, -1), labels, 4)
        torch.testing.assert_close(
            heads(embedded[40:].expand(2, -1, -1)), alone, rtol=1e-3, atol=1e-3
        )


def test_training_images_are_not_changed_by_a_front():
    train, _ = digits()
    before = train.pixels.copy()
    behind({"kind": "divisive"}, "mlp", epochs=1).fit(train)
    assert np.array_equal(train.pixels, before) and train.pixels.dtype == np.uint8


def test_snapshots_are_of_the_learner_with_its_front():
    train, _ = digits()
    learner = behind({"kind": "pixel-sigmoid"}, "mlp", epochs=1)
    seen = []
    learner.watch = lambda which, images: seen.append(which)
    learner.fit(train)
    assert seen and all(which is learner for which in seen)


def test_what_a_learner_says_of_itself_holds_behind_a_front():
    class Plastic(learners["mlp"]):
        plastic = True
        transductive = True

    before = front_of({"kind": "pixel-sigmoid"}, (1, 8, 8), Rng(1))
    learner = Fronted(before, Plastic(Plastic.Config(), before.shape, 10, Rng(0)))
    assert learner.plastic and learner.transductive and learner.regimes == Plastic.regimes


SUITE = """
name: fronts
learners:
  mine: {kind: mlp, hidden: 20, epochs: 1%s}
protocols:
  accuracy: {kind: classification, dataset: digits, seeds: [0]}
"""


def planned(tmp_path, text: str):
    path = tmp_path / "fronts.yaml"
    path.write_text(SUITE % text)
    return planning.make(suite.load(path)).cells


def test_the_front_is_part_of_the_key_and_only_where_there_is_one(tmp_path):
    plain = planned(tmp_path, "")
    named = planned(tmp_path, ", front: pixel-sigmoid")
    spelt = planned(tmp_path, ", front: {kind: pixel-sigmoid, slope: 14.0}")
    other = planned(tmp_path, ", front: {kind: pixel-sigmoid, slope: 20.0}")
    keys = [{cell.key for cell in cells} for cells in (plain, named, spelt, other)]
    assert keys[1] == keys[2]
    assert not keys[0] & keys[1] and not keys[1] & keys[3]
    assert all("front" not in cell.identity["learner"]["config"] for cell in plain)
    assert named[0].identity["learner"]["config"]["front"]["slope"] == 14.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (", front: pixel-sigmoyd", "unknown front 'pixel-sigmoyd'"),
        (", front: 3", "front is a name or a mapping, not 3"),
        (", front: {kind: v1, size: 8}", "size must be odd"),
        (", front: {kind: v1, fliters: 8}", "fliters"),
    ],
)
def test_wrong_fronts_get_one_clear_error(tmp_path, text, message):
    with pytest.raises(HarnessError, match=message):
        planned(tmp_path, text)


@pytest.mark.parametrize(("front", "kind", "keys"), CASES[:3], ids=lambda each: str(each)[:30])
def test_a_copy_that_was_never_asked_has_the_front_too(front, kind, keys):
    """Trust checks judge adversarial images again on such a copy."""
    train, test = digits()
    learner = behind(front, kind, **keys)
    learner.fit(train, budget=Budget(images=1000))
    copied = rebuilt(learner)
    assert copied.fitted and copied.front is not learner.front
    x = test.tensor()[:20]
    torch.testing.assert_close(copied.classifier()(x), learner.classifier()(x))
