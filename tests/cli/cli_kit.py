"""Running commands, and the suites that they run on."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from subprocess import CompletedProcess
from unittest import mock

from harness.cli import entry

SUITE = """
name: tiny
learners: {pixels: {kind: nearest-mean}, random: {kind: random-features, width: 50}}
protocols:
  plain: {kind: classification, dataset: digits}
  few: {kind: few_shot, dataset: digits, ways: 5, shots: [1, 2], queries: 5, episodes: 30}
"""
SWEPT = """
name: swept
learners: {pixels: {kind: nearest-mean}}
protocols:
  robust:
    kind: attack_sweep
    dataset: digits
    images: 100
    attacks:
      - {attack: fgsm, eps: [0.1], loss: [margin]}
      - {attack: pgd, label: lame, eps: [0.1], steps: 2, step_size: 0.05, random_start: false}
"""


def harness(*words: object, **env: str) -> CompletedProcess:
    """Run a command in this process, which saves importing torch each time.

    Args:
        words: the words after ``harness``.
        env: environment variables to set.
    """
    argv = ["harness", *map(str, words)]
    stdout = io.StringIO()
    stderr = io.StringIO()
    status = 0
    with (
        mock.patch.object(sys, "argv", argv),
        mock.patch.dict(os.environ, {"COLUMNS": "100", **env}),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        try:
            entry.main()
        except SystemExit as ended:
            status = ended.code or 0
    return CompletedProcess(argv, status, stdout.getvalue(), stderr.getvalue())


def harness_process(*words: object) -> CompletedProcess:
    """Run a command as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "harness", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
