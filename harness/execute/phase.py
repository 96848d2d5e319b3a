"""What a cell is doing right now, seen from outside: from the stack of the thread that computes it.

Some phases report no progress for minutes: a large attack, the trust checks, a read-out. Reports
cannot be added to that code without new keys for every cell that reaches it. So a second thread
looks at the stack and names the landmarks on it, and passes on what has been reported. It reads, it
changes nothing, and takes microseconds.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any

from harness.budgets import words as budget_words

SHOWN = 2
"""Landmarks that are named: a check may run another one, and that an attack."""
LOOK_S = 0.25
"""Seconds between two reports, at least."""

Report = Callable[[float, str], None]
Locals = Mapping[str, Any]


def _read_out(at: Locals) -> str:
    return f"read-out, step {at['i'] + 1} of {at['steps']}"


def _read_out_epoch(at: Locals) -> str:
    return f"read-out, epoch {at['epoch'] + 1} of {at['epochs']}"


def _attack(at: Locals) -> str:
    return f"{at['self'].attack.label} at eps {budget_words(at['eps'])}"


def _check(at: Locals) -> str:
    kind: str = at["check"].kind
    return kind


LANDMARKS: dict[tuple[str, str], tuple[str, Callable[[Locals], str] | None]] = {
    ("harness.attacks.engine.crafting", "craft"): ("attack on another network", None),
    ("harness.attacks.engine.sweep", "_attack"): ("attack", _attack),
    ("harness.attacks.trust.context", "results_of"): ("trust check", _check),
    ("harness.bounds.prove", "prove_grid"): ("bounds", None),
    ("harness.data.acquire", "load"): ("data", None),
    ("harness.learning.readout", "train_readout"): ("read-out", _read_out_epoch),
    ("harness.rules.readouts", "descend"): ("read-out", _read_out),
    ("harness.storage.store", "write"): ("storing", None),
}
"""(Module, function) -> what it is called, and a closer look at its local variables."""
OF_LEARNERS = {
    "_embedded": "codes of the images",
    "_fit_labels": "read-out",
    "_fit_readout": "read-out",
    "_read_out": "read-out",
}
"""Methods of learners, in any module -> what they are called."""


@contextlib.contextmanager
def watched(report: Report) -> Iterator[Report]:
    """Report what this thread is doing while the block runs, several times a second.

    Args:
        report: called in another thread with a fraction and a note, not after the block has ended.

    Yields:
        A function that takes progress. It only remembers it, so it may be called often.
    """
    latest = [(0.0, "")]
    over = threading.Event()
    thread = threading.get_ident()

    def progress(fraction: float, note: str = "") -> None:
        latest[0] = (fraction, note)

    def look() -> None:
        while not over.wait(LOOK_S):
            fraction, note = latest[0]
            frame = sys._current_frames().get(thread)
            with contextlib.suppress(OSError, ValueError):  # nobody is left to report to
                report(fraction, phase(frame) or note)

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield progress
    finally:
        over.set()
        watcher.join()


def phase(frame: FrameType | None) -> str:
    """The innermost landmarks on a stack in words; empty if there are none.

    Args:
        frame: the innermost of the stack.
    """
    names: list[str] = []
    while frame is not None:
        place = (frame.f_globals.get("__name__", ""), frame.f_code.co_name)
        name = OF_LEARNERS.get(place[1], "")
        if place in LANDMARKS:
            name = _name(frame, *LANDMARKS[place])
        if name and not (names and names[0].startswith(name)):
            names.insert(0, name)
        frame = frame.f_back
    return ": ".join(names[-SHOWN:])


def _name(frame: FrameType, name: str, closer: Callable[[Locals], str] | None) -> str:
    """The name of a landmark; the short one if a local variable is not there yet."""
    if closer is None:
        return name
    try:
        return closer(frame.f_locals)
    except (AttributeError, KeyError, TypeError, ValueError):
        return name
