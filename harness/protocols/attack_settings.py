"""Keys and settings of the protocols under attack: which attacks, and how they are described."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    SerializeAsAny,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from harness.attacks.base import Attack
from harness.attacks.cascade import Cascade, unfit
from harness.attacks.config import (
    AttackConfig,
    Problem,
    class_words,
    config_error,
)
from harness.attacks.validated import validated
from harness.protocols.base import Fault, ProtocolConfig
from harness.protocols.saved import save_faults
from harness.protocols.targeted import CLASSES, target_faults
from harness.records import WORST
from harness.registry import attacks, learners

BUDGETS = "budgets in pixel units, box [0, 1]; normalisation inside the network"
ROBUST = "correct unattacked and in the worst case over losses, restarts and smaller eps"

CERTIFIED_NORMS = ("linf", "l2", "l1")


class _Registered:
    """Validates a mapping by the registered config that its ``attack`` key names.

    Errors keep their own place in the mapping.
    """

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(self._validate, core_schema.any_schema())

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        families = [name for name in attacks if attacks[name].members()]
        return {"oneOf": [*map(self._schema_of, attacks), *map(self._schema_of_members, families)]}

    @staticmethod
    def _schema_of(name: str) -> JsonSchemaValue:
        schema = attacks[name].Config.model_json_schema()
        schema["properties"]["attack"] = {"const": name, "description": attacks.describe(name)}
        return schema

    @classmethod
    def _schema_of_members(cls, family: str) -> JsonSchemaValue:
        """The schema of the spelling ``attack: family.member``, which has no key ``name``."""
        schema = cls._schema_of(family)
        schema["properties"]["attack"] = {
            "enum": [f"{family}.{member}" for member in attacks[family].members()],
            "description": attacks.describe(family),
        }
        del schema["properties"]["name"]
        schema["required"].remove("name")
        return schema

    @staticmethod
    def _validate(value: Any, _: Any) -> AttackConfig:
        return validated(value)


AnyAttack = Annotated[SerializeAsAny[AttackConfig], _Registered()]


class AttacksConfig(ProtocolConfig):
    """Keys of a protocol under attack."""

    attacks: list[AnyAttack] = Field(
        min_length=1, description="the attacks; each is a row of keys of its own"
    )
    trust: bool = Field(True, description="whether each sweep is followed by the trust checks")

    @model_validator(mode="after")
    def _labels_differ(self) -> AttacksConfig:
        labels = [attack.label for attack in self.attacks]
        errors: list[Problem] = []
        for place, label in enumerate(labels):
            if label and label in labels[:place]:
                errors.append((("attacks", place, "label"), f"duplicate label {label!r}", label))
        if errors:
            raise config_error(errors)
        return self


@dataclass(frozen=True)
class AttackEntry:
    """One attack of a setting.

    Attributes:
        label: its name in tables.
        config: its keys, validated.
    """

    label: str
    config: AttackConfig

    @property
    def attack(self) -> Attack:
        """The attack, ready to run."""
        return attacks[self.config.attack](self.config)

    def to_identity(self) -> dict[str, Any]:
        """What an attack adds to the identity of a setting."""
        config = self.config.model_dump(mode="json")
        if not self.config.certify:
            del config["certify"]  # results without it keep the keys that they had before
        if self.config.save is None:
            del config["save"]  # the same
        if config.get("target_order") == "logits":
            del config["target_order"]  # the same
        identity = {"attack": self.label, "norm": self.attack.threat, "config": config}
        if self.config.target is None:
            del config["target"]  # the same
        else:
            identity["target"] = class_words(self.config.target)
        return identity

    @classmethod
    def from_identity(cls, identity: Mapping[str, Any]) -> AttackEntry:
        """The attack that ``to_identity`` described."""
        config = identity["config"]
        kind = attacks[config["attack"]]
        return cls(identity["attack"], kind.Config.model_validate(config))

    def code(self) -> list[type]:
        """Classes that the attack runs: its own, and that of its surrogate learner, if any."""
        attack = self.attack
        if attack.surrogate is None:
            return [type(attack)]
        return [type(attack), learners[attack.surrogate["kind"]]]


def labelled(configs: Sequence[AttackConfig]) -> list[AttackEntry]:
    """Give every attack a distinct label; a default label that is taken gets a number."""
    entries: list[AttackEntry] = []
    chosen = {config.label for config in configs}
    used: set[str] = set()
    for config in configs:
        plain = attacks[config.attack](config).label
        label = plain
        number = 1
        while label in used or (config.label is None and label in chosen):
            number += 1
            label = f"{plain} ({number})"
        used.add(label)
        entries.append(AttackEntry(label, config))
    return entries


def cascades(configs: Sequence[AttackConfig]) -> list[AttackEntry]:
    """One cascade over the attacks of each norm, in their order."""
    return [
        AttackEntry(WORST, Cascade.of(attacks=[configs[place] for place in places]).config)
        for places in _by_norm(configs)
    ]


def cascade_problems(configs: Sequence[AttackConfig]) -> list[Problem]:
    """What keeps the attacks of each norm from being a cascade; paths begin with ``attacks``."""
    return [
        (("attacks", places[int(member)], *path), message, given)
        for places in _by_norm(configs)
        for (member, *path), message, given in unfit([configs[place] for place in places])
    ]


def _by_norm(configs: Sequence[AttackConfig]) -> list[list[int]]:
    norms: dict[str, list[int]] = {}
    for place, config in enumerate(configs):
        norms.setdefault(config.norm, []).append(place)
    return list(norms.values())


def attack_faults(
    configs: Sequence[AttackConfig], image_shape: tuple[int, int, int], n_classes: int
) -> Iterator[Fault]:
    """Yield attacks that cannot run on images of this shape, or on so few classes."""
    for place, config in enumerate(configs):
        attack = attacks[config.attack](config)
        told_apart = n_classes if config.target is None else CLASSES
        runs = len(attack.objectives) * attack.restarts
        faults = [
            *target_faults(config, n_classes),
            *attack.faults(image_shape, told_apart),
            *save_faults(config, image_shape, runs),
        ]
        for path, message, hint in faults:
            yield Fault(("attacks", place, *path), message, hint)
        if config.certify and config.norm not in CERTIFIED_NORMS:
            yield Fault(
                ("attacks", place, "certify"),
                f"no bound in the norm {config.norm}",
                f"norms with a bound: {', '.join(CERTIFIED_NORMS)}",
            )


def knowledge(configs: Sequence[AttackConfig]) -> str:
    """Threat model in words: white box for attacks with gradients, black box for the others."""
    labels: dict[str, list[str]] = {"white box": [], "black box": []}
    for entry in labelled(configs):
        labels["white box" if entry.attack.climbs else "black box"].append(entry.label)
    present = {words: names for words, names in labels.items() if names}
    if len(present) == 1:
        return next(iter(present))
    return ", ".join(f"{words} ({', '.join(names)})" for words, names in present.items())


def attack_words(configs: Sequence[AttackConfig]) -> dict[str, str]:
    """Label -> settings in words, for the protocol block."""
    return {entry.label: entry.attack.words() for entry in labelled(configs)}
