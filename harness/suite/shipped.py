"""Suites that come with the harness: ``harness run quickstart`` works from any folder."""

from __future__ import annotations

from pathlib import Path


def folder() -> Path:
    """Where they lie: inside the package where it was installed from a wheel, beside it in a checkout."""
    inside = Path(__file__).parents[1] / "suites"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "suites"


def names() -> list[str]:
    """Their names: paths below ``folder()`` without the ending."""
    return sorted(
        path.relative_to(folder()).with_suffix("").as_posix() for path in folder().rglob("*.yaml")
    )


def locate(path: str | Path) -> Path:
    """``path``, or the suite of that name where there is no such file."""
    path = Path(path)
    if not path.suffix and not path.is_file() and path.as_posix() in names():
        return folder() / f"{path}.yaml"
    return path
