"""What running one cell means: data -> fit -> measure -> a result in the store."""

from __future__ import annotations

import datetime
import random
import subprocess
import time
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from harness import registry
from harness.cells import matching
from harness.cells.plan import Cell, candidate
from harness.data import acquire
from harness.data.base import Images, Loaded
from harness.data.episodes import Span
from harness.errors import DataError
from harness.lazy import torch
from harness.learning.learner import Budget, Learner, Progress, TrainingLog
from harness.learning.snapshots import Snapshots, by_moment
from harness.protocols.base import Context
from harness.rng import Rng, derive
from harness.storage.store import SNAPSHOTS, VERDICTS, WEIGHTS, CellResult, Store
from harness.suite.specs.match import Search

POLL_S = 0.5
"""How often a cell that another process is working on is looked at again."""


@dataclass(frozen=True)
class Conditions:
    """How cells are run; none of it changes a value, except the device.

    Attributes:
        store: where results go.
        data_root: where datasets that are not embedded lie.
        device: torch device name.
        batch_size: images pushed through a network at once in measuring.
        files: hash -> where the file lies, for all that settings name by a hash.
    """

    store: Store
    data_root: Path | None = None
    device: str = "cpu"
    batch_size: int = 256
    files: dict[str, Path] = field(default_factory=dict)


def run(cell: Cell, conditions: Conditions, progress: Progress) -> float:
    """Compute one cell and store it; returns the seconds it took."""
    start = time.perf_counter()
    _seed_globals(cell)
    work = {"train": _train, "match": _match, "measure": _measure}[cell.role]
    result, arrays = work(cell, conditions, progress)
    result.wall_s = round(time.perf_counter() - start, 3)
    result.device, result.versions, result.git_commit = (
        conditions.device,
        cell.identity["versions"],
        git_commit(),
    )
    result.created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    conditions.store.write(cell.key, result, arrays)
    return result.wall_s


def _seed_globals(cell: Cell) -> None:
    """Nothing here uses global random state, but a third party's learner may (any plain ``nn.Linear`` does)."""
    seed = derive(cell.seed, "global state", cell.role)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def _train(cell: Cell, conditions: Conditions, progress: Progress) -> tuple[CellResult, dict]:
    identity = cell.identity
    images = _dataset(cell, conditions.data_root).split(identity["splitting"], "train")
    learner = _learner(identity, images).to(conditions.device)
    seen = images if identity["labelled"] else images.unlabelled()
    snapshots = Snapshots()
    learner.watch = snapshots if identity["snapshots"] else None
    log = learner.fit(seen, budget=Budget(identity["budget"]), progress=progress)
    if not isinstance(log, TrainingLog):
        raise TypeError(
            f"{learner.kind}: fit() must return a TrainingLog, got {type(log).__name__}"
        )
    weights = {name: tensor.detach().cpu().numpy() for name, tensor in learner.state_dict().items()}
    summary = {"rows": log.rows, "images_seen": log.images_seen, "sign_changes": log.sign_changes}
    return CellResult(identity, log=summary), {WEIGHTS: weights, SNAPSHOTS: snapshots.taken}


def _match(cell: Cell, conditions: Conditions, progress: Progress) -> tuple[CellResult, dict]:
    """Choose a key of a learner. Each training on the way is a cell of its own, found where it is done and kept if this is
    cut off.
    """
    identity, task = cell.identity, Search(**cell.identity["match"]["search"])
    keys: dict[float, str] = {}

    def number(trained: Cell) -> float:
        learner = _trained(trained, conditions).to(conditions.device)
        return matching.measured(
            task.measure,
            learner,
            lambda: _dataset(cell, conditions.data_root).split(identity["splitting"], "val"),
            conditions.batch_size,
        )

    def tried(value: float) -> float:
        train, before = candidate(cell, value), len(keys)
        _finish(
            train,
            conditions,
            lambda fraction, note="": progress(
                (before + fraction) / task.trainings,
                f"training {before + 1}, {task.key} {value:g}: {note}",
            ),
        )
        keys[value] = train.key
        return number(replace(cell, needs=train.key))

    wanted = task.target if cell.needs is None else number(cell)
    match = matching.search(tried, wanted, task)
    return CellResult(identity, log={"match": match.to_dict(), "training": keys[match.value]}), {}


def _finish(cell: Cell, conditions: Conditions, progress: Progress) -> None:
    """Have a cell finished: by this process, or by another that is at work on it."""
    while conditions.store.read(cell.key, repair=True) is None:
        with conditions.store.lock(cell.key) as mine:
            if mine and not conditions.store.done(cell.key):
                run(cell, conditions, progress)
        if not mine:
            time.sleep(POLL_S)


def _measure(cell: Cell, conditions: Conditions, progress: Progress) -> tuple[CellResult, dict]:
    identity, data = cell.identity, _dataset(cell, conditions.data_root)
    protocol = registry.protocols[identity["protocol"]["kind"]]
    learner = _trained(cell, conditions) if cell.needs else _untrained(identity, data)
    context = Context(
        measuring(cell.seed), conditions.device, conditions.batch_size, progress, conditions.files
    )
    measured = protocol.measure(learner.to(conditions.device), data, identity["setting"], context)
    values = [asdict(value) for value in measured.values]
    return CellResult(identity, values, [asdict(check) for check in measured.trust]), {
        VERDICTS: measured.verdicts
    }


def measuring(seed: int) -> Rng:
    """All randomness of measurements under a suite seed."""
    return Rng(seed).child("measure")


def _dataset(cell: Cell, root: Path | None) -> Loaded:
    spec = cell.identity["dataset"]
    return _load(spec["kind"], tuple(sorted(spec["config"].items())), root, spec["content"])


@lru_cache(maxsize=2)
def _load(kind: str, config: tuple, root: Path | None, content: str) -> Loaded:
    cls = registry.datasets[kind]
    loaded, found = acquire.load(cls(cls.Config.model_validate(dict(config)), root))
    if found != content:
        raise DataError(f"{kind} has changed since the run was planned", hint="run again")
    return loaded


def _learner(identity: dict[str, Any], images: Images) -> Learner:
    cls = registry.learners[identity["learner"]["kind"]]
    config = cls.Config.model_validate(identity["learner"]["config"])
    # Every learner of a seed starts from the same place in the tree of randomness.
    return cls(config, images.shape, images.n_classes, Rng(identity["seed"]).child("learner"))


def _trained(cell: Cell, conditions: Conditions) -> Learner:
    before = conditions.store.read(cell.needs)
    if before is None:
        raise RuntimeError(f"training cell {cell.needs} is not in the store")
    images = _dataset(cell, conditions.data_root).split(before.identity["splitting"], "train")
    learner = _learner(before.identity, images)
    weights = conditions.store.arrays(cell.needs, WEIGHTS)
    learner.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    learner.fitted = True
    learner.training_log = TrainingLog(**before.log)
    if before.identity["snapshots"]:
        learner.snapshots = lambda: _states(conditions.store.arrays(cell.needs, SNAPSHOTS))
    return learner


def _states(arrays: dict[str, np.ndarray]) -> dict[int, dict[str, torch.Tensor]]:
    return {
        seen: {name: torch.from_numpy(array) for name, array in state.items()}
        for seen, state in by_moment(arrays).items()
    }


def _untrained(identity: dict[str, Any], data: Loaded) -> Learner:
    ways = Span.of(identity["setting"]["ways"]).high
    shape = tuple(data.pixels.shape[1:])
    nothing = Images(
        np.zeros((0, *shape), np.uint8), np.zeros(0, np.int64), np.zeros(0, np.int64), ways
    )
    return _learner(identity, nothing)


@lru_cache
def git_commit() -> str:
    """The commit of the working tree, with ``+`` where it has changes; empty outside a repository."""

    def git(*words: str) -> str:
        here = Path(__file__).parent
        return subprocess.run(
            ["git", *words], capture_output=True, text=True, cwd=here, check=False
        ).stdout.strip()

    try:
        commit = git("rev-parse", "--short=12", "HEAD")
        return commit + (
            "+" if commit and git("status", "--porcelain", "--untracked-files=no") else ""
        )
    except OSError:
        return ""
