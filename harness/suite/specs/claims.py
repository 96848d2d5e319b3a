"""A claim that a suite makes, and the rule that decides it, stated before anything is measured."""

from __future__ import annotations

from pydantic import Field, model_validator

from harness.budgets import BudgetSetting
from harness.registry import Config

COMPARING = ("above_controls_by", "below_controls_by")
BOUNDS = ("at_least", "at_most", *COMPARING)


class Comparable(Config):
    """Which controls count: those that are about as good as the learner at something else."""

    protocol: str = Field(description="name of the protocol that says so")
    metric: str = Field("accuracy", description="the number that is compared")
    setting: BudgetSetting = Field({}, description="which of the protocol's numbers, e.g. {eps: 0}")
    within: float = Field(
        ge=0, description="a control counts if it is at most this far below or above the learner"
    )


class MeasureSpec(Config):
    """One measure of a claim: a number, and the bound that it has to keep."""

    protocol: str = Field(description="name of the protocol")
    metric: str = Field("accuracy", description="which number")
    setting: BudgetSetting = Field(
        {}, description="which of the protocol's numbers, e.g. {attack: worst, eps: 0.1}"
    )
    learner: str | None = Field(None, description="another learner than the claim's")
    at_least: float | None = Field(None, description="the number is at least this")
    at_most: float | None = Field(None, description="the number is at most this")
    above_controls_by: float | None = Field(
        None, description="the number is above that of every control by at least this"
    )
    below_controls_by: float | None = Field(
        None, description="the number is below that of every control by at least this"
    )
    controls: list[str] | None = Field(
        None, min_length=1, description="other controls than the claim's"
    )

    @model_validator(mode="after")
    def _one_bound(self) -> MeasureSpec:
        if sum(getattr(self, bound) is not None for bound in BOUNDS) != 1:
            raise ValueError(f"a measure has one bound: {', '.join(BOUNDS)}")
        return self

    @property
    def bound(self) -> tuple[str, float]:
        """Name and value of its bound."""
        return next(
            (name, getattr(self, name)) for name in BOUNDS if getattr(self, name) is not None
        )


class ClaimSpec(Config):
    """A claim, who makes it, against whom, and what decides it."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._+-]*$", description="a few words")
    claim: str = Field(description="what is claimed, as it is printed")
    learner: str = Field(description="the learner it is claimed of")
    controls: list[str] = Field(
        [], description="learners that it is compared with; the difference must hold against each"
    )
    comparable: Comparable | None = Field(
        None, description="leave out controls that are better or worse at something else"
    )
    measures: list[MeasureSpec] = Field(
        min_length=1, description="what decides the claim; all must hold"
    )
