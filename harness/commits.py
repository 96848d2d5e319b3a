"""Files in a commit, named in git's own notation: ``HEAD~5:results/reference/ci.json``."""

from __future__ import annotations

import io
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from harness.errors import HarnessError

# A colon in braces belongs to the commit: HEAD@{12:00}:results.
_NAME = re.compile(r"(?P<commit>(?:[^:{]|\{[^}]*\})+):(?P<path>.*)")


@dataclass(frozen=True)
class Committed:
    """A file in a commit. It is opened, printed and asked for its ``suffix`` like a ``Path``.

    Attributes:
        name: ``COMMIT:PATH``.
    """

    name: str

    def __str__(self) -> str:
        return self.name

    @property
    def suffix(self) -> str:
        """The suffix of its name, such as ``".json"``."""
        return Path(self.name).suffix

    def open(self, mode: str = "rb") -> BinaryIO:
        """Open the file for reading bytes."""
        return io.BytesIO(_git("cat-file", "blob", self.name).stdout)


File = Path | Committed
"""A file to read: on disk, or in a commit."""


def is_commit_path(name: str) -> bool:
    """Return whether a name has the form ``COMMIT:PATH`` and is not a URL.

    >>> is_commit_path("HEAD~5:results/quickstart"), is_commit_path("s3://bucket/store")
    (True, False)
    """
    return "://" not in name and _NAME.fullmatch(name) is not None


def find(name: str, inside: str) -> Committed:
    """Return the file that ``COMMIT:PATH`` names.

    Args:
        name: ``COMMIT:PATH``; see ``is_commit_path``.
        inside: name of the file to take if the path is a folder.

    Raises:
        HarnessError: there is no git, no repository, no such commit, or no such file in it.
    """
    parts = _NAME.fullmatch(name)
    if parts is None:
        raise HarnessError("not of the form COMMIT:PATH", where=name)
    commit, path = parts["commit"], parts["path"]
    _check_repository(name)
    _check_commit(commit, name)
    if _object_type(name) == "tree":
        folder = path.rstrip("/")
        name = f"{commit}:{folder}/{inside}" if path else f"{commit}:{inside}"
    if _object_type(name) != "blob":
        raise HarnessError(
            "that commit has no such file",
            where=name,
            hint="paths start at the top of the repository; with ./ they start in this folder",
        )
    return Committed(name)


def _check_repository(name: str) -> None:
    answer = _git("rev-parse", "--git-dir")
    if answer.returncode:
        error = answer.stderr.decode(errors="replace").strip()
        first_line = error.partition("\n")[0].removeprefix("fatal: ")
        raise HarnessError(
            f"there is no such file, and no repository to look in: git says {first_line!r}",
            where=name,
        )


def _check_commit(commit: str, name: str) -> None:
    is_option = commit.startswith("-")
    if is_option or _git("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}").returncode:
        raise HarnessError(
            f"there is no commit {commit!r} in this repository",
            where=name,
            hint="`git log --oneline` lists commits; "
            "`git fetch --unshallow` completes a shallow clone",
        )


def _object_type(name: str) -> str:
    """Return ``blob`` for a file, ``tree`` for a folder, ``""`` for nothing."""
    return _git("cat-file", "-t", name).stdout.decode().strip()


def _git(*words: str) -> subprocess.CompletedProcess[bytes]:
    """Run a git command in the working directory."""
    try:
        return subprocess.run(["git", *words], capture_output=True, check=False)
    except FileNotFoundError:
        raise HarnessError("a file in a commit needs git, which is not installed") from None
