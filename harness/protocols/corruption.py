"""Accuracy on corrupted images: what a network withstands that no adversary chose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Field

from harness.batching import in_batches
from harness.data.base import Images, Loaded
from harness.data.corruptions import SEVERITIES, corrupt, words
from harness.lazy import torch
from harness.learning.learner import Learner
from harness.metrics.statistics import t_interval, wilson
from harness.protocols.base import (
    Context,
    Fault,
    Measurement,
    Protocol,
    ProtocolConfig,
    TrainingData,
)
from harness.protocols.classification import detectable_words, shared_class_faults
from harness.protocols.requirements import require_eval_mode, require_logits
from harness.protocols.setting import Setting
from harness.protocols.subset import subset
from harness.records import Value
from harness.registry import distinct, protocols

Kind = Literal[
    "gaussian-noise", "salt-and-pepper", "blur", "contrast", "occlusion", "shift", "rotation"
]
CLEAN, MEAN = "clean", "mean"
CHUNK = 2048
"""Images corrupted at once."""


@dataclass(frozen=True)
class CorruptionSetting(Setting):
    """Which corruptions of which images."""

    corruptions: tuple[str, ...]
    severities: tuple[int, ...]
    splitting: str
    split: str
    images: int | None


@protocols.register("corruption")
class Corruption(Protocol[CorruptionSetting]):
    """Accuracy on images with noise, blur, less contrast, occlusion, shifts and rotations, at five severities."""

    setting_type = CorruptionSetting
    keys = ("corruption", "severity")

    class Config(ProtocolConfig):
        """Which corruptions, and of which images."""

        corruptions: Annotated[list[Kind], AfterValidator(distinct)] = Field(
            list(SEVERITIES), min_length=1, description="which corruptions; all of them if left out"
        )
        severities: Annotated[list[Annotated[int, Field(ge=1, le=5)]], AfterValidator(distinct)] = (
            Field([1, 2, 3, 4, 5], min_length=1, description="from 1, light, to 5, heavy")
        )
        splitting: str | None = Field(
            None, description="which splitting of the dataset; its first one if left out"
        )
        split: Literal["val", "test"] = Field(
            "test", description="the split whose images are corrupted"
        )
        images: int | None = Field(
            None, ge=2, description="how many images, classes balanced; the whole split if left out"
        )

    @property
    def splitting(self) -> str:
        """The splitting in use."""
        return self.config.splitting or next(iter(self.facts.splittings))

    def settings(self) -> Iterator[CorruptionSetting]:
        """One cell: the mean is over all of them together."""
        config = self.config
        yield CorruptionSetting(
            tuple(config.corruptions),
            tuple(config.severities),
            self.splitting,
            config.split,
            config.images,
        )

    def training(self) -> TrainingData:
        """The labelled train split, without corruptions."""
        return TrainingData(self.splitting)

    def faults(self) -> Iterator[Fault]:
        """A splitting or split that is not there, classes that were never trained on, more images than there are."""
        found = list(
            shared_class_faults(
                self, self.splitting, self.config.split, named=self.config.splitting is not None
            )
        )
        yield from found
        if not found and self.config.images:
            there = self.facts.splittings[self.splitting][self.config.split].images
            if self.config.images > there:
                yield Fault(
                    ("images",), f"{self.config.images} images of {there}", f"at most {there}"
                )

    @classmethod
    def measure(
        cls, learner: Learner, data: Loaded, setting: CorruptionSetting, context: Context
    ) -> Measurement:
        """Accuracy without and with each corruption and severity, and means of those over severities and over all.

        What such a mean has lost of the clean accuracy, as a share of it, is ``relative_drop``.

        Raises:
            ValueError: the classifier is in train mode.
            FloatingPointError: some logits are not finite.
        """
        images = data.split(setting.splitting, setting.split)
        images = images if setting.images is None else subset(images, setting.images)
        kinds, severities = setting.corruptions, setting.severities
        model = learner.classifier()
        require_eval_mode(model, learner, "classifier()")
        clean = _verdicts(model, learner, images, None, 0, context)
        correct = np.empty((len(kinds), len(severities), len(images)), np.uint8)
        for i, kind in enumerate(kinds):
            for j, severity in enumerate(severities):
                correct[i, j] = _verdicts(model, learner, images, kind, severity, context)
            context.progress((i + 1) / len(kinds), kind)
        values, arrays = _values(clean, correct, kinds, severities)
        return Measurement(values, {**arrays, "index": images.index})

    def detectable(self, seeds: int = 1, spread: float | None = None) -> str:
        """From the number of images."""
        return detectable_words(
            self.config.images or self.facts.splittings[self.splitting][self.config.split].images,
            spread,
        )

    def block(self) -> dict[str, str]:
        """Conditions that every number of the table shares."""
        config = self.config
        return {
            "split": f"{self.splitting}/{config.split}",
            "images": f"{config.images}, classes balanced" if config.images else "all",
            "training": f"{self.splitting}/train, labelled, without corruptions",
            "severities": f"{', '.join(map(str, config.severities))} of 5; a kind's number is the mean over them, the mean is "
            "over all kinds and severities",
            **{kind: words(kind) for kind in config.corruptions},
        }


def _verdicts(
    model: Any, learner: Learner, images: Images, kind: str | None, severity: int, context: Context
) -> np.ndarray:
    """uint8 (N,), which images are classified correctly when corrupted."""
    parts, rng = [], context.rng.child("corruption protocol")
    for start in range(0, len(images), CHUNK):
        part = images.take(slice(start, start + CHUNK))
        pixels = part.tensor(context.device)
        if kind is not None:
            pixels = corrupt(pixels, kind, severity, part.index, rng)
        with torch.no_grad():
            logits = in_batches(model, pixels, batch_size=context.batch_size)
        require_logits(logits, (len(part), images.n_classes), learner)
        parts.append((logits.argmax(1).cpu().numpy() == part.labels).astype(np.uint8))
    return np.concatenate(parts)


def _values(
    clean: np.ndarray, correct: np.ndarray, kinds: list[str], severities: list[int]
) -> tuple[list[Value], dict[str, np.ndarray]]:
    """Numbers and the arrays that they are means of, from verdicts (kinds, severities, images)."""
    values, arrays = [], {}

    def add(setting: dict[str, Any], units: np.ndarray) -> None:
        name, single = "/".join(map(str, setting.values())), units.dtype == np.uint8
        # Means of several verdicts an image have a t interval, unless they are all equal: that makes nothing certain.
        low, high = (
            wilson(round(float(units.sum())), len(units))
            if single or np.ptp(units) == 0
            else t_interval(units)
        )
        arrays[name] = units
        unit = "sample" if single else "image"
        values.append(
            Value("accuracy", float(units.mean()), low, high, len(units), unit, setting, name)
        )

    def add_summary(setting: dict[str, Any], units: np.ndarray) -> None:
        add(setting, units)
        if clean.any():
            values.append(
                Value("relative_drop", *relative_drop(clean, units), len(clean), "image", setting)
            )

    add({"corruption": CLEAN}, clean)
    for kind, of_kind in zip(kinds, correct, strict=True):
        add_summary({"corruption": kind}, of_kind.mean(0))
        for severity, units in zip(severities, of_kind, strict=True):
            add({"corruption": kind, "severity": severity}, units)
    for severity, of_severity in zip(severities, correct.transpose(1, 0, 2), strict=True):
        add({"corruption": MEAN, "severity": severity}, of_severity.mean(0))
    add_summary({"corruption": MEAN}, correct.mean((0, 1)))
    return values, arrays


def relative_drop(
    clean: np.ndarray, corrupted: np.ndarray
) -> tuple[float, float | None, float | None]:
    """The share of the clean accuracy that corruption costs, with its 95 % interval.

    A ratio of two means over the same images; its interval is that of its linear part (delta method), and none where
    that has no spread.

    Args:
        clean, corrupted: (N,) with N >= 2, verdicts or means of verdicts an image; some of ``clean`` are right.
    """
    kept = corrupted.mean() / clean.mean()
    part = (corrupted - kept * clean) / clean.mean()
    low, high = t_interval(1 - kept - part) if np.ptp(part) > 0 else (None, None)
    return 1 - float(kept), low, high
