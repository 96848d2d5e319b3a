"""A claim that a suite makes, and the rule that decides it, stated before anything is measured."""

from __future__ import annotations

from pydantic import Field, model_validator

from harness.budgets import BudgetSetting
from harness.registry import Config
from harness.suite.specs.bounds import OWN, Bound, BoundedSpec, require_one

COMPARING = ("above_controls_by", "below_controls_by")
BOUNDS = (*OWN, *COMPARING)


class Comparable(Config):
    """Which controls count: those that are about as good as the learner at something else."""

    protocol: str = Field(description="name of the protocol that says so")
    metric: str = Field("accuracy", description="the number that is compared")
    setting: BudgetSetting = Field({}, description="which of the protocol's numbers, e.g. {eps: 0}")
    within: float = Field(
        ge=0, description="a control counts if it is at most this far below or above the learner"
    )


class MeasureSpec(BoundedSpec):
    """One measure of a claim: a number, and the bound that it has to keep."""

    learner: str | None = Field(None, description="another learner than the claim's")
    above_controls_by: Bound | None = Field(
        None, description="the number is above that of every control by at least this"
    )
    below_controls_by: Bound | None = Field(
        None, description="the number is below that of every control by at least this"
    )
    controls: list[str] | None = Field(
        None, min_length=1, description="other controls than the claim's"
    )

    @model_validator(mode="after")
    def _one_bound(self) -> MeasureSpec:
        require_one(self, BOUNDS, "a measure")
        return self

    @property
    def comparison(self) -> tuple[str, float] | None:
        """Name and value of its bound on the difference from controls; None if it has its own."""
        for name in COMPARING:
            if getattr(self, name) is not None:
                return name, getattr(self, name)
        return None


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
