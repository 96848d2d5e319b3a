"""Run a suite: plan its cells, compute those that the store lacks, collect the results.

``RunOptions`` says where and how; ``plan`` and ``run`` take it as one value.
"""

from __future__ import annotations

import signal
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console

from harness.cells import collect, estimate
from harness.cells import plan as planning
from harness.cells.cell import Cell
from harness.cells.estimate import Expected
from harness.cells.learned import learn
from harness.cells.plan import Plan
from harness.cells.results import Results
from harness.cells.run import Conditions
from harness.data import acquire
from harness.errors import HarnessError
from harness.execute import display, schedule
from harness.execute.base import Executor, Outcome, executors
from harness.execute.display import Bars, Lines
from harness.execute.forecast import unfinished
from harness.execute.signals import handling
from harness.learning.at_hand import pickles
from harness.learning.files import files_in
from harness.markup import grid
from harness.registry import Config
from harness.storage.location import DEFAULT_STORE
from harness.storage.store import Store
from harness.suite import load as suites
from harness.suite.explain import explain
from harness.suite.load import SuiteLike
from harness.suite.model import Suite


@dataclass(frozen=True)
class RunOptions:
    """Where and how a suite is run. Except for the device, no option changes a result.

    Attributes:
        store: folder or URL (``s3://bucket/path``) of finished cells; several runs may share it
            at the same time.
        data_root: folder of the datasets that are not embedded; HARNESS_DATA if None.
        device: torch device name.
        workers: number of cells computed side by side; one per core if None.
        batch_size: images pushed through a network at once when measuring.
        executor: ``local`` (processes of this machine) or ``ray`` (a cluster).
        executor_options: further keys of the executor's ``Config``; None values are ignored.
        time_limit: seconds that one cell may take; a cell that takes longer has failed.
    """

    store: str | Path = DEFAULT_STORE
    data_root: Path | None = None
    device: str = "cpu"
    workers: int | None = None
    batch_size: int = 256
    executor: str = "local"
    executor_options: Mapping[str, Any] = field(default_factory=dict)
    time_limit: float | None = None

    @property
    def data_folder(self) -> Path | None:
        """``data_root``, or the folder that HARNESS_DATA names, or None."""
        return acquire.data_root(self.data_root)

    def open_store(self) -> Store:
        """The store that ``store`` names; nothing is created."""
        return Store(self.store)


DEFAULTS = RunOptions()


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        plan: the cells of the suite.
        outcome: which of them were computed, found in the store, or failed.
        results: what they measured.
    """

    plan: Plan
    outcome: Outcome
    results: Results

    def __repr__(self) -> str:
        outcome = self.outcome
        return (
            f"<Run of {self.plan.suite.name!r}: {len(outcome.done)} cells computed, "
            f"{len(outcome.found)} found, {len(outcome.failed)} failed>"
        )

    def _repr_html_(self) -> str:
        """The counts, the failures if there are any, and the results."""
        text = f"<p>{escape(repr(self)[1:-1])}</p>"
        titles = {cell.key: cell.title for cell in self.plan.cells}
        failures = [(titles.get(key, key), why) for key, why in self.outcome.failed.items()]
        if failures:
            text += grid("failed", ["cell", "why"], failures)
        return text + self.results._repr_html_()


def plan(suite: SuiteLike, options: RunOptions = DEFAULTS, *, sets: Sequence[str] = ()) -> Plan:
    """Read a suite file and lay it out as cells.

    Args:
        suite: path of the YAML file, name of a shipped suite, or a mapping.
        options: the store is used to look up what each ``match`` chose; cells behind a match
            that is not in the store wait.
        sets: overrides, ``key.key=value``.

    Raises:
        HarnessError: a faulty suite, a missing dataset or an unknown device.
    """
    loaded = suites.load(suite, sets=sets, data_root=options.data_folder)
    check_device(options.device)
    return _laid_out(loaded, options.device, options.open_store())


def run(
    suite: SuiteLike,
    options: RunOptions = DEFAULTS,
    *,
    sets: Sequence[str] = (),
    console: Console | None = None,
) -> Run:
    """Compute the cells of a suite that its store lacks, and collect the results of all.

    Args:
        suite: path of the YAML file, name of a shipped suite, or a mapping.
        options: where and how to run it.
        sets: overrides, ``key.key=value``.
        console: where progress is shown; nowhere if None.

    Raises:
        HarnessError: a faulty suite or option, a missing dataset, a full disk.
    """
    executor = executors[options.executor]
    _executor_config(executor, options)  # a faulty option is an error before anything is read
    store = options.open_store()
    loaded = suites.load(suite, sets=sets, data_root=options.data_folder)
    if executor.local:
        # Cells of a remote executor run on devices that this machine may not have.
        check_device(options.device)
    layout = _laid_out(loaded, options.device, store)
    _say_remarks(loaded, console)
    layout, outcome = _carry_out(layout, options, console)
    settled = {*outcome.done, *outcome.found, *outcome.failed}
    outcome.found += sorted({cell.key for cell in layout.unique} - settled)
    return Run(layout, outcome, collect.collect(layout, store, outcome.failed))


def compute(layout: Plan, options: RunOptions, console: Console | None = None) -> Outcome:
    """Compute the cells of a plan, which may be a part of a suite's, that the store lacks.

    Args:
        layout: the cells; each with those that it needs.
        options: where and how to run them.
        console: where progress is shown; nowhere if None.
    """
    return _carry_out(layout, options, console)[1]


def _carry_out(layout: Plan, options: RunOptions, console: Console | None) -> tuple[Plan, Outcome]:
    """Compute what the store lacks of a plan.

    Returns:
        The plan with all matches resolved that were found, and what became of the cells.
    """
    executor = executors[options.executor]
    config = _executor_config(executor, options)
    store = options.open_store()
    store.prepare()
    conditions = _conditions(layout, options, store)
    outcome = Outcome()
    todo, expected = _todo(layout, store)
    cells = [*todo, *layout.waiting]
    if cells:
        quiet = Console(quiet=True)
        with (
            handling(signal.SIGTERM, signal.default_int_handler),
            executor(config, conditions) as workplace,
            display.show(console or quiet, cells, expected, workplace.size) as progress,
        ):
            layout, outcome = _compute(layout, todo, workplace, store, progress, options)
        if executor.local:
            learn(estimate.observed(store, outcome.done))
    return layout, outcome


def _say_remarks(suite: Suite, console: Console | None) -> None:
    """Print what a user should know of the suite's datasets, each once."""
    remarks = [remark for entry in suite.protocols for remark in entry.dataset.remarks()]
    for remark in dict.fromkeys(remarks):
        if console:
            console.print(remark, markup=False, highlight=False)


def _laid_out(suite: Suite, device: str, store: Store) -> Plan:
    return planning.make(suite, device=device, lookup=store.read)


def _executor_config(executor: type[Executor], options: RunOptions) -> Config:
    keys = {"workers": options.workers, **options.executor_options}
    given = {key: value for key, value in keys.items() if value is not None}
    try:
        return executor.Config.model_validate(given)
    except ValidationError as error:
        problem = explain(error, executor.Config, keys, ())[0]
        raise HarnessError(
            problem.message,
            where=f"--executor {executor.kind}",
            hint=problem.hint or None,
        ) from error


def _conditions(layout: Plan, options: RunOptions, store: Store) -> Conditions:
    files: dict[str, Path] = {}
    at_hand: dict[str, bytes] = {}
    for entry in layout.suite.protocols:
        files |= entry.protocol.files()
    for learner in layout.suite.learners:
        files |= {file.sha256: file.path for file in files_in(learner.config) if file.path}
        at_hand |= pickles(learner.config, learner.cls)
    return Conditions(
        store,
        options.data_folder,
        options.device,
        options.batch_size,
        files,
        at_hand,
        layout.places,
    )


def _compute(
    layout: Plan,
    todo: list[Cell],
    workplace: Executor,
    store: Store,
    progress: Bars | Lines,
    options: RunOptions,
) -> tuple[Plan, Outcome]:
    """Compute cells, then those whose matches have been found meanwhile.

    Args:
        layout: the plan.
        todo: its cells that can be computed now, in this order.
        workplace: an executor that has been entered.
        store: where results go.
        progress: the display.
        options: of the run.

    Returns:
        The plan with all matches resolved that were found, and what became of the cells.
    """
    outcome = schedule.run(todo, workplace, store, progress, options.time_limit)
    while layout.waiting:
        waiting = len(layout.waiting)
        layout = _laid_out(layout.suite, options.device, store)
        if len(layout.waiting) == waiting:
            break  # the remaining matches have failed
        todo, expected = _todo(layout, store, outcome.failed)
        progress.clock.expect([*todo, *layout.waiting], expected)
        outcome.add(schedule.run(todo, workplace, store, progress, options.time_limit))
    return layout, outcome


def _todo(
    layout: Plan, store: Store, failed: Collection[str] = ()
) -> tuple[list[Cell], dict[str, Expected]]:
    """Cells that can be computed now, and how long all of the remaining work takes.

    Returns:
        The cells in the order to run them in, and what is expected of each cell that is missing,
        including those that wait for a match.
    """
    todo = [cell for cell in unfinished(layout, store.unfinished) if cell.key not in failed]
    expected = estimate.expectations([*todo, *layout.waiting], store)
    seconds = {key: each.seconds for key, each in expected.items()}
    return schedule.in_order(todo, seconds), expected


def check_device(device: str) -> None:
    """Raise if a device does not exist on this machine.

    Raises:
        HarnessError: with the devices that exist.
    """
    if device == "cpu":
        return
    import torch

    numbered = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if device in numbered or (device == "cuda" and numbered):
        return
    raise HarnessError(
        f"there is no device {device!r}",
        where="--device",
        hint=f"this machine has: {', '.join(['cpu', *numbered])}",
    )
