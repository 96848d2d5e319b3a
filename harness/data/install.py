"""Putting a dataset's files into the data root: imported from the user's folders, or fetched."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.data.base import Dataset, Remote
from harness.data.cache import cache_folder, file_sha256
from harness.data.download import fetch
from harness.errors import DataError
from harness.files import alone, installing
from harness.registry import datasets


def import_files(name: str, paths: Sequence[Path], root: Path | None) -> list[Path]:
    """Check a dataset's files in the user's folders, and copy them into the data root.

    Args:
        name: name of a dataset that is not embedded.
        paths: files, archives, or folders to search.
        root: the data root.

    Returns:
        The files that were written: all of them, or after any error none.

    Raises:
        DataError: If no file is recognised, files are damaged, or no data root is set.
    """
    cls, _, target = _destination(name, root)
    with installing(target) as staging:
        for path in paths:
            if not path.exists():
                raise DataError("no such file or folder", where=str(path))
            copied = [_copy(staging / file, content) for file, content in cls.found_in(path)]
            if not copied:
                raise DataError(f"no file of {name} found", where=str(path), hint=cls.how_to_get)
        files = {path.relative_to(staging) for path in staging.rglob("*") if path.is_file()}
    return [target / file for file in sorted(files)]


def get(
    name: str, root: Path | None, progress: Callable[[str, int, int], None] | None = None
) -> list[Path]:
    """Fetch a dataset's files, check them, and put them into the data root.

    Intact files are not fetched again. An interrupted download is resumed by the next call, and a
    second process waits for the first.

    Args:
        name: name of a dataset that is not embedded.
        root: the data root.
        progress: called with (file, bytes fetched so far, size in bytes).

    Returns:
        The files that were written.

    Raises:
        DataError: If no source is known, it does not answer, or it sends other content.
    """
    cls, data_root, target = _destination(name, root)
    if not cls.remotes:
        raise DataError(
            f"{name} has no source that is certain to be the right one", hint=cls.how_to_get
        )
    incoming = data_root / ".incoming" / target.name
    with alone(incoming.with_suffix(".lock")):
        needed = [remote for remote in cls.remotes if not _is_intact(target / remote.name, remote)]
        fetched = [fetch(remote, incoming, progress, by_hand=cls.how_to_get) for remote in needed]
        written = import_files(name, fetched, data_root) if fetched else []
        shutil.rmtree(incoming, ignore_errors=True)
    return written


def _destination(name: str, root: Path | None) -> tuple[type[Dataset], Path, Path]:
    """Look up a dataset: its class, the data root, and the folder of its files."""
    cls: type[Dataset] = datasets[name]
    if cls.origin == "embedded":
        raise DataError(f"{name} is embedded: there is nothing to get or to import")
    if root is None:
        raise DataError(
            "no data root is set", hint="set HARNESS_DATA (or --data-root) to a folder of yours"
        )
    return cls, root, root / (cls.folder_name or name)


def _is_intact(path: Path, remote: Remote) -> bool:
    # The size is compared first, because hashing a large file takes seconds.
    return (
        path.is_file()
        and path.stat().st_size == remote.size
        and file_sha256(path, cache_folder()) == remote.sha256
    )


def _copy(target: Path, content: Path | bytes) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        target.write_bytes(content)
    else:
        shutil.copyfile(content, target)
    return target
