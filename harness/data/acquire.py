"""Getting a dataset into memory: found, read or rendered once, kept, verified."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.data.base import Dataset, Facts, Loaded, Remote, SplitFacts
from harness.data.cache import Entry, cache_folder, file_sha256
from harness.data.carve import measured_facts
from harness.data.download import fetch
from harness.errors import DataError
from harness.files import alone, installing
from harness.registry import datasets


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
        return entry.read() or (data, content_hash)


def content_hash(dataset: Dataset, cache: Path | None = None) -> str:
    """The content hash, read from the cache where it is known; the dataset is built only where it is not."""
    return Entry(dataset, cache_folder(cache)).read_hash() or load(dataset, cache)[1]


@dataclass(frozen=True)
class Check:
    """One line of ``verify``: what was looked at, what it should be, what it is."""

    item: str
    expected: str
    found: str
    ok: bool


def verify(dataset: Dataset, cache: Path | None = None) -> list[Check]:
    """Look at everything again, from the source files on: files, splits, content hash, cached copy."""
    try:
        checks = [
            Check(path.name, "present", f"{path.stat().st_size} bytes", True)
            for path in dataset.sources()
        ]
        data = dataset.build()
    except DataError as error:
        found = "; ".join(filter(None, (error.message, error.hint)))
        return [Check(error.where or dataset.kind, "readable and complete", found, False)]
    checks += [
        Check(name, _text(known), _text(found), known == found)
        for name, known, found in _compare(dataset, data)
    ]
    found, expected = data.content_hash(), pinned_hash(dataset)
    checks.append(Check("content hash", expected or "not known", found, expected in (None, found)))
    if kept := Entry(dataset, cache_folder(cache)).read():
        checks.append(Check("cached copy", found, kept[1], kept[1] == found))
    return checks


def _text(fact: Any) -> str:
    if isinstance(fact, SplitFacts):
        return f"{fact.images} images, {fact.classes} classes of {fact.per_class} or more"
    return "none" if fact is None else " x ".join(map(str, fact))


def pinned_hash(dataset: Dataset) -> str | None:
    """The content hash that a dataset's class promises for this config (its ``pinned``), None where it promises none."""
    config = json.dumps(dataset.config.model_dump(mode="json"), sort_keys=True)
    return dataset.pinned.get(config)


def import_(name: str, paths: Sequence[Path], root: Path | None) -> list[Path]:
    """Take a dataset's files from where a user has them into the data root, checked by content before they are taken.

    Args:
        name: of a dataset that is not embedded.
        paths: files, archives, or folders that are searched.
        root: the data root.

    Returns:
        The files written; all of them or, where anything is wrong, none.

    Raises:
        DataError: nothing recognised, damaged files, or nowhere to put them.
    """
    cls, target = _shelf(name, root)
    with installing(target) as staging:
        for path in paths:
            if not path.exists():
                raise DataError("no such file or folder", where=str(path))
            if not [_put(staging, *file) for file in cls.found_in(path)]:
                raise DataError(
                    f"nothing of {name} found here", where=str(path), hint=cls.how_to_get
                )
        written = sorted(
            {file.relative_to(staging) for file in staging.rglob("*") if file.is_file()}
        )
    return [target / file for file in written]


def get(
    name: str, root: Path | None, progress: Callable[[str, int, int], None] | None = None
) -> list[Path]:
    """Fetch a dataset's files, check them, and put them into the data root; what is there already is not fetched again.

    Interrupted, it goes on where it stopped when it is called again; a second process waits for the first.

    Args:
        progress: called with (file, bytes that are here, bytes in all).

    Returns:
        The files written.

    Raises:
        DataError: no source is known, it does not answer, or what it sends is not the file.
    """
    cls, target = _shelf(name, root)
    if not cls.remotes:
        raise DataError(
            f"{name} has no source that is sure to be the right one", hint=cls.how_to_get
        )
    incoming = root / ".incoming" / target.name
    with alone(incoming.with_suffix(".lock")):
        needed = [remote for remote in cls.remotes if not _is_whole(target / remote.name, remote)]
        fetched = [fetch(remote, incoming, progress, by_hand=cls.how_to_get) for remote in needed]
        written = import_(name, fetched, root) if fetched else []
        shutil.rmtree(incoming, ignore_errors=True)
    return written


def _is_whole(path: Path, remote: Remote) -> bool:
    return (
        path.is_file()
        and path.stat().st_size == remote.size
        and file_sha256(path, cache_folder()) == remote.sha256
    )


def _shelf(name: str, root: Path | None) -> tuple[type[Dataset], Path]:
    """A dataset that is not embedded, and the folder of its files."""
    cls = datasets[name]
    if cls.origin == "embedded":
        raise DataError(f"{name} is embedded: there is nothing to get or to import")
    if root is None:
        raise DataError(
            "no data root is set", hint="set HARNESS_DATA (or --data-root) to a folder of yours"
        )
    return cls, root / (cls.folder_name or name)


def _put(folder: Path, name: str, content: Path | bytes) -> Path:
    place = folder / name
    place.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        place.write_bytes(content)
    else:
        shutil.copyfile(content, place)
    return place


def describe(name: str, root: Path | None) -> dict[str, Any]:
    """What ``harness data list`` shows of a dataset under its default config; nothing is read."""
    dataset = datasets[name](datasets[name].Config(), root)
    try:
        facts = dataset.facts()
    except DataError:  # of images of one's own nothing is known before they are there
        facts = Facts((), {})
    first = next(iter(facts.splittings), None)
    counts = [known.classes for known in facts.splittings.get(first, {}).values()]
    return {
        "name": name,
        "description": datasets.describe(name),
        "origin": dataset.origin,
        "present": is_present(dataset),
        "shape": list(facts.image_shape),
        "splittings": {
            splitting: {
                split: {
                    "classes": known.classes,
                    "per_class": known.per_class,
                    "images": known.images,
                }
                for split, known in splits.items()
            }
            for splitting, splits in facts.splittings.items()
        },
        "class_disjoint": sorted(facts.class_disjoint),
        "classes": sum(counts) if first in facts.class_disjoint else max(counts, default=0),
        "images": sum(known.images for known in facts.splittings.get(first, {}).values()),
        "switches": {
            key: field.description for key, field in type(dataset.config).model_fields.items()
        },
        "licence": dataset.licence,
        "citation": dataset.citation,
        "how_to_get": dataset.how_to_get,
    }


def describe_all(root: Path | None) -> list[dict[str, Any]]:
    """One line of plain values for each registered dataset."""
    rows = []
    for known in (describe(name, root) for name in datasets):
        splits = (
            f"{splitting} {'/'.join(str(split['classes']) for split in splits.values())}"
            for splitting, splits in known["splittings"].items()
        )
        rows.append(
            {
                "name": known["name"],
                "classes": known["classes"],
                "images": known["images"],
                "shape": "x".join(map(str, known["shape"])),
                "classes by split": ", ".join(splits),
                "origin": known["origin"],
                "present": known["present"],
                "licence": known["licence"],
                "citation": known["citation"],
            }
        )
    return rows


def present(root: Path | None) -> list[str]:
    """Names of the datasets that are here, under their default configs."""
    return [name for name in datasets if is_present(datasets[name](datasets[name].Config(), root))]


def report(dataset: Dataset, cache: Path | None = None) -> list[dict[str, Any]]:
    """``verify`` as plain values."""
    return [{"dataset": dataset.kind, **asdict(check)} for check in verify(dataset, cache)]


def is_present(dataset: Dataset) -> bool:
    """Whether all its source files are there."""
    try:
        return all(path.exists() for path in dataset.sources())
    except DataError:
        return False


def _agree(dataset: Dataset, data: Loaded) -> None:
    """A dataset that differs from its facts would make validated suites fail late."""
    for name, known, found in _compare(dataset, data):
        if known != found:
            raise DataError(
                f"{name} is {_text(found)}, but its facts say {_text(known)}",
                where=dataset.kind,
                hint="its source files are not the ones that it is made from",
            )


def _compare(dataset: Dataset, data: Loaded) -> Iterator[tuple[str, Any, Any]]:
    """(what, as its facts say, as it is) of the images' shape and of every split."""
    facts = dataset.facts()
    yield "image shape", facts.image_shape, data.pixels.shape[1:]
    for splitting in {**facts.splittings, **data.splittings}:
        known, found = facts.splittings.get(splitting, {}), data.splittings.get(splitting, {})
        for split in {**known, **found}:
            measured = measured_facts(data.labels, found[split]) if split in found else None
            yield f"{splitting}/{split}", known.get(split), measured
