"""A figure that a suite asks for."""

from __future__ import annotations

from pydantic import Field, model_validator

from harness.budgets import BudgetSetting
from harness.registry import Config


class NumberSpec(Config):
    """An axis: a number that was measured, or a key of the learners' own configs."""

    protocol: str | None = Field(None, description="name of the protocol whose number it is")
    metric: str = Field("accuracy", description="which number")
    setting: BudgetSetting = Field(
        {}, description="which of the protocol's numbers, e.g. {attack: worst, eps: 0.1}"
    )
    config: str | None = Field(
        None, description="a key of the learners' configs instead, e.g. noise"
    )
    log: bool = Field(False, description="whether the axis is logarithmic")

    @model_validator(mode="after")
    def _one_source(self) -> NumberSpec:
        if (self.protocol is None) == (self.config is None):
            raise ValueError(
                "an axis is a number of a `protocol`, or a key of the learners' `config`"
            )
        return self


class FigureSpec(Config):
    """One number of some learners against another, a point a learner, joined in the order given."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", description="file name without its ending"
    )
    title: str = Field("", description="printed above the figure")
    x: NumberSpec = Field(description="across")
    y: NumberSpec = Field(description="upwards")
    lines: dict[str, list[str]] = Field(
        min_length=1, description="name of a line -> the learners that are its points"
    )
