"""Files that packages install: split lists and arrays of this one, tables and fonts of others."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path

from harness.errors import DataError

HERE = Path(__file__).parent


def split_file(name: str) -> Path:
    """Path of a file in ``harness/data/splits``."""
    return HERE / "splits" / name


def array_file(name: str) -> Path:
    """Path of a file in ``harness/data/arrays``."""
    return HERE / "arrays" / name


def package_file(package: str, *parts: str) -> Path:
    """Path of a file that an installed package ships, found without importing the package.

    Args:
        package: import name of the package.
        parts: path of the file inside the package.

    Raises:
        DataError: If the package is not installed or does not ship the file.
    """
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


def read_split_list(name: str, sha256: str) -> list[list[str]]:
    """Read a file of ``harness/data/splits`` as one list of words a line.

    Empty lines and lines that start with ``#`` are skipped.

    Args:
        name: name of the file.
        sha256: the hash that its content must have.

    Raises:
        DataError: If the file cannot be read or has another hash.
    """
    path = split_file(name)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"cannot be read: {error}", where=str(path), hint="reinstall bioharness"
        ) from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DataError(
            "the split list was changed: its sha256 differs from the one that results refer to",
            where=str(path),
            hint="reinstall bioharness",
        )
    lines = content.decode().splitlines()
    return [line.split() for line in lines if line.strip() and not line.startswith("#")]
