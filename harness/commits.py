"""Files as a commit has them, named in git's own notation: ``HEAD~5:results/reference/ci.json``."""

from __future__ import annotations

import io
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from harness.errors import HarnessError

_NAME = re.compile(r"((?:[^:{]|\{[^}]*\})+):(.*)")
"""A colon in braces belongs to the commit: ``HEAD@{12:00}:results``."""


@dataclass(frozen=True)
class Committed:
    """A file of a commit. Opened, printed and asked for its ``suffix`` as a path on disk is.

    Attributes:
        name: ``COMMIT:PATH``.
    """

    name: str

    def __str__(self) -> str:
        return self.name

    @property
    def suffix(self) -> str:
        """The ending of its name, ``".json"`` say."""
        return Path(self.name).suffix

    def open(self, mode: str = "rb") -> BinaryIO:
        """Its content, to be read as bytes."""
        return io.BytesIO(_git("cat-file", "blob", self.name).stdout)


File = Path | Committed
"""A file to be read: on disk, or of a commit."""


def named(name: str) -> bool:
    """Whether a name is written ``COMMIT:PATH`` (and is no URL's)."""
    return "://" not in name and _NAME.fullmatch(name) is not None


def find(name: str, inside: str) -> Committed:
    """The file that ``COMMIT:PATH`` names, or the one called ``inside`` where that is a folder.

    Raises:
        HarnessError: no git, no repository, no such commit, or no such file in it.
    """
    commit, path = _NAME.fullmatch(name).groups()
    repository = _git("rev-parse", "--git-dir")
    if repository.returncode:
        said = (
            repository.stderr.decode(errors="replace")
            .strip()
            .partition("\n")[0]
            .removeprefix("fatal: ")
        )
        raise HarnessError(
            f"no such file, and no repository that could have it: git says {said!r}", where=name
        )
    if (
        commit.startswith("-")
        or _git("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}").returncode
    ):
        raise HarnessError(
            f"there is no commit {commit!r} in this repository",
            where=name,
            hint="`git log --oneline` lists commits; `git fetch --unshallow` brings those that a clone left out",
        )
    if _kind(name) == "tree":
        name = f"{commit}:{path.rstrip('/')}/{inside}" if path else f"{commit}:{inside}"
    if _kind(name) != "blob":
        raise HarnessError(
            "that commit has no such file",
            where=name,
            hint="paths are from the top of the repository; one that begins with ./ is from here",
        )
    return Committed(name)


def _kind(name: str) -> str:
    return _git("cat-file", "-t", name).stdout.decode().strip()


def _git(*words: str) -> subprocess.CompletedProcess[bytes]:
    """What git answers here."""
    try:
        return subprocess.run(["git", *words], capture_output=True, check=False)
    except FileNotFoundError:
        raise HarnessError("a file of a commit needs git, which is not installed") from None
