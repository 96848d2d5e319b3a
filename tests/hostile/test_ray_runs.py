"""Runs on a Ray cluster whose driver, workers and nodes are killed: no record lost or changed."""

from __future__ import annotations

import contextlib
import os
import random
import signal
from pathlib import Path

import pytest
from hostile_kit import amount, below, survive

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")
pytestmark = pytest.mark.ray
KILLS = amount("HOSTILE_RAY_KILLS", 6)
NODE = {"num_cpus": 1, "object_store_memory": 100 * 2**20}


@pytest.fixture
def cluster():
    """Two nodes of one processor; runs are on the first."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"include_dashboard": False, **NODE})
    cluster.add_node(**NODE)
    yield cluster
    cluster.shutdown()


def workers() -> list[int]:
    """Processes that Ray has started here for tasks and actors, at work or waiting for some."""
    found = []
    for pid in below(os.getpid()):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::"):
                found.append(pid)
    return found


def test_kills_of_driver_workers_and_nodes_at_random_moments_lose_nothing(
    matched, cluster, tmp_path
):
    hits = {"driver": 0, "worker": 0, "node": 0}

    def strike(run) -> bool:
        what = min(hits, key=lambda each: (hits[each], random.random()))  # each as often
        if what == "driver":
            run.kill()
        elif what == "worker":
            if not (there := workers()):
                return False
            with contextlib.suppress(ProcessLookupError):
                os.kill(random.choice(there), signal.SIGKILL)
        else:
            cluster.remove_node(*cluster.worker_nodes, allow_graceful=False)
            cluster.add_node(**NODE)
        hits[what] += 1
        return True

    survive(matched, tmp_path, strike, KILLS, "--executor", "ray", "--address", cluster.address)
    print(f"\nkilled on the Ray cluster: {hits}")
