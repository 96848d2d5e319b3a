"""What the hostile tests share: a small suite, and runs of it in separate processes."""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.records import MEASURED
from harness.storage.store import Store

SUITE = """
name: small
seeds: [0, 1]
learners:
  backprop: {kind: mlp, hidden: 16, epochs: 2}
  bio: {kind: ech, hidden: 20, epochs: 1, readout_steps: 20}
  pixels: {kind: nearest-mean}
protocols:
  plain: {kind: classification, dataset: digits}
  few: {kind: few_shot, dataset: digits, ways: [2, 5], shots: 1, queries: 5, episodes: 20}
  robust:
    kind: attack_sweep
    dataset: digits
    images: 20
    attacks: [{attack: pgd, eps: [0, 0.1], steps: 2}]
"""

SPARSE = "sparse: {kind: mlp, hidden: 16, epochs: 1, match: {density: bio, trainings: 2}}"
MATCHED = SUITE.replace("  pixels:", f"  {SPARSE}\n  pixels:")
"""With trainings that match cells make."""


def amount(name: str, otherwise: int) -> int:
    """An amount from the environment."""
    return int(os.environ.get(name, otherwise))


def start(
    *words: object, env_more: dict[str, str] | None = None, inside: Sequence[object] = (), **options
) -> subprocess.Popen:
    """Start ``harness`` in a process of its own, through the command ``inside`` if there is one."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen(
        [*map(str, inside), sys.executable, "-m", "harness", *map(str, words)],
        text=True,
        env={**os.environ, **(env_more or {})},
        **options,
    )


def call(*words: object, **options) -> subprocess.CompletedProcess:
    """Run ``harness`` in a process of its own, to its end."""
    run = start(*words, **options)
    try:
        output, errors = run.communicate(timeout=600)
    finally:
        run.kill()
    return subprocess.CompletedProcess(run.args, run.returncode, output, errors)


def undisturbed(folder: Path, suite: str) -> tuple[Path, Path, Path]:
    """An undisturbed run: (suite file, its store, its tables)."""
    path = folder / "small.yaml"
    path.write_text(suite)
    done = call("run", path, "--store", folder / "store", "--out", folder / "tables")
    assert done.returncode == 0, done.stderr
    return path, folder / "store", folder / "tables"


def tables(folder: Path) -> dict[str, bytes]:
    """The bytes of every table and figure of a run (records and provenance contain times)."""
    timed = ("records.jsonl.gz", "provenance.json")
    return {
        path.name: path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in timed
    }


def measured(folder: Path) -> list[str]:
    """The record values of a run, in a fixed order, repeated ones included."""
    with gzip.open(folder / "records.jsonl.gz") as lines:
        records = [json.loads(line) for line in lines]
    return sorted(
        json.dumps({key: record[key] for key in MEASURED}, sort_keys=True) for record in records
    )


def computed(errors: str) -> int:
    """The number of computed cells that a run reports at its end."""
    return int(errors.rpartition(" cells computed")[0].split()[-1])


def clear(error: str, *words: str) -> bool:
    """Whether an error has no traceback, and the words that say what is wrong."""
    return "Traceback" not in error and all(word in error for word in words)


def sound(store: Path) -> set[str]:
    """Keys of the finished cells; each must be readable and undamaged."""
    folder = Store(store)
    keys = set(folder.finished())
    assert all(folder.content(key) for key in keys), "a finished cell is damaged"
    return keys


def below(pid: int) -> list[int]:
    """All descendants of a process."""
    try:
        children = [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]
    except FileNotFoundError:  # it has just ended
        return []
    return [found for child in children for found in (child, *below(child))]


def survive(
    whole: tuple[Path, Path, Path],
    folder: Path,
    strike: Callable[[subprocess.Popen], bool],
    hits: int,
    *options: str,
) -> Path:
    """Strike one run after another on one store at random moments, until ``hits`` were struck.

    Nothing may be lost, and everything must equal the undisturbed run. When the store is complete,
    a new one replaces it.

    Args:
        whole: the undisturbed run.
        folder: for everything that the runs write.
        strike: kills a part of a run; returns whether there was something to kill.
        hits: how many strikes.
        options: of ``harness run``.

    Returns:
        The last store, complete.
    """
    path, reference, right = whole
    moments, store, hit, kept, wanted = (
        random.Random(),
        folder / "store",
        0,
        set(),
        sound(reference),
    )

    def run(store: Path, out: str) -> tuple[object, ...]:
        return "run", path, "--store", store, "--out", folder / out, *options

    def complete() -> None:
        done = call(*run(store, "pieces"))
        assert done.returncode == 0 and sound(store) == wanted, done.stderr
        assert tables(folder / "pieces") == tables(right) and measured(
            folder / "pieces"
        ) == measured(right)

    begun = time.monotonic()
    assert call(*run(folder / "timed", "out")).returncode == 0
    longest = time.monotonic() - begun
    while hit < hits:
        under_way = start(*run(store, "out"))
        time.sleep(moments.uniform(0.0, longest))
        if under_way.poll() is None:
            hit += strike(under_way)
        else:
            longest *= 0.8  # the machine has become faster than it was: strike sooner
        _, errors = under_way.communicate(timeout=600)
        assert under_way.returncode in (0, 1, -signal.SIGKILL) and "Traceback" not in errors, errors
        if under_way.returncode == 1:
            assert "the worker process died" in errors, errors
        now = sound(store) if store.exists() else set()
        assert kept <= now <= wanted, "a record was lost, or one came that nobody asked for"
        kept = now
        if now == wanted:
            complete()
            shutil.rmtree(store)
            kept = set()
    complete()
    return store
