"""What every worker does, on any executor: set up its process, and compute a cell."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from harness.cells import opened
from harness.cells import run as cells
from harness.cells.cell import Cell, Role
from harness.cells.run import Conditions
from harness.errors import DataError, ProofError, StoreError
from harness.execute import phase
from harness.execute.base import Event
from harness.lazy import torch

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
}
"""Environment of every worker, set before its libraries are loaded.

The last bits of results can depend on the number of threads.
"""
DOING: dict[Role, str] = {
    "train": "training",
    "match": "choosing a value",
    "measure": "measuring",
    "judge": "judging",
    "trust": "trust checks",
}
"""What is said of a cell that has not reported anything."""


def prepare_process(device: str) -> None:
    """Set up a worker process, once before its first cell.

    Args:
        device: torch device name.
    """
    import harness.execute.forked.preload  # noqa: F401 - imported for its effect

    # Results do not depend on the number of cores, and small networks run faster.
    torch.set_num_threads(1)
    # Standard output is for the parent's answers.
    sys.stdout = sys.stderr
    _keep_freed_memory()
    prepare_device(device)
    # If memory runs out after all, the kernel kills a worker rather than the process waiting for
    # it.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="utf-8")


def prepare_device(device: str) -> None:
    """Make a GPU compute in single precision, as the CPU does, and deterministically.

    Where CUDA has no deterministic implementation of an operation, torch warns and goes on.

    Args:
        device: torch device name.
    """
    if device == "cpu":
        return
    # https://docs.nvidia.com/cuda/cublas/#results-reproducibility
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def attempt(cell: Cell, conditions: Conditions, report: Callable[[Event], None]) -> Event:
    """Compute a cell and write its result to the store; never raises an error of the cell.

    Args:
        cell: its prerequisites are in the store.
        conditions: how cells are run.
        report: called with ``progress`` events, in a thread of its own.

    Returns:
        ``done``, ``failed``, ``fatal``, or ``lost`` if a GPU's memory ran short.
    """
    start = time.perf_counter()

    def progressed(fraction: float, note: str) -> None:
        report(Event("progress", fraction=fraction, text=note or DOING[cell.role]))

    try:
        with phase.watched(progressed) as progress:
            result = cells.run(cell, conditions, progress)
        return Event("done", result.wall_s, text=opened.warning_in(result.trust))
    except (StoreError, DataError, ProofError) as error:  # no other cell is worth running
        return Event("fatal", text=str(error))
    except torch.OutOfMemoryError:
        return Event("lost", text="the GPU's memory ran short; fewer --workers share it better")
    except BaseException as error:  # includes SystemExit: the cell has failed, the worker goes on
        text = f"{type(error).__name__}: {error}".partition("\n")[0]
        seconds = time.perf_counter() - start
        return Event("failed", seconds, text=text, trace=traceback.format_exc())
    finally:
        if conditions.device != "cpu":
            # Other workers may need what torch would keep for this worker's next cell.
            torch.cuda.empty_cache()


def _keep_freed_memory() -> None:
    """Make glibc keep the memory of freed tensors instead of returning it to the kernel.

    Otherwise it is faulted in again page by page. Training a convolutional network on a few hundred
    images at once is 1.2 to 1.4 times as fast this way.
    """
    m_trim_threshold = -1
    m_mmap_max = -4
    with contextlib.suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL(None)
        libc.mallopt(m_mmap_max, 0)
        libc.mallopt(m_trim_threshold, 2**31 - 1)
