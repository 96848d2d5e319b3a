"""Plain classification: train on the train split, count on another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from harness.batching import ROWS, in_batches
from harness.data.base import Images, Loaded
from harness.lazy import nn, torch
from harness.learning.learner import Learner
from harness.metrics.power import detectable_accuracy_difference
from harness.metrics.statistics import wilson
from harness.protocols.base import (
    Context,
    Fault,
    Measurement,
    ProtocolConfig,
)
from harness.protocols.inference import of_classifier
from harness.protocols.on_a_split import OnASplit
from harness.protocols.requirements import classifier_of, require_logits
from harness.protocols.setting import Setting
from harness.records import Value
from harness.registry import protocols


@dataclass(frozen=True)
class ClassificationSetting(Setting):
    """The split that is counted on."""

    splitting: str
    split: str


@protocols.register("classification")
class Classification(OnASplit[ClassificationSetting]):
    """Accuracy on a split whose classes are those of training."""

    setting_type = ClassificationSetting

    class Config(ProtocolConfig):
        """Which split."""

        splitting: str | None = Field(
            None, description="which splitting of the dataset; its first one if left out"
        )
        split: Literal["train", "val", "test"] = Field(
            "test", description="the split that is counted on"
        )

    config: Config

    def settings(self) -> Iterator[ClassificationSetting]:
        """Yield one setting."""
        yield ClassificationSetting(self.splitting, self.config.split)

    def faults(self) -> Iterator[Fault]:
        """Yield unknown splits, and splits whose classes are not trained on."""
        yield from self.split_faults()

    @classmethod
    def measure(
        cls, learner: Learner, data: Loaded, setting: ClassificationSetting, context: Context
    ) -> Measurement:
        """Accuracy with its Wilson interval; verdicts and margins per image.

        Raises:
            ValueError: the classifier is in train mode.
            FloatingPointError: some logits are not finite.
        """
        return count(learner, data.split(setting.splitting, setting.split), context)

    def detectable(self, seeds: int = 1, spread: float | None = None) -> str:
        """From the number of images, which are the same in every seed."""
        images = self.facts.splittings[self.splitting][self.config.split].images
        return detectable_words(images, spread)

    def block(self) -> dict[str, str]:
        """Conditions that every number of the table shares."""
        images = self.facts.splittings[self.splitting][self.config.split].images
        return {
            "split": f"{self.splitting}/{self.config.split}, {images} images",
            "training": f"{self.splitting}/train, labelled",
            "image size": "x".join(map(str, self.facts.image_shape)),
        }


def count(learner: Learner, images: Images, context: Context) -> Measurement:
    """Classify images: accuracy with its Wilson interval; verdicts and margins per image.

    Raises:
        ValueError: the classifier is in train mode.
        FloatingPointError: some logits are not finite.
    """
    model = classifier_of(learner)
    logits = _logits(model, learner, images, context)
    rows = np.arange(len(images))
    own = logits[rows, images.labels]
    others = logits.copy()
    others[rows, images.labels] = -np.inf
    margin = own - others.max(axis=1)
    correct = (logits.argmax(axis=1) == images.labels).astype(np.uint8)

    low, high = wilson(int(correct.sum()), len(correct))
    value = Value(
        "accuracy",
        float(correct.mean()),
        low,
        high,
        n=len(correct),
        unit="sample",
        verdicts="correct",
    )
    arrays = {
        "correct": correct,
        "margin": margin.astype(np.float32),
        "index": images.index,
    }
    inference = of_classifier(model, images.take(rows[:ROWS]).tensor(context.device))
    return Measurement([value], arrays, inference.checks, remarks=inference.remarks)


def _logits(model: nn.Module, learner: Learner, images: Images, context: Context) -> np.ndarray:
    """float64 (N, n_classes)."""
    with torch.no_grad():
        logits = in_batches(model, images.tensor(context.device), batch_size=context.batch_size)
    require_logits(logits, (len(images), images.n_classes), learner)
    return logits.double().cpu().numpy()


def detectable_words(images: int, spread: float | None = None) -> str:
    """The difference between two accuracies that a paired test is likely to detect, in words.

    Args:
        images: number of images, the same for both learners.
        spread: root of the share of images that only one of the two classifies correctly;
            None assumes a share of 10 %.
    """
    if spread is None:
        share = 0.1
        known = "if they disagree on"
    else:
        share = spread**2
        known = "those in the store disagree on"
    points = 100 * detectable_accuracy_difference(images, share)
    return (
        f"{points:.1f} points between two learners "
        f"({images} paired images, 80 % power, {known} {100 * share:.0f} %)"
    )
