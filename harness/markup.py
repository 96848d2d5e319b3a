"""HTML for notebooks: tables of values, safe whatever the values are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def grid(title: str, headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A title and a table of plain values.

    >>> grid("a < b", ["n"], [[1]]).replace("<tr>", " ").replace("</tr>", "")
    '<p>a &lt; b</p><table><thead> <th>n</th></thead><tbody> <td>1</td></tbody></table>'
    """
    lines = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    head = f"<thead><tr>{cells('th', headings)}</tr></thead>"
    return f"<p>{escape(title)}</p><table>{head}<tbody>{lines}</tbody></table>"


def cells(tag: str, values: Iterable[object]) -> str:
    """Cells of one row, ``td`` or ``th``."""
    return "".join(f"<{tag}>{escape(str(value))}</{tag}>" for value in values)
