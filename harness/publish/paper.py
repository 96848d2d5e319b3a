"""A paper's tables and figures, kept up to date: which are fresh, which are stale and why, how long it takes, and making them.

Each suite has a folder of results with a ``provenance.json`` in it. It is *stale* if the suite, the data, the
code or the releases that numbers come from have changed since, or cells were missing; it has *stale tables* if only what shows
the numbers has changed, or a file is gone or altered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from harness import environment
from harness.cells import collect, estimate
from harness.cells import plan as planning
from harness.cells.plan import Plan
from harness.cells.results import Results
from harness.errors import HarnessError
from harness.execute import session
from harness.execute.local import default_workers
from harness.execute.session import DEFAULTS, RunOptions
from harness.publish import provenance, submission
from harness.publish.submission import MEASURED
from harness.report import claims_text, figures, tables
from harness.storage.store import Store
from harness.suite import load as suites
from harness.suite.expand import expand
from harness.suite.model import Suite

SUITES, RESULTS = Path("suites"), Path("results")
DEFAULT = SUITES / "paper"

State = Literal["fresh", "stale tables", "stale", "never run"]


@dataclass(frozen=True)
class Look:
    """How the results of a suite stand.

    Attributes:
        suite, folder: its file, and where its results go.
        state: see above.
        why: reasons, in words.
        cells, todo: how many there are, and how many of them the store lacks.
        source: what tables can be written from without running anything: the store, the measurements beside them, or nothing.
        seconds: how long what the store lacks will take, and ``basis``: how that is known.
    """

    suite: Path
    folder: Path
    state: State
    why: list[str]
    cells: int
    todo: int
    source: Literal["store", "measured.zip", ""]
    seconds: float
    basis: str

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            key: str(value) if isinstance(value, Path) else value
            for key, value in asdict(self).items()
        }


def folder_of(suite: Path, out: Path | None = None) -> Path:
    """Where a suite's results go: ``results/paper/x`` for ``suites/paper/x.yaml``, or a folder of its name under ``out``."""
    if out is not None:
        return out / suite.stem
    inside = suite.with_suffix("")
    return RESULTS / (inside.relative_to(SUITES) if inside.is_relative_to(SUITES) else inside.name)


def look(path: Path, options: RunOptions = DEFAULTS, *, out: Path | None = None) -> Look:
    """How the results of a suite stand. Computes nothing, and needs neither store nor data.

    Raises:
        HarnessError: a faulty suite, or a damaged provenance file.
    """
    folder, at = folder_of(path, out), options.open_store()
    then = provenance.read(folder)
    plan = _plan(path, then, at, options)
    now = provenance.of_plan(plan, expand(plan.suite), at.read)
    numbers = provenance.stale(then, now) if then else []
    shown = provenance.stale_tables(then, now, folder) if then else []
    state: State = "stale" if numbers else "stale tables" if shown else "fresh"
    why = numbers + shown
    if then is None:
        state = "stale" if any(folder.glob("*.md")) else "never run"
        why = [f"nothing tells what made it: no {provenance.FILE}"] if state == "stale" else []
    todo = [cell for cell in [*plan.unique, *plan.waiting] if cell.behind or not at.done(cell.key)]
    if state == "never run" and not todo:
        why = ["all of its cells are in the store; its tables are to be written"]
    source = (
        "store"
        if not todo
        else MEASURED
        if then and not numbers and (folder / MEASURED).is_file()
        else ""
    )
    seconds, basis = _time(todo, at, then, options.workers or default_workers())
    return Look(
        path,
        folder,
        state,
        why,
        len(plan.unique) + len(plan.waiting),
        len(todo),
        source,
        round(seconds, 1),
        basis,
    )


def _plan(path: Path, then: dict[str, Any] | None, store: Store, options: RunOptions) -> Plan:
    loaded = suites.load(path, data_root=options.data_folder)
    return planning.make(
        loaded,
        device=options.device,
        content_hash=provenance.content_hash(then),
        found=provenance.chosen(then, store.read),
    )


def _time(
    todo: list[planning.Cell], store: Store, then: dict[str, Any] | None, workers: int
) -> tuple[float, str]:
    """Seconds that cells will take, and how that is known."""
    expected, guesses = estimate.expected_seconds(todo, store)
    groups = [
        group for learners in (then or {}).get("cells", {}).values() for group in learners.values()
    ]
    count = sum(group["cells"] - group["missing"] for group in groups)
    if guesses and count:
        return then["seconds"] / count * len(todo) / workers, "from the time that it took before"
    basis = (
        f"{guesses} of {len(todo)} cells are rough guesses"
        if guesses
        else "from like cells in the store"
        if todo
        else ""
    )
    return max(sum(expected.values()) / workers, max(expected.values(), default=0.0)), basis


@dataclass(frozen=True)
class Made:
    """What became of a suite: the files written (none where it was left alone), and its cells that failed."""

    written: list[Path]
    failed: dict[str, str]
    plan: Plan | None = None


def make(
    found: Look,
    options: RunOptions = DEFAULTS,
    *,
    tables_only: bool = False,
    pack: bool = False,
    console: Console | None = None,
) -> Made:
    """Bring the results of a suite up to date: run what is missing, then write its tables, figures and provenance.

    Args:
        tables_only: run nothing; where something would have to be run, leave the suite alone.
        pack: keep the measurements beside the tables.
    """
    path = found.suite
    if (
        found.state == "fresh"
        and not (pack and not (found.folder / MEASURED).is_file())
        or tables_only
        and not found.source
    ):
        return Made([], {})
    command = f"harness paper {path}"
    if found.source == MEASURED:
        packed = submission.read(found.folder / MEASURED)
        then = provenance.read(found.folder)
        loaded = suites.load(path, data_root=options.data_folder)
        about = {
            **{key: then[key] for key in provenance.MADE_FROM},
            "suite": expand(loaded),
            "writers": provenance.writers(),
        }
        return Made(
            write(loaded, packed.results, found.folder, command, about, [found.folder / MEASURED]),
            {},
        )
    done = session.run(path, options, console=console)
    kept = []
    if pack and not done.outcome.failed:
        kept = [found.folder / MEASURED]
        submission.pack(done.plan, options.open_store(), submission.suite_text(path), kept[0])
    about = provenance.of_plan(done.plan, expand(done.plan.suite), options.open_store().read)
    return Made(
        write(done.plan.suite, done.results, found.folder, command, about, kept),
        done.outcome.failed,
        done.plan,
    )


def write(
    suite: Suite,
    results: Results,
    folder: Path,
    command: str,
    about: dict[str, Any],
    kept: Sequence[Path] = (),
) -> list[Path]:
    """Every table in every format, the figures, the claims, the records, and what made them.

    Args:
        command: what to type to make them again.
        about: what they are made from, ``provenance.of_plan``.
        kept: files in the folder that belong to them.

    Returns:
        the files written.
    """
    made = environment.made_by(command, about["data"], about["device"])
    written = [
        *tables.write_tables(results, suite.tables, folder, suite.published),
        *figures.write_figures(results, folder, suite.figures),
        *claims_text.write(results, suite.claims, folder),
        collect.write_records(results, folder / "records.jsonl"),
    ]
    return [*written, provenance.write(folder, made | about, [*written, *kept])]


def chosen(paths: Sequence[Path]) -> list[Path]:
    """The suites asked for; those of the paper where none is.

    Raises:
        HarnessError: there are none.
    """
    found = list(paths) or sorted(DEFAULT.glob("*.yaml"))
    if not found:
        raise HarnessError(
            "no suites there",
            where=str(DEFAULT),
            hint="name some: harness paper suites/quickstart.yaml",
        )
    return [_relative(path) for path in found]


def _relative(path: Path) -> Path:
    """As seen from here, where it lies below."""
    whole = path.resolve()
    return whole.relative_to(Path.cwd()) if whole.is_relative_to(Path.cwd()) else path
