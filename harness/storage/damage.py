"""What is said of damaged cells."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.errors import StoreError, remark
from harness.storage.cellfile import Damage

NAMED_AT_MOST = 5
"""Damaged cells that are named one by one."""


def name_damaged(damaged: Mapping[str, Damage], root: str | Path) -> None:
    """Warn of damaged cells that were left out, one line each and a line for many more.

    Args:
        damaged: key -> what is wrong.
        root: of the store.
    """
    for key, damage in itertools.islice(damaged.items(), NAMED_AT_MOST):
        remark(f"cell {key} is damaged and left out: {damage}", where=str(root))
    more = len(damaged) - NAMED_AT_MOST
    if more > 0:
        remark(f"{more} more cells are damaged and left out", where=str(root))


def name_unreadable(errors: Sequence[StoreError]) -> None:
    """Warn of cells that were left out because their arrays cannot be read, like ``name_damaged``.

    Args:
        errors: one for each cell, each with the root of the store.
    """
    for error in errors[:NAMED_AT_MOST]:
        hint = repair_hint(error.where or "STORE")
        remark(f"left out: {error.message}; {hint}", where=error.where)
    more = len(errors) - NAMED_AT_MOST
    if more > 0:
        remark(f"{more} more cells are damaged and left out", where=errors[0].where)


def repair_hint(root: str | Path) -> str:
    """What to do about a damaged cell of a store."""
    return f"`harness store verify {root} --repair` sets damaged cells aside; then run again"


def damage_error(root: str | Path, key: str, name: str, cause: Exception) -> StoreError:
    """The error that a file of a cell cannot be read.

    Args:
        root: of the store.
        key: of the cell.
        name: of the file.
        cause: what is wrong; a FileNotFoundError if it is missing.
    """
    reason = "the file is missing" if isinstance(cause, FileNotFoundError) else str(cause)
    return StoreError(
        f"cannot read {name} of cell {key}: {reason}",
        where=str(root),
        hint=repair_hint(root),
    )
