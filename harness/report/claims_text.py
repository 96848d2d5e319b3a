"""The table of claims as Markdown, CSV, LaTeX, JSON, and for a terminal."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from harness.cells.results import Results
from harness.files import write_atomically
from harness.report import claims
from harness.report.claims import Row
from harness.report.latex import SMALL_LINE, escape, floats, remarks
from harness.suite.specs.claims import ClaimSpec


def write(results: Results, specs: Sequence[ClaimSpec], folder: Path) -> list[Path]:
    """``claims`` in every format; nothing for a suite without claims."""
    if not specs:
        return []
    rows = claims.decide(results, specs)
    texts = {
        folder / f"claims{ending}": renderer(rows, specs) for ending, renderer in FORMATS.values()
    }
    for path, text in texts.items():
        write_atomically(path, text.encode())
    return list(texts)


def markdown(rows: Sequence[Row], specs: Sequence[ClaimSpec]) -> str:
    """One line a measure; a claim's name and verdict stand at its first."""
    lines = [list(claims.HEADS), [":---"] * len(claims.HEADS), *printed(rows)]
    body = [
        f"| {' | '.join(text.replace('|', chr(92) + '|') for text in line)} |" for line in lines
    ]
    return (
        "\n".join(
            ["### Claims", "", *body, "", *(f"- {note}" for note in claims.notes(rows, specs))]
        )
        + "\n"
    )


def tidy_csv(rows: Sequence[Row], specs: Sequence[ClaimSpec]) -> str:
    """Every field of every row, unrounded."""
    out = io.StringIO()
    names = [f.name for f in fields(Row) if f.name != "notes"]
    writer = csv.DictWriter(out, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return out.getvalue()


def as_json(rows: Sequence[Row], specs: Sequence[ClaimSpec]) -> str:
    """Each claim with what it says, its verdict and its measures, unrounded; then the rules."""
    decided = []
    for spec in specs:
        own = [asdict(row) for row in rows if row.claim == spec.name]
        measures = [
            {
                key: value
                for key, value in row.items()
                if key not in ("claim", "said", "claim_verdict")
            }
            for row in own
        ]
        decided.append(
            {
                "claim": spec.name,
                "said": spec.claim,
                "verdict": own[0]["claim_verdict"],
                "measures": measures,
            }
        )
    return (
        json.dumps(
            {"claims": decided, "rules": claims.RULES},
            indent=1,
            ensure_ascii=False,
            allow_nan=False,
        )
        + "\n"
    )


WIDTHS = (0.21, 0.1, 0.1, 0.12, 0.13, 0.12, 0.08)
"""Shares of a line that the columns of the LaTeX take."""


def latex(rows: Sequence[Row], specs: Sequence[ClaimSpec]) -> str:
    """Tables with booktabs: a line for the claim and its verdict, then one a measure."""
    columns = "".join(
        rf">{{\raggedright\arraybackslash}}p{{{width}\linewidth}}" for width in WIDTHS
    )
    top = [
        rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
        r"\toprule",
        " & ".join(map(escape, claims.HEADS[1:-2])) + r" & \\",
    ]
    blocks = []
    for name, own in itertools.groupby(rows, key=lambda row: row.claim):
        lines = [claims.cells(row)[1:-1] for row in own]
        verdict = next(row.claim_verdict for row in rows if row.claim == name)
        said = rf"\multicolumn{{{len(WIDTHS)}}}{{l}}{{\textbf{{{escape(name)}: {escape(verdict)}}}}} \\"
        body = [" & ".join(map(escape, line)) + r" \\" for line in lines]
        blocks.append(
            (
                "\n".join([*top, r"\midrule", said, *body, r"\bottomrule", r"\end{tabular}"]),
                4
                + sum(
                    max(
                        1 + int(len(text) / (SMALL_LINE * width))
                        for text, width in zip(line, WIDTHS, strict=True)
                    )
                    for line in lines
                ),
            )
        )
    label = "-".join(
        ["claims", *(row.claim for row in rows[:1])]
    )  # two suites' claims live in one paper
    return floats(
        "Claims", label, [*blocks, *remarks(list(claims.notes(rows, specs)))], r"\footnotesize"
    )


FORMATS: dict[str, tuple[str, Callable[[Sequence[Row], Sequence[ClaimSpec]], str]]] = {
    "markdown": (".md", markdown),
    "csv": (".csv", tidy_csv),
    "latex": (".tex", latex),
    "json": (".json", as_json),
}
"""format -> (file ending, renderer)."""


def to_rich(rows: Sequence[Row]) -> Any:
    """The same for a terminal, where such wide lines would be broken: a heading a claim, a line a measure."""
    from rich.text import Text

    lines = [Text("Claims", style="bold")]
    for row, first in zip(
        rows,
        [True, *(a.claim != b.claim for a, b in zip(rows, rows[1:], strict=False))],
        strict=True,
    ):
        if first:
            lines.append(Text(f"{row.claim}: {row.claim_verdict} (“{row.said}”)", style="bold"))
        _, measure, bound, learner, own, control, difference, verdict, _ = claims.cells(row)
        against = f"; {control}, difference {difference}" if control else ""
        lines.append(Text(f"  {verdict}: {measure} {bound}: {learner} {own}{against}"))
    return Text("\n").join([*lines, *(Text(f"· {rule}", style="dim") for rule in claims.RULES)])


def printed(rows: Sequence[Row]) -> list[list[str]]:
    """The cells of each line, a claim's name and verdict at its first line only."""
    lines, last = [], None
    for row in rows:
        line = claims.cells(row)
        if row.claim == last:
            line[0] = line[-1] = ""
        lines.append(line)
        last = row.claim
    return lines
