"""How much memory there is, as Linux reports it; on other systems nothing is known or limited."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
CGROUP = Path("/sys/fs/cgroup")
PLENTY = 2**60
"""Bytes reported if the amount is unknown."""


def available(proc: Path = PROC, cgroup: Path = CGROUP) -> int:
    """Return the bytes that can be used without swapping.

    Counts this machine's memory and the limit of each control group (container, job) around us.
    """
    in_groups = [limit - used for limit, used in _groups(proc, cgroup)]
    return min([_kib(proc / "meminfo", "MemAvailable"), *in_groups])


def total(proc: Path = PROC, cgroup: Path = CGROUP) -> int:
    """Return the bytes of memory that this machine has, or that this process may use."""
    limits = [limit for limit, _ in _groups(proc, cgroup)]
    return min([_kib(proc / "meminfo", "MemTotal"), *limits])


def used(pid: int | str = "self") -> int:
    """Return the bytes that a process has in memory now; 0 if unknown."""
    return _kib(PROC / str(pid) / "status", "VmRSS") % PLENTY


def peak() -> int:
    """Return the most bytes that this process had in memory since the last call; 0 if unknown."""
    most = _kib(PROC / "self" / "status", "VmHWM") % PLENTY
    with contextlib.suppress(OSError):
        (PROC / "self" / "clear_refs").write_text("5", encoding="utf-8")  # resets the peak
    return most


def _kib(path: Path, name: str) -> int:
    """Read a line ``name: N kB`` of a file of /proc, in bytes."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith(f"{name}:"):
                return 1024 * int(line.split()[1])
    return PLENTY


def _groups(proc: Path, cgroup: Path) -> Iterator[tuple[int, int]]:
    """Yield limit and use, in bytes, of each control group around us that has a limit.

    Version 2 of control groups has one hierarchy, version 1 one for each controller.
    """
    with contextlib.suppress(OSError):
        for line in (proc / "self" / "cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, name = line.split(":", 2)
            if controllers == "":
                yield from _limits(
                    cgroup,
                    name,
                    limit="memory.max",
                    usage="memory.current",
                    cached="inactive_file",
                )
            elif "memory" in controllers.split(","):
                yield from _limits(
                    cgroup / "memory",
                    name,
                    limit="memory.limit_in_bytes",
                    usage="memory.usage_in_bytes",
                    cached="total_inactive_file",
                )


def _limits(
    root: Path, name: str, *, limit: str, usage: str, cached: str
) -> Iterator[tuple[int, int]]:
    """Yield limit and use of a control group and those around it.

    Cached files do not count as used: the kernel drops them when memory is needed.

    Args:
        root: of the hierarchy.
        name: of the innermost group.
        limit, usage: names of the files that hold them.
        cached: the line of ``memory.stat`` with the bytes of cached files.
    """
    group = root / name.lstrip("/")
    for folder in (group, *group.parents):
        with contextlib.suppress(OSError, ValueError):  # no limit is written as `max`
            lines = (folder / "memory.stat").read_text(encoding="utf-8").splitlines()
            stat = dict(line.split() for line in lines)
            limit_bytes = int((folder / limit).read_text(encoding="utf-8"))
            if limit_bytes < PLENTY:
                used_bytes = int((folder / usage).read_text(encoding="utf-8"))
                yield limit_bytes, used_bytes - int(stat.get(cached, 0))
        if folder == root:
            return
