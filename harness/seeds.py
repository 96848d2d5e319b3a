"""Seeds as people write them: a list, how many, or a range."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from harness.registry import distinct

RANGE = re.compile(r"\s*(\d{1,9})\s*-\s*(\d{1,9})\s*")
MOST = 1000
"""Largest number of seeds that a number or a range may stand for: more is a slip."""


def written_out(value: Any) -> Any:
    """Write seeds out as a list.

    >>> written_out(3), written_out("2-4"), written_out([7])
    ([0, 1, 2], [2, 3, 4], [7])

    Raises:
        ValueError: another form, a range that ends before it begins, or more than ``MOST``.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        first, last = 0, value - 1
    elif isinstance(value, str) and (match := RANGE.fullmatch(value)):
        first, last = int(match[1]), int(match[2])
    elif isinstance(value, list):
        return value
    else:
        raise ValueError(f"seeds are a list, how many (3), or a range (0-4), not {value!r}")
    if not first <= last < first + MOST:
        count = max(0, last - first + 1)
        message = (
            f"{value} is {count} seeds; 1 to {MOST} are allowed (one seed alone is a list: [0])"
        )
        raise ValueError(message)
    return list(range(first, last + 1))


_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1},
        {"type": "integer", "minimum": 1, "maximum": MOST},
        {"type": "string", "pattern": r"^\s*\d{1,9}\s*-\s*\d{1,9}\s*$"},
    ]
}

Seeds = Annotated[
    list[Annotated[int, Field(ge=0)]],
    BeforeValidator(written_out),
    AfterValidator(distinct),
    Field(min_length=1),
    WithJsonSchema(_SCHEMA),
]
"""Seeds in a config: ``[0, 1]``, ``3`` for the first three, or ``0-4`` with both ends."""
