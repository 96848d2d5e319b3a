"""Checking a dataset: its files, its splits, its content hash and its cached copy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from harness.data.base import Dataset, Loaded, SplitFacts
from harness.data.cache import Entry, cache_folder
from harness.errors import DataError


@dataclass(frozen=True)
class Check:
    """One result of ``verify``.

    Attributes:
        item: the file, split or hash that was checked.
        expected: its expected value, as text.
        found: its actual value, as text.
        ok: whether the two agree.
    """

    item: str
    expected: str
    found: str
    ok: bool


class Comparison(NamedTuple):
    """One fact of a dataset beside its measured value."""

    item: str
    stated: tuple[int, ...] | SplitFacts | None
    measured: tuple[int, ...] | SplitFacts | None


def verify(dataset: Dataset, cache: Path | None = None) -> list[Check]:
    """Check files, splits, content hash and cached copy, starting from the source files.

    Args:
        dataset: the dataset.
        cache: the folder of copies; None uses HARNESS_CACHE or the user's cache folder.
    """
    try:
        sources = dataset.sources()
        checks = [
            Check(path.name, "present", f"{path.stat().st_size} bytes", ok=True) for path in sources
        ]
        data = dataset.build()
    except DataError as error:
        reason = "; ".join(filter(None, (error.message, error.hint)))
        return [Check(error.where or dataset.kind, "readable and complete", reason, ok=False)]
    for item, stated, measured in compare_with_facts(dataset, data):
        checks.append(Check(item, _text(stated), _text(measured), stated == measured))
    digest = data.content_hash()
    pinned = dataset.pinned_hash
    checks.append(Check("content hash", pinned or "not known", digest, pinned in (None, digest)))
    checks += [Check("remark", "", remark, ok=True) for remark in dataset.remarks()]
    folder = cache_folder(cache)
    copy = Entry(dataset, folder).read() if folder else None
    if copy:
        _, cached = copy
        checks.append(Check("cached copy", digest, cached, cached == digest))
    return checks


def report(dataset: Dataset, cache: Path | None = None) -> list[dict[str, Any]]:
    """Run ``verify`` and return its results as plain values."""
    return [{"dataset": dataset.kind, **asdict(check)} for check in verify(dataset, cache)]


def check_facts(dataset: Dataset, data: Loaded) -> None:
    """Check that a dataset agrees with its facts: otherwise valid suites would fail late.

    Raises:
        DataError: If it does not.
    """
    for item, stated, measured in compare_with_facts(dataset, data):
        if stated != measured:
            raise DataError(
                f"{item} is {_text(measured)}, but its facts say {_text(stated)}",
                where=dataset.kind,
                hint="its source files are not the expected ones",
            )


def compare_with_facts(dataset: Dataset, data: Loaded) -> Iterator[Comparison]:
    """Compare the shape of the images and each split with the facts."""
    facts = dataset.facts()
    yield Comparison("image shape", facts.image_shape, data.pixels.shape[1:])
    for splitting in {**facts.splittings, **data.splittings}:
        stated = facts.splittings.get(splitting, {})
        rows_of = data.splittings.get(splitting, {})
        for split in {**stated, **rows_of}:
            measured = None
            if split in rows_of:
                measured = SplitFacts.measure(data.labels[rows_of[split]])
            yield Comparison(f"{splitting}/{split}", stated.get(split), measured)


def _text(fact: tuple[int, ...] | SplitFacts | None) -> str:
    if fact is None:
        return "none"
    if isinstance(fact, SplitFacts):
        return f"{fact.images} images, {fact.classes} classes of {fact.per_class} or more"
    return " x ".join(map(str, fact))
