"""A check's report for a terminal, for GitHub (Markdown), and for CI servers (JUnit XML)."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree as xml

from harness.report.findings import PASSING, Finding, Report, counted, noteworthy
from harness.report.formats import number

MOST_SHOWN = 50
"""Findings in a summary, because CI pages cut longer ones, and passed numbers on a terminal."""


def headline(report: Report) -> str:
    """The verdict in one line."""
    counts = ", ".join(f"{count} {outcome}" for outcome, count in counted(report.findings).items())
    verdict = "PASSED"
    if not report.passed:
        verdict = f"FAILED ({len(report.failed)} of {len(report.findings)})"
    return f"{report.suite}: {verdict}, {report.mode}: {counts or 'nothing to judge'}"


def lines(report: Report) -> list[str]:
    """The numbers that passed, what failed or is undecided, the notes, the rules, the verdict."""
    shown = list(_passed(report))
    for finding in noteworthy(report):
        level = "FAIL" if finding.fails else "warn"
        notes = f" [{'; '.join(finding.notes)}]" if finding.notes else ""
        shown.append(f"{level} {finding.name}: {finding.outcome}: {finding.said}{notes}")
    notes_below = [f"note: {note}" for note in report.notes]
    return [*shown, *notes_below, *_rules(report), headline(report)]


def _passed(report: Report) -> Iterator[str]:
    """A line for each number that passed, all bars among them."""
    passed = [finding for finding in report.findings if finding.outcome in PASSING]
    compared = [finding for finding in passed if not finding.bar]
    for finding in compared[:MOST_SHOWN]:
        yield f"ok   {finding.name}: {finding.outcome}: {_value(finding)}"
    if len(compared) > MOST_SHOWN:
        yield f"ok   and {len(compared) - MOST_SHOWN} more numbers of the reference (--json: all)"
    for finding in passed:
        if finding.bar:
            yield f"ok   {finding.name}: {finding.outcome}: {finding.said}"


def _value(finding: Finding) -> str:
    """A number of the reference as it is now, and as it was if it has changed."""
    if finding.value is None:
        return finding.said
    now = number(finding.metric, finding.value)
    if finding.reference is None or finding.reference == finding.value:
        return now
    return f"{now}, {number(finding.metric, finding.reference)} in the reference"


def _rules(report: Report) -> Iterator[str]:
    limits = report.limits
    if report.mode == "exact":
        yield "rule: every value and every verdict must be equal, in the same environment"
    if report.mode == "statistical":
        yield (
            f"rule: fails if a change is shown (p <= {limits.level:g}, Holm over all numbers) that "
            f"is larger than {100 * limits.tolerance:g} points; passes if a fall by "
            f"{100 * limits.margin:g} points is excluded (95 % interval)"
        )
    if report.bars:
        yield (
            "rule of bars: holds if the whole 95 % interval keeps the bar, fails if it all "
            "violates it, else undecided, which fails with --undecided fail only"
        )


def markdown(report: Report) -> str:
    """The report as Markdown, for ``$GITHUB_STEP_SUMMARY``."""
    text = [f"## {'✅' if report.passed else '❌'} {headline(report)}", ""]
    passed_bars = [finding for finding in report.bars if finding.outcome in PASSING]
    shown = [*noteworthy(report), *passed_bars]
    if shown:
        text += [
            "| | learner | number | outcome | what was found |",
            "| :--- | :--- | :--- | :--- | :--- |",
            *map(_markdown_row, shown[:MOST_SHOWN]),
            "",
        ]
        if len(shown) > MOST_SHOWN:
            text += [f"... and {len(shown) - MOST_SHOWN} more.", ""]
    notes = [*report.notes, *_rules(report)]
    origin = [report.reference.get("git_commit"), report.reference.get("git_date")]
    if any(origin):
        notes.append(f"reference made at {', '.join(filter(None, origin))}")
    text += [f"- {_markdown_cell(note)}" for note in notes]
    return "\n".join(text) + "\n"


def _markdown_row(finding: Finding) -> str:
    mark = "✅" if finding.outcome in PASSING else "❌" if finding.fails else "⚠️"
    texts = [finding.learner, finding.where, finding.outcome, _with_notes(finding)]
    return f"| {' | '.join([mark, *map(_markdown_cell, texts)])} |"


def _markdown_cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _with_notes(finding: Finding) -> str:
    return "; ".join([finding.said, *finding.notes])


def junit(report: Report) -> str:
    """The report as JUnit XML: one test case per number and per bar.

    An undecided number that does not fail is skipped.
    """
    suite = xml.Element(
        "testsuite",
        name=f"harness.{report.suite}",
        tests=str(len(report.findings)),
        errors="0",
        failures=str(len(report.failed)),
        skipped=str(len(report.undecided)),
    )
    for finding in report.findings:
        name = f"{report.suite}.{finding.learner}"
        case = xml.SubElement(suite, "testcase", classname=name, name=finding.where, time="0")
        message = f"{finding.outcome}: {finding.said}"
        if finding.fails:
            xml.SubElement(case, "failure", message=message).text = _with_notes(finding)
        elif finding.outcome == "undecided":
            xml.SubElement(case, "skipped", message=message)
        else:
            shown = finding.said if finding.bar else _value(finding)
            xml.SubElement(case, "system-out").text = f"{finding.outcome}: {shown}"
    root = xml.Element("testsuites")
    root.append(suite)
    xml.indent(root)
    return xml.tostring(root, encoding="unicode", xml_declaration=True) + "\n"
