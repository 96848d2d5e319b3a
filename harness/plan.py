"""A suite, laid out as cells. A cell's key is a hash of all that can change its result."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import sys
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from harness.data.base import Dataset
from harness.protocols.base import TrainingData
from harness.suite import LearnerEntry, ProtocolEntry, Suite

SCHEMA_VERSION = 1
OURS = ("harness", "baselines")
LIBRARIES = ("torch", "numpy", "scipy", "torchattacks", "learn2learn")
NEUTRAL = (*OURS, "harness.registry", "harness.errors", "harness.lazy", "harness.records")
"""Modules that find, name or carry things and compute nothing: changing them changes no result."""
CORE = ("harness.cells", "harness.batching", "harness.rng")
"""Modules that every cell runs through."""


@dataclass(frozen=True)
class Cell:
    """The smallest unit of work: training one learner, or measuring one setting of it.

    Attributes:
        key: hash of ``identity``.
        role: ``train`` or ``measure``.
        identity: JSON-able; all that can change the result, and all that a worker needs to compute it.
        needs: key of the training cell that comes first, or None.
        learner, protocol: names in the suite (for people; not part of the identity). A training cell has no protocol.
        label: the setting in a few words.
    """

    key: str
    role: Literal["train", "measure"]
    identity: dict[str, Any]
    needs: str | None
    learner: str
    protocol: str
    label: str

    @property
    def seed(self) -> int:
        """The suite seed it runs under."""
        return self.identity["seed"]

    @property
    def title(self) -> str:
        """What it does, in a line."""
        what = "train" if self.role == "train" else self.protocol
        return " · ".join(filter(None, [self.learner, what, self.label, f"seed {self.seed}"]))


@dataclass(frozen=True)
class Plan:
    """The cells of a suite, training before measuring; equal work stands once in ``unique``."""

    suite: Suite
    cells: list[Cell]

    @property
    def unique(self) -> list[Cell]:
        """Cells without repetition (two protocols on one dataset share their training)."""
        return list({cell.key: cell for cell in self.cells}.values())


def make(suite: Suite, *, device: str = "cpu", content_hash: Callable[[Dataset], str] | None = None) -> Plan:
    """Lay out a suite.

    Args:
        content_hash: dataset -> hash of its content; from the dataset cache if left out (a first call may build it).
    """
    if content_hash is None:
        from harness.data.acquire import content_hash, load

        for entry in suite.protocols:
            entry.protocol.examine(lambda dataset=entry.dataset: load(dataset)[0])
    hashes = {id(entry): content_hash(entry.dataset) for entry in suite.protocols}
    measuring = [cell for entry in suite.protocols for cell in _cells(suite, entry, device, hashes[id(entry)])]
    return Plan(suite, [c for c in measuring if c.role == "train"] + [c for c in measuring if c.role == "measure"])


def _cells(suite: Suite, entry: ProtocolEntry, device: str, dataset_hash: str) -> Iterator[Cell]:
    data = {"kind": entry.dataset.kind, "config": entry.dataset.config.model_dump(mode="json"), "content": dataset_hash}
    training = entry.protocol.training()
    for seed in entry.seeds:
        for learner in entry.learners:
            who = {"kind": learner.cls.kind, "config": learner.config.model_dump(mode="json"),
                   "code": code_version(learner.cls.__module__)}
            common = {"schema": SCHEMA_VERSION, "dataset": data, "learner": who, "seed": seed, "device": device,
                      "versions": versions(), "core": [_digest([module]) for module in CORE]}
            train = _training_cell(suite, learner, training, common, entry.dataset.kind) if training else None
            if train:
                yield train
            for setting in entry.protocol.settings():
                protocol = {"kind": entry.protocol.kind, "code": [code_version(name) for name in entry.protocol.modules(setting)]}
                identity = {**common, "role": "measure", "training": train and train.key, "protocol": protocol,
                            "setting": setting}
                yield Cell(cell_key(identity), "measure", identity, train and train.key, learner.name, entry.name,
                           _label(setting))


def _training_cell(suite: Suite, learner: LearnerEntry, data: TrainingData, common: dict, dataset: str) -> Cell:
    identity = {**common, "role": "train", "splitting": data.splitting, "labelled": data.labelled, "budget": suite.budget.images,
                "snapshots": suite.snapshots}
    label = f"{dataset}/{data.splitting}" + ("" if data.labelled else ", unlabelled")
    return Cell(cell_key(identity), "train", identity, None, learner.name, "", label)


def _label(setting: dict[str, Any]) -> str:
    episode = f"{setting['ways']}w{setting['shots']}s" if "shots" in setting else ""
    labelled = f"{setting['labelled']} labelled" if "per_class" in setting else ""
    return " ".join(filter(None, [episode, labelled, str(setting.get("attack", ""))]))


def cell_key(identity: dict[str, Any]) -> str:
    """The key of a cell: a hash of all that can change its result."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


@lru_cache
def versions() -> dict[str, str]:
    """Releases of Python and of the libraries that compute."""
    found = {"python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


@lru_cache
def code_version(module: str) -> str:
    """Hash of the code of a module and of every module of ours that it imports, comments and docstrings aside."""
    return _digest(sorted(_closure(module)))


def _digest(modules: list[str]) -> str:
    digest = hashlib.sha256()
    for name in modules:
        digest.update(f"{name}\n{_code(name)}\n".encode())
    return digest.hexdigest()[:16]


def _closure(module: str) -> set[str]:
    """A module and all that it imports, as far as that is ours, its own package's, or code that is not installed."""
    package, found, waiting = module.partition(".")[0], set(), [module]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [other for other in _imports(name) if other not in NEUTRAL and _is_followed(other, package)]
    return found


def _is_followed(name: str, package: str) -> bool:
    top = name.partition(".")[0]
    return (top in (*OURS, package) or _is_loose(top)) and _is_module(name)


@lru_cache
def _is_loose(top: str) -> bool:
    """Whether a top-level module is somebody's own file, neither installed nor Python's."""
    spec = importlib.util.find_spec(top)
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return False
    installed = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return not any(Path(spec.origin).is_relative_to(folder) for folder in installed)


@lru_cache
def _tree(module: str) -> ast.Module:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return ast.Module([], [])
    return ast.parse(Path(spec.origin).read_text())


@lru_cache
def _imports(module: str) -> list[str]:
    """Names that a module imports, relative ones made absolute; some may be no modules."""
    names = []
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            base = importlib.util.resolve_name(base, _package(module)) if node.level else base
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return sorted(set(names))


def _package(module: str) -> str:
    spec = importlib.util.find_spec(module)
    return module if spec and spec.submodule_search_locations else module.rpartition(".")[0]


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ModuleNotFoundError, ValueError):
        return False


@lru_cache
def _code(module: str) -> str:
    tree = ast.parse(ast.unparse(_tree(module)))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant) \
                and isinstance(body[0].value.value, str):
            body[0].value.value = ""
    return ast.dump(tree)
