"""How far each attack is from the best that is known of each image, and what that cost.

Everything follows from stored verdicts: the attacks of a protocol are judged by each other.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

import numpy as np

from harness.attacks.engine.sweep import SKIPPED
from harness.cells.results import Results
from harness.errors import HarnessError
from harness.records import Record
from harness.report.derive import ATTACKED, grouped, swept, withstood

STEPS = ("steps", "queries", "draws")
"""Keys of attacks that say how many passes a run takes, at most."""


@dataclass(frozen=True)
class Row:
    """One attack at one budget on one learner; means over seeds.

    Attributes:
        protocol, learner, norm, eps, attack: whose.
        broken: share of the images that it broke at this or a smaller eps, or that were wrong
            before.
        alone: share that no other attack of the protocol broke.
        missed: share that it left and another attack broke: 0 is the best that is known.
        forward: forward passes an image at this eps, at most; None if they are not known.
        backward: the same of backward passes.
    """

    protocol: str
    learner: str
    norm: str
    eps: float
    attack: str
    broken: float
    alone: float
    missed: float
    forward: float | None
    backward: float | None

    def to_dict(self) -> dict[str, Any]:
        """A plain dict, ready for JSON."""
        return asdict(self)


def of_results(results: Results) -> list[Row]:
    """Judge the attacks of every sweep by each other.

    Raises:
        HarnessError: there is no sweep, or none has been run.
    """
    attacked = {name for name, kind in results.protocols.items() if kind in ATTACKED[:1]}
    seeds: dict[tuple, list[Row]] = defaultdict(list)
    for group in grouped(swept(results, attacked)).values():
        for row in _rows(group, results):
            place = (row.protocol, row.learner, row.norm, row.eps, row.attack)
            seeds[place].append(row)
    if not seeds:
        raise HarnessError(
            "no attack sweep has been run",
            where=results.suite,
            hint="run a suite with a protocol of kind attack_sweep",
        )
    return [_mean(rows) for rows in seeds.values()]


def _rows(group: list[Record], results: Results) -> Iterator[Row]:
    """The rows of one learner, seed and norm."""
    standing: dict[float, dict[str, np.ndarray]] = defaultdict(dict)
    before: dict[str, np.ndarray] = {}
    used: dict[tuple[float, str], Record] = {}
    for record in sorted(group, key=lambda record: record.setting["eps"]):
        eps, attack = record.setting["eps"], record.setting["attack"]
        # What breaks an image at one eps breaks it at every larger one.
        before[attack] = withstood(record, results) & before.get(attack, np.array(True))
        standing[eps][attack] = before[attack]
        used[eps, attack] = record
    for eps, by_attack in standing.items():
        best = np.logical_and.reduce([*by_attack.values()])
        for attack, stands in by_attack.items():
            if eps == 0:
                continue
            others = [each for name, each in by_attack.items() if name != attack]
            left = np.logical_and.reduce([*others, np.ones_like(stands)])
            record = used[eps, attack]
            forward, backward = _passes(record, results)
            yield Row(
                record.protocol,
                record.learner,
                record.setting.get("norm", ""),
                eps,
                attack,
                broken=float(1 - stands.mean()),
                alone=float((left & ~stands).mean()),
                missed=float((stands & ~best).mean()),
                forward=forward,
                backward=backward,
            )


def _passes(record: Record, results: Results) -> tuple[float | None, float | None]:
    """Forward and backward passes an image, from the runs made and the steps of a run.

    A pack holds no runs, and an attack without any of ``STEPS`` may take any number.
    """
    config = record.setting.get("config", {})
    known = next((config[key] for key in STEPS if key in config), None)
    steps = 1 if config.get("attack") == "fgsm" else known
    with contextlib.suppress(KeyError):
        runs = results.verdicts(record.cell, "attack/correct")
        made = runs[config["eps"].index(record.setting["eps"])] != SKIPPED
        if steps is not None:
            each = float(made.sum() / made.shape[-1])
            climbs = "loss" in config
            # A run of gradients is followed by a pass that judges it.
            return each * (steps + climbs), each * steps * climbs
    return None, None


def _mean(rows: list[Row]) -> Row:
    first = asdict(rows[0])
    for key in ("broken", "alone", "missed", "forward", "backward"):
        values = [getattr(row, key) for row in rows]
        first[key] = None if None in values else fmean(values)
    return Row(**first)
