"""Derived copies of datasets on disk: built once, verified at every load, never required.

One dataset under one config is one safetensors file (pixels, labels, splits; names in its header) and one small JSON
with its content hash. The file's name is a hash of all that the content follows from: kind, config, source files, the
code that builds it, the libraries that it is built with. A copy that cannot be read, or that is not what it says it is,
is built again; a cache that cannot be written is done without.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import os
import re
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from harness.data.base import Dataset, Loaded
from harness.errors import StoreError
from harness.files import write_atomically

LIBRARIES = ("numpy", "pillow", "scipy", "matplotlib", "fonttools", "scikit-learn", "mlxtend")
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
        self.stem = f"{re.sub(r'[^A-Za-z0-9_-]+', '_', dataset.kind)}-{_short(dataset.kind, config)}"
        sources = [file_sha256(path, folder) for path in dataset.sources()]
        self.key = _short(dataset.kind, config, *sources, _code_version(type(dataset)), _library_versions())

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
        try:
            line = json.loads(self.hash_path.read_text())
            return line["sha256"] if line["check"] == _short(self.key, line["sha256"]) else None
        except (AttributeError, OSError, ValueError, KeyError, TypeError):
            return None

    def read(self) -> tuple[Loaded, str] | None:
        """The dataset and its content hash, or None where there is no sound copy."""
        expected = self.read_hash()
        if expected is None or not self.data_path.is_file():
            return None
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.data_path, framework="numpy") as file:
                data = _from_tensors({name: file.get_tensor(name) for name in list(file.keys())}, file.metadata())
        except (OSError, ValueError, KeyError, TypeError, SafetensorError):
            return None
        return (data, expected) if data.content_hash() == expected else None

    def write(self, data: Loaded, content_hash: str) -> None:
        """Keep a copy, or do without where that is impossible."""
        if self.folder is None:
            return
        from safetensors.numpy import save

        tensors, header = _to_tensors(data)
        line = {"sha256": content_hash, "check": _short(self.key, content_hash)}
        with contextlib.suppress(OSError, StoreError):
            write_atomically(self.data_path, save(tensors, header))
            write_atomically(self.hash_path, json.dumps(line).encode())
            self._evict()

    def _evict(self) -> None:
        copies = sorted(self.folder.glob(f"{self.stem}-*.safetensors"), key=lambda path: path.stat().st_mtime)
        for old in copies[:-KEPT]:
            old.unlink(missing_ok=True)
            old.with_suffix(".json").unlink(missing_ok=True)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from building the same copy meanwhile, where the file system can lock."""
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError, ImportError, AttributeError):
                import fcntl

                self.folder.mkdir(parents=True, exist_ok=True)
                lock = stack.enter_context((self.folder / f"{self.stem}.lock").open("w"))
                fcntl.flock(lock, fcntl.LOCK_EX)  # released by the kernel, even after kill -9
            yield


def file_sha256(path: Path, folder: Path | None) -> str:
    """sha256 of a file; remembered in ``folder`` for as long as its size, inode and times stay the same."""
    stat = path.stat()
    state = [stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns]
    memo = folder / "files" / f"{_short(str(path.resolve()))}.json" if folder else None
    with contextlib.suppress(AttributeError, OSError, ValueError, KeyError, TypeError):
        line = json.loads(memo.read_text())
        if line["state"] == state and line["check"] == _short(*map(str, state), line["sha256"]):
            return line["sha256"]
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    with contextlib.suppress(AttributeError, OSError, StoreError):
        line = {"state": state, "sha256": digest, "check": _short(*map(str, state), digest)}
        write_atomically(memo, json.dumps(line).encode())
    return digest


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
    tensors = {"pixels": np.ascontiguousarray(data.pixels), "labels": np.ascontiguousarray(data.labels)}
    for splitting, splits in data.splittings.items():
        for split, rows in splits.items():
            tensors[f"{splitting}/{split}"] = np.ascontiguousarray(rows, np.int64)
    return tensors, {"class_names": json.dumps(data.class_names), "groups": json.dumps(data.groups),
                     "splits": json.dumps([[splitting, *splits] for splitting, splits in data.splittings.items()])}


def _from_tensors(tensors: dict[str, np.ndarray], header: dict[str, str]) -> Loaded:
    groups = json.loads(header["groups"])
    return Loaded(
        pixels=tensors["pixels"],
        labels=tensors["labels"],
        class_names=tuple(json.loads(header["class_names"])),
        groups=None if groups is None else tuple(groups),
        splittings={splitting: {split: tensors[f"{splitting}/{split}"] for split in splits}
                    for splitting, *splits in json.loads(header["splits"])},
    )
