"""How metrics and labels are printed, and which metrics are compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from harness.metrics.catalogue import METRICS, Form
from harness.metrics.distributions import FAMILIES

STANDINGS = {-2: "below", -1: "below ≈", 0: "inside", 1: "above ≈", 2: "above"}
"""Where a number stands to a band; with ≈ its interval reaches into it."""

CLEAN = "clean"
"""What no attack, and any attack at eps 0, is called."""

MEAN = "mean"
"""What the mean over all corruptions is called."""

BETTER = {"accuracy": 1, "error": -1}
"""Metrics with a best: 1 where it is the highest, -1 where it is the lowest. The biology audit describes; nothing in it is
better for being larger."""


def metric_name(metric: str) -> str:
    """What a metric is called in print."""
    return METRICS.get(metric, (metric.replace("_", " "), "number"))[0]


def is_percent(metric: str) -> bool:
    """Whether a metric, a fraction, is printed as a percentage."""
    return _form(metric) == "percent"


def _form(metric: str) -> Form:
    return METRICS.get(metric, ("", "number"))[1]


def number(metric: str, value: float) -> str:
    """A value as its metric is printed: accuracies as percent with one decimal.

    >>> number("accuracy", 0.9731), number("dead_units", 3.0), number("enforced", 0.0), number("sigma_log_w", 0.71803)
    ('97.3', '3', 'no', '0.718')
    """
    form = _form(metric)
    if not math.isfinite(value):
        return "differs" if form == "family" else str(value)
    if form == "percent":
        return f"{round(100 * value, 1) + 0.0:.1f}"  # plus zero: what rounds to nothing has no sign
    if form == "flag" and value in (0, 1):
        return "yes" if value else "no"
    if form == "family":
        return FAMILIES[int(value)]
    if form == "standing":
        return STANDINGS[int(value)]
    if form == "count" and value == int(value):
        return f"{int(value)}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def is_nominal(metric: str) -> bool:
    """Whether its values are names of things, which have no mean."""
    return _form(metric) == "family"


def reach(metric: str, value: float, low: float | None, high: float | None) -> str:
    """How far an interval reaches from the number, as its metric is printed: the longer arm, or the only one.

    Half a width would be wrong by half at the ends, where many intervals have one arm only. Empty without an interval.

    >>> reach("accuracy", 0.9, 0.826, 0.945), reach("accuracy", 0.0, 0.0, 0.071), reach("accuracy", 1.0, 0.929, 1.0)
    ('±7.4', '+7.1', '−7.1')
    """
    if low is None or high is None or _form(metric) in ("flag", "family", "standing"):
        return ""
    below, above = (_width(metric, max(0.0, arm)) for arm in (value - low, high - value))
    if below == above or (float(below) and float(above)):
        return f"±{max(below, above, key=float)}"
    return f"+{above}" if float(above) else f"−{below}"


def _width(metric: str, width: float) -> str:
    return (
        f"{100 * width:.1f}"
        if _form(metric) == "percent"
        else f"{width:.2g}"
        if width < 100
        else f"{width:.0f}"
    )


def label(key: str, value: Any) -> str:
    """One label of a row or column in print; empty where there is none.

    >>> label("ways", 5), label("shots", 1), label("eps", 0.10), label("attack", "pgd")
    ('5-way', '1-shot', 'eps 0.1', 'pgd')
    >>> label("eps", 0), label("per_class", 5), label("per_class", "all")
    ('clean', '5 a class', 'all')
    """
    if value is None:
        return ""
    if key == "eps" and value == 0:
        return CLEAN
    if key in ("ways", "shots"):
        return f"{value}-{key[:-1]}"
    if key == "metric":
        return metric_name(value)
    if key == "per_class" and not isinstance(value, str):
        return f"{value} a class"
    if key in ("learner", "attack", "norm", "regime", "dataset", "bundle") or isinstance(
        value, str
    ):
        return str(value)
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return f"{key} {text}"


def captions(keys: Sequence[str], values: Sequence[Any]) -> tuple[str, ...]:
    """The labels of one row or column in print, one a key; what is called clean is not called so twice.

    >>> captions(("attack", "eps"), ("clean", 0)), captions(("attack", "eps"), ("pgd", 0))
    (('clean', ''), ('pgd', 'clean'))
    """
    texts = [label(k, v) for k, v in zip(keys, values, strict=True)]
    return tuple(
        "" if text == CLEAN and CLEAN in texts[:i] else text for i, text in enumerate(texts)
    )
