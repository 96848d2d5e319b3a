"""``pytest --harness-suite suites/ci.yaml``: every number of a reference and every bar is a test.

The suite runs once, before the first of these tests. Other tests are collected only if paths are
given on the command line too. Installing this package registers the plugin; it imports nothing of
the harness until the option is used.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from harness.report.findings import Finding


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, in a group of their own."""
    group = parser.getgroup("harness", "compare numbers with a reference")
    group.addoption(
        "--harness-suite",
        metavar="SUITE.yaml",
        help="run this suite; each number of its reference is a test",
    )
    group.addoption(
        "--harness-reference",
        metavar="FILE",
        help="the reference; default: results/reference/NAME.json",
    )
    group.addoption(
        "--harness-store", metavar="DIR", default="results/runs", help="folder of finished cells"
    )
    group.addoption(
        "--harness-exact",
        action="store_true",
        help="require equal verdicts, in the same environment",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Collect only the suite, unless paths are given on the command line."""
    paths_given = config.args_source is pytest.Config.ArgsSource.ARGS
    if config.getoption("--harness-suite") and not paths_given:
        config.args = []


@pytest.hookimpl(tryfirst=True)  # so that -k and -m select among these tests too
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Add one test per row of the reference, and one per bar of the suite."""
    path = config.getoption("--harness-suite")
    if path:
        items += SuiteCollector.from_parent(session, name=path).collect()


class SuiteCollector(pytest.Collector):
    """A suite and its reference; the name of the node is the path of the suite."""

    findings: dict[str, Finding] | None = None
    """Test name -> verdict of the gate; None until the suite has been run."""

    def collect(self) -> list[pytest.Item]:
        """Make a test of each row and of each bar.

        Raises:
            UsageError: the suite or the reference cannot be read.
        """
        from harness.errors import HarnessError
        from harness.report import bars, checking
        from harness.suite import load

        try:
            suite = load.load(self.name)
            reference = checking.reference_for(suite, self._against())
        except HarnessError as error:
            raise pytest.UsageError(str(error)) from None
        rows = reference.rows if reference else []
        names = [*(row.name for row in rows), *map(bars.name_of, suite.expect)]
        return [NumberItem.from_parent(self, name=_test_name(name)) for name in names]

    def finding(self, name: str) -> Finding:
        """The verdict on one number; the first call runs the suite."""
        if self.findings is None:
            self.findings = self._check()
        return self.findings[name]

    def _check(self) -> dict[str, Finding]:
        from harness import api

        done = api.check(
            self.name,
            against=self._against(),
            store=self.config.getoption("--harness-store"),
            exact=self.config.getoption("--harness-exact"),
        )
        findings = done.report.findings if done.report else []
        return {_test_name(finding.name): finding for finding in findings}

    def _against(self) -> str | None:
        """The reference that the command line names, if it names one."""
        option: str | None = self.config.getoption("--harness-reference")
        return option


def _test_name(number: str) -> str:
    # `learner: protocol, ...` becomes `learner/protocol, ...`: a colon would split a test id.
    return number.replace(": ", "/", 1)


class NumberItem(pytest.Item):
    """One number of one learner, as a test."""

    def runtest(self) -> None:
        """Fail if the number has changed, warn if it cannot be decided.

        Raises:
            Changed: the gate does not let the number pass.
        """
        if not isinstance(self.parent, SuiteCollector):
            raise TypeError(f"{self.name}: not collected from a suite")
        finding = self.parent.finding(self.name)
        if finding.fails:
            raise Changed(finding)
        if finding.outcome == "undecided":
            warnings.warn(f"{finding.name}: {finding.said}", stacklevel=1)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Show a changed number, or an error of the harness, without a traceback."""
        from harness.errors import HarnessError

        if isinstance(excinfo.value, Changed | HarnessError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the number comes from: its suite."""
        suite = self.parent.name if self.parent else ""
        return Path(suite), 0, self.name


class Changed(Exception):
    """A number that the gate does not let pass."""

    def __init__(self, finding: Finding) -> None:
        verdict = f"{finding.name}: {finding.outcome}: {finding.said}"
        super().__init__("; ".join([verdict, *finding.notes]))
