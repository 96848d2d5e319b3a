"""Plain classification: train on the train split, count on another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from pydantic import Field

from harness.batching import in_batches
from harness.data.base import Images, Loaded
from harness.lazy import torch
from harness.learning.learner import Learner
from harness.metrics.statistics import detectable_accuracy_difference, wilson
from harness.protocols.base import (
    Context,
    Fault,
    Measurement,
    Protocol,
    ProtocolConfig,
    TrainingData,
)
from harness.protocols.checks import require_eval_mode, require_logits
from harness.records import Value
from harness.registry import protocols


@protocols.register("classification")
class Classification(Protocol):
    """Accuracy on a split whose classes are those of training."""

    class Config(ProtocolConfig):
        """Which split."""

        splitting: str | None = Field(
            None, description="which splitting of the dataset; its first one if left out"
        )
        split: Literal["train", "val", "test"] = Field(
            "test", description="the split that is counted on"
        )

    @property
    def splitting(self) -> str:
        """The splitting in use."""
        return self.config.splitting or next(iter(self.facts.splittings))

    def settings(self) -> Iterator[dict[str, Any]]:
        """One cell."""
        yield {"splitting": self.splitting, "split": self.config.split}

    def training(self) -> TrainingData:
        """The labelled train split."""
        return TrainingData(self.splitting)

    def faults(self) -> Iterator[Fault]:
        """A splitting or split that is not there, or one whose classes were never trained on."""
        yield from shared_class_faults(self, self.config.split)

    @classmethod
    def measure(
        cls, learner: Learner, data: Loaded, setting: dict[str, Any], context: Context
    ) -> Measurement:
        """Accuracy with its Wilson interval; verdicts and margins per image.

        Raises:
            ValueError: the classifier is in train mode.
            FloatingPointError: some logits are not finite.
        """
        images = data.split(setting["splitting"], setting["split"])
        logits = _logits(learner, images, context)
        rows = np.arange(len(images))
        own = logits[rows, images.labels]
        others = logits.copy()
        others[rows, images.labels] = -np.inf
        margin = own - others.max(axis=1)
        correct = (logits.argmax(axis=1) == images.labels).astype(np.uint8)
        low, high = wilson(int(correct.sum()), len(correct))
        value = Value(
            "accuracy", float(correct.mean()), low, high, len(correct), "sample", verdicts="correct"
        )
        return Measurement(
            [value],
            {"correct": correct, "margin": margin.astype(np.float32), "index": images.index},
        )

    def detectable(self, seeds: int = 1, spread: float | None = None) -> str:
        """From the number of images, which are the same in every seed."""
        return detectable_words(
            self.facts.splittings[self.splitting][self.config.split].images, spread
        )

    def block(self) -> dict[str, str]:
        """Conditions that every number of the table shares."""
        images = self.facts.splittings[self.splitting][self.config.split].images
        return {
            "split": f"{self.splitting}/{self.config.split}, {images} images",
            "training": f"{self.splitting}/train, labelled",
            "image size": "x".join(map(str, self.facts.image_shape)),
        }


def _logits(learner: Learner, images: Images, context: Context) -> np.ndarray:
    """float64 (N, n_classes)."""
    model = learner.classifier()
    require_eval_mode(model, learner, "classifier()")
    with torch.no_grad():
        logits = in_batches(model, images.tensor(context.device), batch_size=context.batch_size)
    require_logits(logits, (len(images), images.n_classes), learner)
    return logits.double().cpu().numpy()


def detectable_words(images: int, spread: float | None = None) -> str:
    """The difference between two accuracies on the same images that a McNemar test is likely to find.

    Args:
        spread: root of the share of images that just one of the two gets right; None: as if that were 10 %.
    """
    share, known = (
        (0.1, "if they disagree on")
        if spread is None
        else (spread**2, "those in the store disagree on")
    )
    points = 100 * detectable_accuracy_difference(images, share)
    return f"{points:.1f} points between two learners ({images} paired images, 80 % power, {known} {100 * share:.0f} %)"


def shared_class_faults(protocol: Protocol, split: str) -> Iterator[Fault]:
    """Faults of a protocol that measures on the classes it trains on; ``protocol`` has a ``splitting``."""
    splittings, splitting = protocol.facts.splittings, protocol.splitting
    if splitting not in splittings:
        yield Fault(
            ("splitting",), f"no splitting {splitting!r}", f"allowed: {', '.join(splittings)}"
        )
    elif split not in splittings[splitting]:
        yield Fault(
            ("split",),
            f"no split {split!r} in {splitting!r}",
            f"allowed: {', '.join(splittings[splitting])}",
        )
    elif splitting in protocol.facts.class_disjoint:
        yield Fault(
            ("splitting",) if protocol.config.splitting else ("dataset",),
            f"the classes of {splitting}/{split} are none of those trained on",
            "measure it with kind: few_shot, or name a splitting with shared classes",
        )
