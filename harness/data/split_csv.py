"""Split CSVs: the class and split of each image, in columns ``filename,label[,split]``."""

from __future__ import annotations

import csv
import io
import lzma
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from harness.errors import DataError

LARGEST = 256 << 20
"""Most bytes of a CSV after unpacking."""
CSV = "split.csv"
"""Name of the list in a folder of images."""
FIRST_LINE = (
    "the first line must be filename,label or filename,label,split, with commas, semicolons or "
    "tabs between"
)
SEPARATORS = ",;\t"
UTF16 = (b"\xff\xfe", b"\xfe\xff")
"""First bytes of UTF-16, as spreadsheets save text."""


@dataclass(frozen=True)
class Row:
    """One image.

    Attributes:
        line: its line in the file.
        filename: path with forward slashes; it never leads out of its folder.
        label: its class.
        split: its split; "" if the file has no such column.
    """

    line: int
    filename: str
    label: str
    split: str


def read_rows(path: Path, content: bytes | None = None) -> list[Row]:
    """Read the rows of a split CSV in order.

    Args:
        path: the file.
        content: its bytes, where it is in an archive; read from ``path`` if None.

    The file is UTF-8 with any line ends, with or without a byte-order mark, or UTF-16 with one;
    ``.xz`` is unpacked. Commas, semicolons or tabs are between values: the one that is most
    frequent in the first line. Names of columns may have capitals.

    Raises:
        DataError: If the file cannot be read, a column or value is missing, a path leads out of the
            folder, or a filename is listed twice.
    """
    text = _read_text(path, content)
    first_line = text.partition("\n")[0]
    separator = max(SEPARATORS, key=first_line.count)
    reader = csv.DictReader(
        io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True
    )
    try:
        rows = _rows_by_filename(path, reader)
    except csv.Error as error:
        raise DataError(
            f"not a CSV: {error}",
            where=f"{path}:{reader.line_num}",
            hint="save it as plain text, UTF-8",
        ) from error
    if not rows:
        raise DataError(
            "it lists no images",
            where=str(path),
            hint="write one line an image: filename,label,split",
        )
    return list(rows.values())


def _rows_by_filename(path: Path, reader: csv.DictReader[str]) -> dict[str, Row]:
    columns = [(name or "").strip().lower() for name in reader.fieldnames or []]
    for needed in ("filename", "label"):
        if needed not in columns:
            raise DataError(f"there is no column {needed!r}", where=f"{path}:1", hint=FIRST_LINE)
    reader.fieldnames = columns
    rows: dict[str, Row] = {}
    for values in reader:
        row = _row(f"{path}:{reader.line_num}", reader.line_num, values)
        first = rows.setdefault(row.filename, row)
        if first is not row:
            raise DataError(
                f"duplicate image {row.filename!r}: lines {first.line} and {row.line}",
                where=str(path),
                hint="an image has one class and one split: remove one of the lines",
            )
    return rows


def _row(where: str, line: int, values: dict[Any, Any]) -> Row:
    """Check one line.

    Args:
        where: file and line, for errors.
        line: number of the line.
        values: text by column; csv puts extra values under None and None in place of missing ones.
    """
    if None in values:
        raise DataError(
            "more values than columns",
            where=where,
            hint='quote names that contain commas: "a, b.jpg",class',
        )
    filename = (values["filename"] or "").strip()
    label = (values["label"] or "").strip()
    split = (values.get("split") or "").strip()
    if not filename or not label or ("split" in values and not split):
        raise DataError(
            "a value is missing", where=where, hint="each line needs all columns of the first one"
        )
    path = PurePosixPath(filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts:
        raise DataError(
            f"{str(path)!r} leads out of the folder of images",
            where=where,
            hint="name files below that folder",
        )
    return Row(line, str(path), label, split)


def _read_text(path: Path, content: bytes | None) -> str:
    try:
        if content is None:
            with lzma.open(path) if path.suffix == ".xz" else path.open("rb") as file:
                content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise ValueError(f"more than {LARGEST} bytes")
        return content.decode("utf-16" if content.startswith(UTF16) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            "it is not UTF-8", where=str(path), hint="save it as plain text, UTF-8"
        ) from error
    except (OSError, EOFError, ValueError, lzma.LZMAError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"cannot be read: {reason}", where=str(path), hint="fetch it again, or make it readable"
        ) from error
