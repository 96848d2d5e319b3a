"""A suite, laid out as cells. A cell's key is a hash of all that can change its result."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any, Literal

from harness.data.base import Dataset
from harness.environment import versions
from harness.protocols.base import TrainingData
from harness.storage.cellfile import cell_key
from harness.storage.store import CellResult
from harness.suite.model import LearnerEntry, ProtocolEntry, Suite

SCHEMA_VERSION = 1
OURS = ("harness", "baselines")
NEUTRAL = (*OURS, "harness.registry", "harness.errors", "harness.lazy", "harness.records")
"""Modules that find, name or carry things and compute nothing: changing them changes no result."""
CORE = ("harness.cells.run", "harness.batching", "harness.rng")
"""Modules that every cell runs through."""


@dataclass(frozen=True)
class Cell:
    """The smallest unit of work: training one learner, choosing a key of it (``match``), or measuring one setting of it.

    Attributes:
        key: hash of ``identity``.
        role: ``train``, ``match`` or ``measure``.
        identity: JSON-able; all that can change the result, and all that a worker needs to compute it.
        needs: key of the training cell that comes first (of a match: of the learner that it is to equal), or None.
        learner, protocol: names in the suite (for people; not part of the identity). Measurements alone have a protocol.
        label: the setting in a few words.
        behind: key of a match that has to be found first; until then the cell cannot be run, and its own key is not final.
    """

    key: str
    role: Literal["train", "match", "measure"]
    identity: dict[str, Any]
    needs: str | None
    learner: str
    protocol: str
    label: str
    behind: str = ""

    @property
    def seed(self) -> int:
        """The suite seed it runs under."""
        return self.identity["seed"]

    @property
    def title(self) -> str:
        """What it does, in a line."""
        what = self.protocol or self.role
        return " · ".join(filter(None, [self.learner, what, self.label, f"seed {self.seed}"]))


@dataclass(frozen=True)
class Plan:
    """The cells of a suite, training before measuring; equal work stands once in ``unique``.

    Attributes:
        cells: what can be run, or has been.
        waiting: what stands behind a match that has not been found yet.
    """

    suite: Suite
    cells: list[Cell]
    waiting: list[Cell] = field(default_factory=list)

    @property
    def unique(self) -> list[Cell]:
        """Cells without repetition (two protocols on one dataset share their training)."""
        return list({cell.key: cell for cell in self.cells}.values())


Found = Callable[[str], CellResult | None]
"""Key of a cell -> what it came to, or None (``harness.storage.store.Store.read`` is one)."""

_ORDER = ("train", "match", "measure")


def make(
    suite: Suite,
    *,
    device: str = "cpu",
    content_hash: Callable[[Dataset], str] | None = None,
    found: Found = lambda key: None,
) -> Plan:
    """Lay out a suite.

    Args:
        content_hash: dataset -> hash of its content; from the dataset cache if left out (a first call may build it).
        found: where the outcome of a ``match`` is looked up.
    """
    if content_hash is None:
        from harness.data.acquire import content_hash, load

        for entry in suite.protocols:
            entry.protocol.examine(lambda dataset=entry.dataset: load(dataset)[0])
    hashes = {id(entry): content_hash(entry.dataset) for entry in suite.protocols}
    laid = [
        cell
        for entry in suite.protocols
        for cell in _cells(suite, entry, device, hashes[id(entry)], found)
    ]
    laid.sort(key=lambda cell: _ORDER.index(cell.role))
    # A training behind a match is one of those that the match makes: nothing to be done for it.
    waiting = {cell.key: cell for cell in laid if cell.behind and cell.role != "train"}
    return Plan(suite, [cell for cell in laid if not cell.behind], list(waiting.values()))


def _cells(
    suite: Suite, entry: ProtocolEntry, device: str, dataset_hash: str, found: Found
) -> Iterator[Cell]:
    data = {
        "kind": entry.dataset.kind,
        "config": entry.dataset.config.model_dump(mode="json"),
        "content": dataset_hash,
    }
    training = entry.protocol.training()
    for seed in entry.seeds:
        for learner in entry.learners:
            common = {
                "schema": SCHEMA_VERSION,
                "dataset": data,
                "seed": seed,
                "device": device,
                "versions": versions(),
                "core": core_versions(),
            }
            first = _before(suite, learner, training, common, found) if training else []
            yield from first
            train = first[-1] if first else None
            who = train.identity["learner"] if train else _who(learner)
            for setting in entry.protocol.settings():
                protocol = {
                    "kind": entry.protocol.kind,
                    "code": [code_version(name) for name in entry.protocol.modules(setting)],
                }
                identity = {
                    **common,
                    "learner": who,
                    "role": "measure",
                    "training": train and train.key,
                    "protocol": protocol,
                    "setting": setting,
                }
                yield Cell(
                    cell_key(identity),
                    "measure",
                    identity,
                    train and train.key,
                    learner.name,
                    entry.name,
                    _label(setting),
                    train.behind if train else "",
                )


def _who(learner: LearnerEntry) -> dict[str, Any]:
    return {
        "kind": learner.cls.kind,
        "config": learner.settled,
        "code": code_version(learner.cls.__module__),
    }


def _before(
    suite: Suite, learner: LearnerEntry, data: TrainingData, common: dict, found: Found
) -> list[Cell]:
    """What comes before a learner is measured, in order; its training is the last."""
    identity = {
        **common,
        "learner": _who(learner),
        "role": "train",
        "splitting": data.splitting,
        "labelled": data.labelled,
        "budget": suite.budget.images,
        "snapshots": suite.snapshots,
    }
    young = _training(identity, learner.name)
    if learner.match is None:
        return [young]
    equal = next((entry for entry in suite.learners if entry.name == learner.match.target), None)
    first = _before(suite, equal, data, common, found) if equal else []
    match = _match_cell(young, learner, first[-1] if first else None)
    outcome = None if match.behind else found(match.key)
    if outcome is None:
        return [
            *first,
            match,
            replace(young, key=match.key, behind=match.key),
        ]  # of that key: two matches are not one
    return [*first, match, candidate(match, outcome.log["match"]["value"])]


def _match_cell(young: Cell, learner: LearnerEntry, target: Cell | None) -> Cell:
    """The choice of a key: its identity is that of the training, with the key open, and of what is to be reached."""
    search = asdict(learner.match) | ({"target": target.key} if target else {})
    identity = {
        **young.identity,
        "role": "match",
        "match": {"search": search, "code": code_version("harness.cells.matching")},
    }
    return Cell(
        cell_key(identity),
        "match",
        identity,
        target and target.key,
        learner.name,
        "",
        f"{young.label}, {learner.match.words}",
        target.behind if target else "",
    )


def candidate(match: Cell, value: float) -> Cell:
    """The training that a match makes with a value in the place of the key that it chooses."""
    identity, learner = match.identity, match.identity["learner"]
    chosen = {**learner, "config": {**learner["config"], identity["match"]["search"]["key"]: value}}
    identity = {key: each for key, each in identity.items() if key != "match"} | {
        "role": "train",
        "learner": chosen,
    }
    return _training(identity, match.learner)


def _training(identity: dict[str, Any], learner: str) -> Cell:
    label = f"{identity['dataset']['kind']}/{identity['splitting']}" + (
        "" if identity["labelled"] else ", unlabelled"
    )
    return Cell(cell_key(identity), "train", identity, None, learner, "", label)


def _label(setting: dict[str, Any]) -> str:
    episode = f"{setting['ways']}w{setting['shots']}s" if "shots" in setting else ""
    labelled = f"{setting['labelled']} labelled" if "per_class" in setting else ""
    return " ".join(filter(None, [episode, labelled, str(setting.get("attack", ""))]))


@lru_cache
def core_versions() -> list[str]:
    """Hashes of the modules that every cell runs through."""
    return [_digest([module]) for module in CORE]


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
            waiting += [
                other
                for other in _imports(name)
                if other not in NEUTRAL and _is_followed(other, package)
            ]
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
    installed = {
        sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")
    }
    origin = Path(
        spec.origin
    )  # which may be in the site-packages of a user or of the environment below this one
    return not {"site-packages", "dist-packages"} & {*origin.parts} and not any(
        map(origin.is_relative_to, installed)
    )


@lru_cache
def _spec(module: str) -> ModuleSpec | None:
    """Where a module is. ``importlib.util.find_spec`` would import what stands before its last dot, and torch with it."""
    package = module.rpartition(".")[0]
    if not package:
        return importlib.util.find_spec(module)
    above = _spec(package)
    if above is None or above.submodule_search_locations is None:
        return None
    return PathFinder.find_spec(module, above.submodule_search_locations)


@lru_cache
def _tree(module: str) -> ast.Module:
    spec = _spec(module)
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
    spec = _spec(module)
    return module if spec and spec.submodule_search_locations else module.rpartition(".")[0]


def _is_module(name: str) -> bool:
    try:
        return _spec(name) is not None
    except ValueError:
        return False


@lru_cache
def _code(module: str) -> str:
    tree = ast.parse(ast.unparse(_tree(module)))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
            and isinstance(body[0].value.value, str)
        ):
            body[0].value.value = ""
    return ast.dump(tree)
