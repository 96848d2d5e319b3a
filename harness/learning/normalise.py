"""How images are normalised for a network that was trained on normalised ones."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from harness.errors import HarnessError
from harness.registry import Config

Channel = Annotated[list[float], Field(min_length=1)]


class Normalise(Config):
    """What is subtracted from each channel of an image in [0, 1], and what it is divided by."""

    mean: Channel = Field(description="of each channel")
    std: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)] = Field(
        description="of each channel"
    )

    @model_validator(mode="after")
    def _same_channels(self) -> Self:
        if len(self.mean) != len(self.std):
            raise ValueError(f"{len(self.mean)} means and {len(self.std)} standard deviations")
        return self


def moments(normalise: Normalise | None, channels: int) -> tuple[list[float], list[float]]:
    """Mean and deviation of each channel; a single one is that of every channel.

    Args:
        normalise: Empty lists if left out.
        channels: Of the images.

    Raises:
        HarnessError: It is for another number of channels.
    """
    if normalise is None:
        return [], []
    if len(normalise.mean) not in (1, channels):
        raise HarnessError(f"normalise has {len(normalise.mean)} channels, the images {channels}")
    return normalise.mean, normalise.std
