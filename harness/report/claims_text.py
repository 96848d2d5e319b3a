"""The table of claims as Markdown, CSV, LaTeX, JSON, and for a terminal."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING

from harness.cells.results import Results
from harness.files import write_text
from harness.report.claims import RULES, Row, decide
from harness.report.judged import number_text
from harness.report.latex import SMALL_LINE, Block, escape, floats, remarks
from harness.report.spreadsheets import harmless
from harness.suite.specs.claims import ClaimSpec

if TYPE_CHECKING:
    from rich.text import Text

HEADS = (
    "claim",
    "measure",
    "bound",
    "learner",
    "its number",
    "closest control",
    "difference",
    "measure’s verdict",
    "claim’s verdict",
)

WIDTHS = (0.21, 0.1, 0.1, 0.12, 0.13, 0.12, 0.08)
"""Shares of a line that the columns of the LaTeX table take."""


def write(results: Results, specs: Sequence[ClaimSpec], folder: Path) -> list[Path]:
    """Write ``claims`` in every format; nothing for a suite without claims.

    Returns:
        The files written.
    """
    if not specs:
        return []
    rows = decide(results, specs)
    written = []
    for ending, renderer in FORMATS.values():
        path = folder / f"claims{ending}"
        write_text(path, renderer(rows, specs))
        written.append(path)
    return written


# ----------------------------------------------------------------------------------------- texts


def cells(row: Row) -> list[str]:
    """The texts of one row, under ``HEADS``."""
    control = ""
    if row.control:
        control = f"{row.control}: {number_text(row.metric, row.control_value)}"
    return [
        row.claim,
        row.measure,
        row.bound,
        row.learner,
        number_text(row.metric, row.value, row.low, row.high),
        control,
        number_text(row.metric, row.difference, row.difference_low, row.difference_high),
        row.verdict,
        row.claim_verdict,
    ]


def notes(rows: Sequence[Row], claims: Sequence[ClaimSpec]) -> Iterator[str]:
    """Notes under the table: the wording of each claim, the rules, and which controls are out."""
    for claim in claims:
        yield f"{claim.name}: “{claim.claim}”"
    yield from RULES
    yield from dict.fromkeys(note for row in rows for note in row.notes)


# --------------------------------------------------------------------------------------- formats


def markdown(rows: Sequence[Row], specs: Sequence[ClaimSpec]) -> str:
    """One line per measure; name and verdict of a claim are in its first line only."""
    lines = [list(HEADS), [":---"] * len(HEADS)]
    previous = None
    for row in rows:
        line = cells(row)
        if row.claim == previous:
            line[0] = line[-1] = ""
        lines.append(line)
        previous = row.claim
    table = [_markdown_row(line) for line in lines]
    below = [f"- {note}" for note in notes(rows, specs)]
    return "\n".join(["### Claims", "", *table, "", *below]) + "\n"


def _markdown_row(texts: Sequence[str]) -> str:
    return f"| {' | '.join(text.replace('|', chr(92) + '|') for text in texts)} |"


def tidy_csv(rows: Sequence[Row], specs: Sequence[ClaimSpec]) -> str:
    """Every field of every row, unrounded."""
    out = io.StringIO()
    names = [each.name for each in fields(Row) if each.name != "notes"]
    writer = csv.DictWriter(out, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: harmless(value) for name, value in asdict(row).items()})
    return out.getvalue()


def as_json(rows: Sequence[Row], specs: Sequence[ClaimSpec]) -> str:
    """Each claim with its wording, verdict and measures, unrounded; then the rules."""
    decided = []
    for spec in specs:
        own = [row for row in rows if row.claim == spec.name]
        measures = []
        for row in own:
            measure = asdict(row)
            for key in ("claim", "said", "claim_verdict"):  # the same for all measures
                del measure[key]
            measures.append(measure)
        decided.append(
            {
                "claim": spec.name,
                "said": spec.claim,
                "verdict": own[0].claim_verdict,
                "measures": measures,
            }
        )
    content = {"claims": decided, "rules": RULES}
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def latex(rows: Sequence[Row], specs: Sequence[ClaimSpec]) -> str:
    """Tables with booktabs: a line with the claim and its verdict, then one line per measure."""
    blocks: list[Block] = []
    for _, own in itertools.groupby(rows, key=lambda row: row.claim):
        blocks.append(_latex_claim(list(own)))
    # Claims of two suites can be in one paper, so the label needs more than "claims".
    label = "-".join(["claims", *(row.claim for row in rows[:1])])
    below = remarks(list(notes(rows, specs)))
    return floats("Claims", label, [*blocks, *below], r"\footnotesize")


def _latex_claim(rows: Sequence[Row]) -> Block:
    """The table of one claim, and the lines that it takes."""
    columns = "".join(
        rf">{{\raggedright\arraybackslash}}p{{{width}\linewidth}}" for width in WIDTHS
    )
    heading = f"{escape(rows[0].claim)}: {escape(rows[0].claim_verdict)}"
    # The claim and its verdict, the first and the last cell, are in the heading.
    measures = [cells(row)[1:-1] for row in rows]
    text = [
        rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
        r"\toprule",
        " & ".join(map(escape, HEADS[1:-2])) + r" & \\",
        r"\midrule",
        rf"\multicolumn{{{len(WIDTHS)}}}{{l}}{{\textbf{{{heading}}}}} \\",
        *(" & ".join(map(escape, measure)) + r" \\" for measure in measures),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(text), 4 + sum(map(_lines, measures))


def _lines(measure: Sequence[str]) -> int:
    """The lines that a measure takes: those of its longest cell."""
    cells_and_widths = zip(measure, WIDTHS, strict=True)
    return max(1 + int(len(text) / (SMALL_LINE * width)) for text, width in cells_and_widths)


FORMATS: dict[str, tuple[str, Callable[[Sequence[Row], Sequence[ClaimSpec]], str]]] = {
    "markdown": (".md", markdown),
    "csv": (".csv", tidy_csv),
    "latex": (".tex", latex),
    "json": (".json", as_json),
}
"""Format -> (file ending, renderer)."""


def to_rich(rows: Sequence[Row]) -> Text:
    """Render claims for a terminal, which is too narrow for the table.

    Each claim has a heading, and a line per measure.
    """
    from rich.text import Text

    lines = [Text("Claims", style="bold")]
    previous = None
    for row in rows:
        if row.claim != previous:
            lines.append(Text(f"{row.claim}: {row.claim_verdict} (“{row.said}”)", style="bold"))
        previous = row.claim
        _, measure, bound, learner, value, control, difference, verdict, _ = cells(row)
        against = f"; {control}, difference {difference}" if control else ""
        lines.append(Text(f"  {verdict}: {measure} {bound}: {learner} {value}{against}"))
    lines += [Text(f"· {rule}", style="dim") for rule in RULES]
    return Text("\n").join(lines)
