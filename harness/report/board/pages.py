"""The pages of a board as HTML.

Everything that comes from suites is shown as text: templates escape it, and the content security
policy of every page allows its own scripts only.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from harness.registry import FAMILIES
from harness.report.board.looks import picture
from harness.report.board.model import BoardTable, Profile, Refusal, Row, Shown, Tab
from harness.report.board.views import View
from harness.report.render import FORMATS
from harness.report.styles import COLOURS
from harness.report.trust_words import REMEDIES, VERDICTS, asks

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

THEME = "templates/theme.js"
DRAWING = ("vendor/d3-7.9.0.min.js", "vendor/plot-0.6.17.umd.min.js", "templates/board.js")

MOST_PICTURE_BYTES = 1_500_000
"""Size of all pictures of receptive fields of a suite; with many learners, fewer are shown."""

MOST_STACKED = 12
"""Columns of a table whose rows become cards on a narrow screen; a wider table scrolls there."""

ROOT_OF_SUITE = "../../"
"""From a suite's page, or what is beside it, to the front page."""

_CODE = re.compile(r"``?([^`]+)``?")

DISTRIBUTION = "bioharness"


def front(views: Sequence[View], refused: Sequence[Refusal]) -> str:
    """Render the front page."""
    records = [record for each in views for record in each.division.results.records]
    days = sorted(record.created[:10] for record in records if record.created)
    return _render(
        "front.html",
        scripts=(THEME, "templates/front.js"),
        views=views,
        refused=refused,
        placed=[(each, placed) for each in views for placed in each.placed],
        learners=sum(len(each.profiles) for each in views),
        numbers=len(records),
        days=days[:1] + days[-1:] * (len(set(days)) > 1),
        families=FAMILIES,
        release=metadata.version(DISTRIBUTION),
    )


def suite(each: View) -> str:
    """Render the page of a suite: tabs with tables, charts and comparisons."""
    return _render("suite.html", (THEME, *DRAWING), view=each, data=_inert(_data(each)))


def learner(each: View, profile: Profile, fields: str | None) -> str:
    """Render a learner's page.

    Args:
        each: Its suite.
        profile: The learner.
        fields: Picture of its receptive fields; None if it has none.
    """
    colour = each.division.results.learners.index(profile.name) % len(COLOURS)
    return _render("learner.html", (THEME,), view=each, one=profile, fields=fields, colour=colour)


def images(each: View) -> str:
    """Render the page that shows which images break whom."""
    return _render("images.html", (THEME,), view=each)


def embed(each: View, tab: Tab, table: BoardTable) -> str:
    """Render one table for a frame in another page."""
    return _render("embed.html", (), view=each, tab=tab, table=table)


def field_pictures(each: View) -> dict[str, str]:
    """Learner -> picture of its receptive fields, as many as there is room for."""
    fields = {p.name: p.fields for p in each.profiles if p.fields is not None}
    for most in (36, 25, 16, 9, 4):
        pictures = {name: picture(own[:most]) for name, own in fields.items()}
        if sum(map(len, pictures.values())) <= MOST_PICTURE_BYTES:
            return pictures
    return {}


# ----------------------------------------------------------------------------------- rendering


def _render(template: str, scripts: Sequence[str], **shown: Any) -> str:
    texts = [_script(name) for name in scripts]
    return (
        _environment()
        .get_template(template)
        .render(
            style=_text("templates/board.css"),
            scripts=texts,
            hashes=[_hash(text) for text in texts],
            root=ROOT_OF_SUITE,
            **shown,
        )
    )


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("harness.report.board"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["endings"] = _file_names
    environment.filters["code"] = with_code
    environment.filters["interval"] = interval
    environment.filters["asks"] = asks
    environment.globals["most_stacked"] = MOST_STACKED
    environment.globals["remedies"] = REMEDIES
    environment.globals["verdicts"] = VERDICTS
    return environment


def interval(shown: Shown, unit: str) -> str:
    """Print the 95 % interval of a number; empty if it has none."""
    if shown.low is None or shown.high is None:
        return ""
    ends = (f"{end:.1f}" if unit else f"{end:.3g}" for end in (shown.low, shown.high))
    return f"[{', '.join(ends)}]"


def with_code(text: str) -> Markup:
    """Show what is between backticks as code; everything is escaped.

    >>> with_code("Use `loss: margin` if x < 1")
    Markup('Use <code>loss: margin</code> if x &lt; 1')
    """
    from markupsafe import Markup, escape

    plain, *pairs = _CODE.split(text)
    shown = escape(plain)
    for code, after in zip(pairs[::2], pairs[1::2], strict=True):
        shown += Markup("<code>{}</code>").format(code) + escape(after)
    return shown


def _file_names(name: str) -> list[tuple[str, str]]:
    """The files of a table, as (format, file name)."""
    return [(form, f"{name}{ending}") for form, (ending, _) in FORMATS.items()]


@cache
def _text(name: str) -> str:
    return files("harness.report.board").joinpath(name).read_text(encoding="utf-8")


@cache
def _script(name: str) -> str:
    text = _text(name)
    if "</script" in text or "<!--" in text:
        raise ValueError(f"{name} would end the script element that contains it")
    return text


@cache
def _hash(script: str) -> str:
    """A script's hash, as the content security policy wants it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


# ----------------------------------------------------------------------------- data of scripts


def _inert(value: Any) -> str:
    """JSON that cannot end the script element that contains it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _data(each: View) -> dict[str, Any]:
    """What the script sorts, draws and compares."""
    return {
        "suite": each.label,
        "learners": [profile.name for profile in each.profiles],
        "tabs": [
            {
                "id": tab.protocol,
                "kind": tab.kind,
                "charts": tab.charts,
                "tables": [_table_data(table) for table in tab.tables],
            }
            for tab in each.tabs
        ],
    }


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
