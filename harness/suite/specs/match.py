"""`match` of a learner: which number it must reach, by which key, and the resulting search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

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
        description="the key to choose; with a range {key: [low, high]} where its learner does not "
        "give one",
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
    """A target, and how to search for it.

    Attributes:
        measure: What is matched.
        target: The number to reach, or the name of the learner whose number it is.
        key: Key of the learner's config that is chosen.
        low, high: Its range.
        scale: How the range is searched.
        whole: Whether only integers are tried.
        tolerance: Largest distance from the target that is near enough.
        trainings: Largest number of trainings.
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
        """The target in words, e.g. ``"density 0.28"`` or ``"clean accuracy of bio"``."""
        of = f"of {self.target}" if isinstance(self.target, str) else f"{self.target:g}"
        return f"{self.measure.replace('_', ' ')} {of}"


def search_for(spec: MatchConfig, learner: type[Learner]) -> Search:
    """Complete a learner's ``match`` to a search.

    Key, range and scale that it leaves out are those that the learner declares as tunable.

    Raises:
        HarnessError: unknown key, a key that is not a number, or no valid range.
    """
    declared = {tunable.key: tunable for tunable in learner.tunable}
    key = _key_to_vary(spec, learner)
    kinds = _number_types(learner.Config.model_fields[key].annotation)
    if not kinds:
        raise HarnessError(f"{key!r} is not a number: `match` cannot vary it")
    tunable = declared.get(key)
    if isinstance(spec.vary, dict):
        low, high = spec.vary[key]
    elif tunable is not None:
        low, high = tunable.low, tunable.high
    else:
        raise HarnessError(
            f"{learner.kind!r} gives no range for {key!r}",
            hint=f"e.g. vary: {{{key}: [low, high]}}",
        )
    scale: Scale = spec.scale or (tunable.scale if tunable else "log")
    whole = kinds == {int}
    _require_range(key, low, high, scale, whole=whole)
    number = int if whole else float
    return Search(
        measure=spec.measure,
        target=getattr(spec, spec.measure),
        key=key,
        low=number(low),
        high=number(high),
        scale=scale,
        whole=whole,
        tolerance=spec.tolerance,
        trainings=spec.trainings,
    )


def _key_to_vary(spec: MatchConfig, learner: type[Learner]) -> str:
    """The key that a ``match`` names, or the first that the learner declares as tunable."""
    if isinstance(spec.vary, dict):
        key = next(iter(spec.vary))
    elif spec.vary:
        key = spec.vary
    elif learner.tunable:
        key = learner.tunable[0].key
    else:
        raise HarnessError(
            f"{learner.kind!r} does not say which key `match` should choose",
            hint="say it with a range, e.g. vary: {epochs: [1, 40]}",
        )
    fields = learner.Config.model_fields
    if key not in fields:
        raise HarnessError(
            f"{learner.kind!r} has no key {key!r} to vary", hint=did_you_mean(key, fields)
        )
    return key


def _require_range(key: str, low: Value, high: Value, scale: Scale, *, whole: bool) -> None:
    if not low < high:
        raise HarnessError(
            f"the range of {key!r} is [{low:g}, {high:g}]", hint="the smaller end comes first"
        )
    if scale == "log" and low <= 0:
        raise HarnessError(
            f"a range on a log scale begins above 0, that of {key!r} at {low:g}",
            hint="or set scale: linear",
        )
    ends_are_whole = float(low).is_integer() and float(high).is_integer()
    if whole and not ends_are_whole:
        raise HarnessError(f"{key!r} takes whole numbers, its range is [{low:g}, {high:g}]")


def _number_types(annotation: Any) -> set[type]:
    """The types of number that a key takes, e.g. ``{int}`` for ``int | None``.

    Numbers within a list or another container do not count.
    """
    if annotation in (int, float):
        return {annotation}
    if get_origin(annotation) in (list, tuple, dict, set, Literal):
        return set()
    types: set[type] = set()
    for inner in get_args(annotation):
        types |= _number_types(inner)
    return types
