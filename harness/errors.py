"""One exception family: every error a user can cause says what is wrong, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LONGEST_LINE = 1000
"""Characters of a line of an error."""


class HarnessError(Exception):
    """Bad input. The command line prints it in one or two lines and exits with status 2.

    Args:
        message: what is wrong.
        where: place of the fault, e.g. ``suites/a.yaml:3:7`` or a path.
        hint: what the user can do about it.
    """

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None):
        super().__init__(message)
        self.message, self.where, self.hint = message, where, hint

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return "\n".join(
            map(_readable, (f"{text}\n  {self.hint}" if self.hint else text).split("\n"))
        )


def _readable(line: str) -> str:
    """A line as a terminal can bear it: what was quoted from a faulty file may be of any length, and of any characters."""
    line = "".join(char if char.isprintable() else repr(char)[1:-1] for char in line)
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 100]} ... {line[-95:]}"


class SuiteError(HarnessError):
    """A suite that cannot mean anything: syntax, unknown keys, wrong types, impossible combinations.

    Attributes:
        faults: every fault that was found, one error each, where there are several.
    """

    faults: tuple[SuiteError, ...] = ()


class DataError(HarnessError):
    """A data set that is missing, damaged, or has no such split."""


class StoreError(HarnessError):
    """A store that cannot be read or written."""


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """``"did you mean 'x'? allowed: ..."`` for the nearest allowed word, or the allowed words alone.

    A list too long to be read is left out where there is a near word.
    """
    allowed = sorted(allowed)
    near = difflib.get_close_matches(word, allowed, n=1, cutoff=0.5)
    listed = f"allowed: {', '.join(allowed)}" if allowed else "none is allowed here"
    if not near:
        return listed
    return f"did you mean {near[0]!r}?" + (f" {listed}" if len(allowed) <= 16 else "")
