"""Validation errors of pydantic in a user's words: what is wrong, and what is allowed."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from harness.errors import did_you_mean
from harness.registry import attacks

_NAME = "^[A-Za-z0-9]["
"""How the patterns of names begin."""


@dataclass(frozen=True)
class Problem:
    """One fault in a suite.

    Attributes:
        path: Where in the suite.
        message: What is wrong.
        hint: What is allowed.
        at_key: Whether the key is at fault (an unknown key) rather than its value.
    """

    path: tuple[str | int, ...]
    message: str
    hint: str = ""
    at_key: bool = False


def explain(
    error: ValidationError,
    model: type[BaseModel],
    value: Any,
    path: tuple[str | int, ...],
    also: tuple[str, ...] = (),
) -> list[Problem]:
    """Translate every error of a failed validation.

    Args:
        error: the failure.
        model: the model that refused ``value``.
        value: a part of the suite.
        path: where in the suite it is.
        also: keys that are allowed at its top beside the model's own.
    """
    problems: dict[tuple[str | int, ...], Problem] = {}
    for item in error.errors(include_url=False):
        problem = _one(item, model, value, path, also)
        # A union reports an error for each of its branches: the first is enough.
        problems.setdefault(problem.path, problem)
    return list(problems.values())


def _one(
    item: ErrorDetails,
    model: type[BaseModel],
    value: Any,
    path: tuple[str | int, ...],
    also: tuple[str, ...],
) -> Problem:
    steps = _real_steps(item["loc"], value)
    if steps[-1:] == ("[key]",):
        steps = steps[:-1]
    here = (*path, *steps)
    kind = item["type"]
    if kind == "extra_forbidden":
        key = steps[-1]
        allowed = _fields(model, steps[:-1], value)
        if len(steps) == 1:
            allowed += also
        hint = did_you_mean(str(key), allowed)
        if str(key) != str(key).strip():
            hint = "indent with ordinary spaces; these are part of the key"
        return Problem(here, f"unknown key {key!r}", hint, at_key=True)
    if kind == "missing":
        return Problem((*path, *steps[:-1]), f"key {item['loc'][-1]!r} is missing")
    if kind == "value_error":
        context = item.get("ctx")
        return Problem(here, item["msg"] if context is None else str(context["error"]))
    at_key = item["loc"][-1:] == ("[key]",)
    return Problem(here, _message(item, steps), _hint(item, path or steps), at_key=at_key)


def _message(item: ErrorDetails, steps: tuple[str | int, ...]) -> str:
    """E.g. ``"epochs should be greater than 0, not -1"``."""
    name = ".".join(_printable(str(step)) for step in steps) or "it"
    message = _plain(item["msg"])
    if not message.startswith("should"):
        return f"{name}: {message}"
    return f"{name} {message}, not {_short(item.get('input'))}"


def _hint(item: ErrorDetails, path: tuple[str | int, ...]) -> str:
    kind = item["type"]
    value = item.get("input")
    if kind == "dict_type":
        is_entry = isinstance(value, str) and path[:1] in (("learners",), ("protocols",))
        return f"write {{kind: {_short(value)[1:-1]}}}" if is_entry else "write {key: value}"
    if kind == "list_type" and isinstance(value, int | float):
        return f"write [{_short(value)}]"
    if kind == "list_type":
        return "write [value, value]"
    if kind in ("bool_type", "bool_parsing"):
        return "write true or false"
    if kind == "string_pattern_mismatch" and item["ctx"]["pattern"].startswith(_NAME):
        return "begin with a letter or digit, and use letters, digits and . _ + - only"
    if kind == "literal_error" and isinstance(value, str):
        allowed = re.findall(r"'([^']*)'", item["ctx"]["expected"])
        return did_you_mean(value, allowed)
    return ""


def _plain(message: str) -> str:
    """Rewrite pydantic's message in the words of YAML: mappings and lists, no validation."""
    message = re.sub(r"^(Input|Dictionary|List|String) should ", "should ", message)
    message = re.sub(r" after validation, not \d+$", "", message)
    message = re.sub(rf"match pattern '{re.escape(_NAME)}.*'", "be a plain name", message)
    return message.replace("a valid dictionary", "a mapping").replace("a valid list", "a list")


def _printable(text: str) -> str:
    return text if text.isprintable() else repr(text)[1:-1]


def _short(value: Any) -> str:
    """A value as YAML writes it, cut to 40 characters."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _real_steps(location: tuple[str | int, ...], value: Any) -> tuple[str | int, ...]:
    """The steps of a pydantic location that exist in the input; others name union branches."""
    steps: list[str | int] = []
    for index, step in enumerate(location):
        is_key = isinstance(value, dict) and step in value
        is_index = isinstance(value, list) and isinstance(step, int) and step < len(value)
        is_missing_key = index == len(location) - 1 and isinstance(value, dict)
        if is_key or is_index:
            value = value[step]
            steps.append(step)
        elif is_missing_key:
            steps.append(step)
    return tuple(steps)


def _fields(model: type[BaseModel], steps: tuple[str | int, ...], value: Any) -> list[str]:
    """The keys allowed in the mapping at ``steps`` below a model."""
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


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the config models within an annotation, e.g. of ``list[Model] | None``."""
    is_class = isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias)
    if is_class and issubclass(annotation, BaseModel):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from _models(inner)
