"""Numbers that may be missing."""

from __future__ import annotations

import math


def finite(value: float | None) -> float | None:
    """``value``, or None if it is not finite."""
    return value if value is not None and math.isfinite(value) else None


def rounded(value: float | None, scale: float, digits: int) -> float | None:
    """``value`` times ``scale``, rounded; None stays None.

    >>> rounded(0.12345, 100, 1), rounded(None, 100, 1)
    (12.3, None)
    """
    return None if value is None else round(scale * value, digits)
