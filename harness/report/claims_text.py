"""The table of claims as Markdown, CSV, LaTeX, and for a terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from harness.files import write_atomically
from harness.report import claims
from harness.report.claims import ClaimSpec, Row
from harness.report.latex import escape
from harness.report.results import Results


def write(results: Results, specs: Sequence[ClaimSpec], folder: Path) -> list[Path]:
    """``claims.md``, ``claims.csv`` and ``claims.tex``; nothing for a suite without claims."""
    if not specs:
        return []
    rows = claims.decide(results, specs)
    texts = {"claims.md": markdown(rows, specs), "claims.csv": tidy_csv(rows), "claims.tex": latex(rows, specs)}
    for name, text in texts.items():
        write_atomically(folder / name, text.encode())
    return [folder / name for name in texts]


def markdown(rows: Sequence[Row], specs: Sequence[ClaimSpec]) -> str:
    """One line a measure; a claim's name and verdict stand at its first."""
    lines = [list(claims.HEADS), [":---"] * len(claims.HEADS), *printed(rows)]
    body = [f"| {' | '.join(text.replace('|', chr(92) + '|') for text in line)} |" for line in lines]
    return "\n".join(["### Claims", "", *body, "", *(f"- {note}" for note in claims.notes(rows, specs))]) + "\n"


def tidy_csv(rows: Sequence[Row]) -> str:
    """Every field of every row, unrounded."""
    out = io.StringIO()
    names = [f.name for f in fields(Row) if f.name != "notes"]
    writer = csv.DictWriter(out, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return out.getvalue()


def latex(rows: Sequence[Row], specs: Sequence[ClaimSpec]) -> str:
    """A ``table*`` with booktabs."""
    body = [" & ".join(map(escape, line)) + r" \\" for line in printed(rows)]
    widths = "p{2cm}p{3.4cm}lp{1.3cm}p{2.4cm}p{2.4cm}p{2.4cm}ll"
    return "\n".join([
        r"\begin{table*}", r"\centering", r"\caption{Claims}", r"\label{tab:claims}", r"\footnotesize",
        rf"\begin{{tabular}}{{{widths}}}", r"\toprule", " & ".join(map(escape, claims.HEADS)) + r" \\", r"\midrule", *body,
        r"\bottomrule", r"\end{tabular}", r"\par\medskip\begin{minipage}{0.95\linewidth}\footnotesize",
        *(rf"\par {escape(note)}" for note in claims.notes(rows, specs)), r"\end{minipage}", r"\end{table*}"]) + "\n"


def to_rich(rows: Sequence[Row]) -> Any:
    """The same for a terminal, where such wide lines would be broken: a heading a claim, a line a measure."""
    from rich.text import Text

    lines = [Text("Claims", style="bold")]
    for row, first in zip(rows, [True, *(a.claim != b.claim for a, b in zip(rows, rows[1:], strict=False))], strict=True):
        if first:
            lines.append(Text(f"{row.claim}: {row.claim_verdict} (“{row.said}”)", style="bold"))
        _, measure, bound, learner, own, control, difference, verdict, _ = claims.cells(row)
        against = f"; {control}, difference {difference}" if control else ""
        lines.append(Text(f"  {verdict}: {measure} {bound}: {learner} {own}{against}"))
    return Text("\n").join(lines)


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
