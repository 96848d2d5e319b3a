"""What is said of a training is found out: whether it looked at images, and what it counted."""

from __future__ import annotations

import numpy as np
import pytest

from harness.data.base import Images
from harness.learning.learner import NO_LIMIT, TrainingLog, silent
from harness.learning.training import NOT_TRAINED, fitted
from harness.registry import learners
from harness.rng import Rng
from harness.storage import schema

NearestMean = learners["nearest-mean"]


class Brought(NearestMean):
    """It asks for sizes and labels, and learns nothing."""

    def fit(self, train, **more) -> TrainingLog:
        assert len(train) == 6 and train.shape == (1, 2, 2) and train.labels is not None
        self.fitted = True
        return TrainingLog()


def trained(cls) -> TrainingLog:
    images = Images(np.ones((6, 1, 2, 2), np.uint8), np.arange(6) % 2, np.arange(6), 2)
    learner = cls(cls.Config(), (1, 2, 2), 2, Rng(0))
    return fitted(learner, images, NO_LIMIT, silent)


def test_a_learner_that_looks_at_no_image_is_called_not_trained():
    assert trained(Brought).remarks == [NOT_TRAINED]
    assert trained(NearestMean).remarks == []


def test_what_was_not_counted_is_none_and_never_zero():
    summary = trained(Brought).summary()
    assert summary["sign_changes"] is None and summary["images_seen"] is None
    summary = trained(NearestMean).summary()
    assert summary["sign_changes"] is None and summary["images_seen"] == 6


def test_a_log_survives_its_summary():
    log = TrainingLog([{"loss": 0.5}], 7, 3, ["weights from elsewhere"])
    assert TrainingLog.of(log.summary()) == log
    assert TrainingLog.of(TrainingLog().summary()) == TrainingLog()


def test_a_store_takes_every_log_that_a_training_can_have():
    for log in (trained(Brought), trained(NearestMean)):
        schema._LOGS["train"].validate_python(log.summary(), strict=True)


def test_fit_must_return_a_log():
    class Silent(NearestMean):
        def fit(self, train, **more):
            return None

    with pytest.raises(TypeError, match="must return a TrainingLog, got NoneType"):
        trained(Silent)
