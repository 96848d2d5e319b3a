"""A table in LaTeX; the preamble needs ``\\usepackage{booktabs,siunitx}`` and nothing else."""

from __future__ import annotations

import itertools
import re
import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from harness.report.layout import column_width, parts
from harness.report.table import Cell, Table
from harness.report.wording import (
    DAGGER,
    MISSING,
    cell_text,
    heading,
    headings,
    protocol_line,
    row_name,
)

LINE = 74
"""Characters on a line of an article in one column, numbers in ``\\small``."""

SMALL_LINE = 92
"""Characters on such a line in ``\\footnotesize``."""

PAGE = 40
"""Lines on its page, the caption aside."""

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
"""What siunitx aligns: sign, digits before the point, digits after it."""


def escape(text: str) -> str:
    r"""Text that LaTeX prints as it stands; a character that a plain font lacks becomes its code point.

    >>> escape("50 % of a_b & c")
    '50 \\% of a\\_b \\& c'
    """
    return "".join(
        _SPECIAL.get(c) or (c if _printable(c) else f"U+{ord(c):04X}")
        for c in " ".join(text.split())
    )


def _printable(character: str) -> bool:
    """ASCII, or an accented Latin letter."""
    return (
        character.isascii()
        or unicodedata.normalize("NFD", character)[0].isascii()
        and ord(character) < 0x180
    )


def latex(table: Table) -> str:
    """A ``table`` environment: caption above, notes and protocol below. What is too wide is stacked, what is too long goes on
    in a further float under the same number.

    Numbers stand in siunitx's ``S`` columns, aligned at the decimal point, each with its interval in a narrow column after it.
    The label, ``tab:SUITE-TABLE``, is its own in a paper that takes tables of several suites.
    """
    rows = range(len(table.rows))
    blocks = [
        (
            _tabular(table, columns, rows[top : top + PAGE]),
            len(rows[top : top + PAGE]) + len(table.column_keys) + 2,
        )
        for columns in parts(table, LINE)
        for top in range(0, max(1, len(rows)), PAGE)
    ]
    return floats(
        heading(table),
        f"{table.suite}-{table.name}",
        [*blocks, *remarks([*table.notes, protocol_line(table)])],
    )


def remarks(notes: Sequence[str]) -> list[tuple[str, int]]:
    """Notes as a block of their own, and the lines that it takes; nothing where there are none."""
    texts = [escape(note) for note in notes if note]
    block = "\n".join(
        [
            r"\begin{minipage}{0.95\linewidth}\footnotesize",
            *(rf"\par {text}" for text in texts),
            r"\end{minipage}",
        ]
    )
    return [(block, sum(1 + len(text) // SMALL_LINE for text in texts))] if texts else []


def floats(title: str, name: str, blocks: Sequence[tuple[str, int]], size: str = r"\small") -> str:
    """Blocks of LaTeX, each with the lines that it takes, as one ``table`` or, where a page is too short, as several."""
    return "% needs \\usepackage{booktabs,siunitx}\n" + "\n".join(
        _float(escape(title), _plain(name), page, size, place)
        for place, page in enumerate(_pages(blocks))
    )


def _pages(blocks: Sequence[tuple[str, int]]) -> list[list[str]]:
    """As few pages as hold the blocks in order."""
    pages: list[list[str]] = []
    left = 0
    for text, lines in blocks:
        if not pages or lines > left:
            pages.append([])
            left = PAGE
        pages[-1].append(text)
        left -= lines + 1
    return pages


def _float(title: str, label: str, blocks: list[str], size: str, place: int) -> str:
    first = [rf"\caption{{{title}}}", rf"\label{{tab:{label}}}"]
    more = [r"\addtocounter{table}{-1}", rf"\caption{{{title} (continued)}}"]
    return (
        "\n".join(
            [
                r"\begin{table}",
                r"\centering",
                *(more if place else first),
                rf"{size}\setlength{{\tabcolsep}}{{4pt}}",
                "\n\\par\\medskip\n".join(blocks),
                r"\end{table}",
            ]
        )
        + "\n"
    )


@dataclass(frozen=True)
class _Column:
    """One column of the table, on paper one or two.

    Attributes:
        spec: its share of the argument of ``tabular``.
        wide: columns of ``tabular`` that it takes: two where a number in it has an interval.
        cells: what stands in each row, ``&`` between the two included.
        head: its headings, a level each.
        room: characters that fit across it.
    """

    spec: str
    wide: int
    cells: tuple[str, ...]
    head: tuple[str, ...]
    room: int


def _tabular(table: Table, columns: Sequence[int], rows: Sequence[int]) -> str:
    heads = headings(table)
    laid = [
        _column([table.cells[i][j] for i in rows], heads[j], column_width(table, j))
        for j in columns
    ]
    body = [
        " & ".join([_name(row_name(table, i)), *(column.cells[place] for column in laid)]) + r" \\"
        for place, i in enumerate(rows)
    ]
    return "\n".join(
        [
            rf"\begin{{tabular}}{{l{''.join(column.spec for column in laid)}}}",
            r"\toprule",
            *_header(" / ".join(table.row_keys), laid),
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def _column(cells: Sequence[Cell | None], head: tuple[str, ...], room: int) -> _Column:
    texts = [cell_text(cell) for cell in cells]
    arms = [arm.strip() for _, arm in texts]
    numbers = [match.groups() for value, _ in texts if (match := _NUMBER.fullmatch(value))]
    shown = [
        _value(value, bool(cell and cell.bold))
        for cell, (value, _) in zip(cells, texts, strict=True)
    ]
    if not any(arms):
        return _Column(_aligned(numbers), 1, tuple(shown), head, room)
    with_arms = tuple(
        f"{value} & {escape(arm)}".rstrip() for value, arm in zip(shown, arms, strict=True)
    )
    return _Column(_aligned(numbers) + r"@{\,}>{\scriptsize}l", 2, with_arms, head, room)


def _aligned(numbers: Sequence[tuple[str | None, ...]]) -> str:
    """The kind of column that has room for all numbers; centred text where there are none."""
    if not numbers:
        return "c"
    sign = "-" if any(minus for minus, _, _ in numbers) else ""
    whole, decimals = (max(len(number[place] or "") for number in numbers) for place in (1, 2))
    return f"S[table-format={sign}{whole}.{decimals},detect-weight]"


def _value(text: str, bold: bool) -> str:
    if not _NUMBER.fullmatch(text):  # braces: text, not for siunitx to read
        return f"{{{escape(text)}}}" if text != MISSING else "{--}"
    return rf"\bfseries {text}" if bold else text


def _name(row: str) -> str:
    """A row's name, its mark raised."""
    return escape(row.removesuffix(DAGGER).strip()) + (
        r"\textsuperscript{\textdagger}" if row.endswith(DAGGER) else ""
    )


def _plain(name: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "-.") else "-" for c in name)


def _header(corner: str, columns: list[_Column]) -> list[str]:
    """One line a level; equal neighbours of an upper level are spanned, with a rule under them."""
    lines = []
    for level in range(
        1, len(columns[0].head) if columns else 1
    ):  # labels down to here: a border above also ends a span
        runs = (
            list(run)
            for _, run in itertools.groupby(columns, key=lambda column: column.head[:level])
        )
        lines += _spans([(run[0].head[level - 1], run) for run in runs])
    last = [_heading(column.head[-1], [column]) for column in columns]
    return [*lines, " & ".join([escape(corner), *last]) + r" \\"]


def _spans(spans: list[tuple[str, list[_Column]]]) -> list[str]:
    cells, rules, place = [], [], 2
    for text, columns in spans:
        wide = sum(column.wide for column in columns)
        cells.append(_heading(text, columns))
        if text:
            rules.append(rf"\cmidrule(lr){{{place}-{place + wide - 1}}}")
        place += wide
    return [" & " + " & ".join(cells) + r" \\", *(["".join(rules)] if rules else [])]


def _heading(text: str, columns: list[_Column]) -> str:
    """A heading across columns, broken between words where it is wider than they are."""
    lines = textwrap.wrap(
        text,
        max(8, sum(column.room for column in columns)),
        break_long_words=False,
        break_on_hyphens=False,
    )
    shown = r" \\ ".join(map(escape, lines))
    return (
        rf"\multicolumn{{{sum(column.wide for column in columns)}}}{{c}}{{"
        + (rf"\shortstack{{{shown}}}" if len(lines) > 1 else shown)
        + "}"
    )
