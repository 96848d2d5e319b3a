"""Getting a dataset into memory: from the cache, or built from its files and kept."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from harness.data.base import Dataset, Loaded
from harness.data.cache import Entry, cache_folder
from harness.data.verify import check_facts

_places: ContextVar[Mapping[str, Any] | None] = ContextVar("_places", default=None)


@contextlib.contextmanager
def placed(places: Mapping[str, Any]) -> Iterator[None]:
    """Load the dataset of a cell from where the suite says that it is.

    The identity of a cell does not name the paths of its data, only their content.

    Args:
        places: ``Dataset.Config.places`` of the dataset that is loaded within the block.
    """
    token = _places.set(places)
    try:
        yield
    finally:
        _places.reset(token)


def data_root(explicit: Path | None = None) -> Path | None:
    """Find the data root, the folder of the datasets that are not embedded.

    Args:
        explicit: the folder; None uses HARNESS_DATA.

    Returns:
        The folder, or None if neither is set.
    """
    if explicit is not None:
        return explicit
    configured = os.environ.get("HARNESS_DATA")
    return Path(configured) if configured else None


def load(dataset: Dataset, cache: Path | None = None) -> tuple[Loaded, str]:
    """Load a dataset from the cache; without an intact copy it is built and kept.

    Args:
        dataset: the dataset.
        cache: the folder of copies; None uses HARNESS_CACHE or the user's cache folder.

    Returns:
        The dataset and its content hash.

    Raises:
        DataError: If its files are missing or damaged, or differ from its facts.
    """
    places = _places.get() or {}
    is_of_cell = places.keys() <= type(dataset.config).model_fields.keys()
    if places and is_of_cell and not dataset.config.places():
        keys = {**dataset.config.model_dump(mode="json"), **places}
        dataset = type(dataset)(dataset.Config.model_validate(keys), dataset.root)
    folder = cache_folder(cache)
    if folder is None:
        return _build(dataset)
    entry = Entry(dataset, folder)
    copy = entry.read()
    if copy is None:
        with entry.alone():
            # Another process may have built it while this one waited.
            copy = entry.read() or _build_and_keep(dataset, entry)
    return copy


def _build(dataset: Dataset) -> tuple[Loaded, str]:
    data = dataset.build()
    check_facts(dataset, data)
    return data, data.content_hash()


def _build_and_keep(dataset: Dataset, entry: Entry) -> tuple[Loaded, str]:
    data, digest = _build(dataset)
    entry.write(data, digest)
    # The mapped copy shares its memory with other processes.
    return entry.read() or (data, digest)


def content_hash(dataset: Dataset, cache: Path | None = None) -> str:
    """Return the content hash of a dataset; it is built only if the cache does not know the hash.

    Args:
        dataset: the dataset.
        cache: as in ``load``.
    """
    return cached_hash(dataset, cache) or load(dataset, cache)[1]


def cached_hash(dataset: Dataset, cache: Path | None = None) -> str | None:
    """Return the content hash if the cache knows it.

    Args:
        dataset: the dataset.
        cache: as in ``load``.
    """
    folder = cache_folder(cache)
    return Entry(dataset, folder).read_hash() if folder else None
