"""Out of distribution: does a learner's confidence tell images unlike those of training?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Field, ValidationError

from harness.batching import ROWS
from harness.data.base import Dataset, Images, Loaded
from harness.data.beside import beside, made
from harness.errors import DataError, HarnessError
from harness.learning.learner import Learner
from harness.metrics.outside import SCORES, accepted, placements
from harness.metrics.statistics import share_interval, wilson
from harness.protocols.base import (
    Context,
    Fault,
    Measurement,
    Protocol,
    ProtocolConfig,
    TrainingData,
)
from harness.protocols.calibration import logits_of
from harness.protocols.inference import of_classifier
from harness.protocols.on_a_split import shared_class_faults
from harness.protocols.requirements import classifier_of
from harness.protocols.setting import Setting
from harness.protocols.subset import Several, of_config, subset, too_many
from harness.protocols.subset import words as subset_words
from harness.records import Value
from harness.registry import distinct, protocols

NOISE = "noise"
"""Name of what needs no dataset: every value drawn uniformly."""

Score = Literal["max_logit", "energy", "max_probability"]


@dataclass(frozen=True)
class OutOfDistributionSetting(Setting):
    """What is inside, and what is outside.

    Attributes:
        outside: names of splits of the data, or ``noise``.
        images: how many of each, as in ``subset``.
    """

    splitting: str
    outside: tuple[str, ...]
    scores: tuple[str, ...]
    images: int | str | None


@protocols.register("out_of_distribution")
class OutOfDistribution(Protocol[OutOfDistributionSetting]):
    """AUROC and FPR95 of max-logit and energy, with images of other datasets as outside."""

    setting_type = OutOfDistributionSetting
    keys = ("outside", "score")

    class Config(ProtocolConfig):
        """What is outside."""

        outside: Annotated[list[str], AfterValidator(distinct)] = Field(
            min_length=1,
            description="what is unlike the training images: names of datasets with images of the "
            "same size (their test images are used), `noise`, or a further split of the dataset",
        )
        scores: Annotated[list[Score], AfterValidator(distinct)] = Field(
            ["max_logit", "energy"],
            min_length=1,
            description="what is larger inside: the largest logit, the log of the sum of their "
            "exponentials, or the largest probability",
        )
        images: Several | None = Field(
            None,
            description="how many test images inside, and at most as many of each outside; all if "
            "left out",
        )

    config: Config

    @property
    def splitting(self) -> str:
        """The dataset's first splitting."""
        return next(iter(self.facts.splittings))

    @cached_property
    def _others(self) -> list[str]:
        """Names of the datasets beside."""
        own = self.facts.splittings[self.splitting]
        return [name for name in self.config.outside if name != NOISE and name not in own]

    def settings(self) -> Iterator[OutOfDistributionSetting]:
        """Yield one setting."""
        config = self.config
        yield OutOfDistributionSetting(
            self.splitting, tuple(config.outside), tuple(config.scores), of_config(config.images)
        )

    def training(self) -> TrainingData:
        """The labelled train split: of what is inside."""
        return TrainingData(self.splitting)

    def measured_on(self, dataset: Dataset) -> Dataset:
        """The dataset with the others beside it."""
        return beside(dataset, self._others) if self._others else dataset

    def faults(self) -> Iterator[Fault]:
        """Yield classes not trained on, unknown datasets, and images of another size."""
        faults = list(shared_class_faults(self, self.splitting, "test", named=False))
        yield from faults
        if not faults:
            available = self.facts.splittings[self.splitting]["test"].images
            yield from too_many(self.config.images, available)
        for place, name in enumerate(self.config.outside):
            message = self._fault_of(name)
            if message:
                yield Fault(("outside", place), *message)

    def _fault_of(self, name: str) -> tuple[str, str] | None:
        """What is wrong with something outside: message and hint."""
        if name in ("train", "val", "test"):
            return f"the split {name} is inside", "name another dataset, or noise"
        if name not in self._others:
            return None
        try:
            shape = made({"kind": name}, None).facts().image_shape
        except ValidationError:
            return f"dataset {name!r} has keys that must be given", "use one without such keys"
        except DataError as error:
            return error.message, error.hint or ""
        except HarnessError as error:
            return error.message, f"{error.hint or 'or'}; or {NOISE}"
        if shape != self.facts.image_shape:
            own, other = ("x".join(map(str, each)) for each in (self.facts.image_shape, shape))
            return f"images of {name} are {other}, and those of the dataset {own}", ""
        return None

    @classmethod
    def measure(
        cls, learner: Learner, data: Loaded, setting: OutOfDistributionSetting, context: Context
    ) -> Measurement:
        """Score images inside and outside, and count how well scores tell them from each other.

        Raises:
            ValueError: the classifier is in train mode.
            FloatingPointError: some logits are not finite.
        """
        images = subset(data.split(setting.splitting, "test"), setting.images)
        inside = logits_of(learner, images, context)
        values: list[Value] = []
        arrays: dict[str, np.ndarray] = {"index": images.index}
        for place, name in enumerate(setting.outside):
            shown = _outside(data, setting, name, images, context)
            outside = logits_of(learner, shown, context)
            for score in setting.scores:
                better = placements(SCORES[score](inside), SCORES[score](outside))
                passed = accepted(SCORES[score](inside), SCORES[score](outside))
                keys = {"outside": name, "score": score}
                names = f"auroc/{name}/{score}", f"fpr95/{name}/{score}"
                arrays |= dict(zip(names, (better, passed), strict=True))
                values += [_auroc(better, keys, names[0]), _fpr95(passed, keys, names[1])]
            context.progress((place + 1) / len(setting.outside), name)
        first = images.take(np.arange(min(ROWS, len(images)))).tensor(context.device)
        inference = of_classifier(classifier_of(learner), first)
        return Measurement(values, arrays, inference.checks, remarks=inference.remarks)

    def block(self) -> dict[str, str]:
        """Conditions that every number of the table shares."""
        return {
            "inside": f"{self.splitting}/test",
            "images": f"{subset_words(of_config(self.config.images))}, and at most as many of each "
            "outside",
            "training": f"{self.splitting}/train, labelled",
            "scores": "of the logits as they are; larger inside",
            "FPR95": "share of the outside images above the threshold that accepts 95 % inside",
        }


def _outside(
    data: Loaded,
    setting: OutOfDistributionSetting,
    name: str,
    inside: Images,
    context: Context,
) -> Images:
    """The images of something outside, as many as there are inside or fewer."""
    if name == NOISE:
        generator = context.rng.numpy("out of distribution", NOISE)
        pixels = generator.integers(0, 256, inside.pixels.shape, dtype=np.uint8)
        return Images(pixels, inside.labels, inside.index, inside.n_classes)
    images = data.split(setting.splitting, name)
    order = context.rng.numpy("out of distribution", name).permutation(len(images))
    chosen = images.take(np.sort(order[: len(inside)]))
    return Images(chosen.pixels, chosen.labels, chosen.index, inside.n_classes)


def _auroc(better: np.ndarray, keys: dict[str, Any], verdicts: str) -> Value:
    low, high = share_interval(better)
    return Value("auroc", float(better.mean()), low, high, len(better), "image", keys, verdicts)


def _fpr95(passed: np.ndarray, keys: dict[str, Any], verdicts: str) -> Value:
    low, high = wilson(int(passed.sum()), len(passed))
    return Value("fpr95", float(passed.mean()), low, high, len(passed), "sample", keys, verdicts)
