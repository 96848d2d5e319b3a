"""A table in LaTeX; the preamble needs ``\\usepackage{booktabs}`` and nothing else."""

from __future__ import annotations

import itertools
import unicodedata

from harness.report.layout import parts
from harness.report.table import Cell, Table
from harness.report.wording import cell_text, heading, headings, protocol_line, row_name

LINE = 74
"""Characters on a line of an article in one column, numbers in ``\\small``."""

_SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': "''", "±": r"$\pm$", "–": "--", "—": "---", "†": r"\textdagger{}",
    "σ": r"$\sigma$", "×": r"$\times$", "≥": r"$\geq$", "≤": r"$\leq$", "ε": r"$\varepsilon$", "·": r"$\cdot$",
    "−": "$-$", "[": "{[}", "]": "{]}",  # brackets after \\ would be read as its option
}


def escape(text: str) -> str:
    r"""Text that LaTeX prints as it stands; a character that a plain font lacks becomes its code point.

    >>> escape("50 % of a_b & c")
    '50 \\% of a\\_b \\& c'
    """
    return "".join(_SPECIAL.get(c) or (c if _printable(c) else f"U+{ord(c):04X}") for c in " ".join(text.split()))


def _printable(character: str) -> bool:
    """ASCII, or an accented Latin letter."""
    return character.isascii() or unicodedata.normalize("NFD", character)[0].isascii() and ord(character) < 0x180


def latex(table: Table) -> str:
    """A ``table`` environment: caption above, protocol and notes below; what is too wide is stacked."""
    below = [f"\\par {escape(note)}" for note in (*table.notes, protocol_line(table)) if note]
    stacked = [_tabular(table, columns) for columns in parts(table, LINE)]
    return "\n".join([
        r"\begin{table}", r"\centering", rf"\caption{{{escape(heading(table))}}}", rf"\label{{tab:{_plain(table.name)}}}",
        r"\small\setlength{\tabcolsep}{4pt}", "\n\\par\\medskip\n".join(stacked),
        r"\par\medskip\begin{minipage}{0.95\linewidth}\footnotesize", *below, r"\end{minipage}", r"\end{table}"]) + "\n"


def _tabular(table: Table, columns: list[int]) -> str:
    body = [" & ".join([escape(row_name(table, i)), *(_cell(cells[j]) for j in columns)]) + r" \\"
            for i, cells in enumerate(table.cells)]
    header = _header(" / ".join(table.row_keys), [headings(table)[j] for j in columns])
    return "\n".join([rf"\begin{{tabular}}{{l{'r' * len(columns)}}}", r"\toprule", *header, r"\midrule", *body,
                      r"\bottomrule", r"\end{tabular}"])


def _plain(name: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "-.") else "-" for c in name)


def _cell(cell: Cell | None) -> str:
    value, error = map(escape, cell_text(cell))
    value = rf"\textbf{{{value}}}" if cell and cell.bold else value
    return value + (rf"{{\scriptsize\,{error.strip()}}}" if error.strip() else "")


def _header(corner: str, columns: list[tuple[str, ...]]) -> list[str]:
    """One line a level; equal neighbours of an upper level are spanned, with a rule under them."""
    depth = len(columns[0]) if columns else 1
    lines = []
    for level in range(1, depth):  # labels down to here, so that a border above also ends a span
        runs = itertools.groupby(column[:level] for column in columns)
        lines += _spans([(labels[-1], len(list(run))) for labels, run in runs])
    return [*lines, " & ".join([escape(corner), *(escape(c[-1]) for c in columns)]) + r" \\"]


def _spans(spans: list[tuple[str, int]]) -> list[str]:
    cells, rules, column = [], [], 2
    for text, width in spans:
        cells.append(rf"\multicolumn{{{width}}}{{c}}{{{escape(text)}}}")
        if text:
            rules.append(rf"\cmidrule(lr){{{column}-{column + width - 1}}}")
        column += width
    return [" & " + " & ".join(cells) + r" \\", *(["".join(rules)] if rules else [])]
