"""Leases: who holds one says so again and again, and who has fallen silent is taken to be dead.

Nobody's clock is trusted: an observer notes what a lease looked like and when, by his own monotonic clock, and takes it over
when it still looks the same LEASE_S later. Leases divide work, they do not guard it: a cell that two processes compute
nevertheless (one was asleep, say) is written whole by each, and is the same.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from functools import lru_cache
from pathlib import Path

LEASE_S = 60.0
"""Silence after which a holder on another machine is taken to be dead."""
BEAT_S = 15.0
"""How often a holder says that it lives."""


class Watch:
    """What the leases of others looked like when they were first seen so."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[Hashable, float]] = {}

    def is_stale(self, name: str, looks: Hashable) -> bool:
        """Whether a lease has looked like this for LEASE_S."""
        now = time.monotonic()
        before, since = self._seen.get(name, (None, now))
        if before != looks:
            since = now
        self._seen[name] = looks, since
        return now - since >= LEASE_S

    def forget(self, name: str) -> None:
        """It has been taken or is gone."""
        self._seen.pop(name, None)


@contextlib.contextmanager
def beating(beat: Callable[[], None]) -> Iterator[None]:
    """Call ``beat`` every BEAT_S for as long as the block runs; a beat that fails is left out."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(BEAT_S):
            with contextlib.suppress(Exception):
                beat()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@lru_cache
def machine() -> str:
    """This machine, from when it was last started: processes that agree on it see each other's kernel locks."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        import platform
        import uuid

        return f"{platform.node()}-{uuid.getnode():x}"
