"""Every attack of torchattacks, by its name, behind the one signature; its known defects are worked around here.

What torchattacks 3.5.1 does and this adapter undoes: it switches modules to eval mode and comes back with the wrong
flags; leaves gradients on parameters; draws from and resets the global random states; seeds AutoAttack from the clock;
steps outside the box or the budget; returns tensors that ask for gradients; fixes step sizes whatever the budget;
assumes ten classes. Which attacks need more is said at ``_FEW``, ``_call`` and ``_overshoot``.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from typing import Any, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from harness.attacks.base import (
    TOLERANCE,
    Attack,
    AttackConfig,
    Attempt,
    Norm,
    Trial,
    faulty,
    grid_words,
)
from harness.attacks.catalogue import Entry, entry, names
from harness.attacks.engine.geometry import column, norms, project
from harness.attacks.engine.sealed import sealed
from harness.attacks.engine.victim import Victim, as_found, judge
from harness.errors import HarnessError, did_you_mean
from harness.lazy import torch
from harness.registry import attacks

OURS = {
    "eps": "eps",
    "max_epsilon": "eps",
    "norm": "norm",
    "n_classes": None,
    "seed": None,
    "verbose": None,
}
"""Parameters that the adapter sets itself, and the key that they come from."""

CW_MARGIN = 1e-4
"""CW moves arctanh of the pixels, which is infinite at 0 and 1: such pixels would never move."""

OVERSHOOT = 1.02
"""DeepFool and SparseFool stop on the boundary; what still stands there is carried 2 % further."""

_FEW = {
    "AutoAttack": (
        4,
        "APGD on cross-entropy, targeted FAB and Square: its targeted APGD needs 4 classes",
    ),
    "APGDT": (4, "APGD on cross-entropy: it needs 4 classes"),
}
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
"""They climb differences of logits; those in neither list climb the cross-entropy."""

_THREE_CHANNELS = ("TIFGSM", "PIFGSM", "PIFGSMPP")
"""Their smoothing kernels are written out for three channels."""


@attacks.register("torchattacks")
class TorchAttacks(Attack):
    """Any attack of torchattacks by its name, e.g. name: APGD, or in one word attack: torchattacks.APGD."""

    keeps_failures = True

    class Config(AttackConfig):
        """Keys of the adapter."""

        name: str = Field(description="a class of torchattacks, e.g. APGD, Square, CW")
        norm: Norm = Field("linf", description="what the attack measures; its own if left out")
        params: dict[str, Any] = Field(
            {}, description="its constructor's parameters, apart from eps and norm"
        )
        restarts: int = Field(1, ge=1, le=1000, description="runs with different seeds")
        chunk: int = Field(
            64, ge=1, le=4096, description="images handed over at once; may change results"
        )

        @model_validator(mode="before")
        @classmethod
        def _own_norm(cls, keys: Any) -> Any:
            known = (
                isinstance(keys, dict)
                and isinstance(keys.get("name"), str)
                and keys["name"] in names()
            )
            return {"norm": entry(keys["name"]).norms[0], **keys} if known else keys

        @field_validator("name")
        @classmethod
        def _exists(cls, name: str) -> str:
            try:
                entry(name)
            except HarnessError as error:
                raise faulty([((), f"{error.message}; {error.hint}", name)]) from None
            return name

        @field_validator("params")
        @classmethod
        def _parameters(cls, params: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
            if "name" in info.data:
                errors = list(_parameter_faults(entry(info.data["name"]), params))
                if errors:
                    raise faulty(errors)
            return params

        @model_validator(mode="after")
        def _measured(self) -> Self:
            known = entry(self.name).norms
            if self.norm not in known:
                raise faulty(
                    [
                        (
                            ("norm",),
                            f"{self.name} measures {' or '.join(known)}, not {self.norm}",
                            self.norm,
                        )
                    ]
                )
            return self

    @property
    def name(self) -> str:
        return f"torchattacks:{self.config.name}"

    @property
    def restarts(self) -> int:
        return self.config.restarts

    @property
    def climbs(self) -> tuple[str, ...]:
        if self.config.name in _BLACK_BOX:
            return ()
        return (
            ("margin",)
            if self.config.name in _ON_LOGITS or self.config.params.get("loss") == "dlr"
            else ("ce",)
        )

    @property
    def block(self) -> int:
        return self.config.chunk

    @property
    def minimal(self) -> bool:
        return entry(self.config.name).budget is None

    @classmethod
    def members(cls) -> list[str]:
        return names()

    def words(self) -> str:
        given = (
            ", ".join(f"{key}={value}" for key, value in self.config.params.items()) or "defaults"
        )
        step = (
            ", alpha 2.5 / steps of eps"
            if "alpha" in _scaled_step(entry(self.config.name), self.config.params, 1)
            else ""
        )
        kind = (
            "smallest perturbation, counted where its norm is within eps"
            if self.minimal
            else "projected into the budget"
        )
        return (
            f"{grid_words(self.config)}, {given}{step}, {self.config.restarts} run{'s' * (self.config.restarts > 1)} "
            f"in chunks of {self.config.chunk}, {kind}, torchattacks {version('torchattacks')}"
        )

    def stronger(self) -> TorchAttacks | None:
        steps = self.config.params.get("steps", entry(self.config.name).parameters.get("steps"))
        if steps is None:
            return None
        return TorchAttacks(
            self.config.model_copy(update={"params": {**self.config.params, "steps": 2 * steps}})
        )

    def faults(
        self, image_shape: tuple[int, int, int], n_classes: int
    ) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
        if self.config.name in _THREE_CHANNELS and image_shape[0] != 3:
            yield (
                ("name",),
                f"{self.config.name} takes images of 3 channels, these have {image_shape[0]}",
                "MIFGSM and DIFGSM take any number",
            )

    def notes(self, logits: torch.Tensor) -> list[str]:
        name, n_classes = self.config.name, logits.shape[1]
        said = []
        if name in _FEW and n_classes < _FEW[name][0]:
            said.append(f"{name} stands for {_FEW[name][1]}, there are {n_classes}")
        if self._without_dlr(n_classes):
            said.append(f"loss ce instead of dlr, which needs 3 classes, there are {n_classes}")
        if name == "CW" and float(torch.logsumexp(logits, 1).abs().max()) < 1e-3:
            said.append(
                "these logits are log-probabilities, on which CW's loss is not what it should be"
            )
        return said

    def _without_dlr(self, n_classes: int) -> bool:
        return (
            self.config.name in ("APGD", "UPGD")
            and self.config.params.get("loss") == "dlr"
            and n_classes < 3
        )

    def perturb(self, victim: Victim, trial: Trial) -> Attempt:
        images, eps = trial.images, trial.eps
        seed = trial.rng.child(
            "torchattacks", self.config.name, trial.restart, int(trial.identity[0])
        ).seed
        with sealed(seed), as_found(victim.model):
            found = self._call(victim, trial, seed % 2**31)
        found = found.detach().to(images).clamp(0, 1)
        found = torch.where(found.isfinite(), found, images)
        if self.config.name in ("DeepFool", "SparseFool"):
            found = _overshoot(victim, trial, found)
        return Attempt(found if self.minimal else _within(found, images, self.config.norm, eps))

    def _call(self, victim: Victim, trial: Trial, seed: int) -> torch.Tensor:
        images = trial.images
        if self.config.name == "CW":
            images = images.clamp(CW_MARGIN, 1 - CW_MARGIN)
        n_classes = victim.logits(images[:1]).shape[1]
        attack = self._build(victim, n_classes, trial.eps, seed)
        attack.set_device(images.device)
        if (
            self.config.name == "JSMA"
        ):  # untargeted it aims at (label + 1) % 10, whatever the number of classes
            attack.set_mode_targeted_by_function(
                lambda _, labels: (labels + 1) % n_classes, quiet=True
            )
        return attack(images, trial.labels)

    def _build(self, victim: Victim, n_classes: int, eps: float, seed: int) -> Any:
        import torchattacks

        def make(name: str, **params: Any) -> Any:
            known = entry(name)
            own = {
                "n_classes": n_classes,
                "seed": seed,
                "norm": {"linf": "Linf"}.get(self.config.norm, self.config.norm.upper()),
                "eps_for_division": 1e-30,
                known.budget: eps,
            }  # 1e-10 would stop small gradients, see PGDL2
            own = {key: value for key, value in own.items() if key in known.parameters}
            return getattr(torchattacks, name)(
                victim.model, **{**own, **_scaled_step(known, params, eps), **params}
            )

        name, params = self.config.name, dict(self.config.params)
        if name in _FEW and n_classes < _FEW[name][0]:
            apgd = make(
                "APGD",
                **{key: value for key, value in params.items() if key in entry("APGD").parameters},
            )
            if name == "APGDT":
                return apgd
            return torchattacks.MultiAttack(
                [apgd, make("FAB", multi_targeted=True), make("Square")]
            )
        return make(name, **{**params, **({"loss": "ce"} if self._without_dlr(n_classes) else {})})


def _parameter_faults(
    known: Entry, params: dict[str, Any]
) -> Iterator[tuple[tuple[str], str, Any]]:
    """What is wrong with parameters: (path, message, value)."""
    allowed = [name for name in known.parameters if name not in OURS]
    for name, value in params.items():
        default = known.parameters.get(name)
        if name in OURS:
            key = OURS[name]
            yield (
                (name,),
                f"{name} is set by the harness" + (f": use the key {key!r}" if key else ""),
                value,
            )
        elif name not in allowed:
            yield (
                (name,),
                f"{known.name} has no parameter {name!r}; {did_you_mean(name, allowed)}",
                value,
            )
        elif default is not None and not _same_sort(value, default):
            yield (
                (name,),
                f"{name} is {value!r}, and {default!r} by default: not the same sort of value",
                value,
            )


def _same_sort(value: Any, default: Any) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, tuple):
        return isinstance(value, list)
    return isinstance(value, (int, float) if isinstance(default, float) else type(default))


def _scaled_step(known: Entry, params: dict[str, Any], eps: float) -> dict[str, float]:
    """A step size that fits the budget where none is given: torchattacks' 2 / 255 would not reach the edge of a larger one.

    2.5 / steps of the budget (Madry et al. 2018); 1.25 of it for one step (FFGSM, Wong et al. 2020).
    """
    if "alpha" not in known.parameters or known.budget is None or "alpha" in params:
        return {}
    steps = params.get("steps", known.parameters.get("steps"))
    return {"alpha": 1.25 * eps if steps is None else 2.5 * eps / max(steps, 1)}


def _overshoot(victim: Victim, trial: Trial, found: torch.Tensor) -> torch.Tensor:
    """Carry what still stands a little further along its way."""
    stands = judge(victim.logits(found), trial.labels)[0]
    further = (trial.images + OVERSHOOT * (found - trial.images)).clamp(0, 1)
    return torch.where(column(stands, found), further, found)


def _within(found: torch.Tensor, images: torch.Tensor, norm: str, eps: float) -> torch.Tensor:
    """What is outside the budget is projected into it (in L1 and L0: thrown away); the rest keeps every bit."""
    outside = column(norms(found - images, norm) > eps + TOLERANCE, found)
    inside = project(found, images, norm, eps) if norm in ("linf", "l2") else images
    return torch.where(outside, inside, found)
