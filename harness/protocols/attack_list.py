"""The keys `attacks` and `trust` that every protocol under attack has: what they may hold, and how they are told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from harness.attacks.config import AttackConfig, config_error, expand_name
from harness.errors import HarnessError
from harness.protocols.base import Fault, ProtocolConfig
from harness.registry import attacks

BUDGETS = "budgets in pixel units, box [0, 1]; normalisation inside the network"
ROBUST = "correct unattacked and in the worst case over losses, restarts and smaller eps"


class _Registered:
    """A mapping whose ``attack`` key names the registered config that validates it; errors keep their own place."""

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
        """The spelling ``attack: family.member``, which leaves no name to give."""
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
        if isinstance(value, AttackConfig):
            return value
        if not isinstance(value, dict):
            raise ValueError("an attack is a mapping, e.g. {attack: fgsm, eps: [0, 0.1]}")
        if not isinstance(value.get("attack"), str):
            raise config_error(
                [
                    (
                        ("attack",),
                        f"name the attack, one of: {', '.join(attacks)}",
                        value.get("attack"),
                    )
                ]
            )
        value = expand_name(value)
        try:
            attack = attacks[value["attack"]]
        except HarnessError as error:
            text = f"{error.message}; {error.hint}" if error.hint else error.message
            raise config_error([(("attack",), text, value["attack"])]) from None
        except (
            AttributeError,
            TypeError,
        ):  # the registry marks what it loads, and some things cannot be marked
            attack = None
        if not (isinstance(attack, type) and issubclass(attack, Attack)):
            raise config_error(
                [
                    (
                        ("attack",),
                        f"{value['attack']} is not a subclass of {Attack.__module__}.Attack",
                        value["attack"],
                    )
                ]
            )
        return attack.Config.model_validate(value)


AnyAttack = Annotated[SerializeAsAny[AttackConfig], _Registered()]


class AttacksConfig(ProtocolConfig):
    """Keys of a protocol under attack."""

    attacks: list[AnyAttack] = Field(
        min_length=1, description="the attacks; each is a row of keys of its own"
    )
    trust: bool = Field(True, description="whether each sweep is followed by the trust checks")

    @model_validator(mode="after")
    def _labels_differ(self) -> AttacksConfig:
        given = [attack.label for attack in self.attacks]
        errors = [
            (("attacks", place, "label"), f"label {label!r} stands twice", label)
            for place, label in enumerate(given)
            if label and label in given[:place]
        ]
        if errors:
            raise config_error(errors)
        return self


def labelled(configs: Sequence[AttackConfig]) -> dict[str, Attack]:
    """Label -> attack. A made-up label that is taken gets a number."""
    found: dict[str, Attack] = {}
    taken = {config.label for config in configs}
    for config in configs:
        attack = attacks[config.attack](config)
        label, number = attack.label, 1
        while label in found or (config.label is None and label in taken):
            number += 1
            label = f"{attack.label} ({number})"
        found[label] = attack
    return found


def attack_settings(configs: Sequence[AttackConfig]) -> Iterator[dict[str, Any]]:
    """What each attack adds to the setting of its cell."""
    for label, attack in labelled(configs).items():
        yield {
            "attack": label,
            "norm": attack.config.norm,
            "config": attack.config.model_dump(mode="json"),
        }


def attack_of(config: dict[str, Any]) -> Attack:
    """The attack that the ``config`` of a setting describes."""
    kind = attacks[config["attack"]]
    return kind(kind.Config.model_validate(config))


def attack_faults(
    configs: Sequence[AttackConfig], image_shape: tuple[int, int, int], n_classes: int
) -> Iterator[Fault]:
    """Attacks that such images, or so few classes, do not allow."""
    for place, config in enumerate(configs):
        for path, message, hint in attacks[config.attack](config).faults(image_shape, n_classes):
            yield Fault(("attacks", place, *path), message, hint)


def knowledge(configs: Sequence[AttackConfig]) -> str:
    """What the attacks know: white box where they climb gradients, black box where they see outputs only."""
    labels = {"white box": [], "black box": []}
    for label, attack in labelled(configs).items():
        labels["white box" if attack.climbs else "black box"].append(label)
    present = {words: names for words, names in labels.items() if names}
    return ", ".join(
        words + (f" ({', '.join(names)})" if len(present) > 1 else "")
        for words, names in present.items()
    )


def attack_words(configs: Sequence[AttackConfig]) -> dict[str, str]:
    """Label -> settings in words, for the protocol block."""
    return {label: attack.words() for label, attack in labelled(configs).items()}
