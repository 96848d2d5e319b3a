"""Putting a dataset's files into the data root: imported from the user's folders, or fetched.

Whatever is put there is checked whole before it is there: the dataset is built from it, so every
image is read, and its shape, its splits and, where it is known, its content hash are compared.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.data.acquire import load
from harness.data.base import Dataset, Loaded, Remote, SplitFacts
from harness.data.cache import cache_folder, file_sha256
from harness.data.download import fetch
from harness.errors import DataError
from harness.files import alone, installing
from harness.registry import datasets


def import_files(
    name: str,
    paths: Sequence[Path],
    root: Path | None,
    say: Callable[[str], None] | None = None,
) -> list[Path]:
    """Check a dataset's files in the user's folders, and copy them into the data root.

    Args:
        name: name of a dataset that is not embedded.
        paths: files, archives, or folders to search.
        root: the data root.
        say: called with what was checked, and what could not be.

    Returns:
        The files that were written: all of them, or after any error none.

    Raises:
        DataError: If no file is recognised, files are damaged, the dataset is not whole with them,
            or no data root is set.
    """
    cls, data_root, target = _destination(name, root)
    with installing(target) as staging:
        for path in paths:
            if not path.exists():
                raise DataError("no such file or folder", where=str(path))
            copied = [_copy(staging / file, content) for file, content in cls.found_in(path)]
            if not copied:
                raise DataError(f"no file of {name} found", where=str(path), hint=cls.how_to_get)
        checked = check_whole(cls, data_root, target, staging, paths)
        if say:
            say(checked)
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


def check_whole(
    cls: type[Dataset], root: Path, target: Path, staging: Path, paths: Sequence[Path]
) -> str:
    """Build a dataset as it will be after an import.

    Args:
        cls: its class.
        root: the data root.
        target: the folder of its files.
        staging: the folder of the imported files.
        paths: where they come from, for errors.

    Returns:
        What was checked, and what could not be, in words.

    Raises:
        DataError: If it is not whole.
    """
    with tempfile.TemporaryDirectory() as folder:
        view = Path(folder)
        for other in root.iterdir():
            if other not in (target, staging):
                (view / other.name).symlink_to(other.resolve())
        for source in (staging, target):
            _link_files(source.resolve(), view / target.name)
        faults = []
        for config in cls(cls.Config(), view).variants():
            dataset = cls(config, view)
            try:
                data, digest = load(dataset)
            except DataError as fault:
                faults.append(fault)
                continue
            if dataset.pinned_hash in (None, digest):
                return _checked_words(dataset, data)
            found = f"content hash {digest[:16]}..., expected {str(dataset.pinned_hash)[:16]}..."
            faults.append(DataError(found))
    raise DataError(
        f"not the whole of {cls.kind}: {faults[0].message}",
        where=", ".join(map(str, paths)),
        hint=f"nothing was imported. {faults[0].hint or cls.how_to_get}",
    )


def _link_files(source: Path, view: Path) -> None:
    """Link every file below a folder into another one, unless a file of its name is there."""
    for file in source.rglob("*"):
        link = view / file.relative_to(source)
        if file.is_file() and not link.exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file)


def _checked_words(dataset: Dataset, data: Loaded) -> str:
    """What the check of an import says, and what it cannot say."""
    splitting, splits = next(iter(data.splittings.items()))
    sizes = []
    for split, rows in splits.items():
        facts = SplitFacts.measure(data.labels[rows])
        sizes.append(f"{split} {facts.images} images of {facts.classes} classes")
    known = "content hash as expected"
    if dataset.pinned_hash is None:
        known = "no content hash is known, so whether these are the original pixels is not checked"
    return f"{dataset.title}: every image read; {splitting}: {', '.join(sizes)}; {known}"


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
