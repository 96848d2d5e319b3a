"""pydantic's validation errors in a user's words: what is wrong, what is allowed, did you mean."""

from __future__ import annotations

import re
import types
import typing
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from harness.errors import did_you_mean
from harness.registry import attacks


@dataclass(frozen=True)
class Problem:
    """One fault in a suite.

    Attributes:
        path: where in the suite.
        message: what is wrong.
        hint: what is allowed.
        at_key: whether the key itself is the fault (an unknown key), not its value.
    """

    path: tuple[str | int, ...]
    message: str
    hint: str = ""
    at_key: bool = False


def explain(
    error: ValidationError,
    model: type[BaseModel],
    value: Any,
    path: tuple,
    also: tuple[str, ...] = (),
) -> list[Problem]:
    """Every error of a failed validation of ``value`` by ``model``, at ``path`` of the suite.

    Args:
        also: keys that are allowed at the top beside the model's own.
    """
    problems: dict[tuple, Problem] = {}
    for item in error.errors(include_url=False):
        problem = _one(item, model, value, path, also)
        problems.setdefault(
            problem.path, problem
        )  # a union reports each of its branches: the first will do
    return list(problems.values())


def _one(
    item: dict[str, Any], model: type[BaseModel], value: Any, path: tuple, also: tuple[str, ...]
) -> Problem:
    steps = _real_steps(item["loc"], value)
    here, kind = (*path, *steps), item["type"]
    if kind == "extra_forbidden":
        allowed = [*_fields(model, steps[:-1], value), *(also if len(steps) == 1 else ())]
        return Problem(
            here, f"unknown key {steps[-1]!r}", did_you_mean(str(steps[-1]), allowed), at_key=True
        )
    if kind == "missing":
        return Problem((*path, *steps[:-1]), f"key {item['loc'][-1]!r} is missing")
    if kind == "value_error":
        return Problem(here, str(item["ctx"]["error"]) if "ctx" in item else item["msg"])
    message = _plain(item["msg"])
    given = item.get("input")
    shown = f", not {_short(given)}"
    hint = "write {key: value}" if kind == "dict_type" else ""
    if kind == "literal_error" and isinstance(given, str):
        hint = did_you_mean(given, re.findall(r"'([^']*)'", item["ctx"]["expected"]))
    name = (
        ".".join(text if (text := str(step)).isprintable() else repr(text)[1:-1] for step in steps)
        or "it"
    )
    return Problem(
        here,
        f"{name} {message}{shown}" if message.startswith("should") else f"{name}: {message}",
        hint,
    )


def _plain(message: str) -> str:
    """Pydantic's words without Python's: a suite's author writes mappings and lists, and knows of no validation."""
    message = re.sub(r"^(Input|Dictionary|List|String) should ", "should ", message)
    message = re.sub(r" after validation, not \d+$", "", message)
    return message.replace("a valid dictionary", "a mapping").replace("a valid list", "a list")


def _short(value: Any) -> str:
    text = (
        {True: "true", False: "false", None: "nothing"}[value]
        if value is None or isinstance(value, bool)
        else repr(value)
    )
    return text if len(text) <= 40 else text[:37] + "..."


def _real_steps(loc: tuple, value: Any) -> tuple:
    """The steps of a pydantic location that exist in the input (it also names union branches)."""
    steps: list[str | int] = []
    for index, step in enumerate(loc):
        if (
            isinstance(value, dict)
            and step in value
            or isinstance(value, list)
            and isinstance(step, int)
            and step < len(value)
        ):
            value = value[step]
            steps.append(step)
        elif index == len(loc) - 1 and isinstance(value, dict):
            steps.append(step)  # a missing key
    return tuple(steps)


def _fields(model: type[BaseModel], steps: tuple, value: Any) -> list[str]:
    """Keys allowed in the mapping at ``steps`` below a model."""
    for step in steps:
        value = value[step]
    if isinstance(value, dict) and isinstance(value.get("attack"), str):
        family = value["attack"].partition(".")[0]
        if family in attacks:
            return ["attack", *attacks[family].Config.model_fields]
    for step in steps:
        if isinstance(step, str) and step in model.model_fields:
            inner = list(_models(model.model_fields[step].annotation))
            if not inner:
                return []
            model = inner[0]
    return list(model.model_fields)


def _models(annotation: Any) -> typing.Iterator[type[BaseModel]]:
    if (
        isinstance(annotation, type)
        and not isinstance(annotation, types.GenericAlias)
        and issubclass(annotation, BaseModel)
    ):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from _models(inner)
