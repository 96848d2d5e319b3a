"""The keys that attacks share: config models, and how an attack's name is spelt in YAML."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

from harness import budgets
from harness.attacks.engine.victim import Backward
from harness.errors import did_you_mean
from harness.registry import Config, attacks

Norm = Literal["linf", "l2", "l1", "l0"]
Measure = Literal["linf", "l2", "l1", "l0", "spatial", "patch"]
Loss = Literal["ce", "margin", "probability-margin", "ce-norm", "dlr"]

Target = Annotated[int, Field(ge=0)] | Annotated[str, Field(min_length=1, max_length=100)]
"""A class: its number, or its name in the dataset."""

LARGEST_EPS = {"linf": 1.0, "l2": 1000.0, "spatial": 1.0}
"""Norm -> the largest sensible budget: no images of a million pixels differ by more in L2."""

Problem = tuple[tuple[str | int, ...], str, Any]
"""Path below the value that is being validated, message, offending value."""


def config_error(problems: list[Problem], title: str = "attack") -> ValidationError:
    """Make a pydantic error of several problems, each reported at its own place."""
    details = [
        InitErrorDetails(
            type=PydanticCustomError("attack", "{problem}", {"problem": message}),
            loc=path,
            input=value,
        )
        for path, message, value in problems
    ]
    return ValidationError.from_exception_data(title, details)


class AttackConfig(Config):
    """Keys that every attack has."""

    attack: str = Field(description="which attack: a name from `harness list attacks`")
    label: str | None = Field(
        None,
        min_length=1,
        max_length=60,
        description="its name in tables; derived from its settings if left out",
    )
    norm: Measure = Field("linf", description="how a perturbation is measured, in pixel units")
    eps: budgets.Budgets = Field(
        description="budgets, ascending: numbers or fractions such as 8/255; one needs no list"
    )
    sweep: Literal["nested", "bisect", "independent"] = Field(
        "nested",
        description="nested: from the smallest eps up, a broken sample is not attacked again; "
        "bisect: from the middle of the grid, a sample that withstands counts as robust at smaller "
        "eps too; independent: every sample at every eps",
    )
    samples: int = Field(
        1,
        ge=1,
        le=1000,
        description="for networks that draw random numbers: how many passes are averaged, for the "
        "logits of every verdict and for gradients (expectation over transformation)",
    )

    certify: bool = Field(
        False,
        description="also prove what no attack within each budget can break (`proven`); attacks "
        "then leave out what is proven, except 5 % of it",
    )

    target: Target | None = Field(
        None,
        description="a class, by number or name: an image withstands until it is classified as "
        "this class; images of it are left out",
    )

    save: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="keep the adversarial images of the first so many images, in the order of the "
        "split; `harness images` draws them",
    )

    @field_validator("eps")
    @classmethod
    def _grid(cls, grid: list[float], info: ValidationInfo) -> list[float]:
        largest = LARGEST_EPS.get(info.data.get("norm", ""), float("inf"))
        problems: list[Problem] = []
        for place, eps in enumerate(grid):
            if eps > largest:
                problems.append(((place,), budgets.too_large(eps, largest), eps))
            elif place and eps == grid[place - 1]:
                problems.append(((place,), f"duplicate eps {budgets.words(eps)}", eps))
            elif place and eps < grid[place - 1]:
                before = budgets.words(grid[place - 1])
                message = f"eps must ascend: {budgets.words(eps)} follows {before}"
                problems.append(((place,), message, eps))
        if problems:
            raise config_error(problems)
        return grid


class GradientConfig(AttackConfig):
    """Keys of the attacks that climb a loss."""

    norm: Literal["linf", "l2", "l1"] = Field("linf", description="linf, l2 or l1")
    loss: list[Loss] = Field(
        ["ce"],
        min_length=1,
        description="ce: cross-entropy; margin: best wrong logit minus the right one; "
        "probability-margin: the same of probabilities; "
        "ce-norm: cross-entropy of standardised logits; dlr: margin over the spread of the largest "
        "logits. Each is run, and the worst counts",
    )
    backward: Backward = Field(
        "exact",
        description="straight-through: rounding, steps and winner-take-all pass on a surrogate "
        "gradient (BPDA), for networks with such parts",
    )

    @field_validator("loss")
    @classmethod
    def _distinct(cls, losses: list[str]) -> list[str]:
        problems: list[Problem] = []
        for place, loss in enumerate(losses):
            if loss in losses[:place]:
                problems.append(((place,), f"duplicate loss {loss!r}", loss))
        if problems:
            raise config_error(problems)
        return losses


class IteratedConfig(GradientConfig):
    """Keys of the attacks that take many steps from several starts."""

    steps: int = Field(ge=1, le=10_000, description="gradient steps of each restart")
    restarts: int = Field(1, ge=1, le=1000, description="random starts for each loss")
    targets: int = Field(
        0, ge=0, le=1000, description="also aim at this many runner-up classes, one after the other"
    )
    target_order: Literal["logits", "malt"] = Field(
        "logits",
        description="which classes come first: logits: those of largest logit; malt: those whose "
        "boundary is nearest if the network were linear (MALT), for a gradient of each class",
    )

    @model_validator(mode="after")
    def _orders_something(self) -> Self:
        if self.target_order != "logits" and not self.targets:
            message = "an order without targets: give targets, e.g. 3"
            raise config_error([(("target_order",), message, self.target_order)])
        return self


def class_words(target: Target) -> str:
    """How a class is called in captions.

    >>> class_words(3), class_words("dog")
    ('class 3', 'dog')
    """
    return f"class {target}" if isinstance(target, int) else target


def grid_words(config: AttackConfig) -> str:
    """Norm, budgets and sweep in words, and the view of the network if it is not the default."""
    words = f"{config.norm}, eps {eps_words(config)}, {config.sweep} sweep"
    return words + view_words(config)


def eps_words(config: AttackConfig) -> str:
    """The budgets, ``"0, 0.1"``."""
    return ", ".join(map(budgets.words, config.eps))


def view_words(config: AttackConfig) -> str:
    """How the network is looked at, if not by single passes and exact gradients."""
    averaged = f", {config.samples} passes averaged" if config.samples > 1 else ""
    exact = getattr(config, "backward", "exact") == "exact"
    return averaged + ("" if exact else ", straight-through backward")


def expand_name(keys: dict[str, Any]) -> dict[str, Any]:
    """Rewrite ``{attack: family.member, ...}`` as ``{attack: family, name: member, ...}``.

    Keys of attacks that are not families are returned as they are.

    Raises:
        ValidationError: the family has no such member, or the mapping has a name already.
    """
    family, dot, member = str(keys.get("attack")).partition(".")
    members = attacks[family].members() if dot and family in attacks else []
    if not members:
        return keys
    if member not in members:
        message = f"{family} has no attack {member!r}; {did_you_mean(member, members)}"
        raise config_error([(("attack",), message, keys["attack"])])
    if "name" in keys:
        message = f"the attack is named twice: remove name, or write attack: {family}"
        raise config_error([(("name",), message, keys["name"])])
    return {**keys, "attack": family, "name": member}
