"""A check's report for a terminal, for GitHub (Markdown), and for CI servers (JUnit XML)."""

from __future__ import annotations

from xml.etree import ElementTree as xml

from harness.report.findings import Finding, Report, counted, noteworthy

MOST_SHOWN = 50
"""Findings in a summary; CI pages cut longer ones."""


def headline(report: Report) -> str:
    """The verdict in one line."""
    counts = ", ".join(f"{count} {outcome}" for outcome, count in counted(report.findings).items())
    verdict = "PASSED"
    if not report.passed:
        verdict = f"FAILED ({len(report.failed)} of {len(report.findings)})"
    return f"{report.suite}: {verdict}, {report.mode}: {counts or 'nothing to judge'}"


def lines(report: Report) -> list[str]:
    """What failed or is undecided, then the notes, the rule and the verdict."""
    shown = []
    for finding in noteworthy(report):
        level = "FAIL" if finding.fails else "warn"
        notes = f" [{'; '.join(finding.notes)}]" if finding.notes else ""
        shown.append(f"{level} {finding.name}: {finding.outcome}: {finding.said}{notes}")
    notes_below = [f"note: {note}" for note in report.notes]
    return [*shown, *notes_below, _rule(report), headline(report)]


def _rule(report: Report) -> str:
    if report.mode == "exact":
        return "rule: every value and every verdict must be equal, in the same environment"
    limits = report.limits
    return (
        f"rule: fails if a change is shown (p <= {limits.level:g}, Holm over all numbers) that is "
        f"larger than {100 * limits.tolerance:g} points; passes if a fall by "
        f"{100 * limits.margin:g} points is excluded (95 % interval)"
    )


def markdown(report: Report) -> str:
    """The report as Markdown, for ``$GITHUB_STEP_SUMMARY``."""
    text = [f"## {'✅' if report.passed else '❌'} {headline(report)}", ""]
    shown = list(noteworthy(report))
    if shown:
        text += [
            "| | learner | number | outcome | what was found |",
            "| :--- | :--- | :--- | :--- | :--- |",
            *map(_markdown_row, shown[:MOST_SHOWN]),
            "",
        ]
        if len(shown) > MOST_SHOWN:
            text += [f"... and {len(shown) - MOST_SHOWN} more.", ""]
    notes = [*report.notes, _rule(report)]
    origin = [report.reference.get("git_commit"), report.reference.get("git_date")]
    if any(origin):
        notes.append(f"reference made at {', '.join(filter(None, origin))}")
    text += [f"- {_markdown_cell(note)}" for note in notes]
    return "\n".join(text) + "\n"


def _markdown_row(finding: Finding) -> str:
    mark = "❌" if finding.fails else "⚠️"
    texts = [finding.learner, finding.where, finding.outcome, _with_notes(finding)]
    return f"| {' | '.join([mark, *map(_markdown_cell, texts)])} |"


def _markdown_cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _with_notes(finding: Finding) -> str:
    return "; ".join([finding.said, *finding.notes])


def junit(report: Report) -> str:
    """The report as JUnit XML: one test case per number.

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
    root = xml.Element("testsuites")
    root.append(suite)
    xml.indent(root)
    return xml.tostring(root, encoding="unicode", xml_declaration=True) + "\n"
