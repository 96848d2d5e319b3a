"""What a command reads numbers from: a suite with its store, a store, a submission or a reference.

The name decides which it is. A folder of results with measurements (``measured.zip``) counts as a
submission. References and submissions may be in a commit: ``HEAD~5:results/quickstart``.
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
KIND_OF_SUFFIX: dict[str, Kind] = {".zip": "submission", ".json": "reference"}
"""Any other file is a suite."""


@dataclass(frozen=True)
class Source:
    """Something that numbers are read from.

    Attributes:
        kind: what it is.
        at: its file; the folder or URL of a store, as it was named.
    """

    kind: Kind
    at: commits.File | str

    def __str__(self) -> str:
        return str(self.at)

    @property
    def file(self) -> commits.File:
        """The file of a suite, a submission or a reference."""
        if isinstance(self.at, str):
            raise TypeError("a store is not a file")
        return self.at


def find(name: str | Path) -> Source:
    """Return what a name stands for.

    Raises:
        HarnessError: the commit or its file is missing, or is neither a submission nor a reference.
    """
    path = Path(name)
    if is_store(name):
        measured = path / MEASURED
        if not is_url(name) and measured.is_file():
            return Source("submission", measured)
        return Source("store", str(name))
    if path.is_file() or not commits.is_commit_path(str(name)):
        return Source(KIND_OF_SUFFIX.get(path.suffix.lower(), "suite"), path)
    file = commits.find(str(name), MEASURED)
    if file.suffix not in KIND_OF_SUFFIX:
        raise HarnessError(
            "only a reference (.json), a submission (.zip) or a folder of results with a "
            f"{MEASURED} can be read from a commit",
            where=str(name),
            hint="a suite is read from the working tree: `git worktree add` checks out another one",
        )
    return Source(KIND_OF_SUFFIX[file.suffix], file)
