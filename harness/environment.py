"""Where numbers come from: releases, processor, commit. Numbers are equal to the byte only where the first two are."""

from __future__ import annotations

import platform
import subprocess
import sys
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

LIBRARIES = ("torch", "numpy", "scipy", "torchattacks", "learn2learn")
"""Libraries that compute: their releases are in every cell's key."""


@lru_cache
def versions() -> dict[str, str]:
    """Releases of Python and of the libraries that compute."""
    found = {"python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def environment(device: str = "cpu") -> dict[str, str]:
    """All that the last bits of a number depend on, as far as it can be named."""
    import torch

    return {
        **versions(),
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": _processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "device": device if device == "cpu" else torch.cuda.get_device_name(device),
    }


def differences(here: dict[str, str], there: dict[str, str]) -> list[str]:
    """Where two environments differ, in words.

    >>> differences({"torch": "2.9", "machine": "x86_64"}, {"torch": "2.8", "machine": "x86_64"})
    ['torch 2.9 here, 2.8 there']
    """
    return [
        f"{key} {here.get(key, 'unknown')} here, {there.get(key, 'unknown')} there"
        for key in sorted({*here, *there})
        if here.get(key) != there.get(key)
    ]


@lru_cache
def commit() -> dict[str, str]:
    """The commit of this code and its date (never the clock's); ``+`` after it where the tree has changes.

    Results are no code: that they have just been written anew is no change.
    """
    found = _git("rev-parse", "--short=12", "HEAD")
    if not found:
        return {}
    changed = _git(
        "status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)results"
    )
    return {
        "git_commit": found + ("+" if changed else ""),
        "git_date": _git("show", "-s", "--format=%cI", "HEAD"),
    }


def made_by(command: str, data: dict[str, str], device: str = "cpu") -> dict[str, Any]:
    """What stands beside every committed number: the command, the code, the data and the environment that made it.

    Args:
        command: what to type to make it again.
        data: dataset -> hash of its content.
    """
    return {
        "command": command,
        **commit(),
        "data": dict(sorted(data.items())),
        "environment": environment(device),
    }


def _git(*words: str) -> str:
    """What git answers; nothing outside a repository or without git."""
    try:
        done = subprocess.run(
            ["git", *words], capture_output=True, text=True, check=False, cwd=Path(__file__).parent
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


@lru_cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )
