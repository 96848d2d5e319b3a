"""Settings: what distinguishes the cells of one protocol from each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Setting:
    """Everything that changes a measurement beside the learner, the data and the seed.

    A protocol lays out one frozen setting for each cell, and it travels as an object. The cell's
    key is a hash of its ``to_identity``, which records print too.
    """

    def to_identity(self) -> dict[str, Any]:
        """The setting as a JSON-able dict; equal settings give equal dicts."""
        return {
            field.name: _as_json(getattr(self, field.name)) for field in dataclasses.fields(self)
        }

    @classmethod
    def from_identity(cls, identity: Mapping[str, Any]) -> Self:
        """Rebuild the setting that ``to_identity`` described."""
        return cls(**{name: _as_value(value) for name, value in identity.items()})

    @property
    def label(self) -> str:
        """A few words, e.g. ``"5w1s pgd-20"``; empty if the protocol has a single cell."""
        return ""


def _as_json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _as_value(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
