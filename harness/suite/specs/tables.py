"""A table that a suite asks for."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from harness.registry import Config


class TableSpec(Config):
    """One table of a suite."""

    protocol: str = Field(description="name of the protocol whose records it shows")
    rows: str | list[str] = Field(
        "learner", description="what a row is: `learner`, or keys as for `columns`"
    )
    columns: list[str] = Field(
        [],
        description="keys that columns are made of: attack, eps, ways, shots, metric, dataset ...",
    )
    metric: str | list[str] | None = Field(
        None,
        description="which number, or with `metric` among the keys which numbers; "
        "the protocol's headline metric (or all of them) if left out",
    )
    only: dict[str, Any] = Field(
        {},
        description="keep the numbers whose key has this value, or one of a list: "
        "{attack: [clean, worst]}",
    )
    ranks: bool = Field(
        False,
        description="a last column with each learner's mean rank over the columns, ties shared",
    )
    title: str | None = Field(None, description="printed above the table")
    name: str | None = Field(
        None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", description="file name without its ending"
    )
