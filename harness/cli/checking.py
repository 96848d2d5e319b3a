"""``harness check``: a gate that holds a run against a reference and against its bars."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.app import SHARE, app
from harness.cli.options import AsJson, DataRoot, Device, Sets, StorePath, SuitePath, Workers
from harness.cli.output import err, out, print_failures, print_json
from harness.files import make_folder, write_text
from harness.storage.location import DEFAULT_STORE

if TYPE_CHECKING:
    from harness.report.findings import Report


class Undecided(StrEnum):
    """Whether numbers fail for which there is too little data to decide."""

    auto = "auto"
    fail = "fail"
    warn = "warn"


ReferenceFile = Annotated[
    Path | None,
    typer.Option("--reference", help="The reference; default: results/reference/NAME.json."),
]
Exact = Annotated[
    bool,
    typer.Option("--exact", help="Require equal verdicts and values, in the same environment."),
]
Update = Annotated[bool, typer.Option("--update", help="Write the numbers as the new reference.")]
Tolerance = Annotated[
    float, typer.Option(min=0, max=1, help="Changes no larger than this never fail.")
]
Margin = Annotated[
    float, typer.Option(min=0, max=1, help="A fall in accuracy this large must not pass.")
]
Level = Annotated[
    float, typer.Option(min=0, max=1, help="Probability of a false alarm, over all numbers.")
]
UndecidedFails = Annotated[
    Undecided,
    typer.Option(
        help="Whether undecided numbers fail; auto: only if measured on the same samples."
    ),
]
AllowRise = Annotated[bool, typer.Option("--allow-rise", help="A number that rose does not fail.")]
JUnitFile = Annotated[Path | None, typer.Option("--junit", help="Write JUnit XML here.")]
SummaryFile = Annotated[
    Path | None,
    typer.Option("--summary", envvar="GITHUB_STEP_SUMMARY", help="Append Markdown to this file."),
]


@app.command(rich_help_panel=SHARE)
def check(
    suite: SuitePath,
    store: StorePath = DEFAULT_STORE,
    set_: Sets = None,
    data_root: DataRoot = None,
    device: Device = "cpu",
    workers: Workers = None,
    reference: ReferenceFile = None,
    exact: Exact = False,
    update: Update = False,
    tolerance: Tolerance = 0.005,
    margin: Margin = 0.02,
    level: Level = 0.01,
    undecided: UndecidedFails = Undecided.auto,
    allow_rise: AllowRise = False,
    junit: JUnitFile = None,
    summary: SummaryFile = None,
    as_json: AsJson = False,
) -> None:
    """Run a suite, and judge its numbers by a reference and bars.

    Exit status 1 if a number has changed for the worse or misses a bar, or if a cell failed. The
    bars are the suite's `expect:`; a suite that has some needs no reference. Without --exact the
    comparison is statistical: a fall (or an unexplained rise) fails if it is significant and
    larger than --tolerance. A number passes if a fall by --margin is excluded. In between it is
    undecided, and the report says how many samples would decide it.

    Example: harness check suites/ci.yaml --reference results/reference/ci.json
    """
    from harness.execute.session import RunOptions
    from harness.report import checking
    from harness.report.findings import Limits

    options = RunOptions(store=store, data_root=data_root, device=device, workers=workers)
    done = checking.check(
        suite,
        options,
        sets=set_ or [],
        against=reference,
        exact=exact,
        update=update,
        limits=Limits(tolerance, margin, level),
        undecided=undecided.value,
        rises=not allow_rise,
        console=err,
    )
    failed = done.run.outcome.failed
    if failed:
        print_failures(done.run.plan, failed, store)
    if done.report is not None:
        _print_report(done.report, as_json=as_json)
        # Written last: if a file cannot be written, the answer is on the terminal already.
        _write_report(done.report, junit, summary)
    if update and not failed:
        path = checking.reference_path(done.run.plan.suite.name, reference)
        err.print(f"wrote {path}: {len(done.measured.rows)} numbers")
    # A new reference accepts changes, and no missed bar.
    judged = [] if done.report is None else done.report.bars if update else done.report.findings
    if failed or any(finding.fails for finding in judged):
        raise typer.Exit(1)


def _print_report(report: Report, *, as_json: bool) -> None:
    from harness.report import gate_text

    if as_json:
        print_json(report.to_dict())
    else:
        out.print("\n".join(gate_text.lines(report)))


def _write_report(report: Report, junit: Path | None, summary: Path | None) -> None:
    from harness.report import gate_text

    if junit:
        write_text(junit, gate_text.junit(report))
    if summary:
        make_folder(summary.parent)
        # All commands of a CI step append to one summary.
        with open(summary, "a", encoding="utf-8") as file:
            file.write(gate_text.markdown(report))
