"""Evaluate a network in batches so that the batch size does not change a single bit.

On a CPU, the kernel that computes a matrix product depends on the number of rows only if that
number is small or odd. With a multiple of 16 rows, each row's result is the same in every batch
(measured in ``tests/test_batching.py``). So every batch is padded to such a multiple, and the
padding is dropped afterwards.
"""

from __future__ import annotations

from collections.abc import Callable

from harness.lazy import torch

ROWS = 16


def padded(batch: torch.Tensor) -> torch.Tensor:
    """Repeat the first row at the end of a batch until the number of rows is a multiple of 16.

    >>> import torch
    >>> padded(torch.zeros(17, 3)).shape
    torch.Size([32, 3])
    """
    missing = -len(batch) % ROWS
    if not missing:
        return batch.contiguous()
    padding = batch[:1].expand(missing, *batch.shape[1:])
    return torch.cat([batch, padding])


def in_batches(
    function: Callable[..., torch.Tensor], *tensors: torch.Tensor, batch_size: int
) -> torch.Tensor:
    """Apply a function to tensors batch by batch and concatenate the results.

    Args:
        function: Takes one batch of each tensor and returns one row for each row of it. It must
            treat rows independently.
        *tensors: (N, ...) each, with the same N of at least 1.
        batch_size: Rows of a batch; rounded up to a multiple of 16.

    Returns:
        (N, ...).

    Raises:
        ValueError: The function returns another number of rows, or something else than a tensor.
    """
    step = -(-batch_size // ROWS) * ROWS
    parts = []
    for start in range(0, len(tensors[0]), step):
        rows = [tensor[start : start + step] for tensor in tensors]
        inputs = [padded(part) for part in rows]
        output = function(*inputs)
        _check_rows(output, len(inputs[0]))
        parts.append(output[: len(rows[0])])
    return torch.cat(parts)


def _check_rows(output: object, expected: int) -> None:
    if not isinstance(output, torch.Tensor):
        got = type(output).__name__
    elif output.shape[:1] != (expected,):
        got = str(tuple(output.shape))
    else:
        return
    raise ValueError(f"a network must return one row for each of its {expected} rows, got {got}")
