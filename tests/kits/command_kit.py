"""Running commands, in this process or in one of their own."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from subprocess import CompletedProcess
from unittest import mock

from harness.cli import entry


def harness(*words: object, folder: Path | str = ".", **env: str) -> CompletedProcess:
    """Run a command in this process, which saves importing torch each time.

    Args:
        words: the words after ``harness``.
        folder: the current one meanwhile.
        env: environment variables to set.
    """
    argv = ["harness", *map(str, words)]
    stdout = io.StringIO()
    stderr = io.StringIO()
    status = 0
    with (
        contextlib.chdir(folder),
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
