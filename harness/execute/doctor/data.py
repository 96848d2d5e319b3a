"""Checks of datasets: which are here, complete, and the ones they should be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.data import acquire
from harness.data.base import Dataset
from harness.errors import HarnessError
from harness.execute.doctor import disks
from harness.execute.doctor.finding import Finding
from harness.registry import datasets


def datasets_under(root: Path | None) -> Iterator[Finding]:
    """Check the data root and each dataset under its default config.

    Args:
        root: folder of datasets that are not embedded; None if not set.
    """
    yield from _data_root(root)
    absent = []
    for name in datasets:
        finding = _dataset(datasets[name](datasets[name].Config(), root))
        if finding is None:
            absent.append(name)
        else:
            yield finding
    if absent:
        yield Finding(
            "NOTE",
            "not here",
            f"{', '.join(absent)} (needed only by suites that name them)",
            "harness data get NAME, or harness data import NAME PATH",
        )


def _data_root(root: Path | None) -> Iterator[Finding]:
    if root is None:
        yield Finding(
            "NOTE",
            "data root",
            "not set: only embedded datasets can be used",
            "set HARNESS_DATA to use others",
        )
    elif not root.is_dir():
        yield Finding(
            "FAIL",
            "data root",
            f"{root} is not a folder",
            "create it, or set HARNESS_DATA to the folder of your datasets",
        )
    else:
        yield from disks.free_space("data root", root, "nothing more can be downloaded")


def _dataset(dataset: Dataset) -> Finding | None:
    """Check a dataset; None if no file of it is here. Only embedded ones are read."""
    try:
        if dataset.origin == "embedded":
            return _embedded(dataset)
        return _files(dataset)
    except HarnessError as error:
        hint = error.hint or ""
        if dataset.origin == "embedded":
            return Finding("FAIL", dataset.kind, error.message, hint)
        if dataset.root is None or not dataset.place.is_dir():
            return None
        if not any(dataset.place.iterdir()):
            return None
        return Finding("WARN", dataset.kind, error.message, hint)


def _embedded(dataset: Dataset) -> Finding:
    data, digest = acquire.load(dataset)
    detail = f"embedded, {len(data.labels)} images, content {digest[:12]}"
    return Finding("PASS", dataset.kind, detail)


def _files(dataset: Dataset) -> Finding | None:
    """Check the files of a dataset that is not embedded."""
    name = dataset.kind
    sources = dataset.sources()
    missing = [path for path in sources if not path.exists()]
    if len(missing) == len(sources):
        return None
    if missing:
        return Finding("WARN", name, f"incomplete: {missing[0]} is missing", dataset.how_to_get)
    digest = acquire.cached_hash(dataset)
    if not digest:
        return Finding("PASS", name, "here, not read yet")
    expected = dataset.pinned_hash
    if expected and digest != expected:
        return Finding(
            "FAIL",
            name,
            f"content {digest[:12]}, expected {expected[:12]}",
            f"harness data verify {name}",
        )
    return Finding("PASS", name, f"here, content {digest[:12]}")
