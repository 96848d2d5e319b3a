"""Where numbers are read from, told by how it is named: a suite (with its store), a store, a submission, a reference.

A folder of results that has its measurements beside it (``measured.zip``) is a submission. References and submissions may be
of a commit: ``HEAD~5:results/quickstart``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness import commits
from harness.errors import HarnessError
from harness.publish.submission import MEASURED
from harness.storage.location import is_store, is_url

Kind = Literal["suite", "store", "submission", "reference"]
_KINDS: dict[str, Kind] = {".zip": "submission", ".json": "reference"}


@dataclass(frozen=True)
class Source:
    """Something that numbers are read from.

    Attributes:
        kind: what it is.
        at: its file; of a store its folder or URL, as it was named.
    """

    kind: Kind
    at: commits.File | str

    def __str__(self) -> str:
        return str(self.at)


def find(name: str | Path) -> Source:
    """What is named.

    Raises:
        HarnessError: a commit or a file of it that is not there, or that is neither submission nor reference.
    """
    path = Path(name)
    if is_store(name):
        inside = not is_url(name) and path / MEASURED
        return (
            Source("submission", inside)
            if inside and inside.is_file()
            else Source("store", str(name))
        )
    if path.is_file() or not commits.named(str(name)):
        return Source(_KINDS.get(path.suffix.lower(), "suite"), path)
    file = commits.find(str(name), MEASURED)
    if file.suffix not in _KINDS:
        raise HarnessError(
            "of a commit a reference (.json) or a submission (.zip) can be read, or a folder of results with a "
            f"{MEASURED}",
            where=str(name),
            hint="a suite is read as it is here: `git worktree add` for another",
        )
    return Source(_KINDS[file.suffix], file)
