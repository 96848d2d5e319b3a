"""Results of a suite: records, the verdicts behind them, and how each protocol measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.cells.matching import Match
from harness.markup import grid
from harness.records import Record, TrustCheck, worst_level


@dataclass(frozen=True)
class Training:
    """How one training of a learner went.

    Attributes:
        data: What it was trained on, in words.
        seed: Seed of the suite.
        images_seen: Training images, repeats counted; None if they were not counted.
        rows: One for each epoch, or each stretch of episodes.
        wall_s: Duration in seconds.
    """

    data: str
    seed: int
    images_seen: int | None
    rows: list[dict[str, float]]
    wall_s: float


@dataclass(frozen=True)
class Matched:
    """A key of a learner, chosen to reach a sparsity or an accuracy.

    Attributes:
        data: What it was trained and chosen on, in words.
        seed: Seed of the suite.
        target: The learner that it was matched to; empty if the target was a number.
        match: The chosen value, and the number reached.
    """

    data: str
    seed: int
    target: str
    match: Match


@dataclass(frozen=True)
class Results:
    """Everything that the tables and figures of one suite need.

    Attributes:
        suite: Name of the suite.
        learners: Names, in the order of the suite.
        protocols: Protocol name -> its kind (``"few_shot"`` ...).
        blocks: Protocol name -> its protocol block (condition -> value, in words).
        records: One for each number.
        verdicts: (cell, array name) -> array (n,) whose mean is a record's value.
        trust: Cell -> its trust checks.
        failures: Cells that failed: (learner, protocol, seed, last line of the error).
        seeds: Protocol name -> planned seeds; if left out, the seeds of the records count.
        configs: Learner -> its config, with the value of a key that was matched. If values differ,
            the key has a mapping {data and seed: value}.
        kinds: Learner -> its kind.
        trainings: Learner -> its finished trainings.
        matches: Protocol -> learner -> the matches that its numbers depend on, one a training.
        budgets: Cell -> the training images that its learner was allowed, where limited.
        remarks: Cell -> what readers of its numbers must know, where there is anything.
        saved: Cell -> the classes in the adversarial images that it kept, number -> name; only
            cells that kept some.
        saved_images: Cell -> those images as arrays, see ``harness.protocols.saved``.
    """

    suite: str
    learners: list[str]
    protocols: dict[str, str]
    blocks: dict[str, dict[str, str]]
    records: list[Record]
    verdicts: Callable[[str, str], np.ndarray]
    trust: dict[str, list[TrustCheck]]
    failures: list[tuple[str, str, int, str]]
    seeds: dict[str, list[int]] = field(default_factory=dict)
    configs: dict[str, dict[str, Any]] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    trainings: dict[str, list[Training]] = field(default_factory=dict)
    matches: dict[str, dict[str, list[Matched]]] = field(default_factory=dict)
    budgets: dict[str, int] = field(default_factory=dict)
    remarks: dict[str, list[str]] = field(default_factory=dict)
    saved: dict[str, dict[str, str]] = field(default_factory=dict)
    saved_images: Callable[[str], dict[str, np.ndarray]] = lambda cell: {}

    def __repr__(self) -> str:
        counts = f"{len(self.learners)} learners, {len(self.protocols)} protocols"
        return f"<Results of {self.suite!r}: {counts}, {len(self.records)} records>"

    def _repr_html_(self) -> str:
        rows = []
        for name, kind in self.protocols.items():
            records = [record for record in self.records if record.protocol == name]
            learners = {record.learner for record in records}
            level = worst_level(record.trust for record in records)
            rows.append((name, kind, len(learners), len(records), level))
        headings = ["protocol", "kind", "learners", "records", "trust"]
        return grid(repr(self)[1:-1], headings, rows)
