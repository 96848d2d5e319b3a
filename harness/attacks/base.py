"""What an attack is: a frozen config, and one function from images to perturbed images of them.

Attacks know a network (through ``Victim``), images and labels; they know nothing of suites, learners or stores. The
sweep engine decides which samples are attacked, judges what comes back, and keeps the books.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

from harness.attacks.engine.losses import LEAST_CLASSES
from harness.attacks.engine.victim import Backward, Victim, View
from harness.errors import did_you_mean
from harness.lazy import torch
from harness.registry import Config, attacks
from harness.rng import Rng

Norm = Literal["linf", "l2", "l1", "l0"]
Loss = Literal["ce", "margin", "ce-norm", "dlr"]

TOLERANCE = 1e-6
"""By how much a norm may exceed its eps: float32 rounding of ``image + perturbation`` (up to 6e-8 a pixel, measured)."""

ABSURD_L2 = 1000.0
"""No image of a million pixels is further than this from any other, in L2."""


def faulty(
    errors: list[tuple[tuple[str | int, ...], str, Any]], title: str = "attack"
) -> ValidationError:
    """A pydantic error at places below the value that is being validated: (path, message, value) each."""
    return ValidationError.from_exception_data(
        title,
        [
            InitErrorDetails(
                type=PydanticCustomError("attack", "{problem}", {"problem": text}),
                loc=path,
                input=value,
            )
            for path, text, value in errors
        ],
    )


class AttackConfig(Config):
    """Keys that every attack has."""

    attack: str = Field(description="which attack: a name from `harness list attacks`")
    label: str | None = Field(
        None, min_length=1, max_length=60, description="its name in tables; made up if left out"
    )
    norm: Norm = Field("linf", description="how a perturbation is measured, in pixel units")
    eps: list[Annotated[float, Field(ge=0)]] = Field(min_length=1, description="budgets, ascending")
    sweep: Literal["nested", "bisect", "independent"] = Field(
        "nested",
        description="nested: from the smallest eps up, a sample that is broken is not attacked again; bisect: from the "
        "middle of the grid, a sample that withstands counts as robust at smaller eps too; independent: each at each eps",
    )
    samples: int = Field(
        1,
        ge=1,
        le=1000,
        description="passes of a network that draws random numbers that are averaged: its "
        "logits for every verdict, its gradients for the attack (expectation over transformation)",
    )

    @field_validator("eps")
    @classmethod
    def _grid(cls, grid: list[float], info: ValidationInfo) -> list[float]:
        top = {"linf": 1.0, "l2": ABSURD_L2}.get(info.data.get("norm"), float("inf"))
        errors = []
        for place, eps in enumerate(grid):
            if eps > top:
                errors.append(
                    ((place,), f"eps {eps:g} is outside [0, {top:g}] (pixels are in [0, 1])", eps)
                )
            elif place and eps <= grid[place - 1]:
                errors.append(
                    ((place,), f"eps must ascend: {eps:g} follows {grid[place - 1]:g}", eps)
                )
        if errors:
            raise faulty(errors)
        return grid


class GradientConfig(AttackConfig):
    """Keys of the attacks that climb a loss."""

    norm: Literal["linf", "l2", "l1"] = Field("linf", description="linf, l2 or l1")
    loss: list[Loss] = Field(
        ["ce"],
        min_length=1,
        description="ce: cross-entropy; margin: best wrong logit minus the right one; "
        "ce-norm: cross-entropy of standardised logits; dlr: margin over the spread of the largest logits. "
        "Each is run, the worst counts",
    )
    backward: Backward = Field(
        "exact",
        description="straight-through: while a gradient is computed, rounding, steps and the picks of a competition "
        "pass one on (BPDA), for networks with such parts",
    )

    @field_validator("loss")
    @classmethod
    def _once(cls, losses: list[str]) -> list[str]:
        twice = [
            ((place,), f"{loss!r} stands twice", loss)
            for place, loss in enumerate(losses)
            if loss in losses[:place]
        ]
        if twice:
            raise faulty(twice)
        return losses


@dataclass(frozen=True)
class Objective:
    """What one run of an attack aims at.

    Attributes:
        loss: the loss that is climbed, or the name of an attack that has its own.
        target: 0: any wrong class; k: the wrong class with the k-th largest clean logit.
    """

    loss: str
    target: int = 0

    def __str__(self) -> str:
        return f"{self.loss}->{self.target}" if self.target else self.loss


@dataclass(frozen=True)
class Trial:
    """One run of an attack: what it may read.

    Attributes:
        images: float32 (B, C, H, W) in [0, 1].
        labels: int64 (B,).
        targets: int64 (B,), the class to reach; None: any wrong one.
        identity: int64 (B,), what each sample's randomness belongs to.
        eps: the budget.
        objective: what to aim at.
        restart: counts from 0.
        start: float32 like ``images``: perturbations within ``eps`` to start from; None: the attack's own start.
        rng: source of randomness.
    """

    images: torch.Tensor
    labels: torch.Tensor
    targets: torch.Tensor | None
    identity: np.ndarray
    eps: float
    objective: Objective
    restart: int
    start: torch.Tensor | None
    rng: Rng


@dataclass(frozen=True)
class Attempt:
    """What one run gives.

    Attributes:
        adversarial: float32 (B, C, H, W), in the box and within the budget.
        last: where an iterative attack stood at its end, as perturbations: the next larger eps may start there.
    """

    adversarial: torch.Tensor
    last: torch.Tensor | None = None


class Attack(ABC):
    """One attack. A subclass registers itself with ``@attacks.register(name)`` and has a nested ``Config``.

    Args:
        config: an instance of the class's ``Config``.
    """

    kind: ClassVar[str]
    Config: ClassVar[type[AttackConfig]]
    keeps_failures: ClassVar[bool] = False
    """Where it fails it may give back the image as it was."""

    def __init__(self, config: AttackConfig):
        self.config = config

    @property
    def label(self) -> str:
        """Its name in tables."""
        return self.config.label or self.name + (
            "" if self.config.norm == "linf" else f"-{self.config.norm}"
        )

    @property
    def name(self) -> str:
        """Kind and the one setting that people quote with it, e.g. ``pgd-20``."""
        return self.kind

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What it is run for, one after the other."""
        return (Objective(self.name),)

    @property
    def restarts(self) -> int:
        """Independent runs of each objective."""
        return 1

    @property
    def climbs(self) -> tuple[str, ...]:
        """Names of the losses (harness.attacks.engine.losses) whose gradient it needs; none: it sees outputs only (black box)."""
        return tuple(dict.fromkeys(objective.loss for objective in self.objectives))

    @property
    def block(self) -> int:
        """Samples handed over at once: never the batch size, so that no result depends on that."""
        return 1024

    @property
    def surrogate(self) -> dict[str, Any] | None:
        """The learner (kind and config) whose network it also reads; whoever runs it sets ``network`` to that."""
        return None

    @property
    def minimal(self) -> bool:
        """Whether it takes no budget and looks for the smallest perturbation: one run then serves every eps."""
        return False

    @property
    def view(self) -> View:
        """How it looks at a network."""
        return View(self.config.samples, getattr(self.config, "backward", "exact"))

    @abstractmethod
    def words(self) -> str:
        """Its settings, as the protocol block prints them."""

    @abstractmethod
    def perturb(self, victim: Victim, trial: Trial) -> Attempt:
        """Perturb every image of a trial."""

    @classmethod
    def members(cls) -> list[str]:
        """What its key ``name`` may say, where it stands for a family: ``attack: family.member`` is short for that."""
        return []

    def stronger(self) -> Attack | None:
        """The same attack with twice the steps; None where it has none."""
        return None

    def faults(
        self, image_shape: tuple[int, int, int], n_classes: int
    ) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
        """What cannot be on such images: (path below the attack's mapping, message, hint)."""
        aimed = any(objective.target for objective in self.objectives)
        for place, loss in enumerate(getattr(self.config, "loss", [])):
            least = LEAST_CLASSES.get(loss, (2, 2))[aimed]
            if n_classes < least:
                towards = " towards a target" if aimed else ""
                yield (
                    ("loss", place),
                    f"{loss}{towards} needs {least} classes, there are {n_classes}",
                    "ce and margin need 2",
                )

    def notes(self, logits: torch.Tensor) -> list[str]:
        """What it does otherwise than its name says on a network that gives such clean logits (B, n_classes)."""
        return []

    def __repr__(self) -> str:
        return f"{self.kind}({', '.join(f'{k}={v!r}' for k, v in self.config.model_dump().items() if k != 'attack')})"


def grid_words(config: AttackConfig) -> str:
    """``"linf, eps 0, 0.1, nested sweep"``, and how the network is looked at where that is not as usual."""
    averaged = f", {config.samples} passes averaged" if config.samples > 1 else ""
    through = (
        ", straight-through backward" if getattr(config, "backward", "exact") != "exact" else ""
    )
    return f"{config.norm}, eps {', '.join(f'{eps:g}' for eps in config.eps)}, {config.sweep} sweep{averaged}{through}"


def spelt_out(keys: dict[str, Any]) -> dict[str, Any]:
    """``{attack: family.member, ...}`` as ``{attack: family, name: member, ...}``; anything else as it is.

    Raises:
        ValidationError: the family has no such member, or the mapping has a name already.
    """
    family, dot, member = str(keys.get("attack")).partition(".")
    members = attacks[family].members() if dot and family in attacks else []
    if not members:
        return keys
    if member not in members:
        raise faulty(
            [
                (
                    ("attack",),
                    f"{family} has no attack {member!r}; {did_you_mean(member, members)}",
                    keys["attack"],
                )
            ]
        )
    if "name" in keys:
        raise faulty(
            [
                (
                    ("name",),
                    f"the attack is named twice: {keys['attack']} needs no name",
                    keys["name"],
                )
            ]
        )
    return {**keys, "attack": family, "name": member}
