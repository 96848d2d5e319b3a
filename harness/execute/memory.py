"""How much memory there is, as Linux tells it; elsewhere nothing is known, and nothing is limited."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

PROC, CGROUP = Path("/proc"), Path("/sys/fs/cgroup")
PLENTY = 2**60
"""Bytes where nothing is known."""


def available(proc: Path = PROC, cgroup: Path = CGROUP) -> int:
    """Bytes that can still be used without swapping, by this machine and by each control group (container, job) around us."""
    return min(
        [
            _kib(proc / "meminfo", "MemAvailable"),
            *(limit - used for limit, used in _groups(proc, cgroup)),
        ]
    )


def total(proc: Path = PROC, cgroup: Path = CGROUP) -> int:
    """Bytes that there are, or that we are allowed."""
    return min([_kib(proc / "meminfo", "MemTotal"), *(limit for limit, _ in _groups(proc, cgroup))])


def used(pid: int | str = "self") -> int:
    """Bytes that a process has in memory now; 0 where that is not known."""
    return _kib(PROC / str(pid) / "status", "VmRSS") % PLENTY


def peak() -> int:
    """Bytes that this process has had in memory at most since the last call; 0 where that is not known."""
    most = _kib(PROC / "self" / "status", "VmHWM") % PLENTY
    with contextlib.suppress(OSError):
        (PROC / "self" / "clear_refs").write_text("5")
    return most


def _kib(path: Path, name: str) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in path.read_text().splitlines():
            if line.startswith(f"{name}:"):
                return 1024 * int(line.split()[1])
    return PLENTY


def _groups(proc: Path, cgroup: Path) -> Iterator[tuple[int, int]]:
    """(limit, bytes used that cannot be given back) of every control group above us that has a limit; version 2, then 1."""
    with contextlib.suppress(OSError):
        for line in (proc / "self" / "cgroup").read_text().splitlines():
            _, controllers, name = line.split(":", 2)
            if controllers == "":
                yield from _limits(cgroup, name, "memory.max", "memory.current", "inactive_file")
            elif "memory" in controllers.split(","):
                yield from _limits(
                    cgroup / "memory",
                    name,
                    "memory.limit_in_bytes",
                    "memory.usage_in_bytes",
                    "total_inactive_file",
                )


def _limits(
    root: Path, name: str, limit: str, usage: str, cached: str
) -> Iterator[tuple[int, int]]:
    group = root / name.lstrip("/")
    for folder in (group, *group.parents):
        with contextlib.suppress(OSError, ValueError):  # `max` is no number: no limit
            files = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            most = int((folder / limit).read_text())
            if most < PLENTY:
                yield most, int((folder / usage).read_text()) - int(files.get(cached, 0))
        if folder == root:
            return
