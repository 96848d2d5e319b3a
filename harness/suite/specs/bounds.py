"""What claims and bars have in common: a number of a protocol, and the bound that it must keep."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from harness.budgets import BudgetSetting
from harness.registry import Config

PERCENT = re.compile(r"\s*([-+]?\d+(?:\.\d+)?)\s*%\s*")

OWN = ("at_least", "at_most", "within")
"""Bounds on the number itself."""


def fraction(written: Any) -> Any:
    """Read ``50 %`` as 0.5; other values are returned as they are.

    >>> fraction("50 %"), fraction("99.5%"), fraction(0.5), fraction("half")
    (0.5, 0.995, 0.5, 'half')
    """
    match = PERCENT.fullmatch(written) if isinstance(written, str) else None
    return float(f"{match[1]}e-2") if match else written


Bound = Annotated[
    float,
    BeforeValidator(fraction),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number"},
                {"type": "string", "pattern": r"^\s*[-+]?\d+(\.\d+)?\s*%\s*$"},
            ]
        }
    ),
]
"""A bound in a config: a number, or a percentage such as ``50 %``."""


class BoundedSpec(Config):
    """A number, and the bound that it has to keep."""

    protocol: str = Field(description="name of the protocol")
    metric: str = Field("accuracy", description="which number")
    setting: BudgetSetting = Field(
        {}, description="which of the protocol's numbers, e.g. {attack: worst, eps: 0.1}"
    )
    at_least: Bound | None = Field(
        None, description="the number is at least this: 0.5, or 50 % of what is a fraction"
    )
    at_most: Bound | None = Field(None, description="the number is at most this")
    within: list[Bound] | None = Field(
        None, min_length=2, max_length=2, description="the number is in this range: [low, high]"
    )

    @model_validator(mode="after")
    def _range_ascends(self) -> BoundedSpec:
        if self.within is not None and self.within[0] > self.within[1]:
            raise ValueError("`within` is [low, high], and low is larger than high")
        return self

    @property
    def limits(self) -> tuple[float, float]:
        """The smallest and the largest number that keeps its own bound."""
        if self.within is not None:
            return self.within[0], self.within[1]
        low = -math.inf if self.at_least is None else self.at_least
        high = math.inf if self.at_most is None else self.at_most
        return low, high


def require_one(spec: Config, bounds: tuple[str, ...], what: str) -> None:
    """Check that exactly one of some bounds is given.

    Raises:
        ValueError: None is, or several are.
    """
    if sum(getattr(spec, bound) is not None for bound in bounds) != 1:
        raise ValueError(f"{what} has one bound: {', '.join(bounds)}")
