"""A bar that a number of a suite has to clear, without a reference to compare it with."""

from __future__ import annotations

from pydantic import Field, model_validator

from harness.suite.specs.bounds import OWN, BoundedSpec, require_one


class ExpectSpec(BoundedSpec):
    """A number of one learner, and the bar that `harness check` holds it against."""

    learner: str = Field(description="whose number")

    @model_validator(mode="after")
    def _one_bound(self) -> ExpectSpec:
        require_one(self, OWN, "a bar")
        return self
