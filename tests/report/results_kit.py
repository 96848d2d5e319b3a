"""Small results to report on, written by hand."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import numpy as np

from harness.cells.results import Results
from harness.metrics.statistics import share_interval, wilson
from harness.records import Record, Trust
from harness.report.table import Table

Cells = list[tuple[Record, np.ndarray | None]]


def record(learner: str, setting: dict, value: float, **more) -> Record:
    """A record with defaults for everything that tables do not read."""
    base = dict(
        suite="suite",
        cell="cell",
        learner=learner,
        dataset="digits",
        protocol="robust",
        setting=setting,
        seed=0,
        metric="accuracy",
        value=value,
        low=None,
        high=None,
        n=1,
        unit="sample",
        verdicts=None,
        trust="PASS",
        wall_s=1.0,
        device="cpu",
        versions={},
        dataset_hash="",
        git_commit="",
        created="",
    )
    return Record(**(base | more))


def sweep(
    learner: str,
    attack: str,
    by_eps: dict[float, list[int]],
    *,
    seed: int = 0,
    norm: str = "linf",
    trust: Trust = "PASS",
    protocol: str = "robust",
    **setting,
) -> Cells:
    """One cell of an attack sweep: eps -> verdicts."""
    out = []
    for eps, verdicts in by_eps.items():
        low, high = wilson(sum(verdicts), len(verdicts))
        out.append(
            (
                record(
                    learner,
                    {"attack": attack, "norm": norm, **setting, "eps": eps},
                    float(np.mean(verdicts)),
                    low=low,
                    high=high,
                    n=len(verdicts),
                    cell=f"{learner}/{attack}/{norm}/{seed}",
                    seed=seed,
                    verdicts=f"eps {eps}",
                    trust=trust,
                    protocol=protocol,
                ),
                np.array(verdicts, np.uint8),
            )
        )
    return out


def episodes(
    learner: str,
    accuracies: Iterable[float],
    *,
    ways: int = 5,
    shots: int = 1,
    seed: int = 0,
    trust: Trust = "-",
) -> Cells:
    """One cell of a few-shot protocol."""
    values = np.array(list(accuracies), np.float64)
    low, high = share_interval(values)
    return [
        (
            record(
                learner,
                {"ways": ways, "shots": shots, "queries": 5},
                float(values.mean()),
                low=low,
                high=high,
                n=len(values),
                unit="episode",
                cell=f"{learner}/{ways}/{shots}/{seed}",
                seed=seed,
                verdicts="episodes",
                trust=trust,
                protocol="few",
            ),
            values,
        )
    ]


def plain(*records: Record) -> Cells:
    """Records without verdicts."""
    return [(r, None) for r in records]


def results_of(*cells: Cells, **more) -> Results:
    """Results with the protocols ``robust``, ``few`` and ``audit``."""
    pairs = list(chain(*cells))
    arrays = {(r.cell, r.verdicts): array for r, array in pairs if array is not None}
    learners = list(dict.fromkeys(r.learner for r, _ in pairs))
    base = dict(
        suite="suite",
        learners=learners,
        protocols={"robust": "attack_sweep", "few": "few_shot", "audit": "biology"},
        blocks={"robust": {"split": "test", "steps": "20"}},
        records=[r for r, _ in pairs],
        verdicts=lambda cell, name: arrays[cell, name],
        trust={},
        failures=[],
    )
    return Results(**(base | more))


def marks(table: Table, j: int = 0) -> dict[str, str]:
    """Marks of one column: row -> B for best, t for tie, . for neither."""
    return {
        row[0]: "B" if cells[j].best else "t" if cells[j].tie else "."
        for row, cells in zip(table.rows, table.cells, strict=True)
    }


def correct(n: int, wrong: int, first: int = 0) -> list[int]:
    """``n`` verdicts of which ``wrong`` in a row are 0."""
    return [0 if first <= i < first + wrong else 1 for i in range(n)]
