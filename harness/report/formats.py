"""How metrics and labels are printed, and which metrics are compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from harness import budgets
from harness.metrics.catalogue import METRICS, SHARES, Form
from harness.metrics.distributions import FAMILIES
from harness.metrics.tails import FAMILIES as TAIL_FAMILIES

STANDINGS = {-2: "below", -1: "below ≈", 0: "inside", 1: "above ≈", 2: "above"}
"""Position of a number relative to a band; ≈ marks an interval that overlaps the band."""

CLEAN = "clean"
"""Name of the attack at eps 0, whatever the attack."""

MEAN = "mean"
"""Name of the mean over all corruptions."""

BETTER = {
    "accuracy": 1,
    "error": -1,
    "proven": 1,
    "smoothed_proven": 1,
    "auroc": 1,
    "fpr95": -1,
    "pooled_accuracy": 1,
    "average_incremental": 1,
    "learning_accuracy": 1,
    "backward_transfer": 1,
    "forgetting": -1,
    "min_accuracy": 1,
    "worst_case_accuracy": 1,
    "robust_accuracy": 1,
    "performance_drop": -1,
    "harmonic_accuracy": 1,
}
"""Metrics with a best value: 1 if it is the highest, -1 if it is the lowest.

The biology audit describes; none of its metrics is better for being larger.
"""

FAMILY_NAMES = {"family": FAMILIES, "tail family": tuple(TAIL_FAMILIES)}
"""Forms whose values are positions in a list of names."""

_WITHOUT_ERROR = ("flag", "family", "tail family", "standing", "bracket")
"""Forms of metrics without an error bar."""

_PLAIN_KEYS = ("learner", "attack", "norm", "regime", "dataset", "bundle", "brain")
"""Keys whose values need no key beside them."""

_WORDS = {"target": "towards"}
"""Keys that another word says, beside names too."""


def metric_name(metric: str) -> str:
    """The printed name of a metric."""
    if metric in METRICS:
        return METRICS[metric][0]
    return metric.replace("_", " ")


def is_percent(metric: str) -> bool:
    """Whether a metric, a fraction, is printed as a percentage."""
    return _form(metric) in ("percent", "bracket")


def has_difference(metric: str) -> bool:
    """Whether a difference of two values of a metric is a number that says something."""
    return _form(metric) not in _WITHOUT_ERROR


def is_nominal(metric: str) -> bool:
    """Whether the values of a metric are names, which have no mean."""
    return _form(metric) in FAMILY_NAMES


def is_bracket(metric: str) -> bool:
    """Whether a metric is a pair of bounds and has no number between them."""
    return _form(metric) == "bracket"


def bracket(low: float, high: float) -> str:
    """Print two bounds of a share in percent.

    >>> bracket(0.7866, 0.8201), bracket(0.5, 0.5)
    ('78.7–82.0', '50.0–50.0')
    """
    return "–".join(number("accuracy", end) for end in (low, high))


def _form(metric: str) -> Form:
    return METRICS[metric][1] if metric in METRICS else "number"


def number(metric: str, value: float) -> str:
    """Print a value as its metric requires: accuracies as percent with one decimal.

    >>> number("accuracy", 0.9731), number("dead_units", 3.0)
    ('97.3', '3')
    >>> number("enforced", 0.0), number("sigma_log_w", 0.71803)
    ('no', '0.718')
    """
    form = _form(metric)
    if not math.isfinite(value):
        return "differs" if form in FAMILY_NAMES else str(value)
    if form == "percent":
        # Adding zero turns -0.0 into 0.0: a number that rounds to zero has no sign.
        return f"{round(100 * value, 1) + 0.0:.1f}"
    if form == "flag" and value in (0, 1):
        return "yes" if value else "no"
    names = FAMILY_NAMES.get(form, ())
    if value in range(len(names)):
        return names[int(value)]
    if form == "standing" and value in STANDINGS:
        return STANDINGS[int(value)]
    if form == "count" and value == int(value):
        return f"{int(value)}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def error_bar(metric: str, value: float, low: float | None, high: float | None) -> str:
    """Print how far an interval reaches from its number; empty without an interval.

    Of an asymmetric interval this is the longer side, or the only one. Both sides are printed where
    the longer one would leave the possible values on the other side: 99.0 ±4.1 would not be true.

    >>> error_bar("accuracy", 0.9, 0.826, 0.945), error_bar("accuracy", 0.99, 0.949, 0.998)
    ('±7.4', '+0.8−4.1')
    >>> error_bar("accuracy", 0.0, 0.0, 0.071), error_bar("accuracy", 1.0, 0.929, 1.0)
    ('+7.1', '−7.1')
    """
    if low is None or high is None or _form(metric) in _WITHOUT_ERROR:
        return ""
    below = _length(metric, max(0.0, value - low))
    above = _length(metric, max(0.0, high - value))
    if below == above:
        return f"±{below}"
    if not float(above):
        return f"−{below}"
    if not float(below):
        return f"+{above}"
    longer = max(value - low, high - value)
    if metric in SHARES and not longer <= value <= 1 - longer:
        return f"+{above}−{below}"
    return f"±{max(below, above, key=float)}"


def _length(metric: str, length: float) -> str:
    """One side of an interval, in the unit of its metric."""
    if is_percent(metric):
        return f"{100 * length:.1f}"
    return f"{length:.2g}" if length < 100 else f"{length:.0f}"


def label(key: str, value: Any) -> str:
    """Print one label of a row or column; empty for None.

    >>> label("ways", 5), label("shots", 1), label("eps", 0.10), label("attack", "pgd")
    ('5-way', '1-shot', 'eps 0.1', 'pgd')
    >>> label("eps", 0), label("per_class", 5), label("per_class", "all")
    ('clean', '5 a class', 'all')
    >>> label("eps", 8 / 255)
    'eps 8/255'
    """
    if value is None:
        return ""
    if key == "eps" and value == 0:
        return CLEAN
    if key in budgets.KEYS and isinstance(value, int | float):
        return f"{key} {budgets.words(value)}"
    if key in ("ways", "shots"):
        return f"{value}-{key[:-1]}"
    if key == "metric":
        return metric_name(value)
    if key == "per_class" and not isinstance(value, str):
        return f"{value} a class"
    if key in _PLAIN_KEYS or (isinstance(value, str) and key not in _WORDS):
        return str(value)
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return f"{_WORDS.get(key, key)} {text}"


def captions(keys: Sequence[str], values: Sequence[Any]) -> tuple[str, ...]:
    """Print the labels of one row or column, one per key; ``clean`` is not repeated.

    >>> captions(("attack", "eps"), ("clean", 0)), captions(("attack", "eps"), ("pgd", 0))
    (('clean', ''), ('pgd', 'clean'))
    """
    texts: list[str] = []
    for key, value in zip(keys, values, strict=True):
        text = label(key, value)
        texts.append("" if text == CLEAN and CLEAN in texts else text)
    return tuple(texts)


def describe(setting: dict[str, Any]) -> str:
    """Print a setting in one line.

    >>> describe({"ways": 5, "shots": 1})
    '5-way 1-shot'
    """
    return " ".join(filter(None, (label(key, value) for key, value in setting.items())))
