"""A mapping of keys becomes the config of the attack that it names."""

from __future__ import annotations

from typing import Any

from harness.attacks.base import Attack
from harness.attacks.config import AttackConfig, config_error, expand_name
from harness.errors import HarnessError
from harness.registry import attacks


def validated(value: Any) -> AttackConfig:
    """Validate the keys of an attack by the config of the attack that ``attack`` names.

    Raises:
        ValidationError: unknown attack, or faulty keys, each at its own place in the mapping.
        ValueError: it is no mapping.
    """
    if isinstance(value, AttackConfig):
        return value
    if not isinstance(value, dict):
        raise ValueError("an attack is a mapping, e.g. {attack: fgsm, eps: [0, 0.1]}")
    name = value.get("attack")
    if not isinstance(name, str):
        allowed = f"name the attack, one of: {', '.join(attacks)}"
        raise config_error([(("attack",), allowed, name)])
    value = expand_name(value)
    name = value["attack"]
    try:
        attack = attacks[name]
    except HarnessError as error:
        text = f"{error.message}; {error.hint}" if error.hint else error.message
        raise config_error([(("attack",), text, name)]) from None
    except (AttributeError, TypeError):
        attack = None  # the object takes no attribute, and the registry sets one on a class
    if not (isinstance(attack, type) and issubclass(attack, Attack)):
        text = f"{name} is not a subclass of {Attack.__module__}.Attack"
        raise config_error([(("attack",), text, name)])
    return attack.Config.model_validate(value)
