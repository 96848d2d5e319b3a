"""Projected gradient descent (Madry et al. 2018), in Linf, L2 and L1."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, WrapValidator, model_validator

from harness.attacks.base import (
    Attack,
    Attempt,
    GradientConfig,
    Objective,
    Trial,
    faulty,
    grid_words,
)
from harness.attacks.engine.ascent import ascend
from harness.attacks.engine.victim import Victim
from harness.registry import attacks


def _step_size(value: object, _: object) -> float | str:
    if value == "relative" or (
        isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= 10
    ):
        return value if isinstance(value, str) else float(value)
    raise ValueError("step_size is `relative` (2.5 / steps) or a multiple of eps in (0, 10]")


@attacks.register("pgd")
class PGD(Attack):
    """Projected gradient descent from random starts; the best iterate counts."""

    class Config(GradientConfig):
        """Keys of PGD."""

        steps: int = Field(20, ge=1, le=10_000, description="gradient steps a restart")
        step_size: Annotated[float | Literal["relative"], WrapValidator(_step_size)] = Field(
            "relative", description="multiple of eps; relative: 2.5 / steps"
        )
        restarts: int = Field(1, ge=1, le=1000, description="random starts a loss")
        random_start: bool = Field(
            True, description="start at a random point of the ball, else at the image"
        )
        iterate: Literal["best", "last"] = Field(
            "best", description="the iterate that is judged: best or last"
        )
        momentum: float = Field(
            0.0, ge=0, le=2, description="decay of the gradients that are accumulated; 0: none"
        )
        targets: int = Field(
            0, ge=0, le=1000, description="also aim at each of so many runner-up classes"
        )

        @model_validator(mode="after")
        def _restarts_differ(self) -> Self:
            if self.restarts > 1 and not self.random_start:
                raise faulty(
                    [
                        (
                            ("restarts",),
                            "restarts without random_start are all the same run",
                            self.restarts,
                        )
                    ]
                )
            return self

    @property
    def name(self) -> str:
        return f"pgd-{self.config.steps}"

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return tuple(
            Objective(loss, target)
            for target in range(self.config.targets + 1)
            for loss in self.config.loss
        )

    @property
    def restarts(self) -> int:
        return self.config.restarts

    @property
    def relative_step(self) -> float:
        """Step size as a multiple of eps."""
        return (
            2.5 / self.config.steps
            if self.config.step_size == "relative"
            else self.config.step_size
        )

    def words(self) -> str:
        c = self.config
        start = "random start" if c.random_start else "start at the image"
        if c.sweep != "independent" and len(c.eps) > 1:
            start += (
                f", first restart from the {'next smaller' if c.sweep == 'nested' else 'last'} eps"
            )
        targets = f", and targeted at {c.targets} runner-up classes" if c.targets else ""
        momentum = f"momentum {c.momentum:g}, " if c.momentum else ""
        return (
            f"{grid_words(c)}, loss {' + '.join(c.loss)}{targets}, {c.steps} steps of {self.relative_step:.4g} eps, "
            f"{momentum}{c.restarts} restart{'s' * (c.restarts > 1)}, {start}, {c.iterate} iterate"
        )

    def perturb(self, victim: Victim, trial: Trial) -> Attempt:
        c = self.config
        return ascend(
            victim,
            trial,
            norm=c.norm,
            steps=c.steps,
            step_size=self.relative_step * trial.eps,
            random_start=c.random_start,
            best=c.iterate == "best",
            momentum=c.momentum,
        )

    def stronger(self) -> PGD:
        return PGD(self.config.model_copy(update={"steps": 2 * self.config.steps}))

    def faults(
        self, image_shape: tuple[int, int, int], n_classes: int
    ) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
        yield from super().faults(image_shape, n_classes)
        if self.config.targets >= n_classes:
            yield (
                ("targets",),
                f"{self.config.targets} runner-up classes of {n_classes} classes",
                f"at most {n_classes - 1}",
            )
