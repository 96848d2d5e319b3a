"""Times that earlier runs of this user learned, so that a new store begins with better guesses.

They are in one small file: ``times.json`` of the user's cache folder, or what HARNESS_TIMES names
(empty: none is kept). It has rates: seconds over the work of a cell, times the speed of the machine
that they were measured on, so that they hold on another one; beside each rate, the work of such a
cell. Nothing but estimates of time depends on the file. It may be deleted, and a folder that cannot
be written is no error.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from harness.data.cache import cache_folder
from harness.errors import HarnessError
from harness.files import write_atomically


class Rate(NamedTuple):
    """Seconds over work of some cells, and the work of a typical one of them."""

    value: float
    work: float


Rates = dict[tuple[str, ...], Rate]
"""Likeness of cells -> their rate."""

REMEMBERED = 20
"""Cells after which a new one changes a rate by no less than a twentieth."""
ENTRIES = 5000
"""Likenesses that are kept, those that were updated last."""
REFERENCE_S = 0.0007
"""Seconds that ``measured_speed`` takes for its work where the speed is 1."""
TRIES = 50
SIZE = 64
"""Rows of the matrices; so few are multiplied by one thread."""


def learned_rates() -> Rates:
    """The rates that earlier runs learned, as they are on this machine."""
    times = _read()
    speed = times["speeds"].get(platform.node())
    if not times["rates"] or speed is None and not times["speeds"]:
        return {}
    speed = speed or measured_speed()
    return {
        _likeness(name): Rate(value / speed, work)
        for name, (value, work, _) in times["rates"].items()
    }


def learn(observed: Mapping[tuple[str, ...], list[Rate]]) -> None:
    """Remember rates that a run has observed.

    Args:
        observed: likeness -> the rate of each finished cell.
    """
    times = _read()
    machine = platform.node()
    speed = times["speeds"].get(machine) or measured_speed()
    times["speeds"][machine] = speed
    for likeness, rates in observed.items():
        name = json.dumps(likeness)
        value, work, count = times["rates"].pop(name, (1.0, 1.0, 0))  # popped, to be the latest
        for new in rates:
            if new.value > 0:
                count = min(count + 1, REMEMBERED)
                value *= (new.value * speed / value) ** (1 / count)
                work *= (new.work / work) ** (1 / count)
        if count:
            times["rates"][name] = (value, work, count)
    times["rates"] = dict(list(times["rates"].items())[-ENTRIES:])
    file = times_file()
    if file is not None:
        with contextlib.suppress(HarnessError, OSError):
            write_atomically(file, json.dumps(times, indent=0).encode())


def times_file() -> Path | None:
    """Where the times are; None for a user without a home, or who wants none."""
    chosen = os.environ.get("HARNESS_TIMES")
    if chosen is not None:
        return Path(chosen) if chosen else None
    folder = cache_folder()
    return None if folder is None else folder / "times.json"


def measured_speed() -> float:
    """How fast one core of this machine is, against a usual one; takes a tenth of a second.

    It is processor time, which other processes lengthen little. The best of several tries counts.
    """
    matrix = np.linspace(-1, 1, SIZE * SIZE, dtype=np.float32).reshape(SIZE, SIZE)
    best = math.inf
    for _ in range(TRIES):
        start = time.thread_time()
        for _ in range(50):
            np.maximum(matrix @ matrix, 0).sum()
        best = min(best, time.thread_time() - start)
    return REFERENCE_S / max(best, 1e-6)


def _read() -> dict[str, Any]:
    """The content of the file; empty if it is missing, damaged or of another kind."""
    file = times_file()
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        if file is not None:
            times = json.loads(file.read_bytes())
            rates = {
                name: (float(value), float(work), int(count))
                for name, (value, work, count) in times["rates"].items()
                if float(value) > 0 and float(work) > 0 and _likeness(name)
            }
            speeds = {name: float(speed) for name, speed in times["speeds"].items() if speed > 0}
            return {"speeds": speeds, "rates": rates}
    return {"speeds": {}, "rates": {}}


def _likeness(name: str) -> tuple[str, ...]:
    return tuple(map(str, json.loads(name)))
