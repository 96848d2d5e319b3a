"""Where a store is: in a folder or at a URL. Light to import, for the command line."""

from __future__ import annotations

from pathlib import Path

DEFAULT_STORE = "results/runs"


def is_url(root: str | Path) -> bool:
    """Report whether a store is at a URL rather than in a folder.

    >>> is_url("s3://bucket/runs"), is_url("results/runs"), is_url("file:///results/runs")
    (True, False, False)
    """
    return "://" in str(root) and not str(root).startswith("file://")


def is_store(path: str | Path) -> bool:
    """Report whether a path is that of a store (a folder or URL) rather than of a file."""
    return is_url(path) or Path(str(path).removeprefix("file://")).is_dir()
