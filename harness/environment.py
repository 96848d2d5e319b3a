"""Releases, processor and commit. Equal releases and processor give equal bytes."""

from __future__ import annotations

import platform
import subprocess
import sys
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any

LIBRARIES = ("torch", "numpy", "scipy", "torchattacks", "learn2learn")
"""Libraries that compute; their releases are part of every cell key."""


@lru_cache
def versions() -> dict[str, str]:
    """Return the releases of Python and of the libraries that compute."""
    releases = {"python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    for name in LIBRARIES:
        try:
            releases[name] = version(name)
        except PackageNotFoundError:
            releases[name] = "absent"
    return releases


def release_of(module: str) -> str:
    """Return the release of the installed package that a module belongs to.

    >>> release_of("numpy.linalg") == version("numpy")
    True
    """
    top = module.partition(".")[0]
    names = packages_distributions().get(top, [top])
    try:
        return version(names[0])
    except PackageNotFoundError:
        return "absent"


def environment(device: str = "cpu") -> dict[str, str]:
    """Return everything known to affect the last bits of a number.

    Args:
        device: torch device name.
    """
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
    """Return how two environments differ, in words.

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
    """Return the commit of this code and the date of that commit; empty outside a repository.

    ``+`` after the commit means that tracked files have changes. Those under ``results`` do not
    count: results that were just rewritten are not code.
    """
    head = _git("rev-parse", "--short=12", "HEAD")
    if not head:
        return {}
    changes = _git(
        "status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)results"
    )
    return {
        "git_commit": head + ("+" if changes else ""),
        "git_date": _git("show", "-s", "--format=%cI", "HEAD"),
    }


def made_by(command: str, data: dict[str, str], device: str = "cpu") -> dict[str, Any]:
    """Return what made a committed number: command, commit, data and environment.

    Args:
        command: the command line that makes it again.
        data: dataset -> hash of its content.
        device: torch device name.
    """
    return {
        "command": command,
        **commit(),
        "data": dict(sorted(data.items())),
        "environment": environment(device),
    }


def _git(*words: str) -> str:
    """Return the output of a git command; ``""`` outside a repository or without git."""
    folder = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", *words],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            cwd=folder,
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


@lru_cache
def _processor() -> str:
    """Return the model of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    for line in lines:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
