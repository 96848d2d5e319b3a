"""Suites that come with the harness: ``harness run quickstart`` works from any folder."""

from __future__ import annotations

from pathlib import Path


def folder() -> Path:
    """Their folder: inside an installed package, beside the package in a checkout."""
    inside = Path(__file__).parents[1] / "suites"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "suites"


def names() -> list[str]:
    """Their names: paths below ``folder()`` without the ending."""
    return sorted(
        path.relative_to(folder()).with_suffix("").as_posix() for path in folder().rglob("*.yaml")
    )


def locate(path: str | Path) -> Path:
    """Find the file of a suite: ``path`` itself, or the shipped suite of that name."""
    path = Path(path)
    if not path.suffix and not path.is_file() and path.as_posix() in names():
        return folder() / f"{path}.yaml"
    return path
