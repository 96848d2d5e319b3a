"""What ``harness check`` does: run a suite, and judge its numbers by a reference and by bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from harness.cells.results import Results
from harness.environment import made_by
from harness.execute import session
from harness.execute.session import Run, RunOptions
from harness.report import gate, reference, reference_file
from harness.report.bars import judge
from harness.report.findings import Limits, Report
from harness.report.reference import Reference
from harness.suite.load import SuiteLike
from harness.suite.model import Suite

REFERENCES = Path("results/reference")


@dataclass(frozen=True)
class Check:
    """A finished check.

    Attributes:
        run: the run that was checked.
        measured: its numbers, as a reference.
        report: the verdict on each number; None if there was nothing to judge by.
    """

    run: Run
    measured: Reference
    report: Report | None


def check(
    suite: SuiteLike,
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
    """Run a suite, and judge its numbers by a reference and by the bars that it expects.

    Args:
        suite: path of the YAML file, name of a shipped suite, or a mapping.
        options: where and how to run it.
        sets: overrides, ``key.key=value``.
        against: the reference; ``results/reference/NAME.json`` if None, which a suite with bars
            may lack.
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
    bars = layout.suite.expect
    # Read before the run: a missing or damaged reference must not cost hours.
    before = reference_for(layout.suite, against, is_optional=update)
    run = session.run(suite, options, sets=sets, console=console)
    numbers = _numbers(suite, run, options, sets, None if update else before)
    if update and not run.outcome.failed:
        reference.save(numbers, reference_path(layout.suite.name, against))
    failures = {(learner, protocol): why for learner, protocol, _, why in run.results.failures}
    if before is None and not bars:
        return Check(run, numbers, None)
    if before is None:
        report = Report(layout.suite.name, "expected", Limits(), [], run=numbers.made_by)
    elif exact:
        report = gate.exact(before, numbers, failures)
    else:
        report = gate.statistical(
            before, numbers, limits, undecided=undecided, rises=rises, failures=failures
        )
    judged = judge(run.results, bars, failures, undecided_fails=undecided == "fail")
    return Check(run, numbers, replace(report, findings=[*report.findings, *judged]))


def _numbers(
    suite: SuiteLike,
    run: Run,
    options: RunOptions,
    sets: Sequence[str],
    before: Reference | None,
) -> Reference:
    """The numbers of a run as a reference; rows are named as in ``before``."""
    overrides = [f"--set {each}" for each in sets]
    name = run.plan.suite.name if isinstance(suite, Mapping) else str(suite)
    command = " ".join(["harness check", name, *overrides, "--update"])
    data = {record.dataset: record.dataset_hash for record in run.results.records}
    return reference.of_results(
        run.results,
        learner_configs(run.results),
        made_by(command, data, options.device),
        before.keys if before else None,
    )


def reference_for(
    suite: Suite, against: str | Path | None, *, is_optional: bool = False
) -> Reference | None:
    """Read the reference of a suite; None if it has none and can be judged without.

    Args:
        suite: the suite. One with bars needs no reference, unless one is named.
        against: the reference that the user names, if any.
        is_optional: whether it may be missing whatever the suite.

    Raises:
        HarnessError: it is missing or damaged.
    """
    path = reference_path(suite.name, against)
    if not path.exists() and (is_optional or (suite.expect and not against)):
        return None
    return reference_file.load(path)


def reference_path(suite_name: str, against: str | Path | None = None) -> Path:
    """Path of the reference of a suite: the one that the user names, if any."""
    return Path(against) if against else REFERENCES / f"{suite_name}.json"


def learner_configs(results: Results) -> dict[str, dict[str, Any]]:
    """The kind and the whole config of each learner."""
    return {
        name: {"kind": results.kinds[name], "config": results.configs[name]}
        for name in results.learners
    }
