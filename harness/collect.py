"""From finished cells to results: names are given back to numbers here, so that a cell knows nothing of suites."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from harness.files import write_atomically
from harness.plan import Cell, Plan
from harness.records import Record, TrustCheck
from harness.report.aggregate import worst_level
from harness.report.results import Results
from harness.store import CellResult, Store
from harness.suite import ProtocolEntry


def collect(plan: Plan, store: Store, failed: dict[str, str] | None = None) -> Results:
    """Everything that a plan's finished cells hold, as results.

    Args:
        failed: cell key -> why it failed, to be shown where the numbers would be.
    """
    suite, records, trust, failures = plan.suite, [], {}, []
    for cell in plan.cells:
        if cell.role == "train":
            continue
        if cell.key in (failed or {}):
            failures.append((cell.learner, cell.protocol, cell.seed, failed[cell.key]))
        result = store.read(cell.key)
        if result is not None:
            trust[cell.key] = [TrustCheck(**check) for check in result.trust]
            records += _records(suite.name, cell, result, trust[cell.key])

    @lru_cache(maxsize=256)
    def arrays(key: str) -> dict[str, np.ndarray]:
        return store.arrays(key)

    return Results(
        suite=suite.name,
        configs={entry.name: entry.config.model_dump(mode="json") for entry in suite.learners},
        seeds={entry.name: list(entry.seeds) for entry in suite.protocols},
        learners=[entry.name for entry in suite.learners],
        protocols={entry.name: entry.protocol.kind for entry in suite.protocols},
        blocks={entry.name: _block(entry) for entry in suite.protocols},
        records=records,
        verdicts=lambda key, name: arrays(key)[name],
        trust=trust,
        failures=failures,
    )


def _block(entry: ProtocolEntry) -> dict[str, str]:
    seeds = f"{len(entry.seeds)} ({', '.join(map(str, entry.seeds))})"
    return {"dataset": entry.dataset.title, **entry.protocol.block(), **_heads(entry), "seeds": seeds}


def _heads(entry: ProtocolEntry) -> dict[str, str]:
    """Which few-shot head each learner's config names: rows differ in it as well as in their features."""
    if entry.protocol.kind not in ("few_shot", "attacked_episodes", "lake_runs"):
        return {}
    scratch = entry.protocol.config.regime == "from_scratch"
    heads = {e.name: getattr(e.config, "scratch_head" if scratch else "head", None) for e in entry.learners}
    named = [f"{name} {head}" for name, head in heads.items() if head]
    return {"heads": ", ".join(named)} if named else {}


def _records(suite: str, cell: Cell, result: CellResult, checks: list[TrustCheck]) -> Iterator[Record]:
    identity = result.identity
    worst = worst_level(check.level for check in checks)
    for value in result.values:
        yield Record(
            suite=suite, cell=cell.key, learner=cell.learner, dataset=identity["dataset"]["kind"], protocol=cell.protocol,
            setting={**identity["setting"], **(value["setting"] or {})}, seed=cell.seed, metric=value["metric"],
            value=value["value"], low=value["low"], high=value["high"], n=value["n"], unit=value["unit"],
            verdicts=value["verdicts"], trust=worst, wall_s=result.wall_s, device=result.device, versions=result.versions,
            dataset_hash=identity["dataset"]["content"], git_commit=result.git_commit, created=result.created)


def write_records(results: Results, path: Path) -> Path:
    """All records as JSON lines; the folder must exist."""
    write_atomically(path, "".join(json.dumps(record.to_dict(), sort_keys=True) + "\n" for record in results.records).encode())
    return path
