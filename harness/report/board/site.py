"""Writing a board: ``index.html``, which contains all it needs, and ``tables/`` for download."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.files import write_text
from harness.report.board.looks import picture
from harness.report.board.model import BoardTable, Division, Profile, Refusal, Row, Tab
from harness.report.board.profiles import profiles
from harness.report.board.tabs import tabs
from harness.report.render import FORMATS

SCRIPTS = ("vendor/d3-7.9.0.min.js", "vendor/plot-0.6.17.umd.min.js", "templates/board.js")

MOST_PICTURE_BYTES = 1_500_000
"""Size of all pictures of receptive fields together; with many learners, fewer fields are shown."""

Shown = Sequence[tuple[Division, list[Tab]]]
"""Divisions with their tabs."""


def write_site(
    divisions: Sequence[Division], refused: Sequence[Refusal], folder: Path
) -> list[Path]:
    """Write the site. The same results give the same bytes.

    Returns:
        The files written, the page first.

    Raises:
        HarnessError: Nothing was measured.
    """
    shown = [(division, tabs(division)) for division in divisions]
    if not any(own for _, own in shown):
        raise HarnessError(
            "there is nothing to put on a board",
            hint="measure something first: `harness run SUITE.yaml`",
        )
    index = Path(folder) / "index.html"
    written = [index]
    for division, own in shown:
        downloads = Path(folder) / "tables" / division.results.suite
        for tab in own:
            for table in tab.tables:
                for ending, renderer in FORMATS.values():
                    path = downloads / f"{table.name}{ending}"
                    write_text(path, renderer(table.source))
                    written.append(path)
    write_text(index, page(shown, refused))
    return written


def page(shown: Shown, refused: Sequence[Refusal]) -> str:
    """Render the page as HTML.

    Everything that comes from suites is shown as text: templates escape it, and the content
    security policy allows the page's own scripts only.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("harness.report.board"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["endings"] = _file_names
    everyone = [profiles(division, own) for division, own in shown]
    scripts = [_script(name) for name in SCRIPTS]
    return environment.get_template("board.html").render(
        title=", ".join(division.results.suite for division, _ in shown),
        shown=shown,
        everyone=everyone,
        refused=refused,
        pictures=_pictures(everyone),
        order=_order,
        style=_text("templates/board.css"),
        scripts=scripts,
        hashes=[_hash(script) for script in scripts],
        data=_inert(_data(shown, everyone)),
        several=len(shown) > 1,
    )


def _file_names(name: str) -> list[tuple[str, str]]:
    """The files of a table, as (format, file name)."""
    return [(form, f"{name}{ending}") for form, (ending, _) in FORMATS.items()]


def _text(name: str) -> str:
    return files("harness.report.board").joinpath(name).read_text(encoding="utf-8")


@cache
def _script(name: str) -> str:
    text = _text(name)
    if "</script" in text or "<!--" in text:
        raise ValueError(f"{name} would end the script element that contains it")
    return text


def _hash(script: str) -> str:
    """A script's hash, as the content security policy wants it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _inert(value: Any) -> str:
    """JSON that cannot end the script element that contains it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _order(table: BoardTable) -> list[tuple[int, Row]]:
    """Rows in their first order: by rank, then number; rows without a rank come last."""
    rows = list(enumerate(table.rows))
    if table.first is None:
        return rows
    column = table.first

    def position(numbered: tuple[int, Row]) -> tuple[float, float]:
        cell = numbered[1].cells[column]
        if cell is None or cell.rank is None:
            return (float("inf"), 0)
        return (cell.rank, -(cell.value or 0))

    return sorted(rows, key=position)


def _pictures(everyone: list[list[Profile]]) -> dict[tuple[int, int], str]:
    """(division, learner) -> picture of receptive fields, as many as the page has room for."""
    fields = {
        (d, i): profile.fields
        for d, own in enumerate(everyone)
        for i, profile in enumerate(own)
        if profile.fields is not None
    }
    for most in (36, 25, 16, 9, 4):
        pictures = {place: picture(each[:most]) for place, each in fields.items()}
        if sum(map(len, pictures.values())) <= MOST_PICTURE_BYTES:
            return pictures
    return {}


def _data(shown: Shown, everyone: list[list[Profile]]) -> dict[str, Any]:
    """What the script sorts, draws and compares."""
    divisions = []
    tabs_data = []
    for d, ((division, own), pages) in enumerate(zip(shown, everyone, strict=True)):
        divisions.append(
            {
                "name": division.results.suite,
                "learners": division.results.learners,
                "profiles": [
                    {"trainings": each.trainings, "weights": each.log_weights} for each in pages
                ],
            }
        )
        for tab in own:
            tabs_data.append(
                {
                    "id": tab.id,
                    "division": d,
                    "kind": tab.kind,
                    "charts": tab.charts,
                    "tables": [_table_data(table) for table in tab.tables],
                }
            )
    return {"divisions": divisions, "tabs": tabs_data}


def _table_data(table: BoardTable) -> dict[str, Any]:
    columns = [
        {
            "name": column.name,
            "metric": column.metric,
            "unit": column.unit,
            "beside": column.beside,
        }
        for column in table.columns
    ]
    return {
        "name": table.name,
        "title": table.title,
        "first": table.first,
        "compared": table.compared,
        "pairs": table.pairs,
        "complete": table.all_pairs,
        "columns": columns,
        "rows": [{"name": row.name, "learner": row.learner} for row in table.rows],
        "cells": [_cells_data(row) for row in table.rows],
    }


def _cells_data(row: Row) -> list[list[Any] | None]:
    """Each cell of a row as value, low, high, text, error bar and whether it is bold."""
    cells: list[list[Any] | None] = []
    for cell in row.cells:
        if cell is None:
            cells.append(None)
        else:
            cells.append([cell.value, cell.low, cell.high, cell.text, cell.error, int(cell.bold)])
    return cells
