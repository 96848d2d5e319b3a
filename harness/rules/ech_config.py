"""Which ingredients ``ech`` has, and how each of them is switched off.

Defaults that differ from the prototype's (in brackets): temperature_end 400 (80), rising
geometrically (linearly); homeostasis 0.3 (0.05); prune 0.3 (0.1); noise and maintenance 0 (0.04
and 0.003: log-normal weights need them), every 10 steps (every step); readout_eta 0.03 (0.1), in
batches of 2,000 (all images).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.rules.steady import SteadyConfig

Head = Literal["imprint", "delta", "nearest-mean", "cosine", "ridge", "log-ridge"]


class EchConfig(SteadyConfig):
    """Keys of ``ech``."""

    hidden: int = Field(400, ge=2, description="hidden neurons H")
    divisive_inhibition: bool = Field(
        True, description="divide each image by its length (feed-forward inhibition)"
    )
    code_temperature: float = Field(
        15.0, gt=0, description="T of the code that is read out and embedded"
    )

    epochs: int = Field(
        15, ge=1, description="passes over the training images for the hidden layer"
    )
    prune_from: int = Field(
        2, ge=1, description="first epoch that ends with pruning; the last, if there are fewer"
    )
    prune_until: float = Field(
        0.8, ge=0, le=1, description="share of the epochs after which pruning stops"
    )

    readout: Literal["delta", "perturbation"] = Field(
        "delta", description="three factors, or weight perturbation"
    )
    readout_steps: int = Field(600, ge=1, description="read-out steps")
    perturbation: float = Field(0.05, gt=0, description="size of the weight perturbation in log V")
    trials: int = Field(8, ge=1, description="antithetic pairs of perturbations per step")

    third_factor: float = Field(
        0.0, ge=0, le=0.1, description="eta_3: rate of the error-gated hidden steps"
    )
    third_factor_epochs: int = Field(
        2, ge=1, description="passes with the third factor, after all the others"
    )
    third_factor_temperature: float = Field(
        30.0, gt=0, description="T of the competition that the third factor gates"
    )
    feedback: Literal["v", "random"] = Field(
        "v", description="weights that carry the error to the hidden layer"
    )

    head: Head = Field(
        "log-ridge",
        description="few-shot read-out; log-ridge (of log h) for new classes, imprint for "
        "known ones",
    )
    scratch_head: Head = Field(
        "imprint", description="few-shot read-out when only the support set was seen"
    )
    head_steps: int = Field(100, ge=1, description="steps of the delta rule on a support set")
    adapt_steps: int = Field(20, ge=1, description="plastic steps on a support set, from scratch")
    episodes_at_once: int = Field(
        8, ge=1, description="episodes that learn together; changes no value"
    )
