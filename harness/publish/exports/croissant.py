"""Croissant 1.1: JSON-LD that describes a folder of results, of episode lists or of streams.

The format: http://mlcommons.org/croissant/1.1. Files are listed with their hashes; tables, episodes
and tasks are record sets, so that a loader of Croissant reads them. What only a publisher knows
(address, creator, licence, date) is asked for.
"""

from __future__ import annotations

import csv
import datetime
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.files import write_text
from harness.publish.exports.numbers import slug
from harness.publish.provenance import file_hash

FILE = "croissant.json"
CONFORMS_TO = "http://mlcommons.org/croissant/1.1"

FORMATS = {
    ".csv": "text/csv",
    ".gz": "application/gzip",
    ".json": "application/json",
    ".jsonl": "application/jsonlines",
    ".md": "text/markdown",
    ".parquet": "application/x-parquet",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".tex": "application/x-tex",
    ".zip": "application/zip",
}
"""Ending of a file -> its media type. Other files are not described."""

_TEXT, _WHOLE, _REAL = "sc:Text", "sc:Integer", "sc:Float"

LISTS = {
    "episodes": {"classes": (_TEXT, 1), "support": (_WHOLE, 2), "query": (_WHOLE, 2)},
    "tasks": {"name": (_TEXT, 0), "classes": (_WHOLE, 1), "outputs": (_WHOLE, 1)},
}
"""List in a JSON file -> key of an entry -> its type, and how many levels of lists it has."""

CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    "description": {"@container": "@language"},
    **{
        word: f"cr:{word}"
        for word in (
            *("arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract"),
            *("field", "fileObject", "fileProperty", "fileSet", "format", "includes", "isArray"),
            *("isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet"),
            *("references", "regex", "repeated", "replace", "samplingRate", "separator", "source"),
            *("subField", "transform"),
        )
    },
}
"""Words of the format, as its specification lists them."""


def write(
    folder: Path, *, url: str, creator: str, licence: str, name: str = "", published: str = ""
) -> Path:
    """Write ``croissant.json`` into a folder; the same files and words give the same bytes.

    Args:
        folder: A folder of results, or one that ``harness episodes`` or ``harness streams`` wrote.
        url: Page of the published data.
        creator: Who made them.
        licence: Address or SPDX name of their licence.
        name: Of the data; the folder's if empty.
        published: Date, as 2026-11-28; today if empty.

    Raises:
        HarnessError: No folder, none of its files is known, or not a date.
    """
    if not folder.is_dir():
        raise HarnessError("there is no such folder", where=str(folder))
    paths = [
        path for path in sorted(folder.iterdir()) if path.suffix in FORMATS and path.name != FILE
    ]
    if not paths:
        raise HarnessError(
            "it has no tables, no records and no lists",
            where=str(folder),
            hint="`harness run SUITE --out FOLDER`, `harness episodes` and `harness streams` "
            "write such files",
        )
    content = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": slug(name or folder.resolve().name),
        "description": _description(folder, paths),
        "url": url,
        "license": licence,
        "creator": {"@type": "sc:Organization", "name": creator},
        "datePublished": _date(published),
        "distribution": [_file(path) for path in paths],
        "recordSet": [records for path in paths for records in _record_sets(path)],
    }
    write_text(folder / FILE, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return folder / FILE


def _date(written: str) -> str:
    try:
        day = datetime.date.fromisoformat(written) if written else datetime.date.today()
    except ValueError:
        raise HarnessError(
            f"{written!r} is not a date", where="--published", hint="e.g. 2026-11-28"
        ) from None
    return day.isoformat()


def _description(folder: Path, paths: Sequence[Path]) -> str:
    """What is in a folder: its suite and commit, if it says them."""
    from harness.publish import provenance

    about = provenance.read(folder)
    if about is None:
        lists = sum(path.suffix == ".json" for path in paths)
        return f"{lists} lists of episodes or of tasks, written by bioharness."
    suite = about["suite"].get("name", folder.name)
    commits = ", ".join(about["commits"])
    described = about["suite"].get("description") or ""
    origin = f"Results of the suite {suite}, measured by bioharness at commit {commits}."
    return " ".join(filter(None, [origin, described]))


def _file(path: Path) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": path.name,
        "name": path.name,
        "contentUrl": path.name,
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": FORMATS[path.suffix],
        "sha256": file_hash(path),
    }


def _record_sets(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a table, or the episodes or tasks of a list."""
    if path.suffix == ".csv":
        yield _records(path, path.stem, [(name, kind, 0) for name, kind in _columns(path)])
    elif path.suffix == ".json":
        content = _json(path)
        for key, entries in LISTS.items():
            if isinstance(content, dict) and key in content:
                fields = [(name, kind, levels) for name, (kind, levels) in entries.items()]
                yield _records(path, path.stem, fields, f"$.{key}[*]")


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HarnessError(f"cannot read it: {error}", where=str(path)) from None


def _records(
    path: Path, name: str, fields: Sequence[tuple[str, str, int]], inside: str = ""
) -> dict[str, Any]:
    """A record set.

    Args:
        path: Its file.
        name: Of the record set.
        fields: Name, type and levels of lists of each field.
        inside: JSON path of a record; empty for a table.
    """
    described = []
    for field, kind, levels in fields:
        extract = {"jsonPath": f"{inside}.{field}"} if inside else {"column": field}
        shape = {"isArray": True, "arrayShape": ",".join(["-1"] * levels)} if levels else {}
        described.append(
            {
                "@type": "cr:Field",
                "@id": f"{name}/{field}",
                "name": field,
                "dataType": kind,
                **shape,
                "source": {"fileObject": {"@id": path.name}, "extract": extract},
            }
        )
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "field": described}


def _columns(path: Path) -> list[tuple[str, str]]:
    """Name and type of each column of a table.

    Raises:
        HarnessError: It is no table.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            heading, *rows = list(csv.reader(file)) or [[]]
        columns = list(zip(*rows, strict=True)) or [()] * len(heading)
        return [(name, _type(column)) for name, column in zip(heading, columns, strict=True)]
    except (OSError, ValueError, csv.Error) as error:
        raise HarnessError(f"cannot read it as a table: {error}", where=str(path)) from None


def _type(values: Sequence[str]) -> str:
    """The narrowest type that all values of a column have, empty ones aside.

    >>> _type(["1", "2"]), _type(["1", "0.5", ""]), _type(["1", "all"]), _type([])
    ('sc:Integer', 'sc:Float', 'sc:Text', 'sc:Text')
    """
    known = [value for value in values if value]
    for kind, convert in ((_WHOLE, int), (_REAL, float)):
        try:
            for value in known:
                convert(value)
        except ValueError:
            continue
        if known and (kind == _REAL or len(known) == len(values)):
            return kind
    return _TEXT
