"""From finished cells to results: cells know no names of a suite, which are added here."""

from __future__ import annotations

import contextlib
import gc
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from typing import Any, Protocol

import numpy as np

from harness.budgets import exact_setting
from harness.cells.chosen import Choices
from harness.cells.outline import Outline
from harness.cells.plan import Plan
from harness.cells.results import Results, Training
from harness.errors import StoreError
from harness.records import Record, TrustCheck, worst_level
from harness.storage.damage import name_unreadable, repair_hint
from harness.storage.store import SAVED, VERDICTS, CellResult

NOT_CHECKED = TrustCheck(
    "trust checks made", "WARN", "they were planned and have not been made: run the suite again"
)
"""Replaces the checks of a measurement whose trust cell is not finished."""


class MissingArray(StoreError, KeyError):
    """A cell lacks an array; a KeyError for readers that can do without it."""


class Named(Protocol):
    """A cell under the names that its suite gives (``harness.cells.cell.Cell`` is one)."""

    @property
    def key(self) -> str:
        """Key of the cell."""

    @property
    def role(self) -> str:
        """What it does."""

    @property
    def learner(self) -> str:
        """Name of its learner in the suite."""

    @property
    def protocol(self) -> str:
        """Name of its protocol in the suite; empty for a training or a match."""


class Finished(Protocol):
    """Where finished cells are read from (``harness.storage.store.Store`` is one)."""

    def results(self, keys: Iterable[str]) -> Iterator[tuple[str, CellResult]]:
        """Finished cells of those keys, in any order."""

    def arrays(self, key: str, name: str = VERDICTS) -> dict[str, np.ndarray]:
        """The verdicts of a cell, or the arrays of another of its files."""


def collect(plan: Plan, store: Finished, failed: dict[str, str] | None = None) -> Results:
    """Collect the results of a plan's finished cells.

    Args:
        plan: the plan of a suite.
        store: where its cells are.
        failed: cell key -> why it failed, shown in place of its numbers.
    """
    failed = failed or {}
    failures = []
    for cell in plan.cells:
        follows = cell.role == "trust" and cell.needs in failed  # its measurement has the error
        if cell.protocol and cell.key in failed and not follows:
            failures.append((cell.learner, cell.protocol, cell.seed, failed[cell.key]))
    for cell in plan.waiting:
        if cell.role == "measure" and cell.behind in failed:
            why = f"not measured: its match failed ({failed[cell.behind]})"
            failures.append((cell.learner, cell.protocol, cell.seed, why))
    outline = Outline.of(plan.suite)
    return gather(outline, plan.cells, store, failures, leave_out_unreadable=True)


@contextlib.contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Pause cyclic garbage collection, which would visit a million live records repeatedly."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@without_garbage_collection()
def gather(
    outline: Outline,
    cells: Sequence[Named],
    store: Finished,
    failures: Sequence[tuple[str, str, int, str]] = (),
    *,
    leave_out_unreadable: bool = False,
) -> Results:
    """Collect the results of some named cells; unfinished cells are left out.

    Args:
        outline: of the suite.
        cells: one entry for each name; equal cells may have several.
        store: where their results are.
        failures: (learner, protocol, seed, why) of cells that failed.
        leave_out_unreadable: leave out cells whose verdicts cannot be read, and name them. A store
            can lose some; a submission without them is refused where it is counted again.
    """
    gathered = _Gathered(outline, cells)
    gathered.read(store)
    verdicts = cached_verdicts(store)
    if leave_out_unreadable:
        drop_unreadable(gathered.measured, verdicts)
    return gathered.results(verdicts, partial(store.arrays, name=SAVED), failures)


class _Gathered:
    """The content of finished cells, sorted by what they are."""

    def __init__(self, outline: Outline, cells: Sequence[Named]) -> None:
        self.outline = outline
        self.cells = cells
        self.matches: dict[str, CellResult] = {}
        self.trainings: dict[str, Training] = {}
        self.budgets: dict[str, int | None] = {}  # training -> its budget
        self.trained: dict[str, str | None] = {}  # measurement -> its training
        self.measured: dict[str, CellResult] = {}
        self.checks: dict[str, list[TrustCheck]] = {}  # measurement -> what its trust cell says

    def read(self, store: Finished) -> None:
        roles = {cell.key: cell.role for cell in self.cells}
        for key, result in store.results(roles):
            role = roles[key]
            if role == "train":
                self.trainings[key] = _training(result)
                self.budgets[key] = result.identity.get("budget")
            elif role == "match":
                self.matches[key] = result
            elif role == "trust":
                self.checks[result.identity["measured"]] = [
                    TrustCheck(**check) for check in result.trust
                ]
            else:
                self.measured[key] = result
                self.trained[key] = result.identity["training"]

    def results(
        self,
        verdicts: Callable[[str, str], np.ndarray],
        saved_images: Callable[[str], dict[str, np.ndarray]],
        failures: Sequence[tuple[str, str, int, str]],
    ) -> Results:
        outline = self.outline
        choices = Choices(outline)
        trust = self._trust()
        records: list[Record] = []
        trainings: dict[str, dict[str, Training]] = defaultdict(dict)
        for cell in self.cells:
            if cell.key in self.trainings:
                trainings[cell.learner][cell.key] = self.trainings[cell.key]
            elif cell.key in self.matches:
                choices.add(cell.learner, self.matches[cell.key])
            elif cell.key in self.measured:
                result = self.measured[cell.key]
                records += records_of(outline.name, cell, result, trust[cell.key])
                training = self.trained[cell.key]
                if training is not None:
                    choices.note_use(cell.protocol, cell.learner, training)
        return Results(
            suite=outline.name,
            configs={name: choices.config(name) for name in outline.learners},
            kinds={name: entry["kind"] for name, entry in outline.learners.items()},
            seeds={name: entry["seeds"] for name, entry in outline.protocols.items()},
            learners=list(outline.learners),
            protocols={name: entry["kind"] for name, entry in outline.protocols.items()},
            blocks={name: entry["block"] for name, entry in outline.protocols.items()},
            records=records,
            verdicts=verdicts,
            trust=trust,
            failures=list(failures),
            trainings={name: list(each.values()) for name, each in trainings.items()},
            matches=choices.by_protocol(),
            budgets=budgets_of(self.trained, self.budgets),
            remarks=remarks_of(self.measured),
            saved={
                key: result.log["saved"]
                for key, result in self.measured.items()
                if "saved" in result.log
            },
            saved_images=saved_images,
        )

    def _trust(self) -> dict[str, list[TrustCheck]]:
        """Measurement -> its checks: those made in measuring, then those of its trust cell."""
        planned = {(cell.learner, cell.protocol) for cell in self.cells if cell.role == "trust"}
        trust = {}
        for cell in self.cells:
            if cell.key not in self.measured or cell.key in trust:
                continue
            checks = [TrustCheck(**check) for check in self.measured[cell.key].trust]
            if cell.key in self.checks:
                checks += self.checks[cell.key]
            elif (cell.learner, cell.protocol) in planned:
                checks.append(NOT_CHECKED)
            trust[cell.key] = checks
        return trust


def _training(result: CellResult) -> Training:
    identity = result.identity
    data = f"{identity['dataset']['kind']}/{identity['splitting']}"
    if not identity["labelled"]:
        data += ", unlabelled"
    return Training(
        data,
        identity["seed"],
        result.log.get("images_seen"),
        result.log.get("rows", []),
        result.wall_s,
    )


def budgets_of(trained: dict[str, str | None], budgets: dict[str, int | None]) -> dict[str, int]:
    """Measurement -> the budget of the training it is based on, where there was one."""
    found = {}
    for key, training in trained.items():
        budget = None if training is None else budgets.get(training)
        if budget is not None:
            found[key] = budget
    return found


def remarks_of(measured: dict[str, CellResult]) -> dict[str, list[str]]:
    """Measurement -> what its readers must know, where there is anything."""
    return {
        key: result.log["remarks"] for key, result in measured.items() if "remarks" in result.log
    }


def cached_verdicts(store: Finished) -> Callable[[str, str], np.ndarray]:
    """The verdicts of cells, by cell and name; those read last are kept in memory."""

    @lru_cache(maxsize=256)
    def arrays(key: str) -> dict[str, np.ndarray]:
        return store.arrays(key)

    def array(key: str, name: str) -> np.ndarray:
        if name not in arrays(key):
            root = getattr(store, "root", "STORE")
            raise MissingArray(
                f"cell {key} has no array {name!r}", where=str(root), hint=repair_hint(root)
            )
        return arrays(key)[name]

    return array


def drop_unreadable(
    measured: dict[str, CellResult], verdicts: Callable[[str, str], np.ndarray]
) -> None:
    """Remove the cells whose verdicts cannot be read, and name them in warnings.

    Reports read verdicts at many places, where it is too late to leave a cell out.

    Args:
        measured: key -> result; changed in place.
        verdicts: of ``cached_verdicts``.
    """
    unreadable: dict[str, StoreError] = {}
    for key, result in measured.items():
        try:
            for name in {value["verdicts"] for value in result.values} - {None}:
                verdicts(key, name)
        except StoreError as error:
            unreadable[key] = error
    for key in unreadable:
        del measured[key]
    name_unreadable(list(unreadable.values()))


def records_of(
    suite: str, cell: Named, result: CellResult, checks: Iterable[TrustCheck]
) -> Iterator[Record]:
    """The records of one measurement, under the names of its suite.

    Every record carries the most alarming of the trust checks of its cell.
    """
    identity = result.identity
    setting: dict[str, Any] = identity["setting"]
    worst = worst_level(check.level for check in checks)
    for value in result.values:
        own = value["setting"]
        yield Record(
            suite=suite,
            cell=cell.key,
            learner=cell.learner,
            dataset=identity["dataset"]["kind"],
            protocol=cell.protocol,
            setting={**setting, **exact_setting(own)} if own else setting,
            seed=identity["seed"],
            metric=value["metric"],
            value=value["value"],
            low=value["low"],
            high=value["high"],
            n=value["n"],
            unit=value["unit"],
            verdicts=value["verdicts"],
            trust=worst,
            wall_s=result.wall_s,
            device=result.device,
            versions=result.versions,
            dataset_hash=identity["dataset"]["content"],
            git_commit=result.git_commit,
            created=result.created,
        )
