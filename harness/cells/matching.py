"""Matching: one key of a control is chosen so that it is as sparse, or as accurate, as it should be.

What is compared is then the learning rule, not the sparsity or the accuracy that it happens to have. Nothing here sees a test
image: density is read off the weights, accuracy is counted on validation images.
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
from harness.suite.specs.match import Measure, Search, Value

EDGE = 1 / 50
"""Share of a range to which the strongest value that keeps an accuracy is found."""
ROUNDING = 1e-9
"""0.93 - 0.92 is more than 0.01 in floating point."""
TYPICAL_TRAININGS = 6
"""Trainings of a search that has not been run, for estimates of its time."""


@dataclass(frozen=True)
class Match:
    """What a search came to.

    Attributes:
        measure, key: what was matched, by which key.
        value: what was chosen.
        wanted, reached: the number that was to be reached, and the one at ``value``.
        tolerance: how far from it is near enough.
        near: whether it is.
        tried: [value, number] of each training, in their order.
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


class _Enough(Exception):
    """There were as many trainings as there may be."""


def search(number: Callable[[Value], float], wanted: float, task: Search) -> Match:
    """Find the value at which ``number`` is ``wanted``, between the ends of the range.

    A density is matched by the first value that is near enough; Brent's method looks for it. An accuracy hardly depends on a key
    over much of its range, and a control that is hardly constrained would be a weak one: there the strongest value is looked for
    that is near enough, the one closest to the end of the range where accuracy is lower; the edge is found by halving. Where none
    is near enough, the nearest that was tried is chosen; a ``number`` that is noisy or not quite monotone thus costs trainings
    and nothing else. Values have three digits, so that a printed one is the one that was tried.

    Args:
        number: value -> what is matched; called once a value, and at most ``task.trainings`` times.
    """
    tried: dict[Value, float] = {}

    def at(place: float) -> float:
        value = _rounded(math.exp(place) if task.scale == "log" else place, task)
        if value not in tried:
            if len(tried) >= task.trainings:
                raise _Enough
            tried[value] = number(value)
        return tried[value]

    with contextlib.suppress(_Enough):
        _look(at, wanted, task)
    distance = {value: abs(found - wanted) for value, found in tried.items()}
    near = [value for value in tried if distance[value] <= task.tolerance + ROUNDING]
    chosen = min(tried, key=distance.__getitem__)
    if near and task.measure == "clean_accuracy":
        low, high = (tried[_rounded(end, task)] for end in (task.low, task.high))
        chosen = min(near) if low < high else max(near)
    return Match(
        task.measure,
        task.key,
        chosen,
        wanted,
        tried[chosen],
        task.tolerance,
        bool(near),
        [[*pair] for pair in tried.items()],
    )


def _look(at: Callable[[float], float], wanted: float, task: Search) -> None:
    """Try values until one is what is looked for, or none can be."""
    from scipy.optimize import brentq

    low, high = (math.log(end) if task.scale == "log" else end for end in (task.low, task.high))

    def gap(place: float) -> float:
        """How far above what is looked for; 0 where it is near enough."""
        above = at(place) - wanted
        if task.measure == "density":
            return 0.0 if abs(above) <= task.tolerance + ROUNDING else above
        return (
            1.0 if above >= -task.tolerance - ROUNDING else -1.0
        )  # a side of the edge: how far off, a plateau does not tell

    if not gap(low) or not gap(high):
        return
    weak, strong = sorted((low, high), key=gap, reverse=True)
    if gap(weak) < 0:  # both ends are below: the middle may not be
        weak = (low + high) / 2
    if gap(weak) > 0 > gap(strong):
        brentq(
            gap,
            *sorted((weak, strong)),
            xtol=(high - low) * (1e-6 if task.measure == "density" else EDGE),
            disp=False,
        )


def _rounded(value: float, task: Search) -> Value:
    rounded = round(value) if task.whole else float(f"{value:.3g}")
    return min(max(rounded, task.low), task.high)


def measured(
    measure: Measure, learner: Learner, images: Callable[[], Images], batch_size: int
) -> float:
    """What is matched, of a trained learner.

    Args:
        images: gives the validation images; called for ``clean_accuracy`` alone.
    """
    return (
        density(learner) if measure == "density" else clean_accuracy(learner, images(), batch_size)
    )


def density(learner: Learner) -> float:
    """Share of live synapses of the whole network: ``live_share`` of the biology audit.

    Raises:
        ValueError: it has no synapses.
    """
    bundles = [
        (s.weight.detach().cpu().double().numpy(), None if s.mask is None else s.mask.cpu().numpy())
        for s in effective(learner)
    ]
    if not bundles:
        raise ValueError(f"{learner.kind!r} has no synapses whose density could be matched")
    return sum(int(live_synapses(*each).sum()) for each in bundles) / sum(
        weight.size for weight, _ in bundles
    )


def clean_accuracy(learner: Learner, images: Images, batch_size: int) -> float:
    """Share of images that the learner's classifier gets right."""
    with torch.no_grad():
        logits = in_batches(
            learner.classifier(), images.tensor(learner.device), batch_size=batch_size
        )
    return float((logits.argmax(1).cpu().numpy() == images.labels).mean())
