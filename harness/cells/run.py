"""Running one cell: data -> fit -> measure -> a result in the store."""

from __future__ import annotations

import datetime
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from harness import environment, registry
from harness.arithmetic import flushed_subnormals
from harness.cells import matching, opened
from harness.cells.cell import Cell, Identity, Role
from harness.cells.entries import note_code
from harness.cells.plan import candidate
from harness.data import acquire
from harness.data.base import Images, Loaded
from harness.data.cache import cache_folder
from harness.data.episodes import Span
from harness.errors import DataError
from harness.fronts.learner import Fronted, front_of, split_front
from harness.lazy import nn, torch
from harness.learning import at_hand
from harness.learning.files import files_in
from harness.learning.learner import Budget, Learner, Progress, TrainingLog
from harness.learning.snapshots import Snapshots, by_moment
from harness.learning.training import AS_BUILT, ELSEWHERE, PLASTIC, fitted
from harness.protocols.base import Context, Measurement, TrustContext
from harness.protocols.requirements import classifier_of
from harness.protocols.setting import Setting
from harness.records import TrustCheck, Value
from harness.rng import Rng, derive
from harness.storage.partial import StoredArrays
from harness.storage.store import SAVED, SNAPSHOTS, VERDICTS, WEIGHTS, CellResult, Store
from harness.suite.specs.match import Search

POLL_S = 0.5
"""Seconds between looks at a cell that another process is working on."""

Arrays = dict[str, dict[str, np.ndarray]]
"""File name -> array name -> array."""


@dataclass(frozen=True)
class Conditions:
    """How cells are run. Only the device changes a value.

    Attributes:
        store: where results go.
        data_root: folder of the datasets that are not embedded.
        device: torch device name.
        batch_size: images pushed through a network at once in measuring.
        files: hash -> path, for everything that settings name by a hash.
        at_hand: classes and networks that workers cannot import or read (``learning.at_hand``).
        places: content hash of a dataset -> the paths that its config names.
    """

    store: Store
    data_root: Path | None = None
    device: str = "cpu"
    batch_size: int = 256
    files: dict[str, Path] = field(default_factory=dict)
    at_hand: dict[str, bytes] = field(default_factory=dict)
    places: dict[str, dict[str, Any]] = field(default_factory=dict)


Work = Callable[[Cell, Conditions, Progress], tuple[CellResult, Arrays]]


def run(cell: Cell, conditions: Conditions, progress: Progress) -> CellResult:
    """Compute one cell and store it.

    Returns:
        what was stored, without its arrays.
    """
    at_hand.receive(conditions.at_hand)
    content = cell.identity["dataset"]["content"]
    with acquire.placed(conditions.places.get(content, {})):
        return _carry_out(_WORK[cell.role], cell, conditions, progress)


def _carry_out(work: Work, cell: Cell, conditions: Conditions, progress: Progress) -> CellResult:
    start = time.perf_counter()
    with global_state(cell):
        result, arrays = work(cell, conditions, progress)
    result.wall_s = round(time.perf_counter() - start, 3)
    result.device = conditions.device
    result.versions = cell.identity["versions"]
    result.git_commit = git_commit()
    result.created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    note_code(cell.identity, conditions.store)
    conditions.store.write(cell.key, result, arrays)
    return result


@lru_cache
def git_commit() -> str:
    """The commit of this code, with ``+`` if the tree has changes; empty outside a repository."""
    return environment.commit().get("git_commit", "")


@contextmanager
def global_state(cell: Cell) -> Iterator[None]:
    """Set what a process has one of: random states, and how subnormal numbers are treated.

    A plugin's learner may use the global random states, as ``nn.Linear`` does.
    """
    seed = derive(cell.seed, "global state", cell.role)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    with flushed_subnormals():
        yield


# ------------------------------------------------------------------------------------ five roles


def train(cell: Cell, conditions: Conditions, progress: Progress) -> tuple[CellResult, Arrays]:
    """Train a learner; keep its weights, and snapshots if the suite asks for them."""
    identity = cell.identity
    images = _dataset(cell, conditions.data_root).split(identity["splitting"], "train")
    seen = images if identity["labelled"] else images.unlabelled()
    snapshots = Snapshots()
    with opened.watched() as files:
        learner = _learner(identity, images, conditions).to(conditions.device)
        learner.watch = snapshots if identity["snapshots"] else None
        log = fitted(learner, seen, Budget(identity["budget"]), progress)
    weights = {name: tensor.detach().cpu().numpy() for name, tensor in learner.state_dict().items()}
    checks = [asdict(check) for check in _warning(files, learner, conditions)]
    result = CellResult(identity, trust=checks, log=log.summary())
    return result, {WEIGHTS: weights, SNAPSHOTS: snapshots.taken}


def match(cell: Cell, conditions: Conditions, progress: Progress) -> tuple[CellResult, Arrays]:
    """Choose a key of a learner.

    Each training on the way is a cell of its own: one that is finished is used, and those of an
    interrupted search are kept.
    """
    identity = cell.identity
    search = Search(**identity["match"]["search"])
    keys: dict[float, str] = {}

    def validation_images() -> Images:
        return _dataset(cell, conditions.data_root).split(identity["splitting"], "val")

    def measured(training: str) -> float:
        result = _required(training, conditions)
        learner = _trained(cell, training, result, conditions).to(conditions.device)
        return matching.measured(search.measure, learner, validation_images, conditions.batch_size)

    def tried(value: float) -> float:
        training = candidate(cell, value)
        before = len(keys)

        def progressed(fraction: float, note: str = "") -> None:
            share = (before + fraction) / search.trainings
            progress(share, f"training {before + 1}, {search.key} {value:g}: {note}")

        _finish(training, conditions, progressed)
        keys[value] = training.key
        return measured(training.key)

    if cell.training is None:
        assert not isinstance(search.target, str)
        wanted = search.target
    else:
        wanted = measured(cell.training)
    chosen = matching.search(tried, wanted, search)
    log = {"match": chosen.to_dict(), "training": keys[chosen.value]}
    return CellResult(identity, log=log), {}


def measure(cell: Cell, conditions: Conditions, progress: Progress) -> tuple[CellResult, Arrays]:
    """Measure one setting of a protocol on a learner."""
    data = _dataset(cell, conditions.data_root)
    protocol = registry.protocols[cell.identity["protocol"]["kind"]]
    context = _context(cell, conditions, progress)
    training = None if cell.training is None else _required(cell.training, conditions)
    with opened.watched() as files:
        learner = _measured_learner(cell, training, data, conditions)
        measured = protocol.measure(learner, data, _setting(cell), context)
    checks = [asdict(check) for check in (*measured.trust, *_warning(files, learner, conditions))]
    remarks = [*measured.remarks, *([PLASTIC] if learner.plastic else [])]
    log = {**measured.log, "remarks": remarks}
    if training is not None:  # what is said of it holds for its measurements
        checks += [check for check in training.trust if check not in checks]
        log["remarks"] = [*training.log.get("remarks", []), *remarks]
    elif learner.comes_trained(learner.config):
        origin = ELSEWHERE if any(files_in(learner.config)) else AS_BUILT
        log["remarks"] = [origin, *remarks]
    if not log["remarks"]:
        del log["remarks"]
    values = [asdict(value) for value in measured.values]
    arrays = {VERDICTS: measured.arrays, SAVED: measured.saved}
    return CellResult(cell.identity, values, checks, log), arrays


def judge(cell: Cell, conditions: Conditions, progress: Progress) -> tuple[CellResult, Arrays]:
    """Judge what was measured on one learner, the source, on another one."""
    assert cell.needs is not None
    measured = conditions.store.arrays(cell.needs, VERDICTS)
    data = _dataset(cell, conditions.data_root)
    protocol = registry.protocols[cell.identity["protocol"]["kind"]]
    training = None if cell.training is None else _required(cell.training, conditions)
    learner = _measured_learner(cell, training, data, conditions)
    context = _context(cell, conditions, progress)
    judged = protocol.judge(learner, data, _setting(cell), context, measured)
    values = [asdict(value) for value in judged.values]
    checks = [] if training is None else training.trust
    return CellResult(cell.identity, values, checks), {VERDICTS: judged.arrays}


def trust(cell: Cell, conditions: Conditions, progress: Progress) -> tuple[CellResult, Arrays]:
    """Make the trust checks of a measurement that is in the store."""
    assert cell.needs is not None
    before = conditions.store.read(cell.needs)
    if before is None:
        raise RuntimeError(f"measurement {cell.needs} is not in the store")
    measured = Measurement(
        values=[Value(**value) for value in before.values],
        arrays=conditions.store.arrays(cell.needs, VERDICTS),
        trust=[TrustCheck(**check) for check in before.trust],
        log=before.log,
    )
    data = _dataset(cell, conditions.data_root)
    protocol = registry.protocols[cell.identity["protocol"]["kind"]]
    training = None if cell.training is None else _required(cell.training, conditions)
    learner = _measured_learner(cell, training, data, conditions)
    context = TrustContext(
        **vars(_context(cell, conditions, progress)), relatives=_relatives(cell, conditions)
    )
    checks = protocol.trust(learner, data, _setting(cell), context, measured)
    return CellResult(cell.identity, trust=[asdict(check) for check in checks]), {}


_WORK: dict[Role, Work] = {
    "train": train,
    "match": match,
    "measure": measure,
    "judge": judge,
    "trust": trust,
}


def _finish(cell: Cell, conditions: Conditions, progress: Progress) -> None:
    """Run a training, or wait for the process that is already running it."""
    while conditions.store.read(cell.key, repair=True) is None:
        with conditions.store.lock(cell.key) as mine:
            if mine and not conditions.store.done(cell.key):
                _carry_out(train, cell, conditions, progress)
        if not mine:
            time.sleep(POLL_S)


# ---------------------------------------------------------------------------------------- inputs


def measuring(seed: int) -> Rng:
    """All randomness of measurements under a suite seed."""
    return Rng(seed).child("measure")


def _context(cell: Cell, conditions: Conditions, progress: Progress) -> Context:
    return Context(
        measuring(cell.seed),
        conditions.device,
        conditions.batch_size,
        progress,
        conditions.files,
        StoredArrays(conditions.store.files, cell.key),
    )


def _setting(cell: Cell) -> Setting:
    assert cell.setting is not None
    return cell.setting


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


def _learner(identity: Identity, images: Images, conditions: Conditions) -> Learner:
    cls = registry.learners[identity["learner"]["kind"]]
    context = {"files": conditions.files}
    front, keys = split_front(cls, identity["learner"]["config"])
    config = cls.Config.model_validate(keys, context=context)
    for file in files_in(config):
        file.checked()
    # Every learner of a seed starts from the same place in the tree of randomness.
    rng = Rng(identity["seed"]).child("learner")
    if front is None:
        return cls(config, images.shape, images.n_classes, rng)
    before = front_of(front, images.shape, rng.child("front"))
    return Fronted(before, cls(config, before.shape, images.n_classes, rng))


def _warning(files: opened.Opened, learner: Learner, conditions: Conditions) -> list[TrustCheck]:
    """A warning of files that the learner opened without declaring them."""
    ours = (conditions.store.root, acquire.data_root(conditions.data_root), cache_folder())
    declared = list(files_in(learner.config))
    for file in declared:
        file.checked()  # it was not replaced meanwhile
    return opened.warning(files.undeclared(declared, filter(None, ours)))


def _required(key: str, conditions: Conditions) -> CellResult:
    """The result of a training that must have been finished before."""
    result = conditions.store.read(key)
    if result is None:
        raise RuntimeError(f"training {key} is not in the store")
    return result


def _measured_learner(
    cell: Cell, training: CellResult | None, data: Loaded, conditions: Conditions
) -> Learner:
    """The learner that a protocol measures: trained here or elsewhere, or adapted from scratch."""
    if training is None:
        learner = _untrained(cell.identity, data, conditions)
    else:
        assert cell.training is not None
        learner = _trained(cell, cell.training, training, conditions)
    return learner.to(conditions.device)


def _trained(cell: Cell, key: str, training: CellResult, conditions: Conditions) -> Learner:
    identity = training.identity
    images = _dataset(cell, conditions.data_root).split(identity["splitting"], "train")
    learner = _learner(identity, images, conditions)
    weights = conditions.store.arrays(key, WEIGHTS)
    learner.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    learner.fitted = True
    learner.training_log = TrainingLog.of(training.log)
    if identity["snapshots"]:
        learner.snapshots = lambda: _states(conditions.store.arrays(key, SNAPSHOTS))
    return learner


def _relatives(cell: Cell, conditions: Conditions) -> dict[str, nn.Module]:
    """Kind -> network of each learner that was trained for trust checks to transfer from."""
    networks = {}
    for key in cell.relatives:
        learner = _trained(cell, key, _required(key, conditions), conditions)
        networks[learner.kind] = classifier_of(learner.to(conditions.device))
    return networks


def _states(arrays: dict[str, np.ndarray]) -> dict[int, dict[str, torch.Tensor]]:
    states = {}
    for seen, state in by_moment(arrays).items():
        states[seen] = {name: torch.from_numpy(array) for name, array in state.items()}
    return states


def _untrained(identity: Identity, data: Loaded, conditions: Conditions) -> Learner:
    """A learner without a training here.

    It has as many outputs as there are classes or, from scratch, as an episode has ways.
    """
    setting = identity["setting"]
    classes = Span.of(setting["ways"]).high if "ways" in setting else len(data.class_names)
    shape = tuple(data.pixels.shape[1:])
    nothing = Images(
        np.zeros((0, *shape), np.uint8), np.zeros(0, np.int64), np.zeros(0, np.int64), classes
    )
    learner = _learner(identity, nothing, conditions)
    learner.fitted = learner.comes_trained(learner.config)
    return learner
