"""Matching: one key of a control is chosen so that it is as sparse, or as accurate, as it should be.

What is compared is then the learning rule, not the sparsity or the accuracy that it happens to have. Nothing here sees a test
image: density is read off the weights, accuracy is counted on validation images.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from harness.batching import in_batches
from harness.data.base import Images
from harness.errors import HarnessError, did_you_mean
from harness.lazy import torch
from harness.learner import Learner, Scale
from harness.metrics.sparsity import live_synapses
from harness.protocols.biology import effective
from harness.registry import Config

Measure = Literal["density", "clean_accuracy"]
Target = Annotated[float, Field(gt=0, le=1)] | str
Value = float | int

EDGE = 1 / 50
"""Share of a range to which the strongest value that keeps an accuracy is found."""
ROUNDING = 1e-9
"""0.93 - 0.92 is more than 0.01 in floating point."""
TYPICAL_TRAININGS = 6
"""Trainings of a search that has not been run, for estimates of its time."""


class MatchConfig(Config):
    """``match`` of a learner: which number is to be reached, and by which key."""

    density: Target | None = Field(None, description="share of live synapses to reach, or the learner whose share it is")
    clean_accuracy: Target | None = Field(
        None, description="accuracy on validation images to keep, or the learner whose accuracy it is")
    vary: str | dict[str, Annotated[list[float], Field(min_length=2, max_length=2)]] | None = Field(
        None, description="the key to choose; with a range {key: [low, high]} where its learner does not give one")
    scale: Scale | None = Field(None, description="log or linear: how the range is searched; log where the learner does not say")
    tolerance: float = Field(0.01, gt=0, lt=1, description="how far from the target is near enough")
    trainings: int = Field(12, ge=2, le=100, description="trainings at most, those at the ends of the range included")

    @model_validator(mode="after")
    def _one_measure(self) -> MatchConfig:
        if (self.density is None) == (self.clean_accuracy is None):
            raise ValueError("`match` takes one of `density` and `clean_accuracy`")
        if isinstance(self.vary, dict) and len(self.vary) != 1:
            raise ValueError("`vary` takes one key: the others stay as the learner has them")
        return self

    @property
    def measure(self) -> Measure:
        """What is matched."""
        return "density" if self.density is not None else "clean_accuracy"


@dataclass(frozen=True)
class Search:
    """What is to be reached, and how it is looked for.

    Attributes:
        measure: what is matched.
        target: the number to reach, or the name of the learner that has it.
        key: of the learner's config, to be chosen in [low, high].
        whole: only integers are tried.
        tolerance: how far from the target is near enough.
        trainings: how many at most.
    """

    measure: Measure
    target: float | str
    key: str
    low: Value
    high: Value
    scale: Scale
    whole: bool
    tolerance: float
    trainings: int

    @property
    def words(self) -> str:
        """What is reached for: ``"density 0.28"``, ``"clean accuracy of bio"``."""
        of = f"of {self.target}" if isinstance(self.target, str) else f"{self.target:g}"
        return f"{self.measure.replace('_', ' ')} {of}"


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


def search_for(spec: MatchConfig, learner: type[Learner]) -> Search:
    """The search that a learner's ``match`` asks for, its key and range filled in from what the learner declares.

    Raises:
        HarnessError: no such key, one that is no number, no range, or a range that is none.
    """
    fields, declared = learner.Config.model_fields, {one.key: one for one in learner.tunable}
    ranges = spec.vary if isinstance(spec.vary, dict) else {}
    key = next(iter(ranges), spec.vary) or next(iter(declared), None)
    if key is None:
        raise HarnessError(f"{learner.kind!r} does not say which key `match` should choose",
                           hint="say it with a range, e.g. vary: {epochs: [1, 40]}")
    if key not in fields:
        raise HarnessError(f"{learner.kind!r} has no key {key!r} to vary", hint=did_you_mean(str(key), fields))
    kinds = _numbers(fields[key].annotation)
    if not kinds:
        raise HarnessError(f"{key!r} is no number: `match` cannot vary it")
    known = declared.get(key)
    if key not in ranges and known is None:
        raise HarnessError(f"{learner.kind!r} gives no range for {key!r}", hint=f"e.g. vary: {{{key}: [low, high]}}")
    low, high = ranges.get(key) or (known.low, known.high)
    scale, whole = spec.scale or (known.scale if known else "log"), kinds == {int}
    if not low < high:
        raise HarnessError(f"the range of {key!r} is [{low:g}, {high:g}]", hint="the smaller end comes first")
    if scale == "log" and low <= 0:
        raise HarnessError(f"a range on a log scale begins above 0, that of {key!r} at {low:g}", hint="or set scale: linear")
    if whole and not (float(low).is_integer() and float(high).is_integer()):
        raise HarnessError(f"{key!r} takes whole numbers, its range is [{low:g}, {high:g}]")
    low, high = (int(low), int(high)) if whole else (float(low), float(high))
    return Search(spec.measure, getattr(spec, spec.measure), key, low, high, scale, whole, spec.tolerance, spec.trainings)


def _numbers(annotation: Any) -> set[type]:
    """The kinds of number that a key takes; what stands within a list does not count."""
    if annotation in (int, float):
        return {annotation}
    if getattr(annotation, "__origin__", None) in (list, tuple, dict, set, Literal):
        return set()
    return set().union(*(_numbers(inner) for inner in get_args(annotation))) if get_args(annotation) else set()


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
    return Match(task.measure, task.key, chosen, wanted, tried[chosen], task.tolerance, bool(near),
                 [[*pair] for pair in tried.items()])


def _look(at: Callable[[float], float], wanted: float, task: Search) -> None:
    """Try values until one is what is looked for, or none can be."""
    from scipy.optimize import brentq

    low, high = (math.log(end) if task.scale == "log" else end for end in (task.low, task.high))

    def gap(place: float) -> float:
        """How far above what is looked for; 0 where it is near enough."""
        above = at(place) - wanted
        if task.measure == "density":
            return 0.0 if abs(above) <= task.tolerance + ROUNDING else above
        return 1.0 if above >= -task.tolerance - ROUNDING else -1.0  # a side of the edge: how far off, a plateau does not tell

    if not gap(low) or not gap(high):
        return
    weak, strong = sorted((low, high), key=gap, reverse=True)
    if gap(weak) < 0:  # both ends are below: the middle may not be
        weak = (low + high) / 2
    if gap(weak) > 0 > gap(strong):
        brentq(gap, *sorted((weak, strong)), xtol=(high - low) * (1e-6 if task.measure == "density" else EDGE), disp=False)


def _rounded(value: float, task: Search) -> Value:
    rounded = round(value) if task.whole else float(f"{value:.3g}")
    return min(max(rounded, task.low), task.high)


def measured(measure: Measure, learner: Learner, images: Callable[[], Images], batch_size: int) -> float:
    """What is matched, of a trained learner.

    Args:
        images: gives the validation images; called for ``clean_accuracy`` alone.
    """
    return density(learner) if measure == "density" else clean_accuracy(learner, images(), batch_size)


def density(learner: Learner) -> float:
    """Share of live synapses of the whole network: ``live_share`` of the biology audit.

    Raises:
        ValueError: it has no synapses.
    """
    bundles = [(s.weight.detach().cpu().double().numpy(), None if s.mask is None else s.mask.cpu().numpy())
               for s in effective(learner)]
    if not bundles:
        raise ValueError(f"{learner.kind!r} has no synapses whose density could be matched")
    return sum(int(live_synapses(*each).sum()) for each in bundles) / sum(weight.size for weight, _ in bundles)


def clean_accuracy(learner: Learner, images: Images, batch_size: int) -> float:
    """Share of images that the learner's classifier gets right."""
    with torch.no_grad():
        logits = in_batches(learner.classifier(), images.tensor(learner.device), batch_size=batch_size)
    return float((logits.argmax(1).cpu().numpy() == images.labels).mean())
