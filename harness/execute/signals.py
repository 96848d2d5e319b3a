"""Signal handlers for the duration of a block."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def handling(which: signal.Signals, how: Callable[..., Any] | signal.Handlers) -> Iterator[None]:
    """Handle a signal in one way within the block, and as before after it.

    Outside the main thread, which alone may set handlers, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(which, how)
    try:
        yield
    finally:
        signal.signal(which, before)
