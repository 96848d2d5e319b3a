"""Leases: a holder renews its lease at intervals; a lease that is not renewed expires.

Clocks of machines are never compared. An observer notes what a lease looked like and when, by its
own monotonic clock, and takes the lease over if it still looks the same LEASE_S later.

Leases divide work, they do not guard it. Two processes may compute the same cell (one of them was
suspended, for example): each writes it completely, and both write the same.
"""

from __future__ import annotations

import contextlib
import platform
import threading
import time
import uuid
from collections.abc import Callable, Hashable, Iterator
from functools import lru_cache
from pathlib import Path

LEASE_S = 60.0
"""A lease that looks the same for this many seconds has expired."""
BEAT_S = 15.0
"""Seconds between two renewals by the holder."""


class Watch:
    """Remembers what the leases of others looked like, and since when."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[Hashable, float]] = {}

    def is_stale(self, name: str, looks: Hashable) -> bool:
        """Report whether a lease has looked the same for LEASE_S.

        Args:
            name: of the lease.
            looks: anything that changes when the lease is renewed.
        """
        now = time.monotonic()
        if name not in self._seen or self._seen[name][0] != looks:
            self._seen[name] = (looks, now)
        since = self._seen[name][1]
        return now - since >= LEASE_S

    def forget(self, name: str) -> None:
        """Drop what is remembered of a lease that was taken or released."""
        self._seen.pop(name, None)


@contextlib.contextmanager
def heartbeat(beat: Callable[[], None]) -> Iterator[None]:
    """Call ``beat`` every BEAT_S seconds in a thread, for as long as the block runs.

    A beat that raises is skipped: the next one may succeed, and LEASE_S allows for several
    failures.
    """
    stopping = threading.Event()

    def run() -> None:
        while not stopping.wait(BEAT_S):
            with contextlib.suppress(Exception):
                beat()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


@lru_cache
def machine_id() -> str:
    """Identify this machine since its last boot.

    Processes that get the same answer see each other's kernel locks.
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return f"{platform.node()}-{uuid.getnode():x}"
