"""Calibration: is a learner right as often as it is confident?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import Field

from harness.batching import ROWS, in_batches
from harness.data.base import Images, Loaded
from harness.lazy import torch
from harness.learning.learner import Learner
from harness.metrics.calibration import (
    BINS,
    best_temperature,
    expected_calibration_error,
    log_probabilities,
    negative_log_likelihood,
    reliability,
)
from harness.metrics.statistics import t_interval, wilson
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
from harness.protocols.subset import Several, of_config, subset
from harness.protocols.subset import words as subset_words
from harness.records import Value
from harness.registry import protocols

PLAIN = "plain"
SCALED = "scaled"
"""Values of the key ``logits``: as they are, and divided by the best temperature."""


@dataclass(frozen=True)
class CalibrationSetting(Setting):
    """Whose confidence is judged.

    Attributes:
        scaled: whether a temperature is fitted on the validation images too.
    """

    splitting: str
    split: str
    images: int | str | None
    scaled: bool


@protocols.register("calibration")
class Calibration(OnASplit[CalibrationSetting]):
    """Expected calibration error, likelihood and reliability, with and without a temperature."""

    setting_type = CalibrationSetting
    keys = ("logits", "bin")

    class Config(ProtocolConfig):
        """Which images."""

        splitting: str | None = Field(
            None, description="which splitting of the dataset; its first one if left out"
        )
        split: Literal["val", "test"] = Field("test", description="the split that is judged on")
        images: Several | None = Field(
            None,
            description="how many images, classes balanced, or {first: N}: the first N in the "
            "dataset's order; the whole split if left out",
        )

    config: Config

    @property
    def scaled(self) -> bool:
        """Whether there are validation images, other than those judged, to fit a temperature on."""
        splits = self.facts.splittings.get(self.splitting, {})
        return "val" in splits and self.config.split != "val"

    def settings(self) -> Iterator[CalibrationSetting]:
        """Yield one setting."""
        images = of_config(self.config.images)
        yield CalibrationSetting(self.splitting, self.config.split, images, self.scaled)

    def faults(self) -> Iterator[Fault]:
        """Yield unknown splits, classes not trained on, and too large numbers of images."""
        yield from self.split_faults(self.config.images)

    @classmethod
    def measure(
        cls, learner: Learner, data: Loaded, setting: CalibrationSetting, context: Context
    ) -> Measurement:
        """Judge the softmax of the logits as they are, and divided by the best temperature.

        Raises:
            ValueError: the classifier is in train mode.
            FloatingPointError: some logits are not finite.
        """
        images = subset(data.split(setting.splitting, setting.split), setting.images)
        labels = images.known_labels
        logits = logits_of(learner, images, context)
        values, nll = _values(logits, labels, 1.0, PLAIN)
        arrays = {"correct": (logits.argmax(1) == labels).astype(np.uint8), "nll": nll}
        if setting.scaled:
            held_out = data.split(setting.splitting, "val")
            temperature = best_temperature(
                logits_of(learner, held_out, context), held_out.known_labels
            )
            more, arrays["nll_scaled"] = _values(logits, labels, temperature, SCALED)
            fitted = Value("temperature", temperature, n=len(held_out), setting={"logits": SCALED})
            values += [*more, fitted]
        arrays["index"] = images.index
        first = images.take(np.arange(min(ROWS, len(images)))).tensor(context.device)
        inference = of_classifier(classifier_of(learner), first)
        return Measurement(values, arrays, inference.checks, remarks=inference.remarks)

    def block(self) -> dict[str, str]:
        """Conditions that every number of the table shares."""
        scaling = (
            f"one temperature, the most likely one on {self.splitting}/val"
            if self.scaled
            else "none: there are no other validation images"
        )
        return {
            "split": f"{self.splitting}/{self.config.split}",
            "images": subset_words(of_config(self.config.images)),
            "training": f"{self.splitting}/train, labelled",
            "confidence": "the largest probability, of the softmax of the logits",
            "ECE": f"{BINS} bins of equal width",
            "scaling": scaling,
        }


def logits_of(learner: Learner, images: Images, context: Context) -> np.ndarray:
    """The logits of a learner's classifier, float64 (N, n_classes).

    Raises:
        ValueError: the classifier is in train mode, or gives something else.
        FloatingPointError: some are not finite.
    """
    model = classifier_of(learner)
    with torch.no_grad():
        logits = in_batches(model, images.tensor(context.device), batch_size=context.batch_size)
    require_logits(logits, (len(images), images.n_classes), learner)
    exact: np.ndarray = logits.double().cpu().numpy()
    return exact


def _values(
    logits: np.ndarray, labels: np.ndarray, temperature: float, name: str
) -> tuple[list[Value], np.ndarray]:
    """Numbers under one temperature, and the likelihood of each image, float64 (N,)."""
    confidence = np.exp(log_probabilities(logits, temperature).max(1))
    correct = logits.argmax(1) == labels
    nll = negative_log_likelihood(logits, labels, temperature)
    bins = reliability(confidence, correct)
    keys: dict[str, Any] = {"logits": name}
    low, high = t_interval(nll)
    excess = float(confidence.mean() - correct.mean())
    values = [
        Value("ece", expected_calibration_error(bins), n=len(labels), setting=keys),
        Value("nll", float(nll.mean()), low, high, len(labels), "image", keys),
        Value("confidence", float(confidence.mean()), n=len(labels), setting=keys),
        Value("overconfidence", excess, n=len(labels), setting=keys),
    ]
    for place, each in bins.items():
        inside = {**keys, "bin": place + 1}
        share = each.right / each.count
        ends = wilson(each.right, each.count)
        values += [
            Value("right_in_bin", share, *ends, n=each.count, setting=inside),
            Value("confidence_in_bin", each.confidence, n=each.count, setting=inside),
        ]
    return values, nll
