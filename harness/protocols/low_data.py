"""Accuracy against the number of labelled images that a learner is trained on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Discriminator, Field, Tag

from harness.data.base import Loaded
from harness.learning.fitting import balanced_rows
from harness.learning.learner import NO_LIMIT, Learner
from harness.learning.training import fitted
from harness.protocols.base import (
    CARVE,
    NO_TRAIN,
    Context,
    Fault,
    Measurement,
    Protocol,
    ProtocolConfig,
)
from harness.protocols.classification import count, detectable_words
from harness.protocols.on_a_split import shared_class_faults
from harness.protocols.setting import Setting
from harness.registry import distinct, protocols
from harness.rng import Rng

PerClass = Annotated[
    Annotated[int, Field(ge=1), Tag("number")] | Annotated[Literal["all"], Tag("word")],
    Discriminator(lambda value: "word" if isinstance(value, str) else "number"),
]
"""The tag is chosen before validation, so that a faulty number is not also called a faulty word."""


@dataclass(frozen=True)
class LowDataSetting(Setting):
    """How many labelled images, and the split that is counted on.

    Attributes:
        per_class: images of each class; ``"all"``: the whole train split.
        labelled: images over all classes.
        epoch_images: images that an epoch shows, repeats counted.
        ways: number of classes.
    """

    per_class: int | str
    labelled: int
    epoch_images: int
    ways: int
    splitting: str
    split: str

    @property
    def label(self) -> str:
        """``"50 labelled"``."""
        return f"{self.labelled} labelled"


@protocols.register("low_data")
class LowData(Protocol[LowDataSetting]):
    """Accuracy on a split after training on a few labelled images of each class.

    A seed is a draw: it chooses the images, and the learner's own randomness. Draws are the same
    for every learner, and nested: the images of 5 a class contain those of 2. With several seeds,
    intervals cover draws and test images, and comparisons are paired by both.

    The number of updates is the same for every number of images. A learner that trains
    in mini-batches gets its images repeated until they are as many as the whole train split has.
    Otherwise 10 images a class would also mean half the training of 20, and the curve would show
    both. For other learners the config alone sets the number (episodes, iterations).
    """

    setting_type = LowDataSetting

    class Config(ProtocolConfig):
        """How many labelled images, and which split."""

        per_class: Annotated[list[PerClass], AfterValidator(distinct)] = Field(
            [1, 2, 5, 10, 20, 50, "all"],
            min_length=1,
            description="labelled training images of each class; `all`: the whole train split",
        )
        splitting: str | None = Field(
            None, description="which splitting of the dataset; its first one if left out"
        )
        split: Literal["val", "test"] = Field("test", description="the split that is counted on")

    config: Config

    @property
    def splitting(self) -> str:
        """The splitting in use."""
        return self.config.splitting or next(iter(self.facts.splittings))

    def settings(self) -> Iterator[LowDataSetting]:
        """Yield one setting for each number of images."""
        train = self.facts.splittings[self.splitting]["train"]
        for per_class in self.config.per_class:
            labelled = train.images
            if isinstance(per_class, int):
                labelled = per_class * train.classes
            yield LowDataSetting(
                per_class=per_class,
                labelled=labelled,
                epoch_images=train.images,
                ways=train.classes,
                splitting=self.splitting,
                split=self.config.split,
            )

    def training(self) -> None:
        """Nothing: the images depend on the setting, so each cell trains its own learner."""
        return None

    def faults(self) -> Iterator[Fault]:
        """Yield faults of a classification, and numbers larger than a class has images."""
        named = self.config.splitting is not None
        faults = list(shared_class_faults(self, self.splitting, self.config.split, named=named))
        if not faults and "train" not in self.facts.splittings[self.splitting]:
            faults = [Fault(("dataset",), f"learners are trained, and {NO_TRAIN}", CARVE)]
        yield from faults
        if faults:
            return
        smallest = self.facts.splittings[self.splitting]["train"].per_class
        for place, per_class in enumerate(self.config.per_class):
            if isinstance(per_class, int) and per_class > smallest:
                yield Fault(
                    ("per_class", place),
                    f"{per_class} images a class, but a class of {self.splitting}/train may have "
                    f"only {smallest}",
                    f"at most {smallest}, or all",
                )

    @classmethod
    def measure(
        cls, learner: Learner, data: Loaded, setting: LowDataSetting, context: Context
    ) -> Measurement:
        """Train on the images drawn, then classify as ``classification`` does.

        Args:
            learner: an untrained learner.
        """
        train = data.split(setting.splitting, "train")
        assert train.labels is not None
        rows = balanced_rows(train.labels, setting.labelled, context.rng.child("low data"))
        if learner.mini_batches:
            rows = _repeated(train.labels, rows, setting.epoch_images, context.rng)
        log = fitted(learner, train.take(rows), NO_LIMIT, context.progress)
        counted = count(learner, data.split(setting.splitting, setting.split), context)
        remarks = [*log.remarks, *counted.remarks]
        return replace(counted, log={"training": log.summary()}, remarks=remarks)

    def detectable(self, seeds: int = 1, spread: float | None = None) -> str:
        """From the number of images, which are the same in every seed."""
        images = self.facts.splittings[self.splitting][self.config.split].images
        return detectable_words(images, spread)

    def block(self) -> dict[str, str]:
        """Conditions that every number of the table shares."""
        train = self.facts.splittings[self.splitting]["train"]
        images = self.facts.splittings[self.splitting][self.config.split].images
        return {
            "split": f"{self.splitting}/{self.config.split}, {images} images",
            "training": f"images drawn from {self.splitting}/train, labelled; the same number of "
            f"updates for every number of images: an epoch shows {train.images}, the drawn ones "
            "repeated (a suite's budget does not apply)",
            "image size": "x".join(map(str, self.facts.image_shape)),
            "draws": "one a seed, the same for every learner, nested",
        }


def _repeated(labels: np.ndarray, rows: np.ndarray, count: int, rng: Rng) -> np.ndarray:
    """Repeat rows until there are ``count``, each as often as any other or once more.

    Args:
        labels: of all images, (N,); the rows that come once more are spread over classes.
        rows: in ascending order.
        count: at least as many as there are rows.
        rng: decides which come once more.

    Returns:
        Rows in ascending order, (count,).
    """
    times, left = divmod(count, len(rows))
    again = rows[balanced_rows(labels[rows], left, rng.child("low data, once more"))]
    return np.sort(np.concatenate([np.repeat(rows, times), again]))
