"""`match` of a learner: which number it is to reach, by which key, and the search that this asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from harness.errors import HarnessError, did_you_mean
from harness.learning.learner import Learner, Scale
from harness.registry import Config

Measure = Literal["density", "clean_accuracy"]
Target = Annotated[float, Field(gt=0, le=1)] | str
Value = float | int


class MatchConfig(Config):
    """``match`` of a learner: which number is to be reached, and by which key."""

    density: Target | None = Field(
        None, description="share of live synapses to reach, or the learner whose share it is"
    )
    clean_accuracy: Target | None = Field(
        None,
        description="accuracy on validation images to keep, or the learner whose accuracy it is",
    )
    vary: str | dict[str, Annotated[list[float], Field(min_length=2, max_length=2)]] | None = Field(
        None,
        description="the key to choose; with a range {key: [low, high]} where its learner does not give one",
    )
    scale: Scale | None = Field(
        None,
        description="log or linear: how the range is searched; log where the learner does not say",
    )
    tolerance: float = Field(0.01, gt=0, lt=1, description="how far from the target is near enough")
    trainings: int = Field(
        12, ge=2, le=100, description="trainings at most, those at the ends of the range included"
    )

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


def search_for(spec: MatchConfig, learner: type[Learner]) -> Search:
    """The search that a learner's ``match`` asks for, its key and range filled in from what the learner declares.

    Raises:
        HarnessError: no such key, one that is no number, no range, or a range that is none.
    """
    fields, declared = learner.Config.model_fields, {one.key: one for one in learner.tunable}
    ranges = spec.vary if isinstance(spec.vary, dict) else {}
    key = next(iter(ranges), spec.vary) or next(iter(declared), None)
    if key is None:
        raise HarnessError(
            f"{learner.kind!r} does not say which key `match` should choose",
            hint="say it with a range, e.g. vary: {epochs: [1, 40]}",
        )
    if key not in fields:
        raise HarnessError(
            f"{learner.kind!r} has no key {key!r} to vary", hint=did_you_mean(str(key), fields)
        )
    kinds = _numbers(fields[key].annotation)
    if not kinds:
        raise HarnessError(f"{key!r} is no number: `match` cannot vary it")
    known = declared.get(key)
    if key not in ranges and known is None:
        raise HarnessError(
            f"{learner.kind!r} gives no range for {key!r}",
            hint=f"e.g. vary: {{{key}: [low, high]}}",
        )
    low, high = ranges.get(key) or (known.low, known.high)
    scale, whole = spec.scale or (known.scale if known else "log"), kinds == {int}
    if not low < high:
        raise HarnessError(
            f"the range of {key!r} is [{low:g}, {high:g}]", hint="the smaller end comes first"
        )
    if scale == "log" and low <= 0:
        raise HarnessError(
            f"a range on a log scale begins above 0, that of {key!r} at {low:g}",
            hint="or set scale: linear",
        )
    if whole and not (float(low).is_integer() and float(high).is_integer()):
        raise HarnessError(f"{key!r} takes whole numbers, its range is [{low:g}, {high:g}]")
    low, high = (int(low), int(high)) if whole else (float(low), float(high))
    return Search(
        spec.measure,
        getattr(spec, spec.measure),
        key,
        low,
        high,
        scale,
        whole,
        spec.tolerance,
        spec.trainings,
    )


def _numbers(annotation: Any) -> set[type]:
    """The kinds of number that a key takes; what stands within a list does not count."""
    if annotation in (int, float):
        return {annotation}
    if getattr(annotation, "__origin__", None) in (list, tuple, dict, set, Literal):
        return set()
    return (
        set().union(*(_numbers(inner) for inner in get_args(annotation)))
        if get_args(annotation)
        else set()
    )
