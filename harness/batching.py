"""Pushing many samples through a network so that the batch size changes no bit of the result.

On a CPU the kernel that a matrix product runs on depends on its number of rows only while that number is small or odd;
with a multiple of 16 rows each row's result is the same in every batch (tests/test_batching.py measures it). So every
batch is padded to such a multiple, and the padding is thrown away.
"""

from __future__ import annotations

from collections.abc import Callable

from harness.lazy import torch

ROWS = 16


def padded(batch: torch.Tensor) -> torch.Tensor:
    """``batch`` with its first row repeated at the end until the number of rows is a multiple of 16."""
    missing = -len(batch) % ROWS
    return (
        torch.cat([batch, batch[:1].expand(missing, *batch.shape[1:])])
        if missing
        else batch.contiguous()
    )


def in_batches(
    function: Callable[..., torch.Tensor], *tensors: torch.Tensor, batch_size: int
) -> torch.Tensor:
    """``function`` over rows of ``tensors`` (equal lengths, at least one row), batch by batch, concatenated.

    ``function`` must treat rows independently. ``batch_size`` is rounded up to a multiple of 16.

    Raises:
        ValueError: it does not give a row for each row.
    """
    step = -(-batch_size // ROWS) * ROWS
    parts = []
    for start in range(0, len(tensors[0]), step):
        rows = [tensor[start : start + step] for tensor in tensors]
        rows_in = [padded(part) for part in rows]
        given = function(*rows_in)
        if not isinstance(given, torch.Tensor) or given.shape[:1] != rows_in[0].shape[:1]:
            got = tuple(given.shape) if isinstance(given, torch.Tensor) else type(given).__name__
            raise ValueError(
                f"a network must give a row for each of its {len(rows_in[0])} rows, got {got}"
            )
        parts.append(given[: len(rows[0])])
    return torch.cat(parts)
