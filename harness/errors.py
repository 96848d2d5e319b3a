"""One exception family: every error of a user says what is wrong, where, and what to do.

>>> print(HarnessError("unknown key 'hiden'", where="a.yaml:7:27", hint="did you mean 'hidden'?"))
a.yaml:7:27: unknown key 'hiden'
  did you mean 'hidden'?
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable

LONGEST_LINE = 1000
"""Longest line of an error message, in characters; longer ones are cut in the middle."""

LONGEST_LIST = 16
"""A longer list of allowed words is left out of a hint that already suggests one of them."""


class HarnessError(Exception):
    """Bad input. The command line prints it in one or two lines and exits with status 2.

    Args:
        message: What is wrong.
        where: Location of the fault, e.g. ``suites/a.yaml:3:7`` or a path.
        hint: What the user can do about it.
    """

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        text = self.message
        if self.where:
            text = f"{self.where}: {text}"
        if self.hint:
            text = f"{text}\n  {self.hint}"
        return "\n".join(printable(line) for line in text.split("\n"))

    def _render_traceback_(self) -> list[str]:
        """What IPython shows of it: the message, without the calls that led to it."""
        return [f"{type(self).__name__}: {self}"]


def printable(line: str) -> str:
    r"""Escape control characters and shorten a line: it may quote any part of a broken file.

    >>> printable("\x1b[31mred")
    '\\x1b[31mred'
    """
    escaped = "".join(char if char.isprintable() else repr(char)[1:-1] for char in line)
    if len(escaped) <= LONGEST_LINE:
        return escaped
    return f"{escaped[: LONGEST_LINE - 100]} ... {escaped[-95:]}"


class SuiteError(HarnessError):
    """An invalid suite: syntax, unknown keys, wrong types, impossible combinations.

    Attributes:
        faults: Where several faults were found, one error for each of them.
    """

    faults: tuple[SuiteError, ...] = ()


class DataError(HarnessError):
    """A dataset that is missing or damaged, or that lacks the requested split."""


class StoreError(HarnessError):
    """A store that cannot be read or written."""


class ProofError(HarnessError):
    """A sample that is proven robust and was broken: the harness itself is wrong."""


class HarnessWarning(UserWarning):
    """Something that does not stop the work but that a reader of its results should know.

    The command line prints each as one line on stderr, and the same line once.
    """


def remark(message: str, *, where: str | None = None) -> None:
    """Warn in one line.

    Args:
        message: What a reader should know.
        where: Location, e.g. a path.
    """
    warnings.warn(HarnessWarning(str(HarnessError(message, where=where))), stacklevel=3)


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """Suggest the closest allowed word, and list the allowed words.

    The list is left out if it is long and a suggestion was found.

    >>> did_you_mean("pdg", ["fgsm", "pgd"])
    "did you mean 'pgd'? allowed: fgsm, pgd"
    >>> did_you_mean("pdg", [])
    'no value is allowed here'
    """
    words = sorted(allowed)
    closest = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    listed = f"allowed: {', '.join(words)}" if words else "no value is allowed here"
    if not closest:
        return listed
    suggestion = f"did you mean {closest[0]!r}?"
    if len(words) > LONGEST_LIST:
        return suggestion
    return f"{suggestion} {listed}"
