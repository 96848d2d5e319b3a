"""What an attack is: a frozen config, and one method that turns images into perturbed images.

Attacks know a network (through ``Victim``), images and labels; they know nothing of suites,
learners or stores. The sweep engine decides which samples are attacked, judges the results and
records them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from harness.attacks.config import AttackConfig, class_words
from harness.attacks.engine.geometry import norms
from harness.attacks.engine.losses import MIN_CLASSES
from harness.attacks.engine.target_order import by_logits
from harness.attacks.engine.victim import Victim, View
from harness.lazy import torch
from harness.rng import Rng

TOLERANCE = 1e-6
"""Largest excess of a norm over eps by float32 rounding of image + perturbation (6e-8 a pixel)."""

Fault = tuple[tuple[str | int, ...], str, str]
"""What makes a config impossible: path below the attack's mapping, message, hint."""


@dataclass(frozen=True)
class Objective:
    """What one run of an attack aims at.

    Attributes:
        loss: the loss that is climbed, or the name of an attack that has its own.
        target: 0: any wrong class; k: the k-th class of ``Attack.target_order``.
    """

    loss: str
    target: int = 0

    def __str__(self) -> str:
        return f"{self.loss}->{self.target}" if self.target else self.loss


@dataclass(frozen=True)
class Task:
    """The input of one run of an attack.

    Attributes:
        images: float32 (B, C, H, W) in [0, 1].
        labels: int64 (B,).
        targets: int64 (B,), the class to reach; None: any wrong one.
        identity: int64 (B,), seeds each sample's randomness.
        eps: the budget.
        objective: what to aim at.
        restart: counts from 0.
        start: float32 like ``images``: perturbations within ``eps`` to start from; None: the attack
            chooses its start.
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
class Candidates:
    """The output of one run of an attack. The sweep engine judges it.

    Attributes:
        adversarial: float32 (B, C, H, W), in the box and within the budget.
        warm_start: perturbations, float32 (B, C, H, W), from which the run at the next larger eps
            may start; None: it starts afresh.
        sizes: float32 (B,), how much of the budget each image takes; None: the norm of its
            difference from the clean image.
    """

    adversarial: torch.Tensor
    warm_start: torch.Tensor | None = None
    sizes: torch.Tensor | None = None

    def sizes_from(self, images: torch.Tensor, norm: str) -> torch.Tensor:
        """Size of each perturbation of clean images (B, C, H, W), in units of eps: (B,)."""
        if self.sizes is not None:
            return self.sizes
        return norms(self.adversarial - images, norm)


class Attack(ABC):
    """One attack, registered with ``@attacks.register(name)``, with a nested ``Config``.

    ``words`` and ``perturb`` must be implemented; everything else has a default.

    Args:
        config: an instance of the class's ``Config``.

    Attributes:
        kind: the registered name.
        keeps_failures: where the attack fails it may return the clean image.
        reports_parts: its objectives are attacks of their own; results say what each one broke.
    """

    kind: ClassVar[str]
    Config: ClassVar[type[AttackConfig]]
    keeps_failures: ClassVar[bool] = False
    reports_parts: ClassVar[bool] = False

    def __init__(self, config: Any) -> None:
        self.config = config

    @classmethod
    def of(cls, **keys: Any) -> Self:
        """Make an attack from keys of its config, e.g. ``PGD.of(eps=[0.1], steps=10)``."""
        return cls(cls.Config.model_validate({"attack": cls.kind, **keys}))

    @property
    def label(self) -> str:
        """Its name in tables."""
        suffix = "" if self.config.norm in ("linf", self.kind) else f"-{self.config.norm}"
        target = "" if self.config.target is None else f" towards {class_words(self.config.target)}"
        return self.config.label or self.name + suffix + target

    @property
    def name(self) -> str:
        """Kind and the setting that papers quote with it, e.g. ``pgd-20``."""
        return self.kind

    @property
    def threat(self) -> str:
        """What its budgets measure. Verdicts are combined over attacks of the same threat only."""
        norm: str = self.config.norm
        return norm

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
        """Names of the losses (``harness.attacks.engine.losses``) whose gradient it uses.

        Empty for a black-box attack, which sees outputs only.
        """
        return tuple(dict.fromkeys(objective.loss for objective in self.objectives))

    @property
    def block(self) -> int:
        """Samples attacked at once. Never the batch size, so that no result depends on that."""
        return 1024

    @property
    def surrogate(self) -> dict[str, Any] | None:
        """Kind and config of a learner whose network it also reads.

        Whoever runs the attack trains that learner and sets the attribute ``network``.
        """
        return None

    @property
    def minimal(self) -> bool:
        """Whether it looks for the smallest perturbation, so that one run serves every eps."""
        return False

    @property
    def view(self) -> View:
        """How it looks at a network."""
        return View(self.config.samples, getattr(self.config, "backward", "exact"))

    @abstractmethod
    def words(self) -> str:
        """Describe its settings, for the protocol block of a table."""

    @abstractmethod
    def perturb(self, victim: Victim, task: Task) -> Candidates:
        """Perturb every image of a task."""

    @classmethod
    def members(cls) -> list[str]:
        """Allowed values of the key ``name``, if the attack is a family.

        ``attack: family.member`` is short for ``attack: family`` and ``name: member``.
        """
        return []

    def target_order(
        self, victim: Victim, images: torch.Tensor, labels: torch.Tensor, logits: torch.Tensor
    ) -> torch.Tensor:
        """Classes in the order in which runs with a target aim at them, the right class last.

        Args:
            victim: the network.
            images: float32 (B, C, H, W).
            labels: int64 (B,).
            logits: (B, n), of the images.

        Returns:
            int64 (B, n).
        """
        return by_logits(logits, labels)

    def stronger(self) -> Attack | None:
        """The same attack with twice the steps; None if it has no steps."""
        return None

    def faults(self, image_shape: tuple[int, int, int], n_classes: int) -> Iterator[Fault]:
        """Find settings that are impossible on such images."""
        aimed = any(objective.target for objective in self.objectives)
        for place, loss in enumerate(getattr(self.config, "loss", [])):
            least = MIN_CLASSES.get(loss, (2, 2))[aimed]
            if n_classes < least:
                towards = " towards a target" if aimed else ""
                message = f"{loss}{towards} needs {least} classes, there are {n_classes}"
                yield ("loss", place), message, "ce and margin need 2"

    def notes(self, logits: torch.Tensor) -> list[str]:
        """What it replaces on a network with such clean logits (B, n_classes), in words."""
        return []

    def __repr__(self) -> str:
        keys = {name: value for name, value in self.config.model_dump().items() if name != "attack"}
        return f"{self.kind}({', '.join(f'{name}={value!r}' for name, value in keys.items())})"
