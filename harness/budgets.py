"""Budgets of attacks, exact: however a number is written, equal budgets are one float.

``8/255``, ``"8/255"`` and the float that Python computes for it are one budget, and so are 0.3 and
0.1 + 0.2. Floats alone would make two columns of one heading, and a worst case that misses one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

DIGITS = 12
"""Significant digits in which two budgets must differ; errors of arithmetic are far smaller."""

LARGEST_DENOMINATOR = 1000
"""Fractions up to this denominator are recognised in a float; those of pixel levels are 255."""

LARGEST = 1e9
"""Larger numbers are no budgets, in any norm."""

FRACTION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*/\s*(\d+)\s*")

KEYS = ("eps", "support_eps")
"""Keys of a setting whose values are budgets."""


@lru_cache(maxsize=4096)
def exact(number: float) -> Fraction:
    """The budget that a float stands for: a simple fraction, or else the decimal of 12 digits.

    >>> exact(0.1 + 0.2), exact(8 / 255), exact(0.12345)
    (Fraction(3, 10), Fraction(8, 255), Fraction(2469, 20000))
    """
    simple = Fraction(number).limit_denominator(LARGEST_DENOMINATOR)
    if _decimal(float(simple)) == _decimal(number):
        return simple
    return Fraction(_decimal(number))


def budget(written: Any) -> Any:
    """Turn a budget, as it is written in a suite, into its one float.

    Values that are no number are returned unchanged; the type that follows refuses them.

    >>> budget("8/255") == budget(8 / 255) == budget(0.0313725490196)
    True
    >>> budget(0.1 + 0.2), budget(-0.0), budget("big")
    (0.3, 0.0, 'big')

    Raises:
        ValueError: The denominator is 0.
    """
    number: Any = _number(written) if isinstance(written, str) else written
    is_number = isinstance(number, int | float) and not isinstance(number, bool)
    # NaN is not below anything.
    if not is_number or not abs(number) < LARGEST:
        return written
    return float(exact(number))


def _number(text: str) -> float | str:
    """The number that a text says, or the text."""
    match = FRACTION.fullmatch(text)
    if match and not int(match[2]):
        raise ValueError(f"{text} divides by zero")
    try:
        return float(Fraction(match[1]) / int(match[2])) if match else float(text)
    except (ValueError, OverflowError):
        return text


def too_large(eps: float, largest: float) -> str:
    """Say that a budget is too large; a whole number of pixel levels is shown over 255.

    >>> too_large(8, 1.0)
    'eps 8 is outside [0, 1] (pixels are in [0, 1]; 8 of 255 levels are 8/255)'
    >>> too_large(1.5, 1.0)
    'eps 1.5 is outside [0, 1] (pixels are in [0, 1])'
    """
    is_level = largest == 1 and eps <= 255 and eps == int(eps)
    levels = f"; {eps:g} of 255 levels are {eps:g}/255" if is_level else ""
    return f"eps {words(eps)} is outside [0, {largest:g}] (pixels are in [0, 1]{levels})"


def words(number: float) -> str:
    """Print a budget: as a decimal if it ends, else as a fraction; pixel levels are over 255.

    >>> words(0.30000000000000004), words(8 / 255), words(10 / 255), words(2 / 7), words(0)
    ('0.3', '8/255', '10/255', '2/7', '0')
    """
    fraction = exact(number)
    decimal = _decimal(float(fraction))
    if fraction.denominator == 1 or Fraction(decimal) == fraction:
        return decimal
    levels = fraction * 255
    if levels.denominator == 1:
        return f"{levels.numerator}/255"
    return f"{fraction.numerator}/{fraction.denominator}"


def exact_setting(setting: Mapping[str, Any]) -> dict[str, Any]:
    """A part of a setting, with its budgets as the one float that records have.

    >>> exact_setting({"attack": "pgd-8", "eps": "8/255"}) == {"attack": "pgd-8", "eps": 8 / 255}
    True
    """
    return {key: budget(value) if key in KEYS else value for key, value in setting.items()}


def as_list(value: Any) -> Any:
    """A single budget as a list of one."""
    return value if isinstance(value, list | tuple) else [value]


def _decimal(number: float) -> str:
    return f"{number:.{DIGITS}g}"


_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "number", "minimum": 0},
        {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*/\s*\d+\s*$"},
    ]
}

Budget = Annotated[
    float, BeforeValidator(budget), Field(ge=0, allow_inf_nan=False), WithJsonSchema(_SCHEMA)
]
"""A budget in a config: a number, or a fraction such as ``8/255``."""

Budgets = Annotated[
    list[Budget],
    BeforeValidator(as_list),
    Field(min_length=1),
    WithJsonSchema({"anyOf": [*_SCHEMA["anyOf"], {"type": "array", "items": _SCHEMA}]}),
]
"""Budgets in a config: a list, or a single one."""

BudgetSetting = Annotated[dict[str, Any], AfterValidator(exact_setting)]
"""Which of a protocol's numbers, in a config; its budgets may be fractions."""
