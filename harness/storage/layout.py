"""What a store's folder contains, and how a folder of something else is recognised."""

from __future__ import annotations

import re

from harness.errors import StoreError
from harness.storage.bucket import PROBE, Bucket
from harness.storage.folder import PREPARED, Folder

NAMES = {*PREPARED, "packs", "code", "damaged", "partial"}
"""Every name that stores of this and earlier releases have in their folder."""
_HASHED = re.compile(r"[0-9a-f]{16,}([.-].*)?")
"""Names of cells, tracebacks, packs and versions of code: all begin with a hash."""
_OF_THE_SYSTEM = re.compile(r"lost\+found|\.DS_Store|\.nfs.*|\.snapshot|\.git(ignore|keep)")
"""Names that appear in an empty folder on their own."""


def prepare(files: Folder | Bucket) -> None:
    """Make a store ready for writing.

    Raises:
        StoreError: it cannot be written, or the folder contains something else.
    """
    if not is_store(files):
        raise StoreError(
            "not a store, and not empty: nothing was written",
            where=str(files.root),
            hint="give --store a new or empty folder, or the store of an earlier run",
        )
    files.prepare()


def is_store(files: Folder | Bucket) -> bool:
    """Whether a folder is a store, or can become one because it is empty.

    A process that is killed while it prepares a store leaves some of its folders, all empty. A
    store that was copied without its empty folders still has cells or packs.
    """
    names = {name for name in files.children("") if name and not _OF_THE_SYSTEM.fullmatch(name)}
    if names >= PREPARED:
        return True
    content = {f"{name}/{child}" for name in names & NAMES for child in files.children(name)}
    if any(_HASHED.fullmatch(path.partition("/")[2]) for path in content):
        return True
    return names <= PREPARED and content <= {PROBE}
