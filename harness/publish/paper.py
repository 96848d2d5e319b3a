"""Keeps the tables and figures of a paper up to date: what is stale and why, and making it again.

Each suite has a folder of results with a ``provenance.json``. The folder is *stale* if the suite,
the data, the code or the releases behind its numbers have changed, or if cells were missing.
It has *stale tables* if only the presentation has changed, or a file was removed or altered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from harness.cells import estimate
from harness.cells import plan as planning
from harness.cells.cell import Cell
from harness.cells.plan import Plan
from harness.errors import HarnessError
from harness.execute import session
from harness.execute.local import default_workers
from harness.execute.session import DEFAULTS, RunOptions
from harness.publish import folder as results_folder
from harness.publish import provenance, staleness, submission
from harness.publish.folder import SUITES, folder_of
from harness.publish.staleness import PRESENTATION, Provenance
from harness.publish.submission import MEASURED
from harness.storage.store import Store
from harness.suite import load as suites
from harness.suite.expand import expand

PAPER_SUITES = SUITES / "paper"
"""The suites that are meant if none is named."""

State = Literal["fresh", "stale tables", "stale", "never run"]
TableSource = Literal["store", "measured.zip", "older measured.zip", ""]


@dataclass(frozen=True)
class Status:
    """The state of a suite's results.

    Attributes:
        suite: file of the suite.
        folder: folder of its results.
        state: see the top of this module.
        why: reasons for the state, in words.
        cells: number of cells.
        todo: number of cells that the store lacks.
        source: where tables can be written from without running anything; ``""`` for nowhere.
            An older ``measured.zip`` is of the same suite, and of code or data that have changed.
        seconds: expected time for the cells that the store lacks.
        basis: how that time was estimated.
    """

    suite: Path
    folder: Path
    state: State
    why: list[str]
    cells: int
    todo: int
    source: TableSource
    seconds: float
    basis: str

    def to_dict(self) -> dict[str, Any]:
        """Return a dict for JSON."""
        paths = {"suite": str(self.suite), "folder": str(self.folder)}
        return asdict(self) | paths


@dataclass(frozen=True)
class Update:
    """What was done to bring a folder of results up to date.

    Attributes:
        written: files that were written; empty if nothing was done.
        failed: key of each cell that failed -> why.
        plan: the cells; None if nothing was run.
    """

    written: list[Path] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    plan: Plan | None = None


def find_suites(paths: Sequence[Path]) -> list[Path]:
    """Return the named suites, or those of the paper if none is named.

    Raises:
        HarnessError: there are none.
    """
    found = list(paths) or sorted(PAPER_SUITES.glob("*.yaml"))
    if not found:
        raise HarnessError(
            "there are no suites here",
            where=str(PAPER_SUITES),
            hint="name some: harness paper suites/quickstart.yaml",
        )
    return [_relative(path) for path in found]


def _relative(path: Path) -> Path:
    """Return a path relative to the working directory if it is inside."""
    absolute = path.resolve()
    here = Path.cwd()
    return absolute.relative_to(here) if absolute.is_relative_to(here) else path


# -------------------------------------------------------------------------------------- inspecting


def inspect(path: Path, options: RunOptions = DEFAULTS, *, out: Path | None = None) -> Status:
    """Return the state of a suite's results. Computes nothing, and needs neither store nor data.

    Args:
        path: file of the suite.
        options: the store is used to count missing cells and to estimate their time.
        out: parent of the folder of results; see ``folder_of``.

    Raises:
        HarnessError: a faulty suite, or a damaged provenance file.
    """
    folder = folder_of(path, out)
    store = options.open_store()
    then = provenance.read(folder)
    plan = _plan(path, then, store, options)
    cells = [*plan.unique, *plan.waiting]
    todo = [cell for cell in cells if cell.behind or not store.done(cell.key)]
    now = provenance.of_plan(plan, expand(plan.suite), store.read)
    state, why = _state(then, now, folder, complete=not todo)
    seconds, basis = _expected_time(todo, store, then, options.workers or default_workers())
    return Status(
        suite=path,
        folder=folder,
        state=state,
        why=why,
        cells=len(cells),
        todo=len(todo),
        source=_table_source(state, then, now, folder, complete=not todo),
        seconds=round(seconds, 1),
        basis=basis,
    )


def _plan(path: Path, then: Provenance | None, store: Store, options: RunOptions) -> Plan:
    return planning.make(
        suites.load(path, data_root=options.data_folder),
        device=options.device,
        content_hash=staleness.content_hash(then),
        lookup=staleness.recorded_choices(then, store.read),
    )


def _state(
    then: Provenance | None, now: Provenance, folder: Path, *, complete: bool
) -> tuple[State, list[str]]:
    """Return the state of a folder and the reasons for it."""
    if then is None:
        if any(folder.glob("*.md")):
            return "stale", [f"its origin is unknown: it has no {provenance.FILE}"]
        if complete:
            return "never run", ["the store has all of its cells, but its tables are not written"]
        return "never run", []
    numbers = staleness.of_numbers(then, now)
    presentation = staleness.of_tables(then, now, folder)
    if numbers:
        return "stale", numbers + presentation
    if presentation:
        return "stale tables", presentation
    return "fresh", []


def _table_source(
    state: State, then: Provenance | None, now: Provenance, folder: Path, *, complete: bool
) -> TableSource:
    if complete:
        return "store"
    if then is None or not (folder / MEASURED).is_file():
        return ""
    if state in ("fresh", "stale tables"):
        return "measured.zip"
    return "older measured.zip" if staleness.is_of_suite(then, now) else ""


def _expected_time(
    todo: list[Cell], store: Store, then: Provenance | None, workers: int
) -> tuple[float, str]:
    """Return the seconds that cells will take, and how that is known."""
    expected = estimate.expectations(todo, store)
    guesses = sum(each.basis == "guess" for each in expected.values())
    finished_then = _finished_cells(then) if then else 0
    if then and guesses and finished_then:
        seconds = then["seconds"] / finished_then * len(todo) / workers
        return seconds, "from the time that it took before"
    each_s = [each.seconds for each in expected.values()]
    seconds = max(sum(each_s) / workers, max(each_s, default=0.0))
    if guesses:
        return seconds, f"{guesses} of {len(todo)} cells are rough guesses"
    return seconds, "from similar cells, of this store or earlier runs" if todo else ""


def _finished_cells(then: Provenance) -> int:
    groups = [group for learners in then["cells"].values() for group in learners.values()]
    return sum(group["cells"] - group["missing"] for group in groups)


# ---------------------------------------------------------------------------------------- updating


def update(
    status: Status,
    options: RunOptions = DEFAULTS,
    *,
    tables_only: bool = False,
    pack: bool = False,
    console: Console | None = None,
) -> Update:
    """Bring the results of a suite up to date: run missing cells, then write the folder.

    Args:
        status: result of ``inspect``.
        options: where and how to run the suite.
        tables_only: run nothing. Tables of older measurements are rewritten, and stay stale;
            a suite without measurements is skipped.
        pack: keep the measurements (``measured.zip``) beside the tables, as where they were kept
            before.
        console: where progress is shown; nowhere if None.
    """
    packed = (status.folder / MEASURED).is_file()
    must_pack = pack and not packed
    if status.state == "fresh" and not must_pack:
        return Update()
    if tables_only and not status.source:
        return Update()
    if status.source == "measured.zip" or (tables_only and status.source != "store"):
        return _update_from_measured(status, options)
    return _update_by_running(status, options, pack or packed, console)


def _update_from_measured(status: Status, options: RunOptions) -> Update:
    """Write tables and figures again from the measurements beside them."""
    then = provenance.read(status.folder)
    if then is None:
        raise HarnessError(f"it has no {provenance.FILE}", where=str(status.folder))
    measured = status.folder / MEASURED
    results = submission.read(measured).results
    suite = suites.load(status.suite, data_root=options.data_folder)
    about = {key: then[key] for key in provenance.MADE_FROM}
    shown = {key: value for key, value in expand(suite).items() if key in PRESENTATION}
    about["suite"] = then["suite"] | shown
    about["writers"] = provenance.writers()
    command = _command(status)
    written = results_folder.write(suite, results, status.folder, command, about, [measured])
    return Update(written)


def _update_by_running(
    status: Status, options: RunOptions, pack: bool, console: Console | None
) -> Update:
    ran = session.run(status.suite, options, console=console)
    store = options.open_store()
    kept = []
    if pack and not ran.outcome.failed:
        measured = status.folder / MEASURED
        submission.pack(ran.plan, store, submission.suite_text(status.suite), measured)
        kept.append(measured)
    suite = ran.plan.suite
    about = provenance.of_plan(ran.plan, expand(suite), store.read)
    command = _command(status)
    written = results_folder.write(suite, ran.results, status.folder, command, about, kept)
    return Update(written, ran.outcome.failed, ran.plan)


def _command(status: Status) -> str:
    return f"harness paper {status.suite}"
