"""Derived copies of datasets on disk: built once, verified at every load, never required.

One dataset under one config is one safetensors file (pixels, labels, splits; names in its header) and one small JSON
with the hashes of its content and of the file. The file's name is a hash of all that the content follows from: kind,
config, source files, the code that builds it, the libraries that it is built with. A copy that cannot be read, or that is
not what it says it is, is built again; a cache that cannot be written is done without.

Copies are memory-mapped: processes that load the same dataset share one set of pages, and what is not looked at is not
read. A mapping is private, so that nothing a process does to its arrays reaches the file.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import os
import re
import time
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from harness.data.archive import files_below
from harness.data.base import Dataset, Loaded
from harness.errors import StoreError
from harness.files import alone, replacing, write_atomically

TYPES = {"U8": np.uint8, "I64": np.int64}
LIBRARIES = ("numpy", "pillow", "scipy", "matplotlib", "fonttools", "scikit-learn", "mlxtend")
SETTLED_S = 2.0
"""A file that changed less than that ago may change again within one tick of the clock that its times are taken from."""
KEPT = 4
"""Copies of one kind and config that are kept: they differ in sources, code or libraries."""


def cache_folder(explicit: Path | None = None) -> Path | None:
    """The folder that copies are kept in: ``explicit``, HARNESS_CACHE, or ``bioharness`` in the user's cache folder."""
    if explicit is not None:
        return explicit
    if own := os.environ.get("HARNESS_CACHE"):
        return Path(own)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bioharness"
    except RuntimeError:  # a user without a home
        return None


class Entry:
    """The place of one dataset, under one config, in the cache.

    Args:
        dataset: its sources must exist (a DataError says what is missing).
        folder: as ``cache_folder`` gives it; None: nothing is read or kept.
    """

    def __init__(self, dataset: Dataset, folder: Path | None):
        self.folder = folder
        config = json.dumps(dataset.config.model_dump(mode="json"), sort_keys=True)
        self.stem = (
            f"{re.sub(r'[^A-Za-z0-9_-]+', '_', dataset.kind)}-{_short(dataset.kind, config)}"
        )
        sources = [
            _state(path) if path.is_dir() else file_sha256(path, folder)
            for path in dataset.sources()
        ]
        self.key = _short(
            dataset.kind, config, *sources, _code_version(type(dataset)), _library_versions()
        )

    @property
    def data_path(self) -> Path:
        """Where the arrays are."""
        return self.folder / f"{self.stem}-{self.key}.safetensors"

    @property
    def hash_path(self) -> Path:
        """Where the content hash is."""
        return self.folder / f"{self.stem}-{self.key}.json"

    def read_hash(self) -> str | None:
        """The content hash, if it is known and its line is undamaged."""
        return self._line()[0]

    def _line(self) -> tuple[str, str] | tuple[None, None]:
        """Hash of the content and of the file that holds it."""
        try:
            line = json.loads(self.hash_path.read_text())
            if line["check"] == _short(self.key, line["sha256"], line["file"]):
                return line["sha256"], line["file"]
        except (AttributeError, OSError, ValueError, KeyError, TypeError, RecursionError):
            pass
        return None, None

    def read(self) -> tuple[Loaded, str] | None:
        """The dataset (memory-mapped) and its content hash, or None where there is no sound copy."""
        content_hash, expected = self._line()
        try:
            if content_hash is None or file_sha256(self.data_path, self.folder) != expected:
                return None
            return _mapped(self.data_path), content_hash
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None

    def write(self, data: Loaded, content_hash: str) -> None:
        """Keep a copy, or do without where that is impossible."""
        if self.folder is None:
            return
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
                "check": _short(self.key, content_hash, digest),
            }
            write_atomically(self.hash_path, json.dumps(line).encode())
            self._evict()

    def _evict(self) -> None:
        copies = sorted(
            self.folder.glob(f"{self.stem}-*.safetensors"), key=lambda path: path.stat().st_mtime
        )
        for old in copies[:-KEPT]:
            old.unlink(missing_ok=True)
            old.with_suffix(".json").unlink(missing_ok=True)

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """Keep other processes from building the same copy meanwhile."""
        return alone(self.folder / f"{self.stem}.lock") if self.folder else contextlib.nullcontext()


def file_sha256(path: Path, folder: Path | None) -> str:
    """sha256 of a file; remembered in ``folder`` for as long as its size, inode and times stay the same."""
    stat = path.stat()
    state = [stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns]
    memo = folder / "files" / f"{_short(str(path.resolve()))}.json" if folder else None
    with contextlib.suppress(
        AttributeError, OSError, ValueError, KeyError, TypeError, RecursionError
    ):
        line = json.loads(memo.read_text())
        if line["state"] == state and line["check"] == _short(*map(str, state), line["sha256"]):
            return line["sha256"]
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if memo and time.time() - stat.st_ctime > SETTLED_S:
        with contextlib.suppress(OSError, StoreError):
            line = {"state": state, "sha256": digest, "check": _short(*map(str, state), digest)}
            write_atomically(memo, json.dumps(line).encode())
    return digest


def _state(folder: Path) -> str:
    """Hash of names, sizes and times of all files below a folder: reading tens of thousands of images takes too long."""
    found = []
    for name, path in files_below(folder).items():
        stat = path.stat()
        found.append(f"{name}:{stat.st_size}:{stat.st_mtime_ns}")
    return _short(*found)


def _short(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:20]


@cache
def _code_version(cls: type[Dataset]) -> str:
    """Hash of this room's code and of the file that defines the dataset."""
    files = {*Path(__file__).parent.glob("*.py"), Path(inspect.getfile(cls))}
    return _short(*(hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)))


@cache
def _library_versions() -> str:
    found = []
    for name in LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            found.append(f"{name}={version(name)}")
    return " ".join(found)


def _to_tensors(data: Loaded) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    tensors = {
        "pixels": np.ascontiguousarray(data.pixels),
        "labels": np.ascontiguousarray(data.labels),
    }
    for splitting, splits in data.splittings.items():
        for split, rows in splits.items():
            tensors[f"{splitting}/{split}"] = np.ascontiguousarray(rows, np.int64)
    return tensors, {
        "class_names": json.dumps(data.class_names),
        "groups": json.dumps(data.groups),
        "splits": json.dumps(
            [[splitting, *splits] for splitting, splits in data.splittings.items()]
        ),
    }


def _mapped(path: Path) -> Loaded:
    """A copy whose file is known to be sound. (The format: 8 bytes with the header's length, a JSON header, the arrays.)"""
    raw = np.memmap(path, np.uint8, mode="c").view(np.ndarray)
    start = 8 + int.from_bytes(raw[:8].tobytes(), "little")
    entries = json.loads(raw[8:start].tobytes())
    header = entries.pop("__metadata__")
    tensors = {
        name: raw[start + entry["data_offsets"][0] : start + entry["data_offsets"][1]]
        .view(TYPES[entry["dtype"]])
        .reshape(entry["shape"])
        for name, entry in entries.items()
    }
    groups = json.loads(header["groups"])
    return Loaded(
        pixels=tensors["pixels"],
        labels=tensors["labels"],
        class_names=tuple(json.loads(header["class_names"])),
        groups=None if groups is None else tuple(groups),
        splittings={
            splitting: {split: tensors[f"{splitting}/{split}"] for split in splits}
            for splitting, *splits in json.loads(header["splits"])
        },
    )
