"""Signals, for as long as something takes."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def answered(which: signal.Signals, how: Callable[..., Any] | signal.Handlers) -> Iterator[None]:
    """A signal answered in one way within the block, and as before after it; as ever outside of the main thread, which alone
    may say so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(which, how)
    try:
        yield
    finally:
        signal.signal(which, before)
