"""Files that a config names: the cell's key has their content, never their path."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import core_schema

from harness.errors import DataError
from harness.paths import relative_to_suite

PREFIX = "sha256:"
"""How the JSON of a config names a file: this, then the hash of its content."""


@dataclass(frozen=True)
class File:
    """A file that a config names; declare a key of this type for every file that a learner reads.

    For example ``weights: File | None = Field(None, description="...")``, or ``list[File]``. A
    suite gives a path, relative to the suite file. A learner opens it like any path:
    ``open(self.config.weights)``, ``torch.load(self.config.weights)``.

    Two files with the same content are equal. The config's JSON, and so the key of a cell, has
    ``sha256:<hash>`` in place of the path.

    Attributes:
        sha256: Hash of the content, in hexadecimal.
        path: Where it is; None if only its hash is known, as in the records of a past run.
    """

    sha256: str
    path: Path | None = field(compare=False)

    def __fspath__(self) -> str:
        return str(self.checked())

    def __str__(self) -> str:
        return f"{PREFIX}{self.sha256}"

    def read_bytes(self) -> bytes:
        """The content.

        Raises:
            DataError: It is missing, or no longer what it was when the run was planned.
        """
        return self.checked().read_bytes()

    def checked(self) -> Path:
        """The path, after a check that the content is still the one of the hash.

        Raises:
            DataError: It is missing, or no longer what it was when the run was planned.
        """
        if self.path is None:
            raise DataError(
                f"the file with the content {self} is not at hand",
                hint="run the suite that names it",
            )
        try:
            unchanged = _hash_of(self.path) == self.sha256
        except OSError as error:
            raise DataError(f"cannot be read: {error.strerror}", where=str(self.path)) from None
        if not unchanged:
            raise DataError(
                "it has changed since the run was planned", where=str(self.path), hint="run again"
            )
        return self.path

    @classmethod
    def at(cls, path: Path) -> File:
        """The file at a path.

        Raises:
            ValueError: It cannot be read, or is no regular file.
        """
        try:
            if not path.is_file():
                what = "it is not a regular file" if path.exists() else "there is no such file"
                raise ValueError(f"{path}: {what}")
            return cls(_hash_of(path), path)
        except OSError as error:
            raise ValueError(f"{path}: cannot be read: {error.strerror}") from None

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


def _validated(value: Any, info: ValidationInfo) -> File:
    """A file from the path in a suite, or from its hash in the identity of a cell."""
    if isinstance(value, File):
        return value
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("Input should be the path of a file")
    context = info.context or {}
    if value.startswith(PREFIX) and "folder" not in context:
        sha256 = value.removeprefix(PREFIX)
        return File(sha256, context.get("files", {}).get(sha256))
    return File.at(relative_to_suite(value, info))


def files_in(value: Any) -> Iterator[File]:
    """All files that a config names, in nested models and lists too."""
    if isinstance(value, File):
        yield value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from files_in(getattr(value, name))
    elif isinstance(value, dict):
        yield from files_in(list(value.values()))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from files_in(each)


def _hash_of(path: Path) -> str:
    """Hash of a file's content; computed again if its size or time has changed."""
    status = os.stat(path)
    return _hash(path, status.st_size, status.st_mtime_ns, status.st_ino)


@lru_cache(maxsize=256)
def _hash(path: Path, size: int, mtime_ns: int, inode: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
