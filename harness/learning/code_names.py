"""Code that a config names: the cell's key has the version of all that it reaches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, PlainSerializer

from harness.registry import may_import

PREFIX = "code:"
"""How the JSON of a config names code: this, then ``package.module:name``."""


def checked_name(value: str) -> str:
    """The name of code as it is imported.

    Raises:
        ValueError: It is no such name, or plugins are not imported.
    """
    name = value.removeprefix(PREFIX)
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise ValueError("write package.module:name; the module is installed or beside the suite")
    if not may_import():
        raise ValueError(f"{name!r} is a plugin, and plugins are not imported")
    return name


def _trusted(value: bool) -> bool:
    if value and not may_import():
        raise ValueError("it may run code as a plugin does, and plugins are not imported")
    return value


Code = Annotated[
    str,
    AfterValidator(checked_name),
    PlainSerializer(lambda name: f"{PREFIX}{name}", return_type=str, when_used="json"),
]
"""A ``package.module:name``; declare a key of this type for code that a learner looks up by name.

Code that a plain string names is not followed, so an edit of it would go unnoticed.
"""

MayRunCode = Annotated[bool, AfterValidator(_trusted)]
"""A switch that lets a file run code."""


def code_names_in(config: Any) -> Iterator[str]:
    """All code that the JSON of a config names.

    >>> list(code_names_in({"body": "code:my_bodies:Net", "widths": [3], "name": "a:b"}))
    ['my_bodies:Net']
    """
    if isinstance(config, str) and config.startswith(PREFIX):
        yield config.removeprefix(PREFIX)
    elif isinstance(config, dict):
        yield from code_names_in(list(config.values()))
    elif isinstance(config, list):
        for each in config:
            yield from code_names_in(each)
