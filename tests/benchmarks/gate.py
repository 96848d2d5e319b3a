"""What the gate detects, and how often it raises false alarms.

    python tests/benchmarks/gate.py STORE [planted | seeds | exact | processor] [--at-once N]

Each row takes about a minute of one core.

* *planted*: regressions in a copy of the code, compared with the unchanged code on this machine.
* *seeds*: twenty runs of unchanged code with other seeds.
* *exact*: twenty runs of unchanged code in fresh stores, which must be equal to the byte.
* *processor*: unchanged code with fewer instruction sets, as on another machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SUITE = "suites/ci.yaml"
AT_ONCE = 1

PLANTED = {
    "learning rate of the rule halved": (
        "harness/rules/ech.py",
        "plasticity.learn(self.layer, batch, temperature, 1 - done,",
        "plasticity.learn(self.layer, batch, temperature, 0.5 - done / 2,",
    ),
    "one step of PGD removed": (
        "harness/attacks/engine/ascent.py",
        "ends.collect(work, work.live & (work.steps >= steps))",
        "ends.collect(work, work.live & (work.steps >= steps - 1))",
    ),
    "one class never drawn": (
        "harness/data/sampler.py",
        "eligible = [classes for",
        "eligible = [classes[:-1] for",
    ),
    "ProtoNet one point worse": (
        "harness/protocols/few_shot.py",
        "        accuracy = np.mean(correct, axis=1",
        "        if type(learner).__name__ == 'ProtoNet':\n"
        "            correct.reshape(-1)[::90] = 0\n"
        "        accuracy = np.mean(correct, axis=1",
    ),
    "the rule two points worse on clean images": (
        "harness/protocols/classification.py",
        "    low, high = wilson(int(correct.sum()), len(correct))",
        "    if type(learner).__name__ == 'ECH':\n        correct[::45] = 0\n"
        "    low, high = wilson(int(correct.sum()), len(correct))",
    ),
}
"""Regression -> file, text in it, text that replaces it."""

PROCESSORS = {
    "no AVX-512": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
    },
    "no vectors": {
        "ATEN_CPU_CAPABILITY": "default",
        "MKL_CBWR": "COMPATIBLE",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
    },
}


def check(
    code: Path, store: Path, *words: object, env: dict[str, str] | None = None
) -> tuple[int, dict]:
    """Exit status and report of one check with the code in a folder."""
    command = [
        sys.executable,
        "-m",
        "harness",
        "check",
        ROOT / SUITE,
        "--store",
        store,
        "--json",
        *words,
    ]
    command += [] if "--workers" in words else ["--workers", 1]
    done = subprocess.run(
        list(map(str, command)),
        cwd=code,
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(code), *sys.path[1:]]),
            **(env or {}),
        },
    )
    return done.returncode, json.loads(done.stdout) if done.stdout.strip() else {
        "findings": [],
        "said": done.stderr,
    }


def told(status: int, report: dict) -> str:
    """One line: exit status, outcomes, what failed first."""
    counts = Counter(f["outcome"] for f in report["findings"])
    failed = [
        f"{f['learner']}: {f['where']}: {f['said']}" for f in report["findings"] if f["fails"]
    ]
    said = "; ".join(failed[:2]) or report.get("said", "")[-300:]
    return f"exit {status} | {dict(counts)} | {len(failed)} fail | {said}"


def side_by_side(line: Callable[[Any], str], runs: Iterable[Any]) -> None:
    """Print a line a run, as they end."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done in as_completed([pool.submit(line, run) for run in runs]):
            print(done.result(), flush=True)


def planted(store: Path, reference: Path) -> None:
    """One line a regression."""
    for what, (name, old, _) in PLANTED.items():  # all of them before an hour of computing
        assert (ROOT / name).read_text().count(old) == 1, f"{what}: {name} has changed"

    def line(what: str) -> str:
        name, old, new = PLANTED[what]
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder)
            for part in ("harness", "baselines"):
                shutil.copytree(
                    ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__")
                )
            (copy / name).write_text((copy / name).read_text().replace(old, new))
            return f"{what} | {told(*check(copy, store, '--reference', reference))}"

    side_by_side(line, PLANTED)


def seeds(store: Path, reference: Path) -> None:
    """Twenty clean runs, each with three seeds of its own."""

    def line(run: int) -> str:
        chosen = [10 * run, 10 * run + 1, 10 * run + 2]
        ended = check(ROOT, store, "--reference", reference, "--set", f"seeds={chosen}")
        return f"seeds {chosen} | {told(*ended)}"

    side_by_side(line, range(1, 21))


def exact(store: Path, reference: Path) -> None:
    """Twenty runs of seed 0 in fresh stores, all verdicts equal."""
    with tempfile.TemporaryDirectory() as folder:
        alone = Path(folder) / "alone.json"
        check(ROOT, store, "--reference", alone, "--update", "--set", "seeds=[0]")

        def line(run: int) -> str:
            fresh = Path(folder) / f"store{run}"
            ended = check(ROOT, fresh, "--reference", alone, "--exact", "--set", "seeds=[0]")
            return f"fresh run {run} | {told(*ended)}"

        side_by_side(line, range(20))


def processor(store: Path, reference: Path) -> None:
    """The same seeds, other instructions."""
    for what, env in PROCESSORS.items():
        with tempfile.TemporaryDirectory() as fresh:
            print(
                f"{what} | {told(*check(ROOT, Path(fresh), '--reference', reference, env=env))}",
                flush=True,
            )


if __name__ == "__main__":
    parts = {"planted": planted, "seeds": seeds, "exact": exact, "processor": processor}
    asked = argparse.ArgumentParser()
    asked.add_argument("store", type=Path)
    asked.add_argument("parts", nargs="*", choices=parts)
    asked.add_argument("--at-once", type=int, default=1)
    asked = asked.parse_args()
    AT_ONCE, kept = asked.at_once, asked.store.resolve()
    made = kept / "reference.json"
    check(ROOT, kept, "--update", "--reference", made, "--workers", AT_ONCE)
    for part in asked.parts or parts:
        parts[part](kept, made)
