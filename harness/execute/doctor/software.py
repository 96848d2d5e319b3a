"""Checks of the installation, of library releases, and of plug-ins."""

from __future__ import annotations

import importlib
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from harness.execute.doctor.finding import Finding
from harness.registry import Registry, attacks, datasets, learners, protocols

DISTRIBUTION = "bioharness"


def version(distribution: str) -> str | None:
    """Return the release of an installed distribution; None if it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def installation() -> Iterator[Finding]:
    """Report which harness this is, and whether another ``baselines`` package hides ours."""
    import baselines
    from harness.cells.run import git_commit

    folder = Path(__file__).resolve().parents[3]
    facts = [
        f"{DISTRIBUTION} {version(DISTRIBUTION) or '(not installed)'}",
        git_commit(),
        f"in {folder}",
        f"Python {platform.python_version()}",
        f"{platform.system()} {platform.machine()}",
    ]
    yield Finding("PASS", "harness", ", ".join(filter(None, facts)))
    imported = Path(baselines.__file__ or "").resolve().parent
    if imported != folder / "baselines":
        yield Finding(
            "FAIL",
            "baselines",
            f"another package of that name is imported: {imported}",
            "remove it, or install the harness in an environment of its own",
        )


def releases() -> Iterator[Finding]:
    """Check the releases of all libraries that the harness requires."""
    if version(DISTRIBUTION) is None:
        yield Finding(
            "WARN",
            "releases",
            "the harness is not installed, so its requirements are unknown",
            "pip install . (or `make install`)",
        )
        return
    required = []
    for requirement in map(Requirement, metadata.requires(DISTRIBUTION) or []):
        if requirement.marker is None or requirement.marker.evaluate():
            required.append(requirement)
    unmet = [requirement for requirement in required if not _is_met(requirement)]
    if not unmet:
        installed = (f"{each.name} {version(each.name)}" for each in required)
        yield Finding("PASS", "releases", ", ".join(installed))
    for requirement in unmet:
        yield Finding(
            "FAIL",
            requirement.name,
            f"{version(requirement.name) or 'not installed'}, {requirement} is required",
            f"pip install '{requirement}'",
        )
    yield from _conflicts([requirement.name for requirement in required])


def _is_met(requirement: Requirement) -> bool:
    installed = version(requirement.name)
    return installed is not None and requirement.specifier.contains(installed, prereleases=True)


def _conflicts(names: list[str]) -> Iterator[Finding]:
    """What libraries require of each other and do not get: a torchvision of another torch, say."""
    seen: set[str] = set()
    while names:
        name = names.pop()
        if name in seen or version(name) is None:
            continue
        seen.add(name)
        for requirement in map(Requirement, metadata.requires(name) or []):
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
                continue
            names.append(requirement.name)
            if not _is_met(requirement):
                installed = version(requirement.name) or "nothing"
                yield Finding(
                    "WARN",
                    name,
                    f"{version(name)} requires {requirement.name}{requirement.specifier}, "
                    f"{installed} is installed",
                    "install the release of one that fits the other",
                )


def imports() -> Iterator[Finding]:
    """Import libraries that are known to install without working."""
    import torch

    from harness.imports import import_learn2learn

    yield _import("torchattacks", lambda: importlib.import_module("torchattacks"))
    if version("learn2learn") is None:
        names = ", ".join(name for name in learners if learners[name].requires == "learn2learn")
        yield Finding(
            "WARN",
            "learn2learn",
            f"not installed: {names} cannot run and are left out of suites",
            "in a checkout or the source distribution: pip install ./third_party/learn2learn",
        )
        return
    finding = _import("learn2learn", import_learn2learn)
    # A CUDA build of torchvision beside a CPU build of torch imports without its compiled part.
    declared = hasattr(torch.ops.torchvision, "nms")
    if finding.level == "PASS" and declared and not _has_operators("torchvision"):
        remark = "torchvision's compiled part does not fit this torch, and is not needed"
        finding = replace(finding, detail=f"{finding.detail}; {remark}")
    yield finding


def _import(name: str, action: Callable[[], Any]) -> Finding:
    try:
        action()
    except Exception as error:
        detail = f"{version(name)} cannot be imported: {type(error).__name__}: {error}"
        hint = f"pip install --force-reinstall {name}"
        return Finding("FAIL", name, detail.partition("\n")[0], hint)
    return Finding("PASS", name, f"{version(name)} imports")


def _has_operators(package: str) -> bool:
    """Report whether the compiled part of torchvision could be loaded."""
    extension = sys.modules.get(f"{package}.extension")
    return bool(extension and extension._has_ops())


def plugins() -> Iterator[Finding]:
    """Count what is registered, and name the entries of packages that cannot be loaded."""
    registries: tuple[Registry, ...] = (learners, datasets, attacks, protocols)
    counts = (f"{len(list(registry))} {registry.what}s" for registry in registries)
    yield Finding("PASS", "registered", ", ".join(counts))
    for registry in registries:
        for name, error in registry.broken.items():
            yield Finding(
                "FAIL",
                "plug-in",
                f"{registry.what} {name!r}: {error}",
                "repair or uninstall the package that provides it",
            )
