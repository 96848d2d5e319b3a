"""Files under results/ are what their commands write, byte for byte; README and docs quote them."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import hashlib
import json
import math
import re
from collections import defaultdict
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from harness.environment import environment
from harness.publish import provenance, submission
from harness.publish.folder import RECORDS, write
from harness.publish.submission import MEASURED
from harness.records import WORST
from harness.report import claims, claims_text, figures
from harness.report.bold import MEAN_RANK
from harness.report.printed import lay_out
from harness.report.published import BAND, DIFFERENCE, PUBLISHED
from harness.report.render import FORMATS
from harness.report.streams import CLOSED, INTRANSIGENCE
from harness.report.table import Cell, Table
from harness.suite import load as suite

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
PAGES = [ROOT / "README.md", *(ROOT / "docs" / f"{page}.md" for page in ("results", "families"))]
TABLES = sorted(
    path
    for path in RESULTS.rglob("*.json")
    if path.relative_to(RESULTS).parts[0]
    not in ("reference", "runs")  # runs: a store of whoever runs the tests
    and path.name not in (provenance.FILE, "claims.json")
)


def folders_with(name: str) -> list[Path]:
    return sorted(
        path.parent for path in RESULTS.rglob(name) if "runs" not in path.relative_to(RESULTS).parts
    )


def content(path: Path) -> bytes:
    """What a file says; releases of zlib may compress it in different ways."""
    data = path.read_bytes()
    return gzip.decompress(data) if path.suffix == ".gz" else data


def short(path: Path) -> str:
    return str(path.relative_to(RESULTS))


def table_of(path: Path) -> Table:
    """Read a table from its JSON."""
    data = json.loads(path.read_text())

    def cell(known: dict | None) -> Cell | None:
        value = known and (math.nan if known["value"] is None else known["value"])
        return known and Cell(**known | {"seeds": tuple(known["seeds"]), "value": value})

    nested = {key: tuple(map(tuple, data[key])) for key in ("rows", "columns")}
    return Table(
        **data
        | nested
        | {key: tuple(data[key]) for key in ("row_keys", "column_keys", "notes")}
        | {
            "cells": tuple(tuple(map(cell, line)) for line in data["cells"]),
            "distrusted": frozenset(data["distrusted"]),
        }
    )


def test_committed_results_were_found():
    assert (
        len(TABLES) > 30
        and folders_with(RECORDS)
        and folders_with(provenance.FILE)
        and folders_with(MEASURED)
    )


@pytest.mark.parametrize("path", TABLES, ids=short)
def test_every_format_of_a_table_says_what_its_json_says(path):
    printed = lay_out(table_of(path))
    for ending, render in FORMATS.values():
        assert path.with_suffix(ending).read_text() == render(printed), ending


def test_latex_labels_are_unique():
    """One paper may include every table."""
    found = [
        label
        for path in RESULTS.rglob("*.tex")
        if "runs" not in path.relative_to(RESULTS).parts
        for label in re.findall(r"\\label{([^}]*)}", path.read_text())
    ]
    assert len(found) > 30 and len(found) == len({*found})


@pytest.mark.parametrize("folder", folders_with("claims.csv"), ids=short)
def test_the_printed_claims_are_their_csv(folder):
    def read(line: dict[str, str]) -> claims.Row:
        kinds = {field.name: field.type for field in dataclasses.fields(claims.Row)}
        made = {
            key: (float(value) if value else None)
            if "float" in kinds[key]
            else int(value)
            if key == "seeds"
            else value
            for key, value in line.items()
        }
        return claims.Row(**made)

    rows = [read(line) for line in csv.DictReader((folder / "claims.csv").open())]
    assert claims_text.tidy_csv(rows, []) == (folder / "claims.csv").read_text()
    for name, ending in (("markdown", ".md"), ("latex", ".tex")):

        def lines(text: str) -> list[str]:
            return [
                line
                for line in text.splitlines()
                if line.startswith("| ") or " & " in line or "multicolumn" in line
            ]

        assert lines(claims_text.FORMATS[name][1](rows, [])) == lines(
            (folder / f"claims{ending}").read_text()
        )


@pytest.mark.parametrize("folder", folders_with(RECORDS), ids=short)
def test_numbers_are_means_of_the_records_beside_them(folder):
    seeds: dict[tuple, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for line in content(folder / RECORDS).splitlines():
        record = json.loads(line)
        at = json.dumps([record["protocol"], record["setting"]], sort_keys=True)
        seeds[record["learner"], record["metric"]][at][record["seed"]] = record["value"]
    looked = 0
    for path in (path for path in TABLES if path.parent == folder):
        table = table_of(path)
        if table.row_keys != ("learner",):
            continue
        for (learner,), cells in zip(table.rows, table.cells, strict=True):
            for column, cell in zip(table.columns, cells, strict=True):
                of_others = {WORST, PUBLISHED, DIFFERENCE, BAND, MEAN_RANK} & {*column}
                if cell and not of_others and cell.metric not in (INTRANSIGENCE, CLOSED):
                    numbers = {cell.metric: cell.value}
                    if cell.metric == "bracket":
                        numbers = {"proven": cell.low, "accuracy": cell.high}
                    for metric, value in numbers.items():
                        means = [
                            np.mean([known[seed] for seed in cell.seeds])
                            for known in seeds[learner, metric].values()
                            if {*cell.seeds} <= {*known}
                        ]
                        assert value in means or math.isnan(value) and np.isnan(means).any(), (
                            learner,
                            column,
                        )
                    looked += 1
    assert looked


@pytest.mark.parametrize("folder", folders_with(provenance.FILE), ids=short)
def test_provenance_lists_every_file_as_it_is(folder):
    known = provenance.read(folder)
    here = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.name != provenance.FILE
    }
    assert known["files"] == here
    assert (
        known["command"].startswith("harness ")
        and known["git_commit"]
        and known["data"]
        and known["environment"]["torch"]
    )


def cases(folder: Path):
    """A folder with and without its figures: drawing them is what takes time."""
    lines = content(folder / RECORDS).count(b"\n")
    for drawn, most in ((False, 1500), (True, 50)):
        yield pytest.param(
            folder,
            drawn,
            marks=[pytest.mark.slow] * (lines > most),
            id=f"{short(folder)}-{'all' if drawn else 'tables'}",
        )


@pytest.mark.parametrize(
    ("folder", "drawn"), [case for folder in folders_with(MEASURED) for case in cases(folder)]
)
def test_results_are_reproduced_byte_for_byte_from_the_measurements(
    folder, drawn, tmp_path, monkeypatch
):
    monkeypatch.chdir(ROOT)
    if not drawn:
        monkeypatch.setattr(figures, "write_figures", lambda *_: [])
    known = provenance.read(folder)
    loaded = suite.load((ROOT / "suites" / folder.relative_to(RESULTS)).with_suffix(".yaml"))
    packed = submission.read(folder / MEASURED)
    about = {
        key: known[key]
        for key in known
        if key not in ("command", "git_commit", "git_date", "environment", "files")
    }
    written = {
        path.name for path in write(loaded, packed.results, tmp_path, known["command"], about)
    }
    same_drawing = known["writers"]["matplotlib"] == matplotlib.__version__
    same_sums = known["environment"]["instructions"] == environment()["instructions"]
    committed = {path.name for path in folder.iterdir()} - {MEASURED}
    if not drawn:
        committed = {name for name in committed if not name.endswith((".png", ".pdf"))}
    assert written == committed
    for name in written - {provenance.FILE}:
        made, kept = content(tmp_path / name), content(folder / name)
        if name.endswith((".png", ".pdf")):
            assert made == kept or not same_drawing, name
        elif same_sums:
            assert made == kept, name
        else:
            assert rounded(made) == rounded(kept), name


def rounded(text: bytes) -> str:
    """A text with its numbers to 12 digits: processors add up in different orders."""
    number = re.compile(r"-?\d+\.\d+(?:[eE][-+]?\d+)?")
    return number.sub(lambda match: f"{float(match[0]):.12g}", text.decode())


# ---------------------------------------------------------------------------- pages that quote them


def markdown_tables(text: str) -> list[list[str]]:
    return [
        block.strip().splitlines() for block in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_quoted_notes_are_those_of_committed_tables(page):
    """A note under a quoted table says what its command prints today."""
    committed = {
        line for path in TABLES for line in path.with_suffix(".md").read_text().splitlines()
    }
    notes = ("- Protocol:", "- Bold:", "- ±", "- worst:")
    quoted = [line for line in page.read_text().splitlines() if line.startswith(notes)]
    assert all(line in committed for line in quoted)
    assert quoted or page.name == "families.md"


def test_quoted_tables_are_committed_tables():
    """A quoted table with the heading of a committed one is one of those with that heading."""
    committed = [
        table for path in TABLES for table in markdown_tables(path.with_suffix(".md").read_text())
    ]
    heads = {table[0] for table in committed}
    quoted = [
        table for page in PAGES for table in markdown_tables(page.read_text()) if table[0] in heads
    ]
    assert len(quoted) >= 6
    for table in quoted:
        assert table in committed, table[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_numbers_on_a_page_are_in_the_folder_that_it_names(page):
    """This holds for a page's own tables too: a row named like a committed row has its numbers."""
    text, looked, place = page.read_text(), 0, 0
    for table in markdown_tables(text):
        place = text.index("\n".join(table), place)
        named = re.findall(r"results/((?:paper/|families/)?[\w-]+)", text[:place])
        if table[0].startswith("| learner") and named and (RESULTS / named[-1]).is_dir():
            rows: dict[str, set[str]] = defaultdict(set)
            for path in (RESULTS / named[-1]).glob("*.md"):
                for line in (
                    line for committed in markdown_tables(path.read_text()) for line in committed
                ):
                    rows[line.split(" | ")[0]].update(re.findall(r"\d+(?:\.\d+)?", line))
            for line in table[2:]:
                name, _, cells = line.partition(" | ")
                if name in rows:
                    looked += 1
                    assert {*re.findall(r"\d+(?:\.\d+)?", cells)} <= rows[name], (named[-1], line)
    assert looked > {"README.md": 0, "results.md": 40, "families.md": 30}[page.name]
