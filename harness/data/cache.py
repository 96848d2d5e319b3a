"""Prepared copies of datasets on disk: built once, verified at every load, never required.

One dataset under one config is two files: a safetensors file with pixels, labels and splits (names
are in its header), and a small JSON file with the hashes of its content and of that file. Their
name holds a hash of everything that the content depends on: kind, config, source files, the code
that builds it, and the libraries that it is built with.

A copy that is damaged or does not match its hash is rebuilt. Without a folder that can be written,
the dataset is built in every process.

Copies are memory-mapped: processes that load the same dataset share one set of pages, and only the
pages that are used are read. A mapping is private: changes to its arrays never reach the file.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import os
import re
import time
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from harness.data.base import Dataset, Loaded
from harness.errors import StoreError
from harness.files import alone, replacing, write_atomically

TYPES = {"U8": np.uint8, "I64": np.int64, "F64": np.float64}
"""Types of arrays in a copy, by their names in safetensors."""
LIBRARIES = ("numpy", "pillow", "scipy", "matplotlib", "fonttools", "scikit-learn")
"""Libraries whose release may change a dataset."""
SETTLED_S = 2.0
"""Age in seconds from which a file's times prove that it is unchanged.

A younger file may change again within one tick of the clock that its times are taken from.
"""
KEPT = 4
"""Copies of one kind and config that are kept; they differ in sources, code or libraries."""
DAMAGED = (AttributeError, OSError, ValueError, KeyError, TypeError, RecursionError)
"""Errors that damaged files of a cache cause when they are read."""


def cache_folder(explicit: Path | None = None) -> Path | None:
    """Find the folder of copies.

    Args:
        explicit: the folder; None uses HARNESS_CACHE, or else ``bioharness`` in the user's cache
            folder.

    Returns:
        The folder, or None for a user without a home.
    """
    if explicit is not None:
        return explicit
    configured = os.environ.get("HARNESS_CACHE")
    if configured:
        return Path(configured)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bioharness"
    except RuntimeError:  # Path.home without a home
        return None


class Entry:
    """The place of one dataset under one config in the cache.

    Args:
        dataset: the dataset; its sources must exist.
        folder: the folder of copies.

    Raises:
        DataError: If sources are missing.
    """

    def __init__(self, dataset: Dataset, folder: Path) -> None:
        self.folder = folder
        config = json.dumps(dataset.config.model_dump(mode="json"), sort_keys=True)
        readable = re.sub(r"[^A-Za-z0-9_-]+", "_", dataset.kind)
        # Copies of the same kind of data in two places are kept beside each other.
        places = [str(place) for place in dataset.config.places().values()]
        self.stem = f"{readable}-{_short_hash(dataset.kind, config, *places)}"
        sources = [
            _folder_state(dataset.members(path)) if path.is_dir() else file_sha256(path, folder)
            for path in dataset.sources()
        ]
        self.key = _short_hash(
            dataset.kind, config, *sources, _code_version(type(dataset)), _library_versions()
        )

    @property
    def data_path(self) -> Path:
        """File of the arrays."""
        return self.folder / f"{self.stem}-{self.key}.safetensors"

    @property
    def hash_path(self) -> Path:
        """File of the hashes."""
        return self.folder / f"{self.stem}-{self.key}.json"

    def read_hash(self) -> str | None:
        """Read the content hash; None if it is not known."""
        return self._read_hashes()[0]

    def _read_hashes(self) -> tuple[str, str] | tuple[None, None]:
        """Read the hashes of the content and of the file that holds it."""
        with contextlib.suppress(*DAMAGED):
            line = json.loads(self.hash_path.read_text(encoding="utf-8"))
            if line["check"] == _short_hash(self.key, line["sha256"], line["file"]):
                return line["sha256"], line["file"]
        return None, None

    def read(self) -> tuple[Loaded, str] | None:
        """Map the dataset into memory; None if there is no intact copy.

        Returns:
            The dataset and its content hash.
        """
        content_hash, expected = self._read_hashes()
        if content_hash is None:
            return None
        with contextlib.suppress(*DAMAGED):
            if file_sha256(self.data_path, self.folder) == expected:
                return _map_copy(self.data_path), content_hash
        return None

    def write(self, data: Loaded, content_hash: str) -> None:
        """Keep a copy. Nothing happens if it cannot be written."""
        from safetensors import SafetensorError
        from safetensors.numpy import save_file

        with contextlib.suppress(OSError, StoreError, SafetensorError):
            with replacing(self.data_path) as temporary:
                tensors, header = _to_tensors(data)
                save_file(tensors, temporary, header)
                digest = file_sha256(temporary, None)
            line = {
                "sha256": content_hash,
                "file": digest,
                "check": _short_hash(self.key, content_hash, digest),
            }
            write_atomically(self.hash_path, json.dumps(line).encode())
            self._remove_old_copies()

    def _remove_old_copies(self) -> None:
        copies = sorted(
            self.folder.glob(f"{self.stem}-*.safetensors"), key=lambda path: path.stat().st_mtime
        )
        for old in copies[:-KEPT]:
            old.unlink(missing_ok=True)
            old.with_suffix(".json").unlink(missing_ok=True)

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """Keep other processes from building the same copy inside the block."""
        return alone(self.folder / f"{self.stem}.lock")


def file_sha256(path: Path, folder: Path | None) -> str:
    """Hash a file, or recall its hash.

    Args:
        path: the file.
        folder: where hashes are remembered, for as long as a file's size, inode and times stay the
            same; None hashes the file.
    """
    stat = path.stat()
    state = [stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns]
    words = [str(number) for number in state]
    memo = folder / "files" / f"{_short_hash(str(path.resolve()))}.json" if folder else None
    if memo:
        with contextlib.suppress(*DAMAGED):
            line = json.loads(memo.read_text(encoding="utf-8"))
            known: str = line["sha256"]
            if line["state"] == state and line["check"] == _short_hash(*words, known):
                return known
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if memo and time.time() - stat.st_ctime > SETTLED_S:
        line = {"state": state, "sha256": digest, "check": _short_hash(*words, digest)}
        with contextlib.suppress(OSError, StoreError):
            write_atomically(memo, json.dumps(line).encode())
    return digest


def _folder_state(files: Mapping[str, str | Path]) -> str:
    """Hash the names, sizes and times of files.

    Hashing the content of tens of thousands of images would take too long.
    """
    states = []
    for name, path in files.items():
        stat = os.stat(path)
        states.append(f"{name}:{stat.st_size}:{stat.st_mtime_ns}")
    return _short_hash(*states)


def _short_hash(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:20]


@cache
def _code_version(cls: type[Dataset]) -> str:
    """Hash the code that builds a dataset: all files of this room, and the file of its class.

    Hashing whole files rebuilds more copies than needed after a change. That costs seconds, and no
    result depends on it: cells refer to the content of a dataset, not to its code.
    """
    files = {*Path(__file__).parent.glob("*.py"), Path(inspect.getfile(cls))}
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)]
    return _short_hash(*hashes)


@cache
def _library_versions() -> str:
    versions = []
    for name in LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            versions.append(f"{name}={version(name)}")
    return " ".join(versions)


def _to_tensors(data: Loaded) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of a copy by name, and its header."""
    tensors = {
        "pixels": np.ascontiguousarray(data.pixels),
        "labels": np.ascontiguousarray(data.labels),
    }
    splits_of = []
    for splitting, splits in data.splittings.items():
        splits_of.append([splitting, *splits])
        for split, rows in splits.items():
            tensors[f"{splitting}/{split}"] = np.ascontiguousarray(rows, np.int64)
    header = {
        "class_names": json.dumps(data.class_names),
        "groups": json.dumps(data.groups),
        "splits": json.dumps(splits_of),
    }
    return tensors, header


def _map_copy(path: Path) -> Loaded:
    """Map a copy into memory; its file must be intact.

    A safetensors file is 8 bytes with the length of the header, the header as JSON, and the arrays.
    """
    raw = np.memmap(path, np.uint8, mode="c").view(np.ndarray)
    start = 8 + int.from_bytes(raw[:8].tobytes(), "little")
    entries = json.loads(raw[8:start].tobytes())
    header = entries.pop("__metadata__")
    tensors = {}
    for name, entry in entries.items():
        first, last = entry["data_offsets"]
        values = raw[start + first : start + last].view(TYPES[entry["dtype"]])
        tensors[name] = values.reshape(entry["shape"])
    groups = json.loads(header["groups"])
    splittings = {
        splitting: {split: tensors[f"{splitting}/{split}"] for split in splits}
        for splitting, *splits in json.loads(header["splits"])
    }
    return Loaded(
        pixels=tensors["pixels"],
        labels=tensors["labels"],
        class_names=tuple(json.loads(header["class_names"])),
        groups=None if groups is None else tuple(groups),
        splittings=splittings,
    )
