"""The server process that workers of this machine are forked from.

It has imported what workers need, so that a worker starts in milliseconds and shares the server's
memory.
"""

from __future__ import annotations

import contextlib
import multiprocessing as mp
import os
import signal
import sys
import time
import types
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

from harness.execute import work
from harness.execute.signals import handling

PRELOADED = ["harness.execute.forked.preload", "harness.execute.forked.worker_process"]
DYING_S = 30.0
"""Seconds after which a server that was killed has certainly ended."""


def spawn(target: Callable[..., None], *args: object) -> Any:
    """Start a daemon process that runs ``target(*args)``.

    Raises:
        ConnectionError, EOFError: no server can be started.
    """
    _ensure_server()
    process = mp.get_context("forkserver").Process(target=target, args=args, daemon=True)
    # The new process inherits the setting: Ctrl-C is handled by its parent.
    with _empty_main_module(), handling(signal.SIGINT, signal.SIG_IGN):
        until = time.monotonic() + DYING_S
        while not _try_start(process, until):
            time.sleep(0.05)
            _ensure_server()
    return process


def _try_start(process: Any, until: float) -> bool:
    """Start a process; False if the server was killed and is not known to be dead yet."""
    try:
        process.start()
    except (EOFError, ConnectionError):
        if time.monotonic() > until:
            raise
        return False
    return True


def _ensure_server() -> None:
    """Start the server if there is none, with the environment that libraries need when loaded."""
    package_root = str(Path(__file__).resolve().parents[3])
    before = dict(os.environ)
    paths = [package_root]
    if before.get("PYTHONPATH"):
        paths.append(before["PYTHONPATH"])
    os.environ.update(
        {
            **work.ONE_THREAD,
            "PYTHONPATH": os.pathsep.join(paths),
            # Or the server would import a user's random.py of the working folder as Python's.
            "PYTHONSAFEPATH": "1",
        }
    )
    try:
        with _empty_main_module(), handling(signal.SIGINT, signal.SIG_IGN):
            forkserver.set_forkserver_preload(PRELOADED)
            forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _empty_main_module() -> Iterator[None]:
    """Hide the main module, which a new process would import again.

    It may be a script without a guard, and workers do not need it.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
