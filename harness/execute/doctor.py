"""What an environment is good for: releases, combinations known to be bad, devices, data, store. Nothing is changed.

Each finding is PASS, WARN (it works, but know this) or FAIL (something will not work). A check that cannot be made at all is
a FAIL of its own, never a traceback.
"""

from __future__ import annotations

import fcntl
import importlib
import os
import platform
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import Requirement

from harness.data import acquire
from harness.data.base import Dataset
from harness.data.cache import Entry, cache_folder
from harness.errors import HarnessError
from harness.execute.local import default_workers
from harness.registry import Registry, attacks, datasets, learners, protocols
from harness.storage.store import Store

DISTRIBUTION = "bioharness"
LITTLE_SPACE, NO_SPACE = 2**30, 50 * 2**20
"""Bytes free on a disk below which it is a warning, a failure."""
WORKER_MEMORY = 2**30
"""Bytes that a worker with a small network and a large attack takes, roughly."""
SKEW_S = 60.0
"""Seconds that the clock of a file system may differ from this machine's."""


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's: what was looked at, how it stands, what can be done about it."""

    level: Literal["PASS", "WARN", "FAIL"]
    name: str
    detail: str
    hint: str = ""

    def to_dict(self) -> dict[str, str]:
        """Plain values."""
        return asdict(self)


def examine(store: str | Path, data_root: Path | None = None) -> list[Finding]:
    """Look at everything.

    Args:
        store: folder or URL of finished cells, which need not exist.
        data_root: where datasets that are not embedded lie.
    """
    root = acquire.data_root(data_root)
    checks: list[tuple[str, Callable[[], Iterable[Finding]]]] = [
        ("harness", _harness),
        ("releases", _releases),
        ("imports", _imports),
        ("plug-ins", _plugins),
        ("devices", _devices),
        ("machine", _machine),
        ("data", lambda: _data(root)),
        ("cache", _cache),
        ("store", lambda: _store(Store(store))),
    ]
    return [finding for name, check in checks for finding in _guarded(name, check)]


def _guarded(name: str, check: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    try:
        yield from check()
    except Exception as error:  # whatever is wrong with an environment, the other checks go on
        yield Finding("FAIL", name, f"{type(error).__name__}: {error}".partition("\n")[0])


def _harness() -> Iterator[Finding]:
    import baselines
    from harness.cells.run import git_commit

    here = Path(__file__).resolve().parents[1]
    words = [
        f"bioharness {version(DISTRIBUTION) or '(not installed)'}",
        git_commit(),
        f"in {here.parent}",
        f"Python {platform.python_version()}",
        f"{platform.system()} {platform.machine()}",
    ]
    yield Finding("PASS", "harness", ", ".join(filter(None, words)))
    found = Path(baselines.__file__ or "").resolve().parent
    if found != here.parent / "baselines":
        yield Finding(
            "FAIL",
            "baselines",
            f"another package of that name comes first: {found}",
            "remove it, or use an environment of its own for the harness",
        )


def version(distribution: str) -> str | None:
    """Release of an installed distribution, or None."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _releases() -> Iterator[Finding]:
    if version(DISTRIBUTION) is None:
        yield Finding(
            "WARN",
            "releases",
            "the harness is not installed, so what it needs cannot be looked up",
            "pip install . (or `make install`)",
        )
        return
    needed = [
        r
        for r in map(Requirement, metadata.requires(DISTRIBUTION) or [])
        if r.marker is None or r.marker.evaluate()
    ]
    wrong = [finding for requirement in needed if (finding := _requirement(requirement))]
    if not wrong:
        yield Finding("PASS", "releases", ", ".join(f"{r.name} {version(r.name)}" for r in needed))
    yield from wrong
    yield from _conflicts([requirement.name for requirement in needed])


def _requirement(requirement: Requirement) -> Finding | None:
    found = version(requirement.name)
    if found is not None and requirement.specifier.contains(found, prereleases=True):
        return None
    return Finding(
        "FAIL",
        requirement.name,
        f"{found or 'not installed'}, {requirement} is needed",
        f"pip install '{requirement}'",
    )


def _conflicts(names: list[str]) -> Iterator[Finding]:
    """What the libraries ask of each other: a torchvision of another torch, say."""
    seen: set[str] = set()
    while names:
        name = names.pop()
        if name in seen or version(name) is None:
            continue
        seen.add(name)
        for wanted in map(Requirement, metadata.requires(name) or []):
            if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
                continue
            names.append(wanted.name)
            found = version(wanted.name)
            if found is None or not wanted.specifier.contains(found, prereleases=True):
                yield Finding(
                    "WARN",
                    name,
                    f"{version(name)} asks for {wanted.name}{wanted.specifier}, "
                    f"{found or 'nothing'} is installed",
                    "pip install the one that fits the other",
                )


def _imports() -> Iterator[Finding]:
    """Libraries that are known to install without working."""
    import torch  # without it nothing can run: the guard says so

    from harness.imports import import_learn2learn

    yield _import("torchattacks", lambda: importlib.import_module("torchattacks"))
    if version("learn2learn") is None:
        names = ", ".join(name for name in learners if learners[name].requires == "learn2learn")
        yield Finding(
            "WARN",
            "learn2learn",
            f"not installed: {names} cannot be run and are left out of suites",
            "in a checkout or the source distribution: pip install ./third_party/learn2learn",
        )
        return
    found = _import("learn2learn", import_learn2learn)
    if (
        found.level == "PASS"
        and hasattr(torch.ops.torchvision, "nms")
        and not _has_operators("torchvision")
    ):
        found = replace(
            found,
            detail=f"{found.detail}; torchvision's compiled part does not fit this torch, and is not needed",
        )
    yield found


def _import(name: str, action: Callable[[], Any]) -> Finding:
    try:
        action()
    except Exception as error:
        return Finding(
            "FAIL",
            name,
            f"{version(name)} cannot be imported: {type(error).__name__}: {error}".partition("\n")[
                0
            ],
            f"pip install --force-reinstall {name}",
        )
    return Finding("PASS", name, f"{version(name)} imports")


def _has_operators(package: str) -> bool:
    """Whether the compiled part of torchvision could be loaded (a CUDA build beside a CPU torch cannot)."""
    extension = sys.modules.get(f"{package}.extension")
    return bool(extension and extension._has_ops())


def _plugins() -> Iterator[Finding]:
    rooms: tuple[Registry, ...] = (learners, datasets, attacks, protocols)
    yield Finding(
        "PASS", "registered", ", ".join(f"{len(list(room))} {room.what}s" for room in rooms)
    )
    for room in rooms:
        for name, why in room.broken.items():
            yield Finding(
                "FAIL",
                "plug-in",
                f"{room.what} {name!r}: {why}",
                "mend it or uninstall the package that brings it",
            )


def _devices() -> Iterator[Finding]:
    import torch

    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        yield Finding(
            "PASS",
            f"cuda:{index}",
            f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, "
            f"torch {torch.__version__}, CUDA {torch.version.cuda}",
        )
    if torch.cuda.device_count():
        return
    if Path("/proc/driver/nvidia/version").exists():
        why = (
            "torch is a build without CUDA"
            if torch.version.cuda is None
            else f"torch was built for CUDA {torch.version.cuda}"
        )
        yield Finding(
            "WARN",
            "cuda",
            f"this machine has an NVIDIA driver that torch cannot use: {why}",
            "install a CUDA build of torch that fits the driver; until then everything runs on the CPU",
        )
    yield Finding(
        "PASS", "cpu", f"the only device; instructions {torch.backends.cpu.get_cpu_capability()}"
    )


def _machine() -> Iterator[Finding]:
    import torch

    cores, asked = default_workers(), os.environ.get("OMP_NUM_THREADS")
    said = (
        f"{cores} usable of {os.cpu_count()} cores: {cores} workers of one thread each; torch alone would take "
        f"{torch.get_num_threads()} threads" + (f" (OMP_NUM_THREADS={asked})" if asked else "")
    )
    yield Finding("PASS", "threads", said)
    free = _memory()
    if free is not None:
        short = free < cores * WORKER_MEMORY
        yield Finding(
            "WARN" if short else "PASS",
            "memory",
            f"{free / 2**30:.1f} GiB free for {cores} workers",
            f"--workers {max(1, free // WORKER_MEMORY)}" if short else "",
        )


def _memory() -> int | None:
    """Bytes that can be had without swapping, where the system says so."""
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.M)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def _data(root: Path | None) -> Iterator[Finding]:
    if root is None:
        yield Finding(
            "PASS",
            "data root",
            "not set: only embedded datasets can be used",
            "set HARNESS_DATA to use others",
        )
    elif not root.is_dir():
        yield Finding(
            "FAIL",
            "data root",
            f"{root} is no folder",
            "make it, or set HARNESS_DATA to the folder of your datasets",
        )
    else:
        yield from _space("data root", root, "reading what is there goes on")
    away = []
    for name in datasets:
        found = _dataset(datasets[name](datasets[name].Config(), root))
        if found is None:
            away.append(name)
        else:
            yield found
    if away:
        yield Finding(
            "PASS",
            "not here",
            f"{', '.join(away)} (only suites that name them need them)",
            "harness data get NAME, or harness data import NAME PATH",
        )


def _dataset(dataset: Dataset) -> Finding | None:
    """How a dataset stands under its default config; None where nothing of it is here. Only embedded ones are read."""
    name = dataset.kind
    try:
        if dataset.origin == "embedded":
            data, digest = acquire.load(dataset)
            return Finding(
                "PASS", name, f"embedded, {len(data.labels)} images, content {digest[:12]}"
            )
        sources = dataset.sources()
        missing = [path for path in sources if not path.exists()]
        if len(missing) == len(sources):
            return None
        if missing:
            return Finding("WARN", name, f"not complete: no {missing[0]}", dataset.how_to_get)
        digest, known = Entry(dataset, cache_folder()).read_hash(), acquire.pinned_hash(dataset)
        if digest and known and digest != known:
            return Finding(
                "FAIL",
                name,
                f"content {digest[:12]}, known to be {known[:12]}",
                f"harness data verify {name}",
            )
        return Finding(
            "PASS", name, f"here, {f'content {digest[:12]}' if digest else 'not read yet'}"
        )
    except HarnessError as error:
        if dataset.origin == "embedded":
            return Finding("FAIL", name, error.message, error.hint or "")
        there = dataset.root is not None and dataset.place.is_dir() and any(dataset.place.iterdir())
        return Finding("WARN", name, error.message, error.hint or "") if there else None


def _cache() -> Iterator[Finding]:
    folder = cache_folder()
    if folder is None:
        yield Finding(
            "WARN",
            "cache",
            "this user has no home: datasets are built again by every process",
            "set HARNESS_CACHE",
        )
        return
    if fault := _unwritable(folder):
        yield Finding(
            "WARN",
            "cache",
            f"{folder}: {fault}; datasets are built again by every process",
            "set HARNESS_CACHE",
        )
        return
    yield from _space("cache", folder, "datasets are then built again by every process")


def _store(asked: Store) -> Iterator[Finding]:
    store = asked.root
    if isinstance(store, str):
        yield Finding("PASS", "store", f"{store}: {len(asked.finished())} cells finished")
        return
    if fault := _unwritable(store):
        yield Finding(
            "FAIL",
            "store",
            f"{store}: {fault}",
            "choose another folder with --store, or mend its permissions",
        )
        return
    yield Finding(
        "PASS",
        "store",
        f"{store}: can be written; {len(asked.finished())} cells finished"
        if store.is_dir()
        else f"{store}: not there yet, can be made",
    )
    yield from _space("store", store, "cells that do not fit are lost")
    with tempfile.TemporaryFile(dir=_existing(store)) as file:
        skew = os.fstat(file.fileno()).st_mtime - time.time()
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            yield Finding(
                "FAIL",
                "locks",
                f"{store}: files cannot be locked here ({error.strerror})",
                "choose a local folder",
            )
    if abs(skew) > SKEW_S:
        yield Finding(
            "WARN",
            "clock",
            f"the clock of {store} is {skew:.0f} s from this machine's",
            "set the clocks: what killed runs left behind is told by its age",
        )


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if path.exists())


def _unwritable(folder: Path) -> str | None:
    """Why nothing can be written into a folder (which need not exist yet), or None."""
    try:
        with tempfile.TemporaryFile(dir=_existing(folder)) as file:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.strerror or str(error)
    return None


def _space(name: str, folder: Path, otherwise: str) -> Iterator[Finding]:
    free = shutil.disk_usage(_existing(folder)).free
    level = "FAIL" if free < NO_SPACE else "WARN" if free < LITTLE_SPACE else "PASS"
    hint = "" if level == "PASS" else f"free some: {otherwise}"
    yield Finding(level, f"{name} space", f"{free / 2**30:.1f} GiB free at {folder}", hint)
