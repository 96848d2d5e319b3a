"""Accuracy on corrupted images: robustness to noise that no adversary chose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

import numpy as np
from pydantic import AfterValidator, Field

from harness.batching import ROWS, in_batches
from harness.data.base import Images, Loaded
from harness.data.corruptions import corrupt, words
from harness.lazy import torch
from harness.learning.learner import Learner
from harness.metrics.statistics import share_interval, t_interval, wilson
from harness.protocols.base import (
    Context,
    Fault,
    Measurement,
    ProtocolConfig,
)
from harness.protocols.classification import detectable_words
from harness.protocols.inference import of_classifier
from harness.protocols.on_a_split import OnASplit
from harness.protocols.requirements import classifier_of, require_logits
from harness.protocols.setting import Setting
from harness.protocols.subset import Several, number_of, of_config, subset
from harness.protocols.subset import words as subset_words
from harness.records import Unit, Value
from harness.registry import distinct, protocols

Kind = Literal[
    "gaussian-noise", "salt-and-pepper", "blur", "contrast", "occlusion", "shift", "rotation"
]
KINDS: tuple[Kind, ...] = get_args(Kind)

CLEAN = "clean"
"""Value of the key ``corruption`` for images without one."""

MEAN = "mean"
"""Value of the key ``corruption`` for means over all kinds."""

CHUNK = 2048
"""Images corrupted at once."""


@dataclass(frozen=True)
class CorruptionSetting(Setting):
    """Which corruptions of which images."""

    corruptions: tuple[str, ...]
    severities: tuple[int, ...]
    splitting: str
    split: str
    images: int | str | None


@protocols.register("corruption")
class Corruption(OnASplit[CorruptionSetting]):
    """Accuracy on corrupted images, at five severities.

    Images are corrupted by noise, blur, less contrast, occlusion, shifts and rotations.
    """

    setting_type = CorruptionSetting
    keys = ("corruption", "severity")

    class Config(ProtocolConfig):
        """Which corruptions, and of which images."""

        corruptions: Annotated[list[Kind], AfterValidator(distinct)] = Field(
            list(KINDS), min_length=1, description="which corruptions; all of them if left out"
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
        images: Several | None = Field(
            None,
            description="how many images, classes balanced, or {first: N}: the first N in the "
            "dataset's order; the whole split if left out",
        )

    config: Config

    def settings(self) -> Iterator[CorruptionSetting]:
        """Yield one setting: the mean is over all corruptions together."""
        config = self.config
        yield CorruptionSetting(
            tuple(config.corruptions),
            tuple(config.severities),
            self.splitting,
            config.split,
            of_config(config.images),
        )

    def faults(self) -> Iterator[Fault]:
        """Yield unknown splits, classes not trained on, and too large numbers of images."""
        yield from self.split_faults(self.config.images)

    @classmethod
    def measure(
        cls, learner: Learner, data: Loaded, setting: CorruptionSetting, context: Context
    ) -> Measurement:
        """Measure accuracy on clean images, under each corruption and severity, and means.

        Means are over severities, over kinds, and over both. ``relative_drop`` is the share of the
        clean accuracy that a mean has lost.

        Raises:
            ValueError: the classifier is in train mode.
            FloatingPointError: some logits are not finite.
        """
        images = subset(data.split(setting.splitting, setting.split), setting.images)
        kinds = setting.corruptions
        severities = setting.severities
        model = classifier_of(learner)
        clean = _verdicts(model, learner, images, None, 0, context)
        correct = np.empty((len(kinds), len(severities), len(images)), np.uint8)
        for i, kind in enumerate(kinds):
            for j, severity in enumerate(severities):
                correct[i, j] = _verdicts(model, learner, images, kind, severity, context)
            context.progress((i + 1) / len(kinds), kind)
        values, arrays = _values(clean, correct, kinds, severities)
        first = images.take(np.arange(min(ROWS, len(images)))).tensor(context.device)
        inference = of_classifier(model, first)
        arrays["index"] = images.index
        return Measurement(values, arrays, inference.checks, remarks=inference.remarks)

    def detectable(self, seeds: int = 1, spread: float | None = None) -> str:
        """From the number of images."""
        split = self.facts.splittings[self.splitting][self.config.split]
        chosen = of_config(self.config.images)
        images = split.images if chosen is None else number_of(chosen)
        return detectable_words(images, spread)

    def block(self) -> dict[str, str]:
        """Conditions that every number of the table shares."""
        config = self.config
        severities = ", ".join(map(str, config.severities))
        return {
            "split": f"{self.splitting}/{config.split}",
            "images": subset_words(of_config(config.images)),
            "training": f"{self.splitting}/train, labelled, without corruptions",
            "severities": f"{severities} of 5; a kind's number is the mean over them, the mean is "
            "over all kinds and severities",
            **{kind: words(kind) for kind in config.corruptions},
        }


def _verdicts(
    model: Any, learner: Learner, images: Images, kind: str | None, severity: int, context: Context
) -> np.ndarray:
    """Find which images are classified correctly when corrupted: uint8 (N,).

    Args:
        kind: of corruption; None: clean images.
    """
    parts = []
    rng = context.rng.child("corruption protocol")
    rows = np.arange(len(images))
    for start in range(0, len(images), CHUNK):
        part = images.take(rows[start : start + CHUNK])
        pixels = part.tensor(context.device)
        if kind is not None:
            pixels = corrupt(pixels, kind, severity, part.index, rng)
        with torch.no_grad():
            logits = in_batches(model, pixels, batch_size=context.batch_size)
        require_logits(logits, (len(part), images.n_classes), learner)
        parts.append((logits.argmax(1).cpu().numpy() == part.labels).astype(np.uint8))
    return np.concatenate(parts)


def _values(
    clean: np.ndarray, correct: np.ndarray, kinds: Sequence[str], severities: Sequence[int]
) -> tuple[list[Value], dict[str, np.ndarray]]:
    """Summarise verdicts.

    Args:
        clean: uint8 (images,), verdicts without corruption.
        correct: uint8 (kinds, severities, images).
        kinds, severities: names of the first two axes.

    Returns:
        the values, and the arrays that they are means of.
    """
    values: list[Value] = []
    arrays: dict[str, np.ndarray] = {}

    def add(setting: dict[str, Any], units: np.ndarray) -> None:
        value = _accuracy(setting, units)
        assert value.verdicts is not None
        arrays[value.verdicts] = units
        values.append(value)

    def add_with_drop(setting: dict[str, Any], units: np.ndarray) -> None:
        add(setting, units)
        if clean.any():
            drop, low, high = relative_drop(clean, units)
            values.append(Value("relative_drop", drop, low, high, len(clean), "image", setting))

    add({"corruption": CLEAN}, clean)
    for kind, of_kind in zip(kinds, correct, strict=True):
        add_with_drop({"corruption": kind}, of_kind.mean(0))
        for severity, units in zip(severities, of_kind, strict=True):
            add({"corruption": kind, "severity": severity}, units)
    for severity, of_severity in zip(severities, correct.transpose(1, 0, 2), strict=True):
        add({"corruption": MEAN, "severity": severity}, of_severity.mean(0))
    add_with_drop({"corruption": MEAN}, correct.mean((0, 1)))
    return values, arrays


def _accuracy(setting: dict[str, Any], units: np.ndarray) -> Value:
    """The mean of verdicts (uint8), or of means of several verdicts an image (float)."""
    are_verdicts = units.dtype == np.uint8
    low: float | None
    high: float | None
    if are_verdicts:
        low, high = wilson(round(float(units.sum())), len(units))
    else:
        low, high = share_interval(units)
    unit: Unit = "sample" if are_verdicts else "image"
    name = "/".join(map(str, setting.values()))
    return Value("accuracy", float(units.mean()), low, high, len(units), unit, setting, name)


def relative_drop(
    clean: np.ndarray, corrupted: np.ndarray
) -> tuple[float, float | None, float | None]:
    """The share of the clean accuracy that corruption costs, with its 95 % interval.

    It is at most 1, and negative if accuracy rises.

    It is 1 minus a ratio of two means over the same images. The interval is that of its linear
    part (delta method); None where that part has no spread.

    Args:
        clean: (N,) with N >= 2, verdicts of which at least one is 1.
        corrupted: (N,), verdicts or means of several verdicts, on the same images.

    Returns:
        the share, and the ends of its interval.
    """
    kept = corrupted.mean() / clean.mean()
    part = (corrupted - kept * clean) / clean.mean()
    drop = 1 - float(kept)
    if np.ptp(part) == 0:
        return drop, None, None
    low, high = t_interval(1 - kept - part)
    return drop, low, None if high is None else min(high, 1.0)
