"""Overhead of running cells, and speed-up by a second worker, on this machine in one run.

    python tests/benchmarks/executors.py [--cells 200] [--rounds 3] [--seconds 0.5]

* Overhead: almost empty cells on one worker. It is the time from one finished cell to the next,
  less the time inside the cell: look-ups, the lock, messages, writing the result (two files are
  flushed). Start-up is reported separately.
* Speed-up: equal cells of fixed work on one worker and on two, in turns. Two bare processes with
  the same work show how much the machine allows at that moment.

Ray is measured if it is installed, on a local cluster.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing as mp
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from harness import api
from harness.cells.plan import Plan
from harness.cells.run import Conditions
from harness.execute import schedule
from harness.execute.base import executors
from harness.storage.store import Store

MODULE = '''
import os
import torch
from baselines.nearest_mean import NearestMean

def burn(products):
    torch.set_num_threads(1)
    a = torch.eye(128)
    for _ in range(products):
        a = a @ a

class Burns(NearestMean):
    """Class means, and fixed work before them."""
    def fit(self, train, **options):
        burn(int(os.environ["PRODUCTS"]))
        return super().fit(train, **options)
'''
SUITE = """
name: burn
seeds: {seeds}
learners: {{burns: {{kind: "burning:Burns"}}}}
protocols: {{plain: {{kind: classification, dataset: digits}}}}
"""


class Clock:
    """A display that takes the time."""

    def __init__(self) -> None:
        self.start, self.ends = time.perf_counter(), []

    def started(self, *_: object) -> None:
        """Nothing."""

    progressed = started
    warned = started
    skipped = started

    def finished(self, worker: int, cell: object, seconds: float, error: str | None) -> None:
        """The moment."""
        assert error is None, error
        self.ends.append(time.perf_counter())


def run(plan: Plan, name: str, workers: int, count: int) -> tuple[float, float, float]:
    """Run training cells on an executor: ``count``, and before them one to warm each worker.

    Returns:
        seconds until the workers are warm, of the ``count`` cells, and inside these cells.
    """
    cls = executors[name]
    options = {"address": "local"} if name == "ray" else {}
    cells = [cell for cell in plan.unique if cell.role == "train"][: count + workers]
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        store, clock = Store(Path(folder)), Clock()
        store.prepare()
        with cls(cls.Config(workers=workers, **options), Conditions(store)) as executor:
            done = schedule.run(cells, executor, store, clock).done
        warm = clock.ends[workers - 1]
        return (
            warm - clock.start,
            clock.ends[-1] - warm,
            sum(store.read(key).wall_s for key in done[workers:]),
        )


def bare(work: Callable[[int], None], products: int, times: int, processes: int) -> float:
    """Seconds that bare processes need for the same work, divided among them."""
    context = mp.get_context("fork")
    crew = [
        context.Process(target=lambda: [work(products) for _ in range(times // processes)])
        for _ in range(processes)
    ]
    start = time.perf_counter()
    for process in crew:
        process.start()
    for process in crew:
        process.join()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--cells", type=int, default=200, help="cells of which the overhead is measured"
    )
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each; medians are told")
    parser.add_argument("--seconds", type=float, default=0.5, help="CPU seconds of an equal cell")
    given = parser.parse_args()
    names = ["local", *(["ray"] if importlib.util.find_spec("ray") else [])]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "burning.py").write_text(MODULE)
        suite = Path(folder) / "burn.yaml"
        sys.path.append(folder)
        import burning

        def plan(seeds: int) -> Plan:
            suite.write_text(SUITE.format(seeds=list(range(seeds))))
            return api.plan(suite)

        os.environ["PRODUCTS"] = "0"
        burning.burn(10)
        many = plan(given.cells + 1)
        print(
            f"load {os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} processors, "
            "which may be shared\n"
        )
        for name in names:
            found = [run(many, name, 1, given.cells) for _ in range(given.rounds)]
            first = ", ".join(f"{one[0]:.1f}" for one in found)
            each = statistics.median((one[1] - one[2]) / given.cells for one in found)
            print(
                f"{name}: overhead {1000 * each:.1f} ms a cell (median of {given.rounds}); "
                f"seconds to start: {first}"
            )

        start = time.process_time()
        burning.burn(2000)
        products = int(2000 * given.seconds / (time.process_time() - start))
        os.environ["PRODUCTS"] = str(products)
        equal = plan(14)
        for name in names:
            ratios, limits = [], []
            for _ in range(given.rounds):
                one, two = (run(equal, name, workers, 12)[1] for workers in (1, 2))
                ratios.append(one / two)
                limits.append(
                    bare(burning.burn, products, 12, 1) / bare(burning.burn, products, 12, 2)
                )
            two, bound = statistics.median(ratios), statistics.median(limits)
            print(
                f"{name}: two workers {two:.2f} times as fast as one "
                f"on 12 equal cells of {given.seconds:g} s; "
                f"two bare processes {bound:.2f}"
            )


if __name__ == "__main__":
    main()
