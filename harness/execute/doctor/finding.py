"""A finding of the doctor: one line of its report."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

Level = Literal["PASS", "NOTE", "WARN", "FAIL"]


@dataclass(frozen=True)
class Finding:
    """What was checked and how it is.

    Attributes:
        level: PASS; NOTE: it is absent, and not everybody needs it; WARN: it works, with a
            limitation; FAIL: something will not work.
        name: of what was checked.
        detail: its state.
        hint: what to do about it.
    """

    level: Level
    name: str
    detail: str
    hint: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return the attributes as a dict."""
        return asdict(self)
