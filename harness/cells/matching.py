"""Matching: a key of a control is chosen so that it is as sparse, or as accurate, as its target.

A comparison then shows the effect of the learning rule, not of the sparsity or accuracy that it
happens to have. No test image is used: density is read from the weights, and accuracy is measured
on validation images.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from harness.batching import in_batches
from harness.data.base import Images
from harness.lazy import torch
from harness.learning.connectome import effective
from harness.learning.learner import Learner
from harness.metrics.sparsity import live_synapses
from harness.protocols.requirements import classifier_of
from harness.suite.specs.match import Measure, Search, Value

EDGE = 1 / 50
"""Precision, as a share of the range, of the strongest value that keeps an accuracy."""

ROUNDING = 1e-9
"""Slack of comparisons: 0.93 - 0.92 is more than 0.01 in floating point."""

TYPICAL_TRAININGS = 6
"""Trainings of a search that has not been run, for estimates of its time."""


@dataclass(frozen=True)
class Match:
    """Outcome of a search.

    Attributes:
        measure: What was matched.
        key: The key that was chosen.
        value: Its chosen value.
        wanted: The number to reach.
        reached: The number at ``value``.
        tolerance: Largest distance from ``wanted`` that is near enough.
        near: Whether ``reached`` is near enough.
        tried: [value, number] of each training, in order.
    """

    measure: Measure
    key: str
    value: Value
    wanted: float
    reached: float
    tolerance: float
    near: bool
    tried: list[list[float]]

    def to_dict(self) -> dict[str, Any]:
        """A plain dict, ready for JSON."""
        return asdict(self)


class _OutOfTrainings(Exception):
    """The search has used all its trainings."""


def search(number: Callable[[Value], float], wanted: float, task: Search) -> Match:
    """Find the value of a key at which ``number`` is near ``wanted``.

    A density is matched by the first value that is near enough, which Brent's method looks for.

    An accuracy hardly depends on a key over much of its range. The strongest value that is near
    enough is chosen, so that the control is constrained as much as possible: the one closest to the
    end of the range where accuracy is lower. The edge is found by halving.

    If no value is near enough, the nearest one tried is chosen. A ``number`` that is noisy or not
    quite monotone therefore only costs trainings. Values have three digits, so that a printed value
    is exactly the one tried.

    Args:
        number: Value -> the number that is matched. Called once for each value, and at most
            ``task.trainings`` times.
        wanted: The number to reach.
        task: Range, scale and tolerance.
    """
    tried: dict[Value, float] = {}

    def number_at(place: float) -> float:
        value = _rounded(math.exp(place) if task.scale == "log" else place, task)
        if value not in tried:
            if len(tried) >= task.trainings:
                raise _OutOfTrainings
            tried[value] = number(value)
        return tried[value]

    with contextlib.suppress(_OutOfTrainings):
        _explore(number_at, wanted, task)
    distance = {value: abs(reached - wanted) for value, reached in tried.items()}
    near = [value for value in tried if distance[value] <= task.tolerance + ROUNDING]
    if near and task.measure == "clean_accuracy":
        at_low = tried[_rounded(task.low, task)]
        at_high = tried[_rounded(task.high, task)]
        chosen = min(near) if at_low < at_high else max(near)
    else:
        chosen = min(tried, key=distance.__getitem__)
    return Match(
        measure=task.measure,
        key=task.key,
        value=chosen,
        wanted=wanted,
        reached=tried[chosen],
        tolerance=task.tolerance,
        near=bool(near),
        tried=[[value, reached] for value, reached in tried.items()],
    )


def _explore(number_at: Callable[[float], float], wanted: float, task: Search) -> None:
    """Try values until one fits, or until none can.

    Args:
        number_at: place on the scale of the search -> number.
        wanted: the number to reach.
        task: range, scale and tolerance.
    """
    from scipy.optimize import brentq

    is_log = task.scale == "log"
    low = math.log(task.low) if is_log else task.low
    high = math.log(task.high) if is_log else task.high

    def gap(place: float) -> float:
        """How far a density is above the target; 0 if near enough. For accuracy, only its sign."""
        above = number_at(place) - wanted
        if task.measure == "density":
            return 0.0 if abs(above) <= task.tolerance + ROUNDING else above
        # Only the side of the edge counts: distances mean nothing on a plateau.
        return 1.0 if above >= -task.tolerance - ROUNDING else -1.0

    if not gap(low) or not gap(high):
        return
    weak, strong = sorted((low, high), key=gap, reverse=True)
    if gap(weak) < 0:
        # Both ends are below the target, but the middle may not be.
        weak = (low + high) / 2
    if gap(weak) > 0 > gap(strong):
        precision = 1e-6 if task.measure == "density" else EDGE
        first, last = sorted((weak, strong))
        brentq(gap, first, last, xtol=(high - low) * precision, disp=False)


def _rounded(value: float, task: Search) -> Value:
    """A value with three digits (or a whole one) within the range."""
    rounded = round(value) if task.whole else float(f"{value:.3g}")
    return min(max(rounded, task.low), task.high)


def measured(
    measure: Measure, learner: Learner, images: Callable[[], Images], batch_size: int
) -> float:
    """Measure the number that is matched.

    Args:
        measure: which number.
        learner: a trained learner.
        images: loads the validation images; only called for ``clean_accuracy``.
        batch_size: images pushed through the network at once.
    """
    if measure == "density":
        return density(learner)
    return clean_accuracy(learner, images(), batch_size)


def density(learner: Learner) -> float:
    """Share of live synapses in the whole network: ``live_share`` of the biology audit.

    Raises:
        ValueError: the learner has no synapses.
    """
    live = 0
    total = 0
    for synapses in effective(learner):
        weight = synapses.weight.detach().cpu().double().numpy()
        mask = None if synapses.mask is None else synapses.mask.cpu().numpy()
        live += int(live_synapses(weight, mask).sum())
        total += weight.size
    if not total:
        raise ValueError(f"{learner.kind!r} has no synapses whose density could be matched")
    return live / total


def clean_accuracy(learner: Learner, images: Images, batch_size: int) -> float:
    """Share of images that the learner classifies correctly."""
    pixels = images.tensor(learner.device)
    with torch.no_grad():
        logits = in_batches(classifier_of(learner), pixels, batch_size=batch_size)
    predicted = logits.argmax(1).cpu().numpy()
    return float((predicted == images.labels).mean())
