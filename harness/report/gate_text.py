"""A check's report for a terminal, for GitHub's step summary (Markdown), and for CI servers (JUnit XML)."""

from __future__ import annotations

from xml.etree import ElementTree as xml

from harness.report.gate import Finding, Report, counted, remarkable

SHOWN = 50
"""Findings of a summary; CI pages cut longer ones."""


def headline(report: Report) -> str:
    """The verdict in a line."""
    counts = ", ".join(f"{count} {outcome}" for outcome, count in counted(report.findings).items())
    verdict = (
        "PASSED" if report.passed else f"FAILED ({len(report.failed)} of {len(report.findings)})"
    )
    return f"{report.suite}: {verdict}, {report.mode}: {counts or 'nothing to judge'}"


def lines(report: Report) -> list[str]:
    """What failed or is undecided, then the notes, then the verdict."""
    found = [
        f"{'FAIL' if f.fails else 'warn'} {f.name}: {f.outcome}: {f.said}"
        + (f" [{'; '.join(f.notes)}]" if f.notes else "")
        for f in remarkable(report)
    ]
    return [*found, *(f"note: {note}" for note in report.notes), _rule(report), headline(report)]


def _rule(report: Report) -> str:
    if report.mode == "exact":
        return "rule: every value and every verdict equal, in the same environment"
    limits = report.limits
    return (
        f"rule: fails if a change is shown (p <= {limits.level:g}, Holm over all numbers) that is larger than "
        f"{100 * limits.tolerance:g} points; passes if a fall by {100 * limits.margin:g} points is excluded (95 % interval)"
    )


def markdown(report: Report) -> str:
    """For ``$GITHUB_STEP_SUMMARY``."""
    parts = [f"## {'✅' if report.passed else '❌'} {headline(report)}", ""]
    shown = list(remarkable(report))
    if shown:
        parts += [
            "| | learner | number | outcome | what was found |",
            "| :--- | :--- | :--- | :--- | :--- |",
            *(_row(f) for f in shown[:SHOWN]),
            "",
        ]
        if len(shown) > SHOWN:
            parts += [f"... and {len(shown) - SHOWN} more.", ""]
    origin = ", ".join(
        filter(None, [report.reference.get("git_commit"), report.reference.get("git_date")])
    )
    notes = [*report.notes, _rule(report), *([f"reference made at {origin}"] if origin else [])]
    return "\n".join([*parts, *(f"- {_cell(note)}" for note in notes)]) + "\n"


def _row(f: Finding) -> str:
    said = "; ".join([f.said, *f.notes])
    return f"| {'❌' if f.fails else '⚠️'} | {' | '.join(map(_cell, (f.learner, f.where, f.outcome, said)))} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def junit(report: Report) -> str:
    """One test case a number; an undecided one that fails nothing is skipped."""
    skipped = [f for f in report.findings if f.outcome == "undecided" and not f.fails]
    suite = xml.Element(
        "testsuite",
        name=f"harness.{report.suite}",
        tests=str(len(report.findings)),
        errors="0",
        failures=str(len(report.failed)),
        skipped=str(len(skipped)),
    )
    for f in report.findings:
        case = xml.SubElement(
            suite, "testcase", classname=f"{report.suite}.{f.learner}", name=f.where, time="0"
        )
        text = "; ".join([f.said, *f.notes])
        if f.fails:
            xml.SubElement(case, "failure", message=f"{f.outcome}: {f.said}").text = text
        elif f in skipped:
            xml.SubElement(case, "skipped", message=f"{f.outcome}: {f.said}")
    root = xml.Element("testsuites")
    root.append(suite)
    xml.indent(root)
    return xml.tostring(root, encoding="unicode", xml_declaration=True) + "\n"
