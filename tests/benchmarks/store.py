"""Time and memory of reading large stores: plan, scan, records to a frame and to a table.

    python tests/benchmarks/store.py [SCANNED_CELLS] [CELLS] [FOLDER]     (compaction needs pyarrow)

The stores are synthetic: a real suite is planned as usual, but its cells contain random numbers, 20
records each. Cells that are scanned have 50 KB of verdicts and 100 KB of weights each, as in real
stores; the others have 2 KB. Each reading runs in
its own process, so that its peak memory is its own. Wall and CPU times are printed.
"""

from __future__ import annotations

import importlib.util
import multiprocessing as mp
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from harness import api
from harness.cells import collect
from harness.execute import session
from harness.report.tables import build_all
from harness.storage import compaction, verification
from harness.storage.store import VERDICTS, WEIGHTS, CellResult, Store
from harness.suite.specs.tables import TableSpec

SEEDS = 20
SUITE = """
name: made-up
seeds: {seeds}
learners:
{learners}
protocols:
  biology: {{kind: biology, dataset: digits}}
"""
METRICS = [f"metric_{number}" for number in range(10)]


def made_up(folder: Path, cells: int, verdicts: int, weights: int) -> tuple[Path, Path]:
    """A suite of so many cells (half of them trainings) and a store that has them all."""
    suite = folder / "made-up.yaml"
    names = [
        f"  learner-{i:04}: {{kind: mlp, hidden: {10 + i}}}"
        for i in range(max(cells // (2 * SEEDS), 1))
    ]
    suite.write_text(SUITE.format(seeds=list(range(SEEDS)), learners="\n".join(names)))
    os.fsync = lambda _: None  # the disk's patience is not what is measured
    layout, store = api.plan(suite), Store(folder / "store")
    store.prepare()
    start, draw = time.perf_counter(), np.random.default_rng(0)
    for cell in layout.unique:
        values, name, size = [], WEIGHTS, weights
        if cell.role == "measure":
            name, size = VERDICTS, verdicts
            values = [
                dict(
                    metric=metric,
                    value=float(draw.random()),
                    low=None,
                    high=None,
                    n=100,
                    unit="synapse",
                    setting=setting,
                    verdicts=None,
                )
                for metric in METRICS
                for setting in (None, {"bundle": "one"})
            ]
        store.write(
            cell.key,
            CellResult(
                cell.identity,
                values,
                [],
                {"rows": [], "images_seen": 1000} if not values else {},
                1.0,
                "cpu",
                cell.identity["versions"],
                "0" * 12,
                "2026-01-01T00:00:00+00:00",
            ),
            {name: {"a": draw.integers(0, 255, size, np.uint8)}},
        )
    wall = time.perf_counter() - start
    print(
        f"{len(layout.unique)} cells written: "
        f"{1e3 * wall / len(layout.unique):.2f} ms each (without fsync)"
    )
    return suite, folder / "store"


def scan(suite: Path, store: Path) -> str:
    """Plan, and find what is left to do."""
    todo = session.unfinished(api.plan(suite), Store(store))
    return f"plan and resume scan, {len(todo)} to do"


def frame(_: Path, store: Path) -> str:
    """All that lies in a store as a frame."""
    return f"{len(api.load(store))} records to a frame"


def query(_: Path, store: Path) -> str:
    """The same, and one learner of it."""
    found = api.load(store)
    chosen = found.query("seed == 3 and metric == 'metric_4' and setting_bundle == 'one'")
    return f"query of {len(found)} records, {len(chosen)} chosen"


def table(suite: Path, store: Path) -> str:
    """A suite's records as a table."""
    results = collect.collect(api.plan(suite), Store(store))
    built = build_all(results, [TableSpec(protocol="biology", columns=["metric"], metric=METRICS)])
    return f"plan, and {len(results.records)} records to a table of {len(built[0].rows)} rows"


def compact(_: Path, store: Path) -> str:
    """Pack all cells."""
    return f"{compaction.compact(Store(store)).cells} cells compacted"


def verify(_: Path, store: Path) -> str:
    """Check every byte."""
    found = verification.verify(Store(store))
    return f"{found.cells} cells verified, {len(found.faults)} faults"


def measured(work: Callable[..., str], *words: Any) -> None:
    """Do it in a new process; print times and peak of memory."""
    context = mp.get_context("spawn")
    with context.Pool(1) as pool:
        print(pool.apply(_measure, (work, *words)), flush=True)


def _measure(work: Callable[..., str], *words: Any) -> str:
    wall, processor = time.perf_counter(), time.process_time()
    what = work(*words)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    seconds = time.perf_counter() - wall
    cpu_seconds = time.process_time() - processor
    return f"{what}: {seconds:.2f} s, {cpu_seconds:.2f} CPU s, peak {peak:.2f} GiB"


def main() -> None:
    words = sys.argv[1:] + ["10000", "100000"][len(sys.argv) - 1 :]
    with tempfile.TemporaryDirectory(dir=words[2] if len(words) > 2 else None) as folder:
        for name, cells, sizes, works in (
            ("scanned", words[0], (50_000, 100_000), (scan,)),
            ("many", words[1], (2_000, 2_000), (frame, query, table)),
        ):
            (Path(folder) / name).mkdir()
            suite, store = made_up(Path(folder) / name, int(cells), *sizes)
            for state in ("loose", "compacted"):
                print(f"--- {name}, {state}")
                for work in (*works, verify):
                    measured(work, suite, store)
                if state == "loose" and importlib.util.find_spec("pyarrow") is None:
                    print("no pyarrow here: nothing is compacted")
                    break
                if state == "loose":
                    measured(compact, suite, store)


if __name__ == "__main__":
    main()
