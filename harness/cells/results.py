"""What a report is made from: records, the verdicts behind them, and how each protocol measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.cells.matching import Match
from harness.records import Record, TrustCheck


@dataclass(frozen=True)
class Training:
    """How one training of a learner went.

    Attributes:
        data: what it was trained on, in words.
        seed: of the suite.
        images_seen: repeats counted.
        rows: one an epoch (or a stretch of episodes).
        wall_s: seconds it took.
    """

    data: str
    seed: int
    images_seen: int
    rows: list[dict[str, float]]
    wall_s: float


@dataclass(frozen=True)
class Matched:
    """A key of a learner, chosen so that it is as sparse or as accurate as it should be.

    Attributes:
        data: what it was trained and chosen on, in words.
        seed: of the suite.
        target: the learner that it was to equal; empty where it was a number.
        match: what was chosen, and what was reached.
    """

    data: str
    seed: int
    target: str
    match: Match


@dataclass(frozen=True)
class Results:
    """Everything the tables and figures of one suite need.

    Attributes:
        suite: its name.
        learners: names, in the order of the suite.
        protocols: protocol name -> its kind (``"few_shot"`` ...).
        blocks: protocol name -> its protocol block (condition -> value, in words).
        records: one row a number.
        verdicts: (cell, array name) -> per-unit array (n,): what a record's value is the mean of.
        trust: cell -> the checks made in it.
        failures: learner/protocol cells that ended in an exception: (learner, protocol, seed, last line).
        seeds: protocol name -> the seeds it was planned for; where left out, those that anything was measured with count.
        configs: learner -> its config; a key that was chosen has its value, or where those differ {data and seed: value}.
        kinds: learner -> what kind of learner it is.
        trainings: learner -> its finished trainings.
        matches: protocol -> learner -> the choices that its numbers stand on, one a training.
        budgets: cell -> how many training images its learner was allowed, where that was limited.
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
