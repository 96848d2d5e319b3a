"""A folder of results: tables in every format, figures, claims, records, and what made them."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import environment
from harness.cells.results import Results
from harness.files import write_atomically
from harness.publish import history, provenance
from harness.records import Record
from harness.report import claims_text, figures, saved_sheets, tables
from harness.suite.model import Suite

SUITES = Path("suites")
RESULTS = Path("results")
RECORDS = "records.jsonl.gz"
"""All records of a folder, one JSON object on each line; ``pandas.read_json(path, lines=True)``."""


def folder_of(suite: Path, out: Path | None = None) -> Path:
    """Return the folder that the results of a suite go to.

    Args:
        suite: file of the suite.
        out: parent of the folder. If None, the place of the suite under ``suites`` decides.

    >>> str(folder_of(Path("suites/paper/claims.yaml")))
    'results/paper/claims'
    >>> str(folder_of(Path("suites/paper/claims.yaml"), Path("mine")))
    'mine/claims'
    """
    if out is not None:
        return out / suite.stem
    stem = suite.with_suffix("")
    if stem.is_relative_to(SUITES):
        return RESULTS / stem.relative_to(SUITES)
    return RESULTS / stem.name


def write(
    suite: Suite,
    results: Results,
    folder: Path,
    command: str,
    about: dict[str, Any],
    kept: Sequence[Path] = (),
) -> list[Path]:
    """Write everything that belongs into a folder of results.

    Args:
        suite: says which tables, figures and claims to write.
        results: what was measured.
        folder: the folder; created if needed.
        command: the command line that writes it again.
        about: what the results are made from, see ``provenance.of_plan``.
        kept: files in the folder that were written before and belong to it.

    Returns:
        The files written.
    """
    made_by = environment.made_by(command, about["data"], about["device"])
    if suite.claims:
        made_by["bounds"] = history.of_claims(suite, results.records)
    written = [
        *tables.write_tables(results, suite.tables, folder, suite.published),
        *figures.write_figures(results, folder, suite.figures),
        *saved_sheets.write_sheets(results, folder),
        *claims_text.write(results, suite.claims, folder),
        write_records(results.records, folder / RECORDS),
    ]
    written.append(provenance.write(folder, made_by | about, [*written, *kept]))
    return written


def write_records(records: Sequence[Record], path: Path) -> Path:
    """Write records as gzipped JSON lines. The same records give the same bytes."""
    lines = (json.dumps(record.to_dict(), sort_keys=True) + "\n" for record in records)
    text = "".join(lines)
    # The gzip module writes a header that depends on the release of Python.
    gzip_format = 16 + zlib.MAX_WBITS
    packer = zlib.compressobj(9, zlib.DEFLATED, gzip_format)
    data = packer.compress(text.encode()) + packer.flush()
    write_atomically(path, data)
    return path
