"""Commands that make what is published: ``paper``, ``board`` and ``submit``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.app import SHARE, app
from harness.cli.options import AsJson, DataRoot, Device, Sets, StorePath, SuitePath, Workers
from harness.cli.output import err, out, print_failures, print_json
from harness.errors import HarnessError
from harness.storage.location import DEFAULT_STORE

if TYPE_CHECKING:
    from harness.publish.paper import Status


PaperSuites = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="SUITE", show_default=False, help="Suite files; default: suites/paper/*.yaml."
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only report what is stale, why, and how long it takes.")
]
TablesOnly = Annotated[
    bool,
    typer.Option(
        "--tables-only", help="Run nothing: rewrite tables of what was measured, if by older code."
    ),
]
Pack = Annotated[
    bool, typer.Option("--pack", help="Keep the measurements beside the tables (measured.zip).")
]
Rekey = Annotated[
    bool,
    typer.Option(
        "--rekey",
        help="Rewrite folders from their measured.zip under today's keys; "
        "use it where code changed and results did not.",
    ),
]
ResultsFolder = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="Parent folder of all results; default: results/, "
        "where suites/a/b.yaml has results/a/b.",
    ),
]


@app.command(rich_help_panel=SHARE)
def paper(
    suites: PaperSuites = None,
    dry_run: DryRun = False,
    tables_only: TablesOnly = False,
    pack: Pack = False,
    rekey: Rekey = False,
    out_dir: ResultsFolder = None,
    store: StorePath = DEFAULT_STORE,
    data_root: DataRoot = None,
    device: Device = "cpu",
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Bring all tables and figures up to date.

    Reports which results are stale and why, runs what is missing, and rewrites their tables and
    figures. Unchanged outputs are skipped, and no cell is run that the store has. The report is
    made from the provenance.json of each folder and needs neither the store nor the data.

    Example: harness paper --dry-run
    """
    from harness.execute.session import RunOptions
    from harness.publish import paper as papers

    options = RunOptions(store=store, data_root=data_root, device=device, workers=workers)
    if rekey:
        from harness.publish.rekey import rekey_folder

        for path in papers.find_suites(suites or []):
            err.print(f"rewrote {rekey_folder(path, options)}")
        return
    statuses = [
        papers.inspect(path, options, out=out_dir) for path in papers.find_suites(suites or [])
    ]
    if as_json:
        print_json([status.to_dict() for status in statuses])
    else:
        _print_statuses(statuses)
    if dry_run:
        return
    failed = False
    for status in statuses:
        made = papers.update(status, options, tables_only=tables_only, pack=pack, console=err)
        if made.written:
            err.print(f"wrote {len(made.written)} files to {status.folder}")
        elif status.state != "fresh":
            err.print(f"skipped: {status.suite}: {status.todo} cells have to be run")
        if made.written and not made.plan and status.state == "stale":
            err.print("  its numbers are still those of older code or data")
        if made.failed and made.plan:
            failed = True
            print_failures(made.plan, made.failed, store)
    if failed:
        raise typer.Exit(1)


def _print_statuses(statuses: list[Status]) -> None:
    from harness.execute.display import duration

    for status in statuses:
        out.print(f"{status.suite}: {status.state}{_work_left(status)}")
        for reason in status.why:
            out.print(f"  {reason}")
    stale = [status for status in statuses if status.state != "fresh"]
    if not stale:
        out.print("all fresh")
        return
    seconds = sum(
        status.seconds for status in stale if status.source not in ("store", "measured.zip")
    )
    out.print(
        f"{len(statuses) - len(stale)} fresh, {len(stale)} to update: "
        f"about {duration(seconds)} of running"
    )


def _work_left(status: Status) -> str:
    from harness.execute.display import duration

    if status.state == "fresh" or not status.todo:
        return ""
    time = duration(status.seconds)
    return f", {status.todo} of {status.cells} cells to run, about {time} ({status.basis})"


@app.command(rich_help_panel=SHARE)
def board(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SUITE.yaml|SUBMISSION.zip",
            show_default=False,
            help="Suite files (with their cells in --store), submissions, and folders of "
            "results with their measured.zip; default: all such folders under results/.",
        ),
    ] = None,
    folder: Annotated[Path, typer.Option("-o", "--out", help="Folder of the site.")] = Path("site"),
    store: StorePath = DEFAULT_STORE,
    data_root: DataRoot = None,
    device: Device = "cpu",
) -> None:
    """Write a leaderboard as a static site that needs no network.

    It has a page for all suites, and one for each suite, learner and table. The first source with
    a suite's name sets its conditions. Rows of later sources are refused, each with its reason, if
    they were measured on other data or under another protocol block, or if trust checks failed or
    are missing. Exit status 1 if a row was refused.

    Example: harness board suites/quickstart.yaml -o site
    """
    from harness.execute.session import RunOptions
    from harness.publish import leaderboard
    from harness.report.board.site import write_site

    options = RunOptions(store=store, data_root=data_root, device=device)
    gathered = leaderboard.gather(sources or leaderboard.committed(), options)
    written = write_site(gathered.divisions, gathered.refused, folder)
    for row in gathered.refused:
        err.print(f"refused: {row}", soft_wrap=True)
    err.print(f"wrote {written[0]} and {len(written) - 1} files that it links to")
    if gathered.refused:
        raise typer.Exit(1)


@app.command(rich_help_panel=SHARE)
def verify(
    path: Annotated[
        Path, typer.Argument(metavar="SUBMISSION.zip", help="The file.", show_default=False)
    ],
    cells: Annotated[int, typer.Option("--cells", min=1, help="Measurements to draw.")] = 3,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the draw.")] = 0,
    plugins: Annotated[
        bool, typer.Option("--plugins", help="Import the modules that its suite names.")
    ] = False,
    data_root: DataRoot = None,
    device: Device = "cpu",
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Recompute a random sample of a submission with the code here.

    Runs the suite in the submission, with the trainings that the sample needs. Says of each cell
    whether it agrees exactly, within its interval (as on another processor), or not. What a match
    chose is taken from the submission. Exit status 1 if a cell does not agree.

    Example: harness verify mine.zip --cells 5
    """
    from harness.execute.session import RunOptions
    from harness.publish import rerun

    err.print(f"running the suite in {path} with the code here, in a temporary store")
    options = RunOptions(data_root=data_root, device=device, workers=workers)
    checked = rerun.rerun(path, options, cells=cells, seed=seed, plugins=plugins, console=err)
    if as_json:
        print_json([vars(cell) for cell in checked])
    else:
        for cell in checked:
            verdict = {"no": "does not agree", "not verified": "not verified"}.get(
                cell.agrees, f"agrees {cell.agrees}"
            )
            out.print(": ".join(filter(None, [cell.title, verdict, cell.why])), soft_wrap=True)
    if any(cell.agrees == "no" for cell in checked):
        raise typer.Exit(1)


@app.command(rich_help_panel=SHARE)
def submit(
    suite: SuitePath,
    path: Annotated[Path, typer.Option("-o", "--out", help="The file to write, *.zip.")],
    store: StorePath = DEFAULT_STORE,
    set_: Sets = None,
    data_root: DataRoot = None,
    device: Device = "cpu",
) -> None:
    """Pack a suite's results for a leaderboard.

    The file holds records, verdicts, trust checks and hashes, but no weights.

    Example: harness submit suites/quickstart.yaml -o mine.zip
    """
    from harness.execute import session
    from harness.execute.session import RunOptions
    from harness.publish import submission

    if path.suffix != ".zip":
        raise HarnessError(
            "a submission is a zip file", where=str(path), hint=f"-o {path.with_suffix('.zip')}"
        )
    sets = set_ or []
    options = RunOptions(store=store, data_root=data_root, device=device)
    layout = session.plan(suite, options, sets=sets)
    text = submission.suite_text(suite, sets)
    manifest = submission.pack(layout, options.open_store(), text, path)
    size = path.stat().st_size / 2**20
    err.print(f"packed {len(manifest.cells)} cells of {manifest.name} into {path}: {size:.1f} MiB")


@app.command(rich_help_panel=SHARE)
def fill(
    template: Annotated[
        Path, typer.Argument(metavar="TEMPLATE", show_default=False, help="A text with calls.")
    ],
    out_file: Annotated[
        Path, typer.Option("-o", "--out", show_default=False, help="File for the filled text.")
    ],
    results: Annotated[
        Path, typer.Option("--results", help="Parent of the folders that it names.")
    ] = Path("results"),
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 if the file would change.")
    ] = False,
) -> None:
    """Fill the numbers of a text from folders of results.

    A template has calls in double braces, such as number("quickstart", "robust", "bio",
    attack="worst", eps=0.1). docs/paper.md lists them. A name that is not there is an error.

    Example: harness fill docs/report.j2 -o docs/report.md
    """
    from harness.files import write_text
    from harness.publish.filled import fill as filled

    text = filled(template, results)
    if not check:
        write_text(out_file, text)
        err.print(f"wrote {out_file}")
        return
    if not out_file.is_file() or out_file.read_text(encoding="utf-8") != text:
        err.print(f"{out_file} is not what {template} gives now: harness fill {template}", end="")
        err.print(f" -o {out_file}")
        raise typer.Exit(1)
