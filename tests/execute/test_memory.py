"""Memory as Linux reports it."""

from __future__ import annotations

import os

import pytest

from harness.execute import memory

MIB = 2**20


@pytest.fixture
def machine(tmp_path):
    """A /proc and a /sys/fs/cgroup of 1,000 MiB, 400 of them available."""
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    groups.mkdir()
    (proc / "meminfo").write_text(
        f"MemTotal: {1000 * 1024} kB\nMemFree: 1 kB\nMemAvailable: {400 * 1024} kB\n"
    )
    return proc, groups


def group(folder, names: tuple[str, str], limit, used: int, cached: tuple[str, int]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 1\n{cached[0]} {cached[1]}\n")


TWO = ("memory.max", "memory.current"), "inactive_file"
ONE = ("memory.limit_in_bytes", "memory.usage_in_bytes"), "total_inactive_file"


def test_a_machine_without_control_groups(machine):
    assert memory.available(*machine) == 400 * MIB and memory.total(*machine) == 1000 * MIB


def test_the_tightest_group_above_us_decides(machine):
    proc, groups = machine
    (proc / "self" / "cgroup").write_text("0::/job/step\n")
    group(groups / "job", TWO[0], 300 * MIB, 250 * MIB, (TWO[1], 50 * MIB))
    group(groups / "job" / "step", TWO[0], "max", 10 * MIB, (TWO[1], 0))
    assert memory.available(proc, groups) == 100 * MIB and memory.total(proc, groups) == 300 * MIB


def test_version_one_of_control_groups(machine):
    proc, groups = machine
    (proc / "self" / "cgroup").write_text("5:cpu,cpuacct:/a\n4:memory:/slurm/job\n")
    group(groups / "memory" / "slurm" / "job", ONE[0], 350 * MIB, 340 * MIB, (ONE[1], 40 * MIB))
    group(groups / "memory", ONE[0], 2**63 - 4096, 900 * MIB, (ONE[1], 0))  # which means: none
    assert memory.available(proc, groups) == 50 * MIB and memory.total(proc, groups) == 350 * MIB


def test_where_nothing_is_known_nothing_is_limited(tmp_path):
    assert memory.available(tmp_path, tmp_path) == memory.total(tmp_path, tmp_path) == memory.PLENTY
    assert memory.used(2**30) == 0


@pytest.mark.skipif(
    not os.path.exists("/proc/self/clear_refs"), reason="this system does not tell peaks"
)
def test_the_peak_of_a_process_starts_again_after_each_look():
    memory.peak()
    before = memory.used()
    block = b"x" * (64 * MIB)
    assert memory.used() > before + 60 * MIB
    del block
    assert memory.peak() > before + 60 * MIB > memory.peak()
