"""Checks of devices, processors and memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from harness.arithmetic import flushed_subnormals
from harness.execute import memory
from harness.execute.doctor.finding import Finding
from harness.execute.local import default_workers

WORKER_MEMORY = 2**30
"""Bytes that a worker needs for a small network and a large attack, roughly."""
_NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


def devices() -> Iterator[Finding]:
    """List the GPUs that torch can use, or say why there are none."""
    import torch

    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        yield Finding(
            "PASS",
            f"cuda:{index}",
            f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, "
            f"torch {torch.__version__}, CUDA {torch.version.cuda}",
        )
    if torch.cuda.device_count():
        return
    if _NVIDIA_DRIVER.exists():
        reason = f"torch was built for CUDA {torch.version.cuda}"
        if torch.version.cuda is None:
            reason = "torch is a build without CUDA"
        yield Finding(
            "WARN",
            "cuda",
            f"this machine has an NVIDIA driver that torch cannot use: {reason}",
            "install a CUDA build of torch that fits the driver; until then cells run on the CPU",
        )
    capability = torch.backends.cpu.get_cpu_capability()
    yield Finding("PASS", "cpu", f"the only device; instructions {capability}")


def subnormals() -> Iterator[Finding]:
    """Report whether cells can be computed without subnormal numbers."""
    with flushed_subnormals() as flushed:
        pass
    if flushed:
        yield Finding("PASS", "subnormals", "numbers below 1e-38 are computed as 0 in every cell")
    else:
        yield Finding(
            "WARN",
            "subnormals",
            "this processor cannot compute numbers below 1e-38 as 0",
            "results are right; learners with winner-take-all codes may train several times slower",
        )


def machine() -> Iterator[Finding]:
    """Report the processors, and whether memory is enough for a worker on each."""
    import torch

    cores = default_workers()
    threads = f"torch alone would use {torch.get_num_threads()} threads"
    if setting := os.environ.get("OMP_NUM_THREADS"):
        threads += f" (OMP_NUM_THREADS={setting})"
    yield Finding(
        "PASS",
        "threads",
        f"{cores} usable of {os.cpu_count()} cores: {cores} workers of one thread each; {threads}",
    )
    free = memory.available()
    if free == memory.PLENTY:
        return  # the system does not report it
    detail = f"{free / 2**30:.1f} GiB free for {cores} workers"
    if free < cores * WORKER_MEMORY:
        yield Finding("WARN", "memory", detail, f"--workers {max(1, free // WORKER_MEMORY)}")
    else:
        yield Finding("PASS", "memory", detail)
