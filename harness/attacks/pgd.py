"""Projected gradient descent (Madry et al. 2018), in Linf, L2 and L1."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, WrapValidator, model_validator

from harness.attacks.base import Candidates, Task
from harness.attacks.config import IteratedConfig, config_error, grid_words
from harness.attacks.engine.ascent import projected_ascent
from harness.attacks.engine.victim import Victim
from harness.attacks.iterated import Iterated
from harness.registry import attacks


def _step_size(value: Any, _: object) -> float | str:
    if value == "relative":
        return "relative"
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if is_number and 0 < value <= 10:
        return float(value)
    raise ValueError("step_size is `relative` (2.5 / steps) or a multiple of eps in (0, 10]")


@attacks.register("pgd")
class PGD(Iterated):
    """Projected gradient descent from random starts; the best iterate counts."""

    class Config(IteratedConfig):
        """Keys of PGD."""

        steps: int = Field(20, ge=1, le=10_000, description="gradient steps of each restart")
        step_size: Annotated[float | Literal["relative"], WrapValidator(_step_size)] = Field(
            "relative", description="multiple of eps; relative: 2.5 / steps"
        )
        random_start: bool = Field(
            True, description="start at a random point of the ball; otherwise at the image"
        )
        iterate: Literal["best", "last"] = Field(
            "best", description="the iterate that is judged: best or last"
        )
        momentum: float = Field(
            0.0, ge=0, le=2, description="decay of the accumulated gradients; 0: no momentum"
        )

        @model_validator(mode="after")
        def _restarts_differ(self) -> Self:
            if self.restarts > 1 and not self.random_start:
                message = "without random_start all restarts are the same run"
                raise config_error([(("restarts",), message, self.restarts)])
            return self

    config: Config

    @property
    def name(self) -> str:
        """With the number of steps."""
        return f"pgd-{self.config.steps}"

    @property
    def relative_step(self) -> float:
        """Step size as a multiple of eps."""
        if self.config.step_size == "relative":
            return 2.5 / self.config.steps
        return self.config.step_size

    def words(self) -> str:
        """Describe its settings."""
        config = self.config
        momentum = f"momentum {config.momentum:g}, " if config.momentum else ""
        plural = "s" if config.restarts > 1 else ""
        return (
            f"{grid_words(config)}, {self.loss_words}, "
            f"{config.steps} steps of {self.relative_step:.4g} eps, {momentum}"
            f"{config.restarts} restart{plural}, {self._start_words()}, {config.iterate} iterate"
        )

    def _start_words(self) -> str:
        start = "random start" if self.config.random_start else "start at the image"
        if self.config.sweep == "independent" or len(self.config.eps) == 1:
            return start
        before = "next smaller" if self.config.sweep == "nested" else "last"
        return f"{start}, first restart from the {before} eps"

    def perturb(self, victim: Victim, task: Task) -> Candidates:
        """Climb the objective's loss within the ball."""
        config = self.config
        return projected_ascent(
            victim,
            task,
            norm=config.norm,
            steps=config.steps,
            step_size=self.relative_step * task.eps,
            random_start=config.random_start,
            best=config.iterate == "best",
            momentum=config.momentum,
        )
