"""A number that others report, to be printed beside ours."""

from __future__ import annotations

from pydantic import Field, model_validator

from harness.budgets import BudgetSetting
from harness.registry import Config

Span = tuple[float, float]
"""Lower and upper end."""


class PublishedSpec(Config):
    """A number that others report, printed beside ours.

    It is cited from the shelf, or given with its source.
    """

    cite: str | None = Field(
        None,
        description="FILE/LEARNER: all that harness/suite/shelf/FILE.csv has of LEARNER for this "
        "kind of protocol, in a row called so if neither `learner` nor `row` is given",
    )
    differs: bool = Field(
        False,
        description="cite it although it was measured on other data; the table says on which",
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
    setting: BudgetSetting = Field(
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
    def _is_consistent(self) -> PublishedSpec:
        self._check_source()
        self._check_row()
        for name in ("interval", "band"):
            ends = getattr(self, name)
            if ends is not None and ends[0] > ends[1]:
                raise ValueError(f"the lower end of `{name}` is above its upper end")
        return self

    def _check_source(self) -> None:
        """Either a citation, or a value with its source."""
        if self.cite is None and self.differs:
            raise ValueError("`differs` is for a `cite`: a `source` says itself what was measured")
        if self.cite is None:
            if self.value is None or self.source is None:
                raise ValueError("a published number is a `value` with its `source`, or a `cite`")
            return
        for name in ("value", "interval", "band", "band_source", "source"):
            if getattr(self, name) is not None:
                raise ValueError(
                    f"a citation has its own {name}: give `cite`, or `value` and `source`"
                )

    def _check_row(self) -> None:
        """Either a learner or a row; a citation may leave out both."""
        has_both = self.learner is not None and self.row is not None
        has_none = self.learner is None and self.row is None
        if has_both or (has_none and self.cite is None):
            raise ValueError(
                "a published number belongs to a `learner` or to a `row` of its own: "
                "give one of the two"
            )
