"""Randomised smoothing: what is proven of the smoothed network, which is another classifier."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Field

from harness.batching import ROWS
from harness.budgets import words
from harness.data.base import Loaded
from harness.learning.learner import Learner
from harness.metrics.statistics import wilson
from harness.protocols.base import (
    Context,
    Fault,
    Measurement,
    ProtocolConfig,
)
from harness.protocols.classification import detectable_words
from harness.protocols.inference import of_classifier
from harness.protocols.on_a_split import OnASplit
from harness.protocols.requirements import classifier_of
from harness.protocols.setting import Setting
from harness.protocols.subset import Some, number_of, of_config, subset
from harness.protocols.subset import words as subset_words
from harness.records import Value
from harness.registry import distinct, protocols

METRIC = "smoothed_proven"

OTHER_NETWORK = "numbers are of the network smoothed by noise, not of the network itself"


@dataclass(frozen=True)
class SmoothingSetting(Setting):
    """The noise, and whose images are certified."""

    sigma: float
    radii: tuple[float, ...]
    draws: int
    alpha: float
    splitting: str
    split: str
    images: int | str | None


@protocols.register("smoothing")
class Smoothing(OnASplit[SmoothingSetting]):
    """Certified accuracy of the network smoothed by Gaussian noise (Cohen et al. 2019), in L2.

    It needs no access to the network's inside, so it applies to every learner; one that was not
    trained with such noise is rarely good at it. Never compare it with attacks on the network
    itself.
    """

    setting_type = SmoothingSetting
    keys = ("radius",)

    class Config(ProtocolConfig):
        """The noise and the radii."""

        sigma: float = Field(
            0.25, gt=0, le=10, description="standard deviation of the noise, in pixel units"
        )
        radii: Annotated[list[Annotated[float, Field(ge=0)]], AfterValidator(distinct)] = Field(
            [0, 0.25, 0.5, 0.75], min_length=1, description="L2 radii within which classes hold"
        )
        draws: int = Field(
            1000, ge=10, le=1_000_000, description="noisy copies of each image that are counted"
        )
        alpha: float = Field(
            0.001, gt=0, lt=0.5, description="the chance that the radius of one image is too large"
        )
        splitting: str | None = Field(
            None, description="which splitting of the dataset; its first one if left out"
        )
        split: Literal["val", "test"] = Field(
            "test", description="the split whose images are certified"
        )
        images: Some | None = Field(
            None,
            description="how many images, classes balanced, or {first: N}: the first N in the "
            "dataset's order; the whole split if left out",
        )

    config: Config

    def settings(self) -> Iterator[SmoothingSetting]:
        """Yield one setting: the same draws serve all radii."""
        config = self.config
        yield SmoothingSetting(
            config.sigma,
            tuple(sorted(config.radii)),
            config.draws,
            config.alpha,
            self.splitting,
            config.split,
            of_config(config.images),
        )

    def faults(self) -> Iterator[Fault]:
        """Yield unknown splits, classes not trained on, and too large numbers of images."""
        yield from self.split_faults(self.config.images)

    @classmethod
    def measure(
        cls, learner: Learner, data: Loaded, setting: SmoothingSetting, context: Context
    ) -> Measurement:
        """Certified accuracy at each radius with its Wilson interval; abstentions are errors.

        Raises:
            ValueError: the classifier is in train mode.
        """
        from harness.bounds.smoothing import smoothed

        images = subset(data.split(setting.splitting, setting.split), setting.images)
        model = classifier_of(learner)
        pixels = images.tensor(context.device)
        proof = smoothed(
            model,
            pixels,
            images.index,
            setting.sigma,
            context.rng,
            draws=setting.draws,
            alpha=setting.alpha,
            batch_size=context.batch_size,
        )
        right = proof.classes == images.labels
        arrays = {
            "index": images.index,
            "class": proof.classes.astype(np.int64),
            "radius": proof.radius.astype(np.float32),
        }
        values = []
        for radius in setting.radii:
            certified = right & (proof.radius > radius)
            name = f"certified/radius={words(radius)}"
            arrays[name] = certified.astype(np.uint8)
            low, high = wilson(int(certified.sum()), len(certified))
            value = Value(
                METRIC,
                float(certified.mean()),
                low,
                high,
                n=len(certified),
                unit="sample",
                setting={"radius": radius},
                verdicts=name,
            )
            values.append(value)
        inference = of_classifier(model, pixels[:ROWS])
        remarks = [*inference.remarks, OTHER_NETWORK]
        return Measurement(values, arrays, inference.checks, remarks=remarks)

    def detectable(self, seeds: int = 1, spread: float | None = None) -> str:
        """From the number of images, which are the same in every seed."""
        split = self.facts.splittings[self.splitting][self.config.split]
        chosen = of_config(self.config.images)
        images = split.images if chosen is None else number_of(chosen)
        return detectable_words(images, spread)

    def block(self) -> dict[str, str]:
        """Conditions that every number of the table shares."""
        config = self.config
        return {
            "split": f"{self.splitting}/{config.split}",
            "images": subset_words(of_config(config.images)),
            "smoothed network": f"the class given most often under Gaussian noise, sigma "
            f"{words(config.sigma)}, not clipped",
            "certified": f"right within the L2 radius, by {config.draws} draws; the chance that "
            f"the radius of one image is too large is {config.alpha:g}",
        }
