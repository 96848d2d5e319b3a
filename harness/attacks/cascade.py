"""Cascade: several attacks in turn, each on what withstood those before it.

The result is the worst case over the attacks, for a part of the work. Each attack starts from the
same random numbers, and from the same perturbations at smaller budgets, as it would alone: whatever
one of them breaks alone is broken here too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, SerializeAsAny, WithJsonSchema, model_validator

from harness.attacks.base import TOLERANCE, Attack, Candidates, Fault, Objective, Task
from harness.attacks.config import AttackConfig, Problem, config_error, eps_words
from harness.attacks.engine.geometry import column
from harness.attacks.engine.victim import Backward, Victim
from harness.attacks.validated import validated
from harness.lazy import torch
from harness.registry import attacks

SHARED = ("norm", "eps", "samples", "backward")
"""Keys in which the attacks of a cascade are equal; they are then those of the cascade."""


Member = Annotated[
    SerializeAsAny[AttackConfig],
    BeforeValidator(validated),
    WithJsonSchema({"type": "object", "required": ["attack"]}),
]
"""An attack with its keys."""


@attacks.register("cascade")
class Cascade(Attack):
    """Several attacks of one norm in turn, each on what withstood those before it."""

    reports_parts: ClassVar[bool] = True

    class Config(AttackConfig):
        """Keys of a cascade."""

        attacks: list[Member] = Field(
            min_length=1, description="the attacks in their order; their norm and eps are equal"
        )
        eps: list[float] = Field([], description="the budgets of the attacks")
        sweep: Literal["nested"] = Field(
            "nested", description="nested: from the smallest eps up, a broken sample is left out"
        )
        backward: Backward = Field("exact", description="that of the attacks")

        @model_validator(mode="after")
        def _takes_what_they_share(self) -> Self:
            problems = [
                (("attacks", *path), text, given) for path, text, given in unfit(self.attacks)
            ]
            for key in SHARED:
                shared = _shared(self.attacks, key)
                if key in self.model_fields_set and getattr(self, key) != shared:
                    problems.append(((key,), f"its attacks have {shared}", getattr(self, key)))
                self.__dict__[key] = shared
            if problems:
                raise config_error(problems)
            return self

    config: Config

    @cached_property
    def parts(self) -> dict[str, Attack]:
        """The attacks, by names of their own."""
        named: dict[str, Attack] = {}
        for config in self.config.attacks:
            attack = attacks[config.attack](config)
            name = attack.label
            number = 1
            while name in named:
                number += 1
                name = f"{attack.label} ({number})"
            named[name] = attack
        return named

    @cached_property
    def _runs(self) -> dict[str, tuple[Attack, str, int]]:
        """Name of each run -> its attack, that attack's loss, and its restart."""
        return {
            _run_name(name, attack, objective, restart): (attack, objective.loss, restart)
            for name, attack in self.parts.items()
            for restart in range(attack.restarts)
            for objective in attack.objectives
        }

    @cached_property
    def objectives(self) -> tuple[Objective, ...]:
        """Every run of every attack; a restart is an objective of its own."""
        return tuple(
            Objective(_run_name(name, attack, objective, restart), objective.target)
            for name, attack in self.parts.items()
            for restart in range(attack.restarts)
            for objective in attack.objectives
        )

    @property
    def climbs(self) -> tuple[str, ...]:
        """The losses that its attacks climb."""
        return tuple(dict.fromkeys(loss for part in self.parts.values() for loss in part.climbs))

    @property
    def block(self) -> int:
        """That of the attack that takes the fewest samples at once."""
        return min(part.block for part in self.parts.values())

    def words(self) -> str:
        """Describe its attacks."""
        parts = "; ".join(f"{name}: {part.words()}" for name, part in self.parts.items())
        return f"eps {eps_words(self.config)}, each on what withstood those before it: {parts}"

    def stronger(self) -> Cascade | None:
        """Those of its attacks that have steps, with twice as many."""
        doubled = [part.stronger() for part in self.parts.values()]
        stronger = [part.config for part in doubled if part is not None]
        if not stronger:
            return None
        return type(self)(self.config.model_copy(update={"attacks": stronger}))

    def faults(self, image_shape: tuple[int, int, int], n_classes: int) -> Iterator[Fault]:
        """Find the faults of its attacks."""
        for place, part in enumerate(self.parts.values()):
            for path, message, hint in part.faults(image_shape, n_classes):
                yield ("attacks", place, *path), message, hint

    def notes(self, logits: torch.Tensor) -> list[str]:
        """Those of its attacks."""
        return [note for part in self.parts.values() for note in part.notes(logits)]

    def perturb(self, victim: Victim, task: Task) -> Candidates:
        """Make the run that the objective names."""
        attack, loss, restart = self._runs[task.objective.loss]
        objective = Objective(loss, task.objective.target)
        own = replace(task, objective=objective, restart=restart)
        if restart or attack.minimal:
            own = replace(own, start=None)  # alone, only the first restart has a warm start
        if not attack.minimal:
            found = attack.perturb(victim, own)
            return found if restart == 0 else replace(found, warm_start=None)
        smallest = next((eps for eps in self.config.eps if eps > 0), task.eps)
        found = attack.perturb(victim, replace(own, eps=smallest))
        sizes = found.sizes_from(task.images, self.config.norm)
        fits = column(sizes <= task.eps + TOLERANCE, task.images)
        return Candidates(torch.where(fits, found.adversarial, task.images))


def unfit(configs: Sequence[AttackConfig]) -> Iterator[Problem]:
    """Find what keeps attacks from being a cascade; paths begin with the place of the attack."""
    shared = {key: _shared(configs, key) for key in SHARED}
    for place, config in enumerate(configs):
        attack = attacks[config.attack](config)
        if attack.surrogate is not None or isinstance(attack, Cascade):
            yield (place, "attack"), f"a cascade takes no {config.attack}", config.attack
        for key in ("certify", "save", "target"):
            if given := getattr(config, key):
                yield (place, key), f"a cascade takes no attack with {key}", given
        if config.sweep != "nested":
            yield (place, "sweep"), "a cascade takes attacks with sweep: nested", config.sweep
        if getattr(config, "target_order", "logits") != "logits":
            text = "a cascade aims at the classes of largest logit first"
            yield (place, "target_order"), text, config.target_order  # type: ignore[attr-defined]
        for key, value in shared.items():
            given = getattr(config, key, value)
            if given != value:
                yield (place, key), f"the attacks of a cascade have one {key}: {value}", given


def _shared(configs: Sequence[AttackConfig], key: str) -> Any:
    """The value of the first attack that has the key; black-box attacks have no ``backward``."""
    return next((getattr(each, key) for each in configs if hasattr(each, key)), "exact")


def _run_name(name: str, attack: Attack, objective: Objective, restart: int) -> str:
    losses = {each.loss for each in attack.objectives}
    words = name if len(losses) == 1 else f"{name} {objective.loss}"
    return f"{words} #{restart + 1}" if restart else words
