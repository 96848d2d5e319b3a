"""``manifest.json`` of a submission: outline of the suite, names of cells, file hashes."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationError

from harness.cells.outline import Outline
from harness.errors import HarnessError
from harness.registry import Config
from harness.suite.model import Name
from harness.suite.specs.published import PublishedSpec
from harness.suite.specs.tables import TableSpec

FORMAT: Literal["bioharness submission"] = "bioharness submission"
VERSION: Literal[2] = 2
"""The version that is written; version 1 (a folder for each cell) can still be read."""
MANIFEST = "manifest.json"


class CellName(Config):
    """A cell and the names that its suite gives it."""

    key: str = Field(pattern=r"^[0-9a-f]{24}$", description="key of the cell")
    role: Literal["train", "match", "measure", "trust"] = Field(description="kind of work")
    learner: str = Field(description="name of the learner in the suite")
    protocol: str = Field(
        description="name of the protocol in the suite; empty for train and match"
    )


class LearnerOutline(Config):
    """A learner of the suite."""

    kind: str = Field(description="registered kind of the learner")
    config: dict[str, Any] = Field(description="all of its keys; null for one that a match chooses")
    match: dict[str, Any] | None = Field(
        None, description="the key that a match chooses, and its target"
    )


class ProtocolOutline(Config):
    """A protocol of the suite."""

    kind: str = Field(description="registered kind of the protocol")
    block: dict[str, str] = Field(description="protocol block: condition -> value")
    seeds: list[int] = Field(description="seeds that it was planned for")


class Manifest(Config):
    """The contents of a submission and the names that its suite uses."""

    format: Literal["bioharness submission"] = Field(description="marks the file as a submission")
    version: Literal[1, 2] = Field(description="version of the layout")
    name: Name = Field(description="name of the suite")
    description: str = Field(description="description of the suite")
    learners: dict[Name, LearnerOutline] = Field(description="name -> learner")
    protocols: dict[Name, ProtocolOutline] = Field(description="name -> protocol")
    tables: list[TableSpec] = Field(description="tables that the suite asks for")
    published: list[PublishedSpec] = Field(description="published numbers to print beside ours")
    cells: list[CellName] = Field(description="every cell")
    files: dict[str, str] = Field(description="file name -> sha256 of its content")

    def outline(self) -> Outline:
        """Return the part of the suite that results are labelled with."""
        learners = {name: entry.model_dump() for name, entry in self.learners.items()}
        protocols = {name: entry.model_dump() for name, entry in self.protocols.items()}
        return Outline(self.name, self.description, learners, protocols)


def parse(data: bytes) -> Manifest:
    """Read ``manifest.json``.

    Raises:
        HarnessError: it is not a manifest of a version that can be read.
    """
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        raise HarnessError(f"{MANIFEST}: {first_fault(error)}") from None


def first_fault(error: ValidationError) -> str:
    """Return the first fault of a validation as ``place: message``."""
    fault = error.errors()[0]
    place = ".".join(map(str, fault["loc"]))
    return f"{place}: {fault['msg']}"
