"""``pytest --harness-suite suites/ci.yaml``: every number of a reference is a test.

The suite runs once, before the first of them. Only the suite's tests run unless paths are given too. Registered as a
pytest plugin by installing this package; it imports nothing until it is asked for.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, in a group of their own."""
    group = parser.getgroup("harness", "gate numbers against a reference")
    group.addoption(
        "--harness-suite",
        metavar="SUITE.yaml",
        help="run this suite, each number of its reference a test",
    )
    group.addoption(
        "--harness-reference", metavar="FILE", help="results/reference/NAME.json if left out"
    )
    group.addoption(
        "--harness-store", metavar="DIR", default="results/runs", help="folder of finished cells"
    )
    group.addoption(
        "--harness-exact",
        action="store_true",
        help="ask for equal verdicts, in the same environment",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Without paths on the command line, nothing but the suite is collected."""
    if (
        config.getoption("--harness-suite")
        and config.args_source is not pytest.Config.ArgsSource.ARGS
    ):
        config.args = []


@pytest.hookimpl(tryfirst=True)  # so that -k and -m choose among these tests too
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """One test a row of the reference."""
    if config.getoption("--harness-suite"):
        items += _Suite.from_parent(session, name=config.getoption("--harness-suite")).collect()


class _Suite(pytest.Collector):
    """A suite and its reference."""

    def collect(self) -> list[pytest.Item]:
        from harness.errors import HarnessError
        from harness.report import reference

        try:
            self.rows = reference.load(self.path_of_reference()).rows
        except HarnessError as error:
            raise pytest.UsageError(str(error)) from None
        self.findings: dict[str, Any] | None = None
        return [_Number.from_parent(self, name=row.name.replace(": ", "/", 1)) for row in self.rows]

    def path_of_reference(self) -> Path:
        """As given, or where the suite's name says."""
        from harness.report import checking
        from harness.suite import load as suite

        given = self.config.getoption("--harness-reference")
        return (
            Path(given)
            if given
            else checking.reference_of(suite.read_tree(Path(self.name)).value.get("name", ""))
        )

    def judged(self) -> dict[str, Any]:
        """Row name -> finding; runs the suite when first asked."""
        from harness import api

        if self.findings is None:
            done = api.check(
                self.name,
                against=self.path_of_reference(),
                store=self.config.getoption("--harness-store"),
                exact=self.config.getoption("--harness-exact"),
            )
            self.findings = {
                finding.name.replace(": ", "/", 1): finding for finding in done.report.findings
            }
        return self.findings


class _Number(pytest.Item):
    """One number of one learner."""

    def runtest(self) -> None:
        finding = self.parent.judged()[self.name]
        if finding.fails:
            raise Changed(finding)
        if finding.outcome == "undecided":
            warnings.warn(f"{finding.name}: {finding.said}", stacklevel=1)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        from harness.errors import HarnessError

        return (
            str(excinfo.value)
            if isinstance(excinfo.value, Changed | HarnessError)
            else super().repr_failure(excinfo, style)
        )

    def reportinfo(self) -> tuple[Path, int, str]:
        return Path(self.parent.name), 0, self.name


class Changed(Exception):
    """A number that the gate does not let pass."""

    def __init__(self, finding: Any):
        super().__init__(
            "; ".join([f"{finding.name}: {finding.outcome}: {finding.said}", *finding.notes])
        )
