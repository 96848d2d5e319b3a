"""Excitation and inhibition of the first layer, for the biology audit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from harness.fronts.learner import untrained
from harness.learning.connectome import effective
from harness.learning.learner import Learner
from harness.metrics.balance import Balance, balance
from harness.protocols.synapse_numbers import weights_and_live
from harness.records import Value

NOT_APPLICABLE = (
    "balance of excitation and inhibition: not applicable, its first layer has no weights of both "
    "signs that read pixels"
)


def balance_values(learner: Learner, pixels: np.ndarray) -> Iterator[Value]:
    """Yield the balance of drives from pixels (stimuli, n); nothing where it is not applicable."""
    found = _first_layer(learner, pixels)
    if found is None:
        return
    n = len(pixels)
    numbers = {
        "ei_ratio": found.ratio,
        "ei_correlation": found.correlation,
        "ei_given_common": found.given_common,
        "ei_cancelled": found.cancelled,
    }
    initial = _first_layer(untrained(learner), pixels)
    if initial is not None:
        numbers["ei_correlation_init"] = initial.correlation
    for metric, number in numbers.items():
        if np.isfinite(number):
            yield Value(metric, number, n=n)


def _first_layer(learner: Learner, pixels: np.ndarray) -> Balance | None:
    for first in effective(learner)[:1]:
        weight, live = weights_and_live(first)
        if len(weight) == pixels.shape[1]:
            return balance(pixels, np.where(live, weight, 0.0))
    return None
