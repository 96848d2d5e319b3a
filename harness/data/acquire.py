"""Getting a dataset into memory: found, read or rendered once, kept, verified."""

from __future__ import annotations

import os
from pathlib import Path

from harness.data.base import Dataset, Loaded
from harness.data.cache import Entry, cache_folder
from harness.data.carve import measured_facts
from harness.errors import DataError


def data_root(explicit: Path | None = None) -> Path | None:
    """The folder that holds the datasets that are not embedded: ``explicit``, or HARNESS_DATA, or None."""
    if explicit is None and (own := os.environ.get("HARNESS_DATA")):
        explicit = Path(own)
    return explicit


def load(dataset: Dataset, cache: Path | None = None) -> tuple[Loaded, str]:
    """The dataset and its content hash, from the cache where there is a sound copy, else built and kept.

    Args:
        dataset: what to load.
        cache: where copies are kept; None: HARNESS_CACHE, or the user's cache folder.

    Raises:
        DataError: it is missing or damaged, or is not what its facts say.
    """
    entry = Entry(dataset, cache_folder(cache))
    if found := entry.read():
        return found
    with entry.alone():
        if found := entry.read():  # another process built it while this one waited
            return found
        data = dataset.build()
        _agree(dataset, data)
        content_hash = data.content_hash()
        entry.write(data, content_hash)
    return data, content_hash


def content_hash(dataset: Dataset, cache: Path | None = None) -> str:
    """The content hash, read from the cache where it is known; the dataset is built only where it is not."""
    return Entry(dataset, cache_folder(cache)).read_hash() or load(dataset, cache)[1]


def _agree(dataset: Dataset, data: Loaded) -> None:
    """A dataset that differs from its facts would make validated suites fail late."""
    facts = dataset.facts()
    if data.pixels.shape[1:] != facts.image_shape:
        raise DataError(f"images of {data.pixels.shape[1:]}, its facts say {facts.image_shape}", where=dataset.kind)
    found = {(splitting, split): measured_facts(data.labels, rows)
             for splitting, splits in data.splittings.items() for split, rows in splits.items()}
    expected = {(splitting, split): known
                for splitting, splits in facts.splittings.items() for split, known in splits.items()}
    for name in found.keys() | expected.keys():
        if found.get(name) != expected.get(name):
            raise DataError(f"split {'/'.join(name)} is {found.get(name)}, its facts say {expected.get(name)}",
                            where=dataset.kind, hint="its source files are not the ones that it is made from")
