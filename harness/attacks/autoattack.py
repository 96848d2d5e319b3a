"""AutoAttack (Croce & Hein 2020, arXiv 2003.01690; L1: Croce & Hein 2021, arXiv 2103.01208).

Four attacks without free parameters, one after the other; each attacks only what withstood those
before it. The parts are those of this package; this file says in which order and with which
settings the standard version runs them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from harness.attacks.apgd import APGD
from harness.attacks.base import Attack, Candidates, Objective, Task
from harness.attacks.config import AttackConfig, config_error, grid_words
from harness.attacks.engine.geometry import project
from harness.attacks.engine.in_turn import in_turn, runners_up, started, towards
from harness.attacks.engine.losses import MIN_CLASSES
from harness.attacks.engine.sparse_ascent import sparse_ascent
from harness.attacks.engine.victim import Backward, Victim
from harness.attacks.fab import cross_boundary
from harness.attacks.square import search_squares, search_windows
from harness.lazy import torch
from harness.registry import attacks

PARTS = ("apgd-ce", "apgd-t", "fab-t", "square")
"""In their order; these are the names of the objectives."""

TARGETS = 9
"""Runner-up classes that APGD-T and FAB-T aim at."""

TARGETS_L1 = 5
"""The same for APGD-T in L1."""

RESTARTS_L1 = 5
"""Random starts of APGD-CE in L1; one in the other norms."""

HORIZON = 10_000
"""Queries over which Square's squares shrink to their smallest size, as if it had so many."""

_ELSEWHERE = {
    "plus": "add `fab` and `apgd` with loss [ce, dlr] and 5 restarts to the attacks",
    "rand": "use `apgd` with loss [ce, dlr], steps 100 and samples 20",
}
"""Version that is not offered -> what does the same."""


@attacks.register("autoattack")
class AutoAttack(Attack):
    """AutoAttack, standard version: APGD-CE, APGD-T, FAB-T and Square in turn, no parameters."""

    reports_parts: ClassVar[bool] = True

    class Config(AttackConfig):
        """Keys of AutoAttack."""

        version: Literal["standard"] = Field("standard", description="standard")
        norm: Literal["linf", "l2", "l1"] = Field("linf", description="linf, l2 or l1")
        steps: int = Field(
            100, ge=2, le=10_000, description="of APGD and FAB; 100 in the standard version"
        )
        queries: int = Field(
            5000, ge=1, le=10_000, description="of Square; 5000 in the standard version"
        )
        backward: Backward = Field(
            "exact", description="straight-through: rounding and steps pass a gradient on (BPDA)"
        )

        @field_validator("version", mode="before")
        @classmethod
        def _offered(cls, version: Any) -> Any:
            if version in _ELSEWHERE:
                message = f"only standard is offered; instead of {version}, {_ELSEWHERE[version]}"
                raise config_error([((), message, version)])
            return version

    config: Config

    @property
    def name(self) -> str:
        """With steps and queries, if they are not those of the standard version."""
        fields = type(self.config).model_fields
        chosen = (self.config.steps, self.config.queries)
        if chosen == (fields["steps"].default, fields["queries"].default):
            return self.kind
        return f"{self.kind}-{self.config.steps}-{self.config.queries}"

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """The parts."""
        return tuple(map(Objective, PARTS))

    @property
    def climbs(self) -> tuple[str, ...]:
        """Cross-entropy, and the margin: APGD-T climbs it by a ratio, FAB crosses its zero."""
        return ("ce", "margin")

    def words(self) -> str:
        """Describe its settings."""
        config = self.config
        if config.norm == "l1":
            restarts = f"{RESTARTS_L1} random starts, sparse steps in balls of 3, 2 and 1 eps"
        else:
            restarts = "1 random start"
        return (
            f"{grid_words(config)}, version {config.version}: APGD on cross-entropy "
            f"({restarts}), APGD on targeted DLR ({self._targets} runner-up classes), FAB "
            f"({TARGETS} runner-up classes), {config.steps} steps each, Square ({config.queries} "
            "queries); all wrong classes where there are fewer"
        )

    def stronger(self) -> AutoAttack:
        """The same attack with twice the steps."""
        return AutoAttack(self.config.model_copy(update={"steps": 2 * self.config.steps}))

    def notes(self, logits: torch.Tensor) -> list[str]:
        """What it replaces if there are too few classes for the targeted DLR loss."""
        n_classes = logits.shape[1]
        least = MIN_CLASSES["dlr"][1]
        if n_classes >= least:
            return []
        return [
            f"APGD-T climbs the margin: the targeted DLR loss needs {least} classes, "
            f"there are {n_classes}"
        ]

    def perturb(self, victim: Victim, task: Task) -> Candidates:
        """Run the part that the objective names."""
        part = {
            "apgd-ce": self._apgd_ce,
            "apgd-t": self._apgd_t,
            "fab-t": self._fab_t,
            "square": self._square,
        }[task.objective.loss]
        return Candidates(part(victim, task))

    def _apgd_ce(self, victim: Victim, task: Task) -> torch.Tensor:
        restarts = RESTARTS_L1 if self.config.norm == "l1" else 1
        objective = Objective("ce")
        runs = (
            replace(task, objective=objective, restart=number, start=None)
            for number in range(restarts)
        )
        return self._climb(victim, task, runs)

    def _apgd_t(self, victim: Victim, task: Task) -> torch.Tensor:
        enough = victim.logits(task.images[:1]).shape[1] >= MIN_CLASSES["dlr"][1]
        loss = "dlr" if enough else "margin"
        runs = towards(task, loss, runners_up(victim, task, self._targets))
        return self._climb(victim, task, runs)

    def _fab_t(self, victim: Victim, task: Task) -> torch.Tensor:
        norm = self.config.norm

        def cross(run: Task) -> torch.Tensor:
            assert run.targets is not None  # set below
            points, _ = cross_boundary(victim, run, run.targets, norm, self.config.steps)
            return project(points, run.images, norm, task.eps)

        classes = runners_up(victim, task, TARGETS)
        runs = (replace(task, targets=targets, start=None) for targets in classes)
        return in_turn(victim, task, runs, cross, together=True)

    def _square(self, victim: Victim, task: Task) -> torch.Tensor:
        queries = self.config.queries
        if self.config.norm == "linf":
            return search_squares(victim, task, queries, HORIZON)
        return search_windows(victim, task, self.config.norm, queries, HORIZON)

    @property
    def _targets(self) -> int:
        """Runner-up classes that APGD-T aims at."""
        return TARGETS_L1 if self.config.norm == "l1" else TARGETS

    def _climb(self, victim: Victim, task: Task, runs: Iterable[Task]) -> torch.Tensor:
        config = self.config
        if config.norm == "l1":

            def climb_sparsely(run: Task) -> torch.Tensor:
                return sparse_ascent(victim, run, config.steps)

            # Its noise follows from the restart, which differs between the runs.
            return in_turn(victim, task, runs, climb_sparsely, together=False)
        apgd = APGD.of(norm=config.norm, eps=config.eps, steps=config.steps)

        def climb(run: Task) -> torch.Tensor:
            return apgd.perturb(victim, run).adversarial

        return in_turn(victim, task, started(runs, config.norm), climb, together=True)
