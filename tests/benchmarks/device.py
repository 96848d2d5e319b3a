"""Seconds of training on one CPU core and on a GPU, by learner and size.

    python tests/benchmarks/device.py [LEARNER ...]      (on a machine with a GPU; some minutes)

Trainings are ordinary cells. The first one on a GPU also starts CUDA, so two seeds are trained and
the second counts.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import yaml

from harness import api
from harness.storage.store import Store

LEARNERS = {
    "mlp-400": ("mnist5k", {"kind": "mlp", "hidden": 400, "epochs": 10}),
    "rule-400": ("mnist5k", {"kind": "ech", "hidden": 400}),
    "rule-4000": ("mnist5k", {"kind": "ech", "hidden": 4000, "epochs": 1}),
    "rule-stack": ("mnist5k", {"kind": "ech-stack", "images": 6000}),
    "protonet-64": ("glyphs", {"kind": "protonet", "width": 64, "episodes": 100}),
}
"""name -> dataset, config"""


def seconds(name: str, device: str) -> float:
    """Of the second of two trainings, in a fresh store."""
    dataset, config = LEARNERS[name]
    protocol = (
        {"kind": "classification"}
        if dataset == "mnist5k"
        else {"kind": "few_shot", "ways": 5, "shots": 1, "queries": 5, "episodes": 2}
    )
    suite = {
        "name": "device",
        "seeds": [0, 1],
        "learners": {name: config},
        "protocols": {"p": {**protocol, "dataset": dataset}},
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "suite.yaml"
        path.write_text(yaml.safe_dump(suite))
        run = api.run(path, store=Path(folder) / "store", device=device, workers=1)
        assert not run.outcome.failed, run.outcome.failed
        trainings = [cell for cell in run.plan.unique if cell.role == "train"]
        return (
            Store(Path(folder) / "store")
            .read(next(cell.key for cell in trainings if cell.seed == 1))
            .wall_s
        )


if __name__ == "__main__":
    print(f"{'learner':<12} {'CPU core s':>10} {'GPU s':>8} {'ratio':>6}")
    for chosen in sys.argv[1:] or LEARNERS:
        cpu, gpu = seconds(chosen, "cpu"), seconds(chosen, "cuda")
        print(f"{chosen:<12} {cpu:>10.1f} {gpu:>8.1f} {cpu / gpu:>6.1f}", flush=True)
