"""Fixed splits: drawn once and for ever from the labels alone, or listed in a file that is shipped."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from harness.data.base import SplitFacts
from harness.errors import DataError
from harness.rng import Rng


def stratified_draw(labels: np.ndarray, size: int, rng: Rng) -> np.ndarray:
    """``size`` positions whose classes are in the proportions of ``labels``, ascending.

    Each class gets the whole part of its share; what is left goes to the largest remainders (Hamilton's method; ties
    to the lower class).

    Args:
        labels: int (N,).
        size: how many to draw, at most N.

    Returns:
        int64 (size,).
    """
    classes, counts = np.unique(labels, return_counts=True)
    quota, remainder = np.divmod(counts.astype(np.int64) * size, len(labels))
    quota[np.argsort(-remainder, kind="stable")[: size - quota.sum()]] += 1
    drawn = [
        rng.numpy("class", int(label)).permutation(np.flatnonzero(labels == label))[:n]
        for label, n in zip(classes, quota, strict=True)
    ]
    return np.sort(np.concatenate(drawn))


def carve(labels: np.ndarray, val: int, test: int, rng: Rng) -> dict[str, np.ndarray]:
    """Stratified train / val / test of ``labels``; ``test`` may be 0, and is then left out."""
    positions = np.arange(len(labels))
    splits = {}
    for name, size in (("test", test), ("val", val)):
        if size:
            splits[name] = positions[stratified_draw(labels[positions], size, rng.child(name))]
            positions = np.setdiff1d(positions, splits[name])
    return {"train": positions, **splits}


def by_class(labels: np.ndarray, first_test_class: int) -> dict[str, np.ndarray]:
    """Classes below ``first_test_class`` for training, the others for the test."""
    return {
        "train": np.flatnonzero(labels < first_test_class),
        "test": np.flatnonzero(labels >= first_test_class),
    }


def measured_facts(labels: np.ndarray, rows: np.ndarray) -> SplitFacts:
    """The facts of a split as they are."""
    counts = np.unique(labels[rows], return_counts=True)[1]
    return SplitFacts(len(counts), int(counts.min()), len(rows))


def package_file(package: str, *parts: str) -> Path:
    """A file that an installed package ships, found without importing the package."""
    from importlib.util import find_spec

    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise DataError(f"the package {package!r} is not installed", hint=f"pip install {package}")
    path = Path(spec.submodule_search_locations[0], *parts)
    if not path.is_file():
        raise DataError(
            f"{package} does not ship {'/'.join(parts)}",
            where=str(path),
            hint=f"reinstall {package}",
        )
    return path


def split_file(name: str) -> Path:
    """A file of ``harness/data/splits``."""
    return Path(__file__).parent / "splits" / name


def listed(name: str, sha256: str) -> list[list[str]]:
    """The words of each line of a shipped split file, comments left out, after its sha256 has been checked."""
    try:
        content = split_file(name).read_bytes()
    except OSError as error:
        raise DataError(
            f"cannot be read: {error}", where=str(split_file(name)), hint="reinstall bioharness"
        ) from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DataError(
            "the split file was changed: its sha256 is not the one that results refer to",
            where=str(split_file(name)),
            hint="reinstall bioharness",
        )
    lines = content.decode().splitlines()
    return [line.split() for line in lines if line.strip() and not line.startswith("#")]
