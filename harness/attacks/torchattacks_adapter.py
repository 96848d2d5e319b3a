"""Every attack of torchattacks, by its name; known defects are worked around.

What torchattacks 3.5.1 does, and this adapter undoes: it switches modules to eval mode and restores
the wrong flags; leaves gradients on parameters; draws from and reseeds the global random
generators; seeds AutoAttack from the clock; leaves the box or the budget; returns tensors that
require gradients; has step sizes that do not depend on the budget; assumes ten classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from typing import Any, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from harness.attacks.base import TOLERANCE, Attack, Candidates, Fault, Task
from harness.attacks.config import AttackConfig, Norm, Problem, config_error, grid_words
from harness.attacks.engine.geometry import column, norms, project
from harness.attacks.engine.random_state import isolated_random_state
from harness.attacks.engine.victim import Victim, judge, restoring
from harness.attacks.torchattacks_source import Signature, names, signature
from harness.errors import HarnessError, did_you_mean
from harness.lazy import torch
from harness.registry import attacks

SET_BY_HARNESS = {
    "eps": "eps",
    "max_epsilon": "eps",
    "norm": "norm",
    "n_classes": None,
    "seed": None,
    "verbose": None,
}
"""Parameters that the adapter sets itself -> the key of the config that they come from."""

CW_MARGIN = 1e-4
"""Distance of pixels from 0 and 1 for CW, which moves their arctanh (infinite at 0 and 1)."""

OVERSHOOT = 1.02
"""DeepFool and SparseFool stop on the boundary; unbroken samples are moved 2 % further."""

_FEW_CLASSES = {
    "AutoAttack": (
        4,
        "APGD on cross-entropy, targeted FAB and Square: its targeted APGD needs 4 classes",
    ),
    "APGDT": (4, "APGD on cross-entropy: it needs 4 classes"),
}
"""Attack -> the classes that it needs, and what is run if there are fewer."""

_BLACK_BOX = ("GN", "OnePixel", "Pixle", "SPSA", "Square", "VANILA")

_ON_LOGITS = (
    "APGDT",
    "AutoAttack",
    "CW",
    "DeepFool",
    "EADEN",
    "EADL1",
    "FAB",
    "JSMA",
    "SparseFool",
)
"""Attacks that climb differences of logits. Those in neither list climb cross-entropy."""

_THREE_CHANNELS = ("TIFGSM", "PIFGSM", "PIFGSMPP")
"""Attacks whose smoothing kernels are written for three channels."""


@attacks.register("torchattacks")
class TorchAttacks(Attack):
    """Any attack of torchattacks, e.g. name: APGD, or in short attack: torchattacks.APGD."""

    keeps_failures = True

    class Config(AttackConfig):
        """Keys of the adapter."""

        name: str = Field(description="a class of torchattacks, e.g. APGD, Square, CW")
        norm: Norm = Field("linf", description="what the attack measures; its own if left out")
        params: dict[str, Any] = Field(
            {}, description="parameters of its constructor, except eps and norm"
        )
        restarts: int = Field(1, ge=1, le=1000, description="runs with different seeds")
        chunk: int = Field(
            64, ge=1, le=4096, description="images attacked at once; may change results"
        )

        @model_validator(mode="before")
        @classmethod
        def _own_norm(cls, keys: Any) -> Any:
            """Fill in the attack's own norm."""
            if not isinstance(keys, dict):
                return keys
            name = keys.get("name")
            if not isinstance(name, str) or name not in names():
                return keys
            return {"norm": signature(name).norms[0], **keys}

        @field_validator("name")
        @classmethod
        def _exists(cls, name: str) -> str:
            try:
                signature(name)
            except HarnessError as error:
                message = f"{error.message}; {error.hint}"
                raise config_error([((), message, name)]) from None
            return name

        @field_validator("params")
        @classmethod
        def _parameters(cls, params: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
            if "name" in info.data:
                problems = list(_parameter_problems(signature(info.data["name"]), params))
                if problems:
                    raise config_error(problems)
            return params

        @model_validator(mode="after")
        def _measures_norm(self) -> Self:
            known = signature(self.name).norms
            if self.norm not in known:
                message = f"{self.name} measures {' or '.join(known)}, not {self.norm}"
                raise config_error([(("norm",), message, self.norm)])
            return self

    config: Config

    @property
    def name(self) -> str:
        """With the name in torchattacks."""
        return f"torchattacks:{self.config.name}"

    @property
    def restarts(self) -> int:
        """Runs with different seeds."""
        return self.config.restarts

    @property
    def climbs(self) -> tuple[str, ...]:
        """The loss of the harness that is nearest to the one that torchattacks climbs."""
        if self.config.name in _BLACK_BOX:
            return ()
        on_logits = self.config.name in _ON_LOGITS or self.config.params.get("loss") == "dlr"
        return ("margin",) if on_logits else ("ce",)

    @property
    def block(self) -> int:
        """Samples that torchattacks gets at once."""
        return self.config.chunk

    @property
    def minimal(self) -> bool:
        """Whether its constructor takes no budget."""
        return signature(self.config.name).budget is None

    @classmethod
    def members(cls) -> list[str]:
        """Names of all attacks of torchattacks."""
        return names()

    def words(self) -> str:
        """Describe its settings, with the version of torchattacks."""
        config = self.config
        params = ", ".join(f"{key}={value}" for key, value in config.params.items()) or "defaults"
        scaled = "alpha" in _scaled_step(signature(config.name), config.params, 1)
        step = ", alpha 2.5 / steps of eps" if scaled else ""
        if self.minimal:
            counted = "smallest perturbation, counted where its norm is within eps"
        else:
            counted = "projected into the budget"
        plural = "s" if config.restarts > 1 else ""
        return (
            f"{grid_words(config)}, {params}{step}, {config.restarts} run{plural} "
            f"in chunks of {config.chunk}, {counted}, torchattacks {version('torchattacks')}"
        )

    def stronger(self) -> TorchAttacks | None:
        """The same attack with twice the steps; None if it has no parameter ``steps``."""
        default = signature(self.config.name).parameters.get("steps")
        steps = self.config.params.get("steps", default)
        if steps is None:
            return None
        params = {**self.config.params, "steps": 2 * steps}
        return TorchAttacks(self.config.model_copy(update={"params": params}))

    def faults(self, image_shape: tuple[int, int, int], n_classes: int) -> Iterator[Fault]:
        """Find attacks that need images of three channels."""
        name = self.config.name
        channels = image_shape[0]
        if name in _THREE_CHANNELS and channels != 3:
            message = f"{name} takes images of 3 channels, these have {channels}"
            yield ("name",), message, "MIFGSM and DIFGSM take any number"

    def notes(self, logits: torch.Tensor) -> list[str]:
        """What is replaced because there are too few classes, and what cannot work."""
        name = self.config.name
        n_classes = logits.shape[1]
        notes = []
        if _needs_replacement(name, n_classes):
            notes.append(f"{name} is replaced by {_FEW_CLASSES[name][1]}, there are {n_classes}")
        if self._without_dlr(n_classes):
            notes.append(f"loss ce instead of dlr, which needs 3 classes, there are {n_classes}")
        if name == "CW" and float(torch.logsumexp(logits, 1).abs().max()) < 1e-3:
            notes.append(
                "these logits are log-probabilities, on which CW's loss is not what it should be"
            )
        return notes

    def _without_dlr(self, n_classes: int) -> bool:
        """Whether the loss ``dlr`` was asked for and cannot be computed."""
        asked = self.config.name in ("APGD", "UPGD") and self.config.params.get("loss") == "dlr"
        return asked and n_classes < 3

    def perturb(self, victim: Victim, task: Task) -> Candidates:
        """Run the attack; what leaves the box or the budget is projected back."""
        images = task.images
        name = self.config.name
        seed = task.rng.child("torchattacks", name, task.restart, int(task.identity[0])).seed
        with isolated_random_state(seed), restoring(_module(victim)):
            result = self._call(victim, task, seed % 2**31)
        adversarial = result.detach().to(images).clamp(0, 1)
        adversarial = torch.where(adversarial.isfinite(), adversarial, images)
        if name in ("DeepFool", "SparseFool"):
            adversarial = _overshoot(victim, task, adversarial)
        if not self.minimal:
            adversarial = _within(adversarial, images, self.config.norm, task.eps)
        return Candidates(adversarial)

    def _call(self, victim: Victim, task: Task, seed: int) -> torch.Tensor:
        images = task.images
        if self.config.name == "CW":
            images = images.clamp(CW_MARGIN, 1 - CW_MARGIN)
        n_classes = victim.logits(images[:1]).shape[1]
        attack = self._build(victim, n_classes, task.eps, seed)
        attack.set_device(images.device)
        if self.config.name == "JSMA":
            # Untargeted it aims at (label + 1) % 10, whatever the number of classes is.
            attack.set_mode_targeted_by_function(
                lambda _, labels: (labels + 1) % n_classes, quiet=True
            )
        adversarial: torch.Tensor = attack(images, task.labels)
        return adversarial

    def _build(self, victim: Victim, n_classes: int, eps: float, seed: int) -> Any:
        """The attack object of torchattacks, or what replaces it if there are too few classes."""
        import torchattacks

        def make(name: str, **params: Any) -> Any:
            known = signature(name)
            ours: dict[str | None, Any] = {
                "n_classes": n_classes,
                "seed": seed,
                "norm": "Linf" if self.config.norm == "linf" else self.config.norm.upper(),
                # The default of 1e-10 would stop small gradients (PGDL2).
                "eps_for_division": 1e-30,
                known.budget: eps,
            }
            taken = {key: value for key, value in ours.items() if key in known.parameters}
            step = _scaled_step(known, params, eps)
            return getattr(torchattacks, name)(victim.model, **{**taken, **step, **params})

        name = self.config.name
        params = dict(self.config.params)
        if _needs_replacement(name, n_classes):
            allowed = signature("APGD").parameters
            shared = {key: value for key, value in params.items() if key in allowed}
            apgd = make("APGD", **shared)
            if name == "APGDT":
                return apgd
            others = [make("FAB", multi_targeted=True), make("Square")]
            return torchattacks.MultiAttack([apgd, *others])
        if self._without_dlr(n_classes):
            params["loss"] = "ce"
        return make(name, **params)


def _module(victim: Victim) -> Any:
    """The victim's network, of which torchattacks needs the module."""
    return victim.model


def _needs_replacement(name: str, n_classes: int) -> bool:
    return name in _FEW_CLASSES and n_classes < _FEW_CLASSES[name][0]


def _parameter_problems(known: Signature, params: dict[str, Any]) -> Iterator[Problem]:
    """Find parameters that the attack lacks, that the harness sets, or of a wrong type."""
    allowed = [name for name in known.parameters if name not in SET_BY_HARNESS]
    for name, value in params.items():
        default = known.parameters.get(name)
        if name in SET_BY_HARNESS:
            key = SET_BY_HARNESS[name]
            hint = f": use the key {key!r}" if key else ""
            yield (name,), f"{name} is set by the harness{hint}", value
        elif name not in allowed:
            hint = did_you_mean(name, allowed)
            yield (name,), f"{known.name} has no parameter {name!r}; {hint}", value
        elif default is not None and not _same_type(value, default):
            message = f"{name} is {value!r}, and its default is {default!r}: another type"
            yield (name,), message, value


def _same_type(value: Any, default: Any) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, tuple):
        return isinstance(value, list)
    return isinstance(value, (int, float) if isinstance(default, float) else type(default))


def _scaled_step(known: Signature, params: dict[str, Any], eps: float) -> dict[str, float]:
    """A step size that fits the budget, if none is given.

    torchattacks' 2 / 255 would not reach the edge of a larger ball. It is 2.5 / steps of the budget
    (Madry et al. 2018), or 1.25 of it for a single step (FFGSM, Wong et al. 2020).
    """
    if "alpha" not in known.parameters or known.budget is None or "alpha" in params:
        return {}
    steps = params.get("steps", known.parameters.get("steps"))
    return {"alpha": 1.25 * eps if steps is None else 2.5 * eps / max(steps, 1)}


def _overshoot(victim: Victim, task: Task, adversarial: torch.Tensor) -> torch.Tensor:
    """Move unbroken samples a little further in the same direction."""
    unbroken, _ = judge(victim.logits(adversarial), task.labels)
    further = (task.images + OVERSHOOT * (adversarial - task.images)).clamp(0, 1)
    return torch.where(column(unbroken, adversarial), further, adversarial)


def _within(adversarial: torch.Tensor, images: torch.Tensor, norm: str, eps: float) -> torch.Tensor:
    """Project what is outside the budget into it; in L1 and L0 take the clean image instead."""
    outside = column(norms(adversarial - images, norm) > eps + TOLERANCE, adversarial)
    inside = project(adversarial, images, norm, eps) if norm in ("linf", "l2") else images
    return torch.where(outside, inside, adversarial)
