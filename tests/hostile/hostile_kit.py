"""What the hostile tests share: a small suite, and runs of it in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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
  robust: {kind: attack_sweep, dataset: digits, images: 20, attacks: [{attack: pgd, eps: [0, 0.1], steps: 2}]}
"""


def amount(name: str, otherwise: int) -> int:
    """How much of something, by the environment."""
    return int(os.environ.get(name, otherwise))


def start(*words: object, env_more: dict[str, str] | None = None, **options) -> subprocess.Popen:
    """A harness of its own, under way."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen([sys.executable, "-m", "harness", *map(str, words)], text=True,
                            env={**os.environ, **(env_more or {})}, **options)


def call(*words: object, **options) -> subprocess.CompletedProcess:
    """A harness of its own, to its end."""
    run = start(*words, **options)
    try:
        output, errors = run.communicate(timeout=600)
    finally:
        run.kill()
    return subprocess.CompletedProcess(run.args, run.returncode, output, errors)


def tables(folder: Path) -> dict[str, bytes]:
    """Every table and figure of a run, byte by byte (records and provenance carry times)."""
    timed = ("records.jsonl", "provenance.json")
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in timed}


def clear(error: str, *words: str) -> bool:
    """Whether an error is what a user should see: a line or two, no traceback, and the words that say what is wrong."""
    return "Traceback" not in error and all(word in error for word in words)
