"""``manifest.json`` of a submission: outline of the suite, names of cells, file hashes."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import Field

from harness.cells.outline import Outline
from harness.errors import HarnessError
from harness.registry import Config
from harness.storage import schema
from harness.storage.schema import FIRST, Odd, Seed, Text, Word
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
    role: Literal["train", "match", "measure", "judge", "trust"] = Field(description="kind of work")
    learner: Word = Field(description="name of the learner in the suite")
    protocol: Word = Field(
        description="name of the protocol in the suite; empty for train and match"
    )


class LearnerOutline(Config):
    """A learner of the suite."""

    kind: Word = Field(description="registered kind of the learner")
    config: dict[Word, Any] = Field(
        description="all of its keys; null for one that a match chooses"
    )
    match: dict[str, Any] | None = Field(
        None, description="the key that a match chooses, and its target"
    )


class ProtocolOutline(Config):
    """A protocol of the suite."""

    kind: Word = Field(description="registered kind of the protocol")
    block: dict[Word, Text] = Field(description="protocol block: condition -> value")
    seeds: Annotated[list[Seed], FIRST] = Field(description="seeds that it was planned for")


class Manifest(Config):
    """The contents of a submission and the names that its suite uses."""

    format: Literal["bioharness submission"] = Field(description="marks the file as a submission")
    version: Literal[1, 2] = Field(description="version of the layout")
    name: Name = Field(description="name of the suite")
    description: Text = Field(description="description of the suite")
    learners: dict[Name, LearnerOutline] = Field(description="name -> learner")
    protocols: dict[Name, ProtocolOutline] = Field(description="name -> protocol")
    tables: Annotated[list[TableSpec], FIRST] = Field(description="tables that the suite asks for")
    published: Annotated[list[PublishedSpec], FIRST] = Field(
        description="published numbers to print beside ours"
    )
    cells: Annotated[list[CellName], FIRST] = Field(description="every cell")
    files: dict[str, str] = Field(description="file name -> sha256 of its content")

    def outline(self) -> Outline:
        """Return the part of the suite that results are labelled with."""
        learners = {name: entry.model_dump() for name, entry in self.learners.items()}
        protocols = {name: entry.model_dump() for name, entry in self.protocols.items()}
        return Outline(self.name, self.description, learners, protocols)


def _of_json(content: Any) -> Manifest:
    # As JSON, because a list in it may stand for a tuple.
    return Manifest.model_validate_json(json.dumps(content))


def parse(data: bytes) -> Manifest:
    """Read ``manifest.json``. Fields of a newer release are named in a warning and left out.

    Raises:
        HarnessError: it is not a manifest of a version that can be read.
    """
    try:
        return schema.validated(_of_json, schema.parse(data), MANIFEST)
    except Odd as error:
        raise HarnessError(f"{MANIFEST}: {error}") from None
