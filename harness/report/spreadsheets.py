"""CSV that is opened in a spreadsheet: a text there must not run as a formula."""

from __future__ import annotations

from typing import Any

STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def harmless(value: Any) -> Any:
    """Put an apostrophe before a text that a spreadsheet would take for a formula.

    >>> harmless("=1+1"), harmless("-0.5"), harmless("-"), harmless("bio"), harmless(-2)
    ("'=1+1", '-0.5', '-', 'bio', -2)
    """
    if not isinstance(value, str) or not value.startswith(STARTS_A_FORMULA) or value == "-":
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value
