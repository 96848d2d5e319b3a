"""The plan of a suite: its cells."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

from harness.cells.cell import ROLES, SCHEMA_VERSION, Cell, Identity
from harness.cells.code import forget_edited
from harness.cells.entries import code_version
from harness.cells.modules import place_of
from harness.data.base import Dataset, Loaded
from harness.environment import release_of, versions
from harness.learning.at_hand import code_of, is_class_at_hand
from harness.learning.code_names import code_names_in
from harness.protocols.base import TrainingData
from harness.protocols.setting import Setting
from harness.registry import learners
from harness.storage.cellfile import cell_key
from harness.storage.store import CellResult
from harness.suite.model import LearnerEntry, ProtocolEntry, Suite

Lookup = Callable[[str], CellResult | None]
"""Key of a cell -> its result, or None (``harness.storage.store.Store.read`` is one)."""


@dataclass(frozen=True)
class Plan:
    """The cells of a suite: training before measuring before checking.

    Attributes:
        suite: The suite.
        cells: All cells that can run or have run.
        waiting: Cells behind a match that is not finished.
        relatives: Trainings that trust checks need, of networks that no table names.
        places: Content hash of a dataset -> the paths that its config names.
    """

    suite: Suite
    cells: list[Cell]
    waiting: list[Cell] = field(default_factory=list)
    relatives: list[Cell] = field(default_factory=list)
    places: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def unique(self) -> list[Cell]:
        """Cells without repetition: two protocols on one dataset share their training."""
        return list({cell.key: cell for cell in self.cells}.values())


def make(
    suite: Suite,
    *,
    device: str = "cpu",
    content_hash: Callable[[Dataset], str] | None = None,
    lookup: Lookup = lambda key: None,
) -> Plan:
    """Make the plan of a suite.

    Args:
        device: torch device that cells run on.
        content_hash: dataset -> hash of its content. By default it is read from the dataset cache,
            which a first call may have to build.
        lookup: finds the result of a ``match``.
    """
    forget_edited()
    if content_hash is None:
        from harness.data import acquire

        content_hash = acquire.content_hash
        for entry in suite.protocols:
            entry.protocol.examine(partial(_load, entry.dataset))
    cells: list[Cell] = []
    relatives: dict[str, Cell] = {}
    places: dict[str, dict[str, Any]] = {}
    for entry in suite.protocols:
        measured = entry.protocol.measured_on(entry.dataset)
        trained_on = _dataset_identity(entry.dataset, content_hash)
        measured_on = _dataset_identity(measured, content_hash)
        places[trained_on["content"]] = entry.dataset.config.places()
        places[measured_on["content"]] = measured.config.places()
        layout = _Layout(suite, entry, device, trained_on, measured_on, lookup)
        cells += layout.cells()
        relatives |= {cell.key: cell for cell in layout.relatives()}
    cells.sort(key=lambda cell: ROLES.index(cell.role))
    # The match itself runs this training, so it is not listed as separate work.
    waiting = {cell.key: cell for cell in cells if cell.behind and cell.role != "train"}
    ready = [cell for cell in cells if not cell.behind]
    return Plan(suite, ready, list(waiting.values()), list(relatives.values()), places)


def _load(dataset: Dataset) -> Loaded:
    from harness.data import acquire

    return acquire.load(dataset)[0]


def _dataset_identity(dataset: Dataset, content_hash: Callable[[Dataset], str]) -> Identity:
    return {
        "kind": dataset.kind,
        "config": dataset.config.model_dump(mode="json"),
        "content": content_hash(dataset),
    }


@dataclass(frozen=True)
class _Layout:
    """The layout of one protocol of a suite."""

    suite: Suite
    entry: ProtocolEntry
    device: str
    trained_on: Identity
    measured_on: Identity
    lookup: Lookup

    def cells(self) -> Iterator[Cell]:
        for seed in self.entry.seeds:
            measured: list[Cell] = []
            for learner in self.entry.learners:
                for cell in self._of_learner(learner, self._common(seed)):
                    yield cell
                    if cell.role == "measure":
                        measured.append(cell)
            if self.entry.protocol.crossed:
                pairs = itertools.product(measured, measured)
                yield from (_judge_cell(victim, source) for victim, source in pairs)

    def _common(self, seed: int) -> Identity:
        return {
            "schema": SCHEMA_VERSION,
            "dataset": self.trained_on,
            "seed": seed,
            "device": self.device,
            "versions": versions(),
        }

    def _of_learner(self, learner: LearnerEntry, common: Identity) -> Iterator[Cell]:
        training = self.entry.protocol.training()
        if learner.cls.comes_trained(learner.config):
            training = None
        preparation = self._preparation(learner, training, common) if training else []
        yield from preparation
        train = preparation[-1] if preparation else None
        training_key = None if train is None else train.key
        measured = _learner_identity(learner) if train is None else train.identity["learner"]
        for setting in self.entry.protocol.settings():
            identity = {
                **common,
                "dataset": self.measured_on,
                "role": "measure",
                "learner": measured,
                "training": training_key,
                "protocol": {"kind": self.entry.protocol.kind},
                "setting": setting.to_identity(),
            }
            measure = Cell.of(
                "measure",
                _with_code(identity),
                training_key,
                learner.name,
                self.entry.name,
                setting.label,
                train.behind if train else "",
                setting,
            )
            yield measure
            if self.entry.protocol.checked:
                yield _trust_cell(measure, [cell.key for cell in self._relatives_of(setting)])

    def relatives(self) -> Iterator[Cell]:
        """Trainings that the trust checks of the protocol need."""
        if self.entry.protocol.checked:
            for setting in self.entry.protocol.settings():
                yield from self._relatives_of(setting)

    def _relatives_of(self, setting: Setting) -> Iterator[Cell]:
        """The same for one setting; the suite's seeds and budget have no part in them."""
        data = self.entry.protocol.training()
        if data is None or "train" not in self.entry.protocol.facts.splittings[data.splitting]:
            return
        for relative in self.entry.protocol.relatives(setting):
            cls = learners[relative.kind]
            config = cls.Config.model_validate(relative.keys).model_dump(mode="json")
            identity = {
                **self._common(seed=0),
                "role": "train",
                "learner": {"kind": relative.kind, "config": config},
                "splitting": data.splitting,
                "labelled": True,
                "budget": relative.images,
                "snapshots": False,
            }
            yield _training_cell(identity, f"{relative.kind} for trust checks")

    def _preparation(
        self, learner: LearnerEntry, data: TrainingData, common: Identity
    ) -> list[Cell]:
        """Cells that must run before a learner is measured, in order; its training is the last."""
        identity = {
            **common,
            "role": "train",
            "learner": _learner_identity(learner),
            "splitting": data.splitting,
            "labelled": data.labelled,
            "budget": self.suite.budget.images,
            "snapshots": self.suite.snapshots,
        }
        untrained = _training_cell(identity, learner.name)
        if learner.match is None:
            return [untrained]
        before: list[Cell] = []
        target = next(
            (each for each in self.suite.learners if each.name == learner.match.target), None
        )
        if target is not None:
            before = self._preparation(target, data, common)
        match = _match_cell(untrained, learner, before[-1] if before else None)
        result = None if match.behind else self.lookup(match.key)
        if result is None:
            # A placeholder key, from the match: two matches lead to different trainings.
            train = replace(untrained, key=match.key, behind=match.key)
        else:
            train = candidate(match, result.log["match"]["value"])
        return [*before, match, train]


def _learner_identity(learner: LearnerEntry) -> dict[str, Any]:
    """Kind and config, and the releases of installed packages whose code the config names."""
    identity: dict[str, Any] = {"kind": learner.cls.kind, "config": learner.settled}
    if is_class_at_hand(learner.cls.kind):
        identity["code"] = code_of(learner.cls.kind)
    packages = {name.partition(":")[0] for name in code_names_in(identity) if not place_of(name)}
    releases = {package: release_of(package) for package in sorted(packages)}
    return {**identity, "releases": releases} if releases else identity


def _with_code(identity: Identity) -> Identity:
    return {**identity, "code": code_version(identity)}


def _training_cell(identity: Identity, learner: str) -> Cell:
    label = f"{identity['dataset']['kind']}/{identity['splitting']}"
    if not identity["labelled"]:
        label += ", unlabelled"
    return Cell.of("train", _with_code(identity), None, learner, "", label)


def _match_cell(untrained: Cell, learner: LearnerEntry, target: Cell | None) -> Cell:
    """The choice of a key: the identity of the training with that key open, and the search."""
    assert learner.match is not None
    search = asdict(learner.match)
    if target is not None:
        search["target"] = target.key
    identity = {**untrained.identity, "role": "match", "match": {"search": search}}
    if target is not None:
        identity["training"] = target.key
    return Cell.of(
        "match",
        _with_code(identity),
        None if target is None else target.key,
        learner.name,
        "",
        f"{untrained.label}, {learner.match.words}",
        behind=target.behind if target else "",
    )


def candidate(match: Cell, value: float) -> Cell:
    """The training that a match runs with one value of the key that it chooses."""
    learner = match.identity["learner"]
    key = match.identity["match"]["search"]["key"]
    chosen = {**learner, "config": {**learner["config"], key: value}}
    identity = {
        name: each for name, each in match.identity.items() if name not in ("match", "training")
    }
    return _training_cell({**identity, "role": "train", "learner": chosen}, match.learner)


def _judge_cell(victim: Cell, source: Cell) -> Cell:
    """What was measured on one learner, the source, judged on another.

    A cell of its own for each pair, so that a further learner reruns no attack.
    """
    assert victim.setting is not None
    setting = replace(victim.setting, source=source.learner)  # type: ignore[call-arg]
    identity = {
        **victim.identity,
        "role": "judge",
        "setting": setting.to_identity(),
        "measured": source.key,
    }
    return Cell.of(
        "judge",
        _with_code(identity),
        source.key,
        victim.learner,
        victim.protocol,
        setting.label,
        victim.behind or source.behind,
        setting,
    )


def _trust_cell(measure: Cell, relatives: list[str]) -> Cell:
    """The trust checks of a measurement; a separate cell, so that a new check reruns no attack."""
    identity = {**measure.identity, "role": "trust", "measured": measure.key}
    if relatives:
        identity["relatives"] = relatives
    identity = _with_code(identity)
    return replace(
        measure, key=cell_key(identity), role="trust", identity=identity, needs=measure.key
    )
