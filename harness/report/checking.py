"""Run a suite and compare every number with a reference: what ``harness check`` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.cells.results import Results
from harness.environment import made_by
from harness.execute import session
from harness.execute.session import Run, RunOptions
from harness.report import gate, reference, reference_file
from harness.report.findings import Limits, Report
from harness.report.reference import Reference

REFERENCES = Path("results/reference")


@dataclass(frozen=True)
class Check:
    """A finished check.

    Attributes:
        run: the run that was checked.
        measured: its numbers, as a reference.
        report: the verdict on each number; None if there was no reference to compare with.
    """

    run: Run
    measured: Reference
    report: Report | None


def check(
    suite: str | Path,
    options: RunOptions,
    *,
    sets: Sequence[str] = (),
    against: str | Path | None = None,
    exact: bool = False,
    update: bool = False,
    limits: Limits | None = None,
    undecided: str = "auto",
    rises: bool = True,
    console: Console | None = None,
) -> Check:
    """Run a suite and compare its numbers with a reference.

    Args:
        suite: path of the YAML file, or name of a shipped suite.
        options: where and how to run it.
        sets: overrides, ``key.key=value``.
        against: the reference; ``results/reference/NAME.json`` if None.
        exact: require equal verdicts, sample by sample.
        update: write the numbers as the new reference; the report then lists the changes.
        limits: see ``gate.statistical``.
        undecided: see ``gate.statistical``.
        rises: see ``gate.statistical``.
        console: where progress is shown; nowhere if None.

    Raises:
        HarnessError: no reference, a damaged one, or ``exact`` in another environment.
    """
    layout = session.plan(suite, options, sets=sets)
    path = Path(against) if against else reference_of(layout.suite.name)
    # Read before the run: a missing or damaged reference must not cost hours.
    before = reference_file.load(path) if path.exists() or not update else None
    run = session.run(suite, options, sets=sets, console=console)
    numbers = _numbers(suite, run, options, sets, None if update else before)
    if update and not run.outcome.failed:
        reference.save(numbers, path)
    if before is None:
        return Check(run, numbers, None)
    failures = {(learner, protocol): why for learner, protocol, _, why in run.results.failures}
    if exact:
        report = gate.exact(before, numbers, failures)
    else:
        report = gate.statistical(
            before, numbers, limits, undecided=undecided, rises=rises, failures=failures
        )
    return Check(run, numbers, report)


def _numbers(
    suite: str | Path,
    run: Run,
    options: RunOptions,
    sets: Sequence[str],
    before: Reference | None,
) -> Reference:
    """The numbers of a run as a reference; rows are named as in ``before``."""
    overrides = [f"--set {each}" for each in sets]
    command = " ".join(["harness check", str(suite), *overrides, "--update"])
    data = {record.dataset: record.dataset_hash for record in run.results.records}
    return reference.of_results(
        run.results,
        learner_configs(run.results),
        made_by(command, data, options.device),
        before.keys if before else None,
    )


def reference_of(suite_name: str) -> Path:
    """Path of the reference of a suite."""
    return REFERENCES / f"{suite_name}.json"


def learner_configs(results: Results) -> dict[str, dict[str, Any]]:
    """The kind and the whole config of each learner."""
    return {
        name: {"kind": results.kinds[name], "config": results.configs[name]}
        for name in results.learners
    }
