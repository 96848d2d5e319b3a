"""A number that others report, to be printed beside ours."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from harness.registry import Config

Span = tuple[float, float]
"""Lower and upper end."""


class PublishedSpec(Config):
    """A number that somebody else reports, to be printed beside ours: cited from the shelf, or given with its source."""

    cite: str | None = Field(
        None,
        description="FILE/LEARNER: all that harness/suite/shelf/FILE.csv has of LEARNER for this "
        "kind of protocol, in a row called so if neither `learner` nor `row` is given",
    )
    learner: str | None = Field(
        None, description="the learner of the suite that it is to be compared with"
    )
    row: str | None = Field(
        None,
        min_length=1,
        description="instead: what a row of its own is called (people, another model)",
    )
    protocol: str = Field(description="name of the protocol whose tables show it")
    metric: str = Field("accuracy", description="which number")
    setting: dict[str, Any] = Field(
        {}, description="which of the protocol's numbers, e.g. {ways: 5, shots: 1}"
    )
    value: float | None = Field(
        None, description="the number, in our units (accuracies are fractions)"
    )
    interval: Span | None = Field(None, description="its 95 % interval, as reported")
    band: Span | None = Field(
        None, description="what independent reproductions reach: ours is held against it"
    )
    band_source: str | None = Field(None, description="who says so")
    source: str | None = Field(
        None, min_length=1, description="where it is reported, and whether it was read there"
    )

    @model_validator(mode="after")
    def _whose_and_whence(self) -> PublishedSpec:
        given = [
            name
            for name in ("value", "interval", "band", "band_source", "source")
            if getattr(self, name) is not None
        ]
        if self.cite is not None and given:
            raise ValueError(
                f"what is cited has its own {given[0]}: give `cite`, or `value` and `source`"
            )
        if self.cite is None and not {"value", "source"} <= {*given}:
            raise ValueError("a published number is a `value` with its `source`, or a `cite`")
        if (
            self.learner is not None
            and self.row is not None
            or self.cite is None
            and self.learner is None
            and self.row is None
        ):
            raise ValueError(
                "a published number stands beside a `learner` or in a `row` of its own: give one of the two"
            )
        for name in ("interval", "band"):
            ends = getattr(self, name)
            if ends is not None and ends[0] > ends[1]:
                raise ValueError(f"the lower end of `{name}` is above its upper end")
        return self
