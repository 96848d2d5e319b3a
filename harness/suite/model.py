"""A suite that has been read and checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from harness.data.base import Dataset
from harness.learning.learner import Budget, Learner
from harness.protocols.base import Protocol
from harness.registry import Config
from harness.seeds import Seeds
from harness.suite.specs.claims import ClaimSpec
from harness.suite.specs.expect import ExpectSpec
from harness.suite.specs.figures import FigureSpec
from harness.suite.specs.match import Search
from harness.suite.specs.published import PublishedSpec
from harness.suite.specs.tables import TableSpec

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$", max_length=60)]


class BudgetConfig(Config):
    """A cap on training, the same for every learner."""

    images: int | None = Field(
        None, ge=1, description="training images a learner may look at, repeats counted"
    )


class SuiteConfig(Config):
    """The top level of a suite file."""

    name: Name = Field(description="names the suite's tables and records")
    description: str = Field("", description="what the suite is for; printed with its tables")
    seeds: Seeds = Field(
        [0],
        description="seeds to measure every protocol with: a list, how many (3 is 0, 1 and 2), or "
        "a range with both ends (0-4)",
    )
    budget: BudgetConfig = Field(
        BudgetConfig(images=None), description="a cap on training, the same for every learner"
    )
    snapshots: bool = Field(
        False,
        description="keep states of each training, log-spaced in images seen, for measures over "
        "time",
    )
    learners: dict[Name, dict[str, Any]] = Field(
        min_length=1, description="name -> {kind, its own keys}"
    )
    protocols: dict[Name, dict[str, Any]] = Field(
        min_length=1, description="name -> {kind, dataset, its own keys}"
    )
    tables: list[TableSpec] = Field(
        [], description="which tables to write; one a protocol if left out"
    )
    published: list[PublishedSpec] = Field([], description="numbers of others, printed beside ours")
    figures: list[FigureSpec] = Field(
        [], description="one number against another, beside the figures that protocols have"
    )
    claims: list[ClaimSpec] = Field(
        [], description="what the suite is to confirm or refute, and the rule that decides it"
    )
    expect: list[ExpectSpec] = Field(
        [], description="bars that `harness check` holds numbers against; they need no reference"
    )


@dataclass(frozen=True)
class LearnerEntry:
    """A learner of a suite.

    Attributes:
        name: Its name in the suite.
        cls: Its class.
        config: Its validated config.
        match: How a key of the config is chosen, if one is.
        front: Kind and keys of the front that it sees images through, if there is one.
    """

    name: str
    cls: type[Learner]
    config: Config
    match: Search | None = None
    front: dict[str, Any] | None = None

    @property
    def settled(self) -> dict[str, Any]:
        """The config as JSON, the front in it; the key that ``match`` chooses is None."""
        keys = self.config.model_dump(mode="json")
        if self.match is not None:
            keys[self.match.key] = None
        if self.front is not None:
            keys["front"] = self.front
        return keys


@dataclass(frozen=True)
class ProtocolEntry:
    """A protocol of a suite.

    Attributes:
        name: Its name in the suite.
        protocol: The protocol, configured for its dataset.
        dataset: The dataset that it names.
        learners: Learners that it measures.
        seeds: Seeds that it is measured with.
        skipped: Learner that it cannot measure -> why.
    """

    name: str
    protocol: Protocol
    dataset: Dataset
    learners: list[LearnerEntry]
    seeds: list[int]
    skipped: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Suite:
    """A validated suite; ``file`` is where it was read from, unless it was a mapping."""

    name: str
    description: str
    budget: Budget
    snapshots: bool
    learners: list[LearnerEntry]
    protocols: list[ProtocolEntry]
    tables: list[TableSpec]
    published: list[PublishedSpec] = field(default_factory=list)
    figures: list[FigureSpec] = field(default_factory=list)
    claims: list[ClaimSpec] = field(default_factory=list)
    expect: list[ExpectSpec] = field(default_factory=list)
    file: Path | None = field(default=None, compare=False)
