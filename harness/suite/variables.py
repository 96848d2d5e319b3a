"""``${NAME}`` in a suite of one's own: values of the environment, such as folders of data.

``${NAME:-default}`` has a default for a variable that is unset or empty, and ``$${NAME}`` is the
text ``${NAME}``. Suites of others never read the environment: there the text is kept.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from harness.errors import SuiteError
from harness.suite.marked_yaml import Mark, Path_, Source, plain_scalar

_REFERENCE = re.compile(r"\$\$\{|\$\{(?P<content>[^}]*)(?P<end>\}?)")
_CONTENT = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>.*))?", re.DOTALL)


def replaced(source: Source, environment: Mapping[str, str] = os.environ) -> Source:
    """Replace every reference in the values of a source; keys are not changed.

    A value that is one reference and nothing else is read as YAML reads a plain word: a variable
    with the text 5 gives a number.

    Raises:
        SuiteError: a variable is not set and has no default, or a reference is not well formed.
    """
    return Source(_replaced(source.value, (), source, environment), source.values, source.keys)


def _replaced(value: Any, path: Path_, source: Source, environment: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {
            key: _replaced(child, (*path, key), source, environment) for key, child in value.items()
        }
    if isinstance(value, list):
        return [
            _replaced(child, (*path, place), source, environment)
            for place, child in enumerate(value)
        ]
    if not isinstance(value, str) or "${" not in value:
        return value
    mark = source.where(path)
    text = _REFERENCE.sub(lambda match: _text(match, mark, environment), value)
    only = _REFERENCE.fullmatch(value)
    return plain_scalar(text, mark) if only and only["content"] is not None else text


def _text(match: re.Match[str], mark: Mark, environment: Mapping[str, str]) -> str:
    """What one reference is replaced by."""
    if match["content"] is None:
        return "${"
    content = _CONTENT.fullmatch(match["content"])
    if content is None or not match["end"]:
        raise SuiteError(
            f"{match[0][:40]!r} names no variable",
            where=str(mark),
            hint="write ${NAME} or ${NAME:-default}, and $${ for the characters ${",
        )
    text = environment.get(content["name"], "")
    if text or (content["name"] in environment and content["default"] is None):
        return text
    if content["default"] is None:
        raise SuiteError(
            f"the variable {content['name']} is not set",
            where=str(mark),
            hint=f"export {content['name']}=..., or write a default: "
            f"${{{content['name']}:-default}}",
        )
    return content["default"]
