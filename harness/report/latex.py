r"""A table in LaTeX; the preamble needs ``\usepackage{booktabs,siunitx}`` and nothing else."""

from __future__ import annotations

import itertools
import re
import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from harness.report.printed import DAGGER, MISSING, PrintedCell, PrintedTable

LINE = 74
"""Characters on a line of a one-column article, numbers in ``\\small``."""

SMALL_LINE = 92
"""Characters on the same line in ``\\footnotesize``."""

PAGE = 40
"""Lines on a page of that article, without the caption."""

Block = tuple[str, int]
"""LaTeX that belongs on one page, and the lines that it takes."""

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "±": r"$\pm$",
    "–": "--",
    "—": "---",
    "†": r"\textdagger{}",
    "σ": r"$\sigma$",
    "η": r"$\eta$",
    "ε": r"$\varepsilon$",
    "²": r"\textsuperscript{2}",
    "×": r"$\times$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "≈": r"$\approx$",
    "·": r"$\cdot$",
    "−": "$-$",
    "…": r"\ldots{}",
    "“": "``",
    "”": "''",
    "’": "'",
    "[": "{[}",
    "]": "{]}",  # brackets after \\ would be read as its option
}

_NUMBER = re.compile(r"(-?)(\d+)(?:\.(\d+))?")
"""A number that siunitx can align: sign, digits before and after the decimal point."""


def escape(text: str) -> str:
    r"""Escape text for LaTeX; a character that plain fonts lack becomes its code point.

    >>> escape("50 % of a_b & c")
    '50 \\% of a\\_b \\& c'
    """
    return "".join(map(_escape_character, " ".join(text.split())))


def _escape_character(character: str) -> str:
    special = _SPECIAL.get(character)
    if special:
        return special
    return character if _is_printable(character) else f"U+{ord(character):04X}"


def _is_printable(character: str) -> bool:
    """Whether a character is ASCII or an accented Latin letter."""
    if character.isascii():
        return True
    plain = unicodedata.normalize("NFD", character)[0]
    return plain.isascii() and ord(character) < 0x180


def latex(printed: PrintedTable) -> str:
    """Render a ``table`` environment: caption above, notes and protocol below.

    A table that is too wide is stacked; one that is too long continues in further floats under
    the same number. Numbers are in siunitx's ``S`` columns, aligned at the decimal point, each
    with its error bar in a narrow column after it. The label is ``tab:SUITE-TABLE``, which is
    unique in a paper with tables of several suites.
    """
    table = printed.table
    rows = range(len(printed.row_names))
    blocks: list[Block] = []
    for columns in printed.parts(LINE):
        for top in range(0, max(1, len(rows)), PAGE):
            shown = rows[top : top + PAGE]
            lines = len(shown) + len(table.column_keys) + 2
            blocks.append((_tabular(printed, columns, shown), lines))
    label = f"{table.suite}-{table.name}"
    return floats(printed.title, label, [*blocks, *remarks(printed.notes)])


# ---------------------------------------------------------------------------------------- floats


def remarks(notes: Sequence[str]) -> list[Block]:
    """Typeset notes as one block; no block without notes."""
    texts = [escape(note) for note in notes if note]
    if not texts:
        return []
    block = [
        r"\begin{minipage}{0.95\linewidth}\footnotesize",
        *(rf"\par {text}" for text in texts),
        r"\end{minipage}",
    ]
    lines = sum(1 + len(text) // SMALL_LINE for text in texts)
    return [("\n".join(block), lines)]


def floats(title: str, name: str, blocks: Sequence[Block], size: str = r"\small") -> str:
    """Put blocks into one ``table`` environment, or into several if a page is too short."""
    label = _plain(name)
    pages = [
        _float(escape(title), label, page, size, continued=i > 0)
        for i, page in enumerate(_pages(blocks))
    ]
    return "% needs \\usepackage{booktabs,siunitx}\n" + "\n".join(pages)


def _pages(blocks: Sequence[Block]) -> list[list[str]]:
    """Distribute blocks, in order, over as few pages as possible."""
    pages: list[list[str]] = []
    left = 0
    for text, lines in blocks:
        if not pages or lines > left:
            pages.append([])
            left = PAGE
        pages[-1].append(text)
        left -= lines + 1
    return pages


def _float(title: str, label: str, blocks: list[str], size: str, *, continued: bool) -> str:
    if continued:
        caption = [r"\addtocounter{table}{-1}", rf"\caption{{{title} (continued)}}"]
    else:
        caption = [rf"\caption{{{title}}}", rf"\label{{tab:{label}}}"]
    lines = [
        r"\begin{table}",
        r"\centering",
        *caption,
        rf"{size}\setlength{{\tabcolsep}}{{4pt}}",
        "\n\\par\\medskip\n".join(blocks),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _plain(name: str) -> str:
    """A name with only the characters that a label may have."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-.") else "-" for c in name)


# --------------------------------------------------------------------------------------- tabular


@dataclass(frozen=True)
class _Column:
    """One column of the table, which takes one or two columns of ``tabular``.

    Attributes:
        spec: Its part of the argument of ``tabular``.
        span: Columns of ``tabular`` that it takes: two if any number has an error bar.
        cells: The content of each row, with the ``&`` between its two columns.
        heading: One text per level.
        width: Characters that fit across it.
    """

    spec: str
    span: int
    cells: tuple[str, ...]
    heading: tuple[str, ...]
    width: int


def _tabular(printed: PrintedTable, columns: Sequence[int], rows: Sequence[int]) -> str:
    laid = []
    for j in columns:
        cells = [printed.cells[i][j] for i in rows]
        laid.append(_column(cells, printed.headings[j], printed.widths[j]))
    body = []
    for place, i in enumerate(rows):
        texts = [_row_name(printed.row_names[i]), *(column.cells[place] for column in laid)]
        body.append(" & ".join(texts) + r" \\")
    lines = [
        rf"\begin{{tabular}}{{l{''.join(column.spec for column in laid)}}}",
        r"\toprule",
        *_header(printed.corner, laid),
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines)


def _column(cells: Sequence[PrintedCell], heading: tuple[str, ...], width: int) -> _Column:
    spec = _aligned([cell.number for cell in cells])
    numbers = [_number(cell) for cell in cells]
    if not any(cell.error for cell in cells):
        return _Column(spec, 1, tuple(numbers), heading, width)
    spec += r"@{\,}>{\scriptsize}l"
    with_errors = [
        f"{number} & {escape(cell.error)}".rstrip()
        for number, cell in zip(numbers, cells, strict=True)
    ]
    return _Column(spec, 2, tuple(with_errors), heading, width)


def _aligned(texts: Sequence[str]) -> str:
    """A column specification with room for all numbers; centred if there are none."""
    matches = [match for text in texts if (match := _NUMBER.fullmatch(text))]
    if not matches:
        return "c"
    sign = "-" if any(match[1] for match in matches) else ""
    whole = max(len(match[2]) for match in matches)
    decimals = max(len(match[3] or "") for match in matches)
    return f"S[table-format={sign}{whole}.{decimals},detect-weight]"


def _number(cell: PrintedCell) -> str:
    if cell.number == MISSING:
        return "{--}"
    if not _NUMBER.fullmatch(cell.number):
        return f"{{{escape(cell.number)}}}"  # Braces: siunitx must not read text.
    return rf"\bfseries {cell.number}" if cell.bold else cell.number


def _row_name(name: str) -> str:
    """A row's name, its dagger raised."""
    text = escape(name.removesuffix(DAGGER).strip())
    return text + r"\textsuperscript{\textdagger}" if name.endswith(DAGGER) else text


# --------------------------------------------------------------------------------------- heading


def _header(corner: str, columns: list[_Column]) -> list[str]:
    """One line per level; a text that neighbours share on upper levels spans them, with a rule."""
    lines = []
    levels = len(columns[0].heading) if columns else 1
    for level in range(1, levels):
        # A span also ends where a level above it changes.
        spans = []
        for labels, run in itertools.groupby(columns, key=lambda column: column.heading[:level]):
            spans.append((labels[-1], list(run)))
        lines += _spans(spans)
    last = [_heading(column.heading[-1], [column]) for column in columns]
    lines.append(" & ".join([escape(corner), *last]) + r" \\")
    return lines


def _spans(spans: list[tuple[str, list[_Column]]]) -> list[str]:
    """One line of headings, and the line of rules under them."""
    cells = []
    rules = []
    first = 2  # Column 1 has the row names.
    for text, columns in spans:
        span = sum(column.span for column in columns)
        cells.append(_heading(text, columns))
        if text:
            rules.append(rf"\cmidrule(lr){{{first}-{first + span - 1}}}")
        first += span
    lines = [" & " + " & ".join(cells) + r" \\"]
    if rules:
        lines.append("".join(rules))
    return lines


def _heading(text: str, columns: list[_Column]) -> str:
    """A heading across columns, broken between words if it is wider than they are."""
    width = max(8, sum(column.width for column in columns))
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    shown = r" \\ ".join(map(escape, lines))
    if len(lines) > 1:
        shown = rf"\shortstack{{{shown}}}"
    span = sum(column.span for column in columns)
    return rf"\multicolumn{{{span}}}{{c}}{{{shown}}}"
