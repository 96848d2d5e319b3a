"""Texts whose numbers come from folders of results: a template with calls in double braces.

A template is any text (Markdown, LaTeX, HTML) in the language of Jinja2. It can call

* ``number(folder, table, row, column=value, ...)``: one cell of ``TABLE.json``, printed as in its
  table; ``interval=True`` adds the interval, ``seeds=True`` the number of seeds;
* ``gap(folder, table, row, other, column=value, ...)``: how far the first row is above the other;
* ``table(folder, name)``: a table as Markdown, without its notes;
* ``claims(folder)``: each claim with its verdict and the measure that decided it, as Markdown;
* ``bounds(folder)``: for each claim, the commit since which its rule stands, and when its numbers
  were first measured, as Markdown;
* ``verdict(folder, claim)``, ``said(folder, claim)``: of one claim;
* ``holding(folder, claim)``: how many of its measures hold, as in "3 of 5";
* ``measure(folder, claim, place)``: one measure of a claim, with ``number``, ``control``,
  ``difference``, ``bound`` and ``verdict``; places count from 1.

Folders are named as under results/. A name that is not there is an error, so that no text keeps a
number whose table is gone. A template comes from whoever writes the text, and runs in a sandbox.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, did_you_mean
from harness.report.formats import number as printed_number
from harness.report.judged import number_text

Json = dict[str, Any]


def fill(template: Path, results: Path) -> str:
    """The text of a template, with numbers of the folders under ``results``.

    Raises:
        HarnessError: The template is no Jinja2, or names something that is not in the results.
    """
    from jinja2 import StrictUndefined, TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=True
    )
    source = Source(results)
    environment.globals = {name: getattr(source, name) for name in Source.CALLS}
    try:
        text = template.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise HarnessError(f"cannot read it: {error}", where=str(template)) from None
    try:
        return environment.from_string(text).render()
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        where = str(template) if line is None else f"{template}:{line}"
        raise HarnessError(error.message or "not a template", where=where) from None
    except HarnessError as error:
        raise HarnessError(error.message, where=str(template), hint=error.hint) from None
    except TypeError as error:  # a call with too few arguments, or a number added to a text
        words = str(error).replace("Source.", "")
        raise HarnessError(f"a call that cannot be made: {words}", where=str(template)) from None


class Source:
    """What a template can ask a tree of results for.

    Args:
        results: the parent of all folders.
    """

    CALLS = ("number", "gap", "table", "claims", "bounds", "verdict", "said", "holding", "measure")

    def __init__(self, results: Path) -> None:
        self.results = results
        self._read = cache(self._read_file)

    # ------------------------------------------------------------------------------------- tables

    def number(
        self,
        folder: str,
        table: str,
        row: str,
        *,
        interval: bool = False,
        seeds: bool = False,
        **column: object,
    ) -> str:
        """One cell, as its table prints it."""
        cell = self._cell(folder, table, row, column)
        ends = (cell["low"], cell["high"]) if interval else (None, None)
        text = number_text(cell["metric"], cell["value"], *ends)
        return f"{text} ({_seeds(len(cell['seeds']))})" if seeds else text

    def gap(self, folder: str, table: str, row: str, other: str, **column: object) -> str:
        """The cell of one row less that of another, in the unit of the table."""
        one, two = (self._cell(folder, table, name, column) for name in (row, other))
        return printed_number(one["metric"], one["value"] - two["value"])

    def table(self, folder: str, name: str) -> str:
        """The lines of a table as Markdown, without title and notes."""
        self._table(folder, name)
        text = (self.results / folder / f"{name}.md").read_text(encoding="utf-8")
        return "\n".join(line for line in text.splitlines() if line.startswith("|"))

    def _cell(self, folder: str, name: str, row: str, column: Mapping[str, object]) -> Json:
        table = self._table(folder, name)
        where = f"{folder}/{name}"
        rows = {" ".join(map(str, keys)): place for place, keys in enumerate(table["rows"])}
        place = rows.get(row)
        if place is None:
            raise HarnessError(f"{where} has no row {row!r}", hint=did_you_mean(row, rows))
        keys = table["column_keys"]
        columns = [dict(zip(keys, values, strict=True)) for values in table["columns"]]
        fits = [
            at
            for at, each in enumerate(columns)
            if all(key in each and each[key] == value for key, value in column.items())
        ]
        # Our own number comes before the columns that set a published one beside it.
        fits = [at for at in fits if not any(_adds_to(columns[at], columns[to]) for to in fits)]
        if len(fits) != 1:
            asked = _words(column) or "one"
            found = "no column" if not fits else f"{len(fits)} columns"
            raise HarnessError(
                f"{where} has {found} with {asked}",
                hint=f"it has {'; '.join(_words(each) for each in columns)}",
            )
        cell: Json | None = table["cells"][place][fits[0]]
        if cell is None or cell["value"] is None:
            raise HarnessError(f"{where} has no number of {row!r} at {_words(column)}")
        return cell

    def _table(self, folder: str, name: str) -> Json:
        content = self._read(folder, name)
        if "cells" not in content:
            raise HarnessError(f"{folder}/{name}.json is no table")
        return content

    # ------------------------------------------------------------------------------------- claims

    def verdict(self, folder: str, claim: str) -> str:
        """Confirmed, partly confirmed, refuted or undecided."""
        return str(self._claim(folder, claim)["verdict"])

    def said(self, folder: str, claim: str) -> str:
        """The wording of a claim."""
        return str(self._claim(folder, claim)["said"])

    def holding(self, folder: str, claim: str) -> str:
        """How many of its measures hold, of how many."""
        return _holding(self._claim(folder, claim))

    def measure(self, folder: str, claim: str, place: int) -> dict[str, str]:
        """One measure of a claim, printed as in its table."""
        measures = self._claim(folder, claim)["measures"]
        if not 1 <= place <= len(measures):
            raise HarnessError(f"claim {claim!r} has {len(measures)} measures, so no {place}")
        return _printed(measures[place - 1])

    def claims(self, folder: str) -> str:
        """A Markdown table: claim, verdict, how many measures hold, and the one that decided it.

        The measure that decided is the first that fails; else the first that is open; else the
        first.
        """
        lines = ["| claim | verdict | holds | decided by |", "| :--- | :--- | ---: | :--- |"]
        for claim in self._claims(folder).values():
            said = claim["said"]
            lines.append(
                f"| {said} | {claim['verdict']} | {_holding(claim)} | {_deciding(claim)} |"
            )
        return "\n".join(lines)

    def bounds(self, folder: str) -> str:
        """A Markdown table: claim, commit since which its rule stands, and its first number."""
        recorded = self._read(folder, "provenance").get("bounds")
        if recorded is None:
            raise HarnessError(f"{folder} does not record since when its claims have their bounds")
        lines = ["| claim | rule since | first measured |", "| :--- | :--- | :--- |"]
        for claim, each in recorded.items():
            since = f"{each['commit']}, {_minute(each['date'])}" if each["commit"] else "unknown"
            measured = _minute(each["measured"]) or "not yet"
            if each["commit"] and each["measured"] and measured < _minute(each["date"]):
                measured += ", before the rule"
            lines.append(f"| {claim} | {since} | {measured} |")
        return "\n".join(lines)

    def _claim(self, folder: str, name: str) -> Json:
        claims = self._claims(folder)
        if name not in claims:
            raise HarnessError(f"{folder} has no claim {name!r}", hint=did_you_mean(name, claims))
        return claims[name]

    def _claims(self, folder: str) -> dict[str, Json]:
        return {each["claim"]: each for each in self._read(folder, "claims")["claims"]}

    def _read_file(self, folder: str, name: str) -> Json:
        path = self.results / folder / f"{name}.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise self._missing(folder, name) from None
        except json.JSONDecodeError as error:
            raise HarnessError(f"not JSON: {error}", where=str(path)) from None
        if not isinstance(content, dict):
            raise HarnessError("not a table or claims", where=str(path))
        return content

    def _missing(self, folder: str, name: str) -> HarnessError:
        home = self.results / folder
        if home.is_dir():
            names = [path.stem for path in home.glob("*.json") if path.stem != "provenance"]
            return HarnessError(f"{home} has no table {name!r}", hint=did_you_mean(name, names))
        folders = [
            str(path.parent.relative_to(self.results))
            for path in self.results.rglob("provenance.json")
        ]
        return HarnessError(f"there are no results {home}", hint=did_you_mean(folder, folders))


def _adds_to(keys: Mapping[str, object], others: Mapping[str, object]) -> bool:
    """Whether a column is another one with something more."""
    return keys != others and all(others[key] in (None, keys[key]) for key in keys)


def _seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"


def _minute(date: str) -> str:
    """An ISO 8601 date to the minute, in UTC."""
    if not date:
        return ""
    return f"{datetime.fromisoformat(date).astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _words(column: Mapping[str, object]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in column.items())


def _holding(claim: Json) -> str:
    verdicts = [measure["verdict"] for measure in claim["measures"]]
    return f"{verdicts.count('holds')} of {len(verdicts)}"


def _deciding(claim: Json) -> str:
    printed = [_printed(measure) for measure in claim["measures"]]
    one = _first(printed, "fails") or _first(printed, "open") or printed[0]
    words = f"{one['measure']}: {one['number'] or 'not measured'}"
    if one["difference"]:
        words += f"; {one['difference']} against {one['control']}"
    return f"{words} ({one['verdict']})"


def _first(measures: Iterable[dict[str, str]], verdict: str) -> dict[str, str] | None:
    return next((each for each in measures if each["verdict"] == verdict), None)


def _printed(measure: Json) -> dict[str, str]:
    metric = measure["metric"]
    of = {
        "number": ("value", "low", "high"),
        "control_number": ("control_value",),
        "difference": ("difference", "difference_low", "difference_high"),
    }
    texts = {
        name: number_text(metric, *(measure[key] for key in keys)) for name, keys in of.items()
    }
    words = ("measure", "bound", "learner", "control", "verdict")
    return texts | {word: str(measure[word]) for word in words}
