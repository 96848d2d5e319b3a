"""Settings: what distinguishes the cells of one protocol from each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Setting:
    """Everything that changes a measurement beside the learner, the data and the seed.

    A protocol lays out one frozen setting a cell. It travels as an object; ``to_identity`` is what the
    cell's key is a hash of and what records print.
    """

    def to_identity(self) -> dict[str, Any]:
        """The setting as JSON: equal settings give equal dicts."""
        return {
            field.name: _as_json(getattr(self, field.name)) for field in dataclasses.fields(self)
        }

    @classmethod
    def from_identity(cls, identity: Mapping[str, Any]) -> Self:
        """The setting that ``to_identity`` described."""
        return cls(**{name: _as_value(value) for name, value in identity.items()})

    @property
    def label(self) -> str:
        """A few words for people, e.g. ``"5w1s pgd-20"``; empty where a protocol has one cell only."""
        return ""


def _as_json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _as_value(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
