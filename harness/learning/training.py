"""One training as the house runs it: what it saw is found out, not taken from the learner."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from harness.data.base import Images
from harness.learning.learner import Budget, Learner, Progress, TrainingLog

NOT_TRAINED = "not trained here: its `fit` read no training image"
"""Remark on a learner that brings its weights along, or keeps the random ones."""

ELSEWHERE = "trained elsewhere: measured as it is"
"""Remark on a learner that no cell trains."""

AS_BUILT = "not trained here: measured with the weights that its code gives it, perhaps random ones"
"""Remark on a network that names no file with weights."""

PLASTIC = "plastic: it changes while it is measured, so its numbers hold for this order of images"
"""Remark on a learner whose classifier changes while it classifies."""


@dataclass(frozen=True)
class _Watched(Images):
    """Images that note in ``read`` whether anybody looked at their pixels."""

    read: list[bool] = field(default_factory=list)

    def __getattribute__(self, name: str) -> Any:
        if name == "pixels":
            object.__getattribute__(self, "read").append(True)
        return object.__getattribute__(self, name)

    def __len__(self) -> int:
        return len(self.index)

    @property
    def shape(self) -> tuple[int, int, int]:
        _, channels, height, width = object.__getattribute__(self, "pixels").shape
        return channels, height, width


def fitted(learner: Learner, images: Images, budget: Budget, progress: Progress) -> TrainingLog:
    """Train a learner; its log gets a remark if it did not look at a single image.

    Raises:
        TypeError: ``fit`` returned no ``TrainingLog``.
    """
    watched = _Watched(images.pixels, images.labels, images.index, images.n_classes)
    log = learner.fit(watched, budget=budget, progress=progress)
    if not isinstance(log, TrainingLog):
        given = type(log).__name__
        raise TypeError(f"{learner.kind}: fit() must return a TrainingLog, got {given}")
    if not watched.read:
        log.remarks.append(NOT_TRAINED)
    return log
