"""The entry point of the ``harness`` command: errors become messages, a closed stream is none."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from harness.cli.app import app
from harness.errors import HarnessError, HarnessWarning
from harness.execute.signals import handling


def main() -> None:
    """Run the command that ``sys.argv`` names."""
    _complete_streams()
    try:
        with (
            contextlib.redirect_stdout(_PipeSafe(sys.stdout)),
            handling(signal.SIGTERM, signal.default_int_handler),
            _remarks_in_one_line(),
        ):
            app(prog_name="harness")
    except HarnessError as error:
        _exit_with(error)
    except OSError as error:
        # A name too long for the file system, or a folder without permission: bad input, no bug.
        where = None if error.filename is None else str(error.filename)
        _exit_with(HarnessError(error.strerror or str(error), where=where))


@contextlib.contextmanager
def _remarks_in_one_line() -> Iterator[None]:
    """Print warnings of the harness without the place in its code that gave them."""
    show = warnings.showwarning

    def show_remark(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, HarnessWarning):
            print(f"warning: {message}", file=sys.stderr)
        else:
            show(message, category, filename, lineno, file, line)

    warnings.showwarning = show_remark
    try:
        yield
    finally:
        warnings.showwarning = show


def _complete_streams() -> None:
    """Open the standard streams that are closed, and let those that are open take any character.

    A file that is opened later would get the number of a closed stream, and with it what libraries
    and workers print. Characters that an encoding lacks are escaped.
    """
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(handle, True)
    os.close(handle)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - stays open
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _exit_with(error: HarnessError) -> None:
    print(f"harness: {error}", file=sys.stderr)
    sys.exit(2)


class _PipeSafe:
    """Standard output that ignores a reader that has gone (``harness ... | head``).

    The command goes on, so that what it computes and writes to files is not lost.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        return self._attempt(lambda: self._stream.write(text)) or len(text)

    def flush(self) -> None:
        self._attempt(self._stream.flush)

    def _attempt(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except BrokenPipeError:
            # Later writes go nowhere instead of failing again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            return None
        except OSError as error:
            raise HarnessError(
                f"cannot write the answer: {error.strerror}", where="standard output"
            ) from error
