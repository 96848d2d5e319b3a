"""Which layers and ingredients a stack has, and the sizes that follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from harness import registry
from harness.errors import HarnessError
from harness.rules.competitive_learner import CompetitiveConfig

Head = Literal["imprint", "consolidate", "nearest-mean", "cosine", "ridge"]


class LayerConfig(registry.Config):
    """One layer of a stack."""

    neurons: int = Field(128, ge=2, description="neurons that compete at each place")
    kernel: int | None = Field(
        7, ge=1, description="side of the receptive field; null: the whole map"
    )
    stride: int = Field(1, ge=1, description="spacing of receptive fields")
    shared: bool = Field(
        True, description="one set of weights for all places; false: each place learns its own"
    )
    grid: int | None = Field(
        4, ge=1, description="activity is averaged in this many regions per side; null: not at all"
    )
    read: int | None = Field(
        None,
        ge=1,
        description="for a layer below the last: the read-out sees it too, averaged in this many "
        "regions per side; null: it does not",
    )
    temperature: float = Field(100.0, gt=0, description="T of the code that is passed on")


class LocalStackConfig(registry.Config):
    """Keys of every stack: its architecture, what it is shown, and its read-outs."""

    layers: list[LayerConfig] = Field(
        [LayerConfig.model_validate({})],
        min_length=1,
        description="the layers, from the image upwards",
    )
    surround: float | None = Field(
        None,
        gt=0,
        description="see on- and off-centre channels with a surround of this many pixels (colours "
        "as opponent pairs) instead of the pixels",
    )
    semi_saturation: float = Field(
        0.3,
        ge=0,
        description="the response is half its maximum for a patch with this share of the RMS "
        "patch length",
    )

    images: int = Field(
        30_000,
        ge=0,
        description="images shown to each layer; 0: layers keep their random weights",
    )
    batch: int = Field(20, ge=1, description="images per plastic step")
    patches: int = Field(
        1024, ge=1, description="patches per plastic step, drawn from its images (shared weights)"
    )
    prune: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="theta: a trained layer loses synapses below theta times the neuron's mean",
    )

    clip: float = Field(0.5, gt=0, le=1, description="largest step in log w, of a read-out too")
    gain: float = Field(20.0, gt=0, description="g of the read-out, for codes of length one")
    readout_eta: float = Field(0.03, gt=0, description="read-out rate, in RMS units of log V")
    readout_batch: int = Field(
        2000, ge=1, description="codes per read-out step, or all if there are fewer"
    )
    readout_steps: int = Field(
        600, ge=0, description="delta-rule steps on the training set; 0: imprinted only"
    )

    head: Head = Field("consolidate", description="few-shot read-out of a trained stack")
    scratch_head: Head = Field(
        "consolidate", description="few-shot read-out when only the support set was seen"
    )
    head_steps: int = Field(
        60, ge=1, description="most replays of a support set when consolidating"
    )
    adapt_steps: int = Field(
        60, ge=1, description="plastic steps per layer on a support set, from scratch"
    )
    adapt_patches: int = Field(256, ge=1, description="patches per step, from scratch")


class StackConfig(CompetitiveConfig, LocalStackConfig):
    """Keys of ``ech-stack``."""


@dataclass(frozen=True)
class LayerSize:
    """Sizes of one layer.

    Attributes:
        kernel: Side of the receptive field.
        places: Number of receptive fields.
        fan_in: Synapses per neuron.
    """

    kernel: int
    places: int
    fan_in: int


def sizes(
    config: LocalStackConfig, image_shape: tuple[int, int, int], kind: str = "ech-stack"
) -> tuple[list[LayerSize], int]:
    """Sizes of each layer, and of the code that the read-out sees.

    >>> config = StackConfig(layers=[LayerConfig(neurons=10, kernel=3, grid=None)])
    >>> sizes(config, (1, 8, 8))
    ([LayerSize(kernel=3, places=36, fan_in=9)], 360)

    Raises:
        HarnessError: A kernel is larger than its layer's input.
    """
    channels, height, width = image_shape
    if config.surround is not None:
        channels *= 2  # on-centre and off-centre
    layers = []
    code_width = 0
    for depth, layer in enumerate(config.layers, start=1):
        smaller = min(height, width)
        kernel = layer.kernel or smaller
        if kernel > smaller:
            raise HarnessError(
                f"layer {depth} of {kind} has kernel {kernel}, but its input is only "
                f"{height} x {width}",
                hint=f"kernel: at most {smaller}, or null for all of it",
            )
        height = (height - kernel) // layer.stride + 1
        width = (width - kernel) // layer.stride + 1
        layers.append(LayerSize(kernel, height * width, channels * kernel * kernel))
        channels = layer.neurons
        if layer.grid:
            height = width = layer.grid
        if depth == len(config.layers):
            code_width += channels * height * width
        elif layer.read:
            code_width += channels * layer.read**2
    return layers, code_width
