"""Accuracy against the number of labelled images that a learner is trained on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from harness.data.base import Loaded
from harness.learning.fitting import balanced_rows
from harness.learning.learner import Learner
from harness.protocols.base import Context, Fault, Measurement, ProtocolConfig
from harness.protocols.classification import Classification
from harness.registry import distinct, protocols

ALL = "all"

PerClass = Annotated[
    Annotated[int, Field(ge=1), Tag("number")] | Annotated[Literal["all"], Tag("word")],
    Discriminator(lambda value: "word" if isinstance(value, str) else "number"),
]
"""Told apart beforehand, so that a faulty number is not called a faulty word as well."""


@protocols.register("low_data")
class LowData(Classification):
    """Accuracy on a split after training on a few labelled images of each class.

    A seed is a draw: it chooses the images and, as everywhere, what the learner makes of chance. Draws are the same for
    every learner, and nested: the images of 5 a class contain those of 2. Several seeds therefore give an interval over
    draws and test images, and comparisons paired by both.
    """

    class Config(ProtocolConfig):
        """How many labelled images, and which split."""

        per_class: Annotated[list[PerClass], AfterValidator(distinct)] = Field(
            [1, 2, 5, 10, 20, 50, ALL],
            min_length=1,
            description="labelled training images of each class; `all`: the whole train split",
        )
        splitting: str | None = Field(
            None, description="which splitting of the dataset; its first one if left out"
        )
        split: Literal["val", "test"] = Field("test", description="the split that is counted on")

    def settings(self) -> Iterator[dict[str, Any]]:
        """One cell a number of images; ``labelled`` counts them over all classes."""
        train = self.facts.splittings[self.splitting]["train"]
        for count in self.config.per_class:
            labelled = train.images if count == ALL else count * train.classes
            yield {
                "per_class": count,
                "labelled": labelled,
                "ways": train.classes,
                "splitting": self.splitting,
                "split": self.config.split,
            }

    def training(self) -> None:
        """Nothing beforehand: what is drawn depends on the setting, so that each cell trains its own learner."""
        return None

    def faults(self) -> Iterator[Fault]:
        """Those of a classification, and more images than a class has."""
        found = list(super().faults())
        yield from found
        smallest = None if found else self.facts.splittings[self.splitting]["train"].per_class
        for place, count in enumerate(self.config.per_class):
            if smallest is not None and count != ALL and count > smallest:
                yield Fault(
                    ("per_class", place),
                    f"{count} images a class, but a class of {self.splitting}/train may have only "
                    f"{smallest}",
                    f"at most {smallest}, or all",
                )

    @classmethod
    def measure(
        cls, learner: Learner, data: Loaded, setting: dict[str, Any], context: Context
    ) -> Measurement:
        """Train on the images drawn, then count as a classification does.

        Args:
            learner: one that has learned nothing yet.
        """
        train = data.split(setting["splitting"], "train")
        rows = balanced_rows(train.labels, setting["labelled"], context.rng.child("low data"))
        learner.fit(train.take(rows), progress=context.progress)
        return super().measure(learner, data, setting, context)

    def block(self) -> dict[str, str]:
        """Conditions that every number of the table shares."""
        return {
            **super().block(),
            "training": f"images drawn from {self.splitting}/train, labelled; each learner's own epochs over them "
            "(a suite's budget does not apply)",
            "draws": "one a seed, the same for every learner, nested",
        }
