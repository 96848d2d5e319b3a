"""Plain classification as a protocol: what it counts, and which answers it refuses to count."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from torch import nn

from harness.data.base import Facts, Loaded, SplitFacts
from harness.learning.learner import silent
from harness.protocols.base import Context
from harness.protocols.classification import Classification
from harness.rng import Rng

FACTS = Facts(
    (1, 2, 2),
    {
        "standard": {"train": SplitFacts(3, 10, 30), "test": SplitFacts(3, 10, 30)},
        "classes": {"train": SplitFacts(3, 10, 30), "test": SplitFacts(3, 10, 30)},
    },
    class_disjoint=frozenset({"classes"}),
)
LOGITS = np.random.default_rng(1).normal(size=(30, 3)).astype(np.float32)


@pytest.fixture
def data() -> Loaded:
    """Thirty test images, distinguished by their first pixel."""
    pixels = np.zeros((60, 1, 2, 2), np.uint8)
    pixels[30:, 0, 0, 0] = np.arange(30)
    splits = {"train": np.arange(30), "test": np.arange(30, 60)}
    return Loaded(pixels, np.arange(60) % 3, ("a", "b", "c"), None, {"standard": splits})


class Listed(nn.Module):
    """The logits of a table, looked up by the first pixel."""

    def __init__(self, logits: np.ndarray):
        super().__init__()
        self.logits, self.noise = torch.from_numpy(logits), nn.Dropout()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.noise(self.logits[(images[:, 0, 0, 0] * 255).round().long()])


class Known:
    """A learner that is its classifier."""

    kind = "known"

    def __init__(self, logits: np.ndarray, training: bool = False):
        self.network = Listed(logits).eval()
        self.network.noise.train(training)  # a part of it only

    def classifier(self) -> nn.Module:
        return self.network


def measure(learner: Known, data: Loaded, batch_size: int = 16):
    setting = next(Classification(Classification.Config(dataset="any"), FACTS).settings())
    return Classification.measure(
        learner, data, setting, Context(Rng(0), "cpu", batch_size, silent)
    )


def test_accuracy_margins_and_interval(data):
    measured, labels = measure(Known(LOGITS), data), np.arange(30) % 3
    right = LOGITS.argmax(1) == labels
    value = measured.values[0]
    assert value.value == right.mean() and 0 < value.value < 1
    wilson = binomtest(int(right.sum()), 30).proportion_ci(method="wilson")
    assert (value.low, value.high) == pytest.approx((wilson.low, wilson.high))
    np.testing.assert_array_equal(measured.arrays["correct"], right)
    np.testing.assert_array_equal(measured.arrays["margin"] > 0, right)
    np.testing.assert_array_equal(measured.arrays["index"], np.arange(30, 60))


def test_batch_size_changes_nothing(data):
    small, large = (measure(Known(LOGITS), data, size).arrays["margin"] for size in (1, 100))
    np.testing.assert_array_equal(small, large)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_logits_that_are_not_finite_fail_the_cell(data, value):
    logits = LOGITS.copy()
    logits[3, 1] = logits[29] = value
    with pytest.raises(FloatingPointError, match="known: 4 of 90 logits"):
        measure(Known(logits), data)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda logits: logits[:, :2],
            r"known: logits must be floats of shape \(30, 3\), got torch.float32 of \(30, 2\)",
        ),
        (lambda logits: torch.cat([logits, logits], 1), r"got torch.float32 of \(30, 6\)"),
        (lambda logits: logits.argmax(1), r"got torch.int64 of \(30,\)"),
        (
            lambda logits: logits[1:],
            r"a network must return one row for each of its 16 rows, got \(15, 3\)",
        ),
        (lambda logits: logits.tolist(), "for each of its 16 rows, got list"),
    ],
)
def test_logits_that_are_no_class_scores_fail_the_cell(data, change, words):
    known = Known(LOGITS)
    inner, known.network = known.network, nn.Module().eval()
    known.network.forward = lambda images: change(inner(images))
    with pytest.raises(ValueError, match=words):
        measure(known, data)


def test_a_classifier_in_train_mode_fails_the_cell(data):
    with pytest.raises(
        ValueError, match=r"known: classifier\(\) gave a module in train mode \(Dropout is\)"
    ):
        measure(Known(LOGITS, training=True), data)


@pytest.mark.parametrize(
    ("keys", "path"),
    [
        ({"splitting": "none"}, ("splitting",)),
        ({"split": "val"}, ("split",)),
        ({"splitting": "classes"}, ("splitting",)),
    ],
    ids=str,
)
def test_a_split_that_cannot_be_counted_on_is_a_fault_at_its_key(keys, path):
    faults = [
        fault.path
        for fault in Classification(Classification.Config(dataset="any", **keys), FACTS).faults()
    ]
    assert faults == [path]
    assert not list(Classification(Classification.Config(dataset="any"), FACTS).faults())


def test_the_block_leaves_intervals_to_the_note():
    assert "interval" not in Classification(Classification.Config(dataset="any"), FACTS).block()
