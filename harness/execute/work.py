"""What a worker does with a cell, whichever executor it belongs to."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from harness.cells import run as cells
from harness.cells.plan import Cell
from harness.cells.run import Conditions
from harness.errors import DataError, StoreError
from harness.execute.base import Event
from harness.lazy import torch

ONE_THREAD = {
    name: "1"
    for name in (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
    )
}
"""Environment of every worker, from before its libraries are loaded: last bits can depend on the number of threads."""
REPORT_S = 0.2
"""Progress is reported this often at most."""


def settle_in(device: str) -> None:
    """Once in each worker process, before its first cell."""
    import harness.execute.preload  # noqa: F401 - imported for its effect

    torch.set_num_threads(
        1
    )  # results do not depend on the number of cores, and small networks run faster
    sys.stdout = sys.stderr  # answers are the parent's to give
    _keep_memory()
    settle_on(device)
    with contextlib.suppress(
        OSError
    ):  # where memory runs out after all, a worker goes before whoever waits for it
        Path("/proc/self/oom_score_adj").write_text("1000")


def settle_on(device: str) -> None:
    """Have a GPU compute in single precision as the CPU does, and the same bits each time.

    Where CUDA has no deterministic way to do something, torch warns and does it all the same.
    """
    if device == "cpu":
        return
    os.environ.setdefault(
        "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
    )  # https://docs.nvidia.com/cuda/cublas/#results-reproducibility
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False


def attempt(cell: Cell, conditions: Conditions, report: Callable[[Event], None]) -> Event:
    """Compute a cell and hand its result to the store.

    Returns:
        ``done``, ``failed``, ``fatal``, or ``lost`` for want of a GPU's memory; nothing that a cell does is raised.
    """
    start = time.perf_counter()
    try:
        return Event("done", cells.run(cell, conditions, _throttled(report)))
    except (StoreError, DataError) as error:  # the next cell would not survive it either
        return Event("fatal", text=str(error))
    except torch.OutOfMemoryError:
        return Event("lost", text="the GPU's memory ran short; fewer --workers share it better")
    except BaseException as error:  # SystemExit, too: the cell has failed, the worker goes on
        text = f"{type(error).__name__}: {error}".partition("\n")[0]
        return Event("failed", time.perf_counter() - start, text=text, trace=traceback.format_exc())
    finally:
        if conditions.device != "cpu":
            torch.cuda.empty_cache()  # what torch would keep for the next cell, another worker's may need now


def _throttled(report: Callable[[Event], None]) -> Callable[[float, str], None]:
    last = 0.0

    def progress(fraction: float, note: str = "") -> None:
        nonlocal last
        if time.monotonic() - last > REPORT_S:
            last = time.monotonic()
            report(Event("progress", fraction=fraction, text=note))

    return progress


def _keep_memory() -> None:
    """Have glibc reuse what large tensors leave instead of giving it back and faulting it in again, page by page: training
    a convolutional network on a few hundred images at once is 1.2 to 1.4 times as fast.
    """
    m_trim_threshold, m_mmap_max = -1, -4
    with contextlib.suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL(None)
        libc.mallopt(m_mmap_max, 0)
        libc.mallopt(m_trim_threshold, 2**31 - 1)
