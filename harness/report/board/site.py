"""Writing a board: ``index.html``, which carries all it needs, and ``tables/``, which it offers for download."""

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
from harness.files import write_atomically
from harness.report.board.looks import picture
from harness.report.board.model import (
    BoardTable,
    Division,
    Profile,
    Refusal,
    Row,
    Tab,
    profiles,
    tabs,
)
from harness.report.render import FORMATS

SCRIPTS = ("vendor/d3-7.9.0.min.js", "vendor/plot-0.6.17.umd.min.js", "templates/board.js")
MOST_PICTURE_BYTES = 1_500_000
"""What all receptive fields together may take of the page; of many learners, fewer fields are shown."""


def write_site(
    divisions: Sequence[Division], refused: Sequence[Refusal], folder: Path
) -> list[Path]:
    """Write the site. Same results, same bytes.

    Returns:
        the files written, the page first.
    """
    shown = [(division, tabs(division)) for division in divisions]
    if not any(tabs_ for _, tabs_ in shown):
        raise HarnessError(
            "there is nothing to put on a board", hint="`harness run SUITE.yaml` measures something"
        )
    written = [Path(folder) / "index.html"]
    for division, tabs_ in shown:
        for table in (table for tab in tabs_ for table in tab.tables):
            for ending, renderer in FORMATS.values():
                written.append(
                    Path(folder) / "tables" / division.results.suite / f"{table.name}{ending}"
                )
                write_atomically(written[-1], renderer(table.source).encode())
    write_atomically(written[0], page(shown, refused).encode())
    return written


def page(shown: Sequence[tuple[Division, list[Tab]]], refused: Sequence[Refusal]) -> str:
    """The page as HTML. Whatever comes from suites is text to it: templates escape, and no script but its own may run."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("harness.report.board"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["endings"] = lambda name: [
        (form, f"{name}{ending}") for form, (ending, _) in FORMATS.items()
    ]
    everyone = [profiles(division, tabs_) for division, tabs_ in shown]
    return environment.get_template("board.html").render(
        title=", ".join(division.results.suite for division, _ in shown),
        shown=shown,
        everyone=everyone,
        refused=refused,
        pictures=_pictures(everyone),
        order=_order,
        style=_text("templates/board.css"),
        scripts=[_script(name) for name in SCRIPTS],
        hashes=[_hash(_script(name)) for name in SCRIPTS],
        data=_inert(_data(shown, everyone)),
        several=len(shown) > 1,
    )


def _text(name: str) -> str:
    return files("harness.report.board").joinpath(name).read_text(encoding="utf-8")


@cache
def _script(name: str) -> str:
    text = _text(name)
    assert "</script" not in text and "<!--" not in text, (
        f"{name} would end the element that it stands in"
    )
    return text


def _hash(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _inert(value: Any) -> str:
    """JSON in which nothing can end the element that it stands in."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _order(table: BoardTable) -> list[tuple[int, Row]]:
    """Rows as they stand at first: by rank, then number; those without a rank last."""

    def place(row: Row) -> tuple[float, float]:
        cell = row.cells[table.first] if table.first is not None else None
        return (
            (float("inf"), 0)
            if cell is None or cell.rank is None
            else (cell.rank, -(cell.value or 0))
        )

    rows = list(enumerate(table.rows))
    return rows if table.first is None else sorted(rows, key=lambda pair: place(pair[1]))


def _pictures(everyone: list[list[Profile]]) -> dict[tuple[int, int], str]:
    """(division, learner) -> receptive fields, as many as the page has room for."""
    having = {
        (d, i): one.fields
        for d, own in enumerate(everyone)
        for i, one in enumerate(own)
        if one.fields is not None
    }
    for most in (36, 25, 16, 9, 4):
        out = {at: picture(fields[:most]) for at, fields in having.items()}
        if sum(map(len, out.values())) <= MOST_PICTURE_BYTES:
            return out
    return {}


def _data(
    shown: Sequence[tuple[Division, list[Tab]]], everyone: list[list[Profile]]
) -> dict[str, Any]:
    """What the script sorts, draws and compares."""
    return {
        "divisions": [
            {
                "name": division.results.suite,
                "learners": division.results.learners,
                "profiles": [
                    {"trainings": one.trainings, "weights": one.log_weights} for one in own
                ],
            }
            for (division, _), own in zip(shown, everyone, strict=True)
        ],
        "tabs": [
            {
                "id": tab.id,
                "division": d,
                "kind": tab.kind,
                "charts": tab.charts,
                "tables": [_table(table) for table in tab.tables],
            }
            for d, (_, tabs_) in enumerate(shown)
            for tab in tabs_
        ],
    }


def _table(table: BoardTable) -> dict[str, Any]:
    return {
        "name": table.name,
        "title": table.title,
        "first": table.first,
        "compared": table.compared,
        "pairs": table.pairs,
        "complete": table.all_pairs,
        "columns": [
            {
                "name": column.name,
                "metric": column.metric,
                "unit": column.unit,
                "beside": column.beside,
            }
            for column in table.columns
        ],
        "rows": [{"name": row.name, "learner": row.learner} for row in table.rows],
        "cells": [
            [
                None
                if cell is None
                else [cell.value, cell.low, cell.high, cell.text, cell.arms, int(cell.bold)]
                for cell in row.cells
            ]
            for row in table.rows
        ],
    }
