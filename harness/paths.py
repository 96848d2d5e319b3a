"""Paths in suites: a relative path is relative to the file that names it.

On the command line, ``--set`` included, and in Python it is relative to the working folder.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import core_schema


def relative_to_suite(value: str, info: ValidationInfo) -> Path:
    """A path in a suite, relative to the file that names it; elsewhere to the current folder."""
    context = info.context or {}
    folder = context["folder"](info.field_name) if "folder" in context else Path()
    return folder / Path(value).expanduser()


@dataclass(frozen=True)
class Place:
    """A file or folder of data that a config names; declare a key of this type for each.

    No key of a cell has it: the content of the data is in the key, so data may be moved.

    Attributes:
        written: the path as it was given.
        path: the same, absolute.
    """

    written: str = field(compare=False)
    path: Path

    def __str__(self) -> str:
        return self.written

    def below(self, root: Path | None) -> Path:
        """Where it is: at its path, or else below the data root, if something is there."""
        if root is not None and not self.path.exists() and (root / self.written).exists():
            return root / self.written
        return self.path

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.with_info_plain_validator_function(
            _validated, serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "minLength": 1}


def _validated(value: Any, info: ValidationInfo) -> Place:
    if isinstance(value, Place):
        return value
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("Input should be the path of a file or folder")
    return Place(value, Path(os.path.abspath(relative_to_suite(value, info))))
