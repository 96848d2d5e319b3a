"""Which image is of which class and split, from a CSV with the columns ``filename,label`` and perhaps ``split``."""

from __future__ import annotations

import csv
import io
import lzma
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.errors import DataError

LARGEST = 256 << 20
"""Bytes of a CSV, uncompressed."""


@dataclass(frozen=True)
class Row:
    """One image.

    Attributes:
        line: where it stands in the file.
        filename: path with forward slashes, which leads nowhere outside its folder.
        label: its class.
        split: its split; "" where the file has no such column.
    """

    line: int
    filename: str
    label: str
    split: str


def read_rows(path: Path) -> list[Row]:
    """The rows of a split CSV, in order; ``.xz`` is unpacked. Any line ends, with or without a byte-order mark, UTF-8.

    Raises:
        DataError: it cannot be read, a column or value is missing, a path leads outside, or an image stands twice.
    """
    reader = csv.DictReader(io.StringIO(_text(path), newline=""), skipinitialspace=True)
    try:
        columns = [(name or "").strip() for name in reader.fieldnames or []]
        for needed in ("filename", "label"):
            if needed not in columns:
                raise DataError(
                    f"there is no column {needed!r}",
                    where=f"{path}:1",
                    hint="the first line must be filename,label or filename,label,split",
                )
        reader.fieldnames = columns
        rows: dict[str, Row] = {}
        for values in reader:
            row = _row(path, reader.line_num, values)
            if row.filename in rows:
                raise DataError(
                    f"{row.filename!r} stands twice: lines {rows[row.filename].line} and {row.line}",
                    where=str(path),
                    hint="an image has one class and one split: remove one of the lines",
                )
            rows[row.filename] = row
    except csv.Error as error:
        raise DataError(
            f"no CSV: {error}",
            where=f"{path}:{reader.line_num}",
            hint="save it as plain text, UTF-8",
        ) from error
    if not rows:
        raise DataError(
            "it lists no image",
            where=str(path),
            hint="write one line an image: filename,label,split",
        )
    return list(rows.values())


def _row(path: Path, line: int, values: dict[str | None, str | list[str] | None]) -> Row:
    where = f"{path}:{line}"
    if None in values:
        raise DataError(
            "more values than columns",
            where=where,
            hint='quote names that contain commas: "a, b.jpg",class',
        )
    filename, label, split = (
        (values.get(key) or "").strip() for key in ("filename", "label", "split")
    )
    if not filename or not label or ("split" in values and not split):
        raise DataError(
            "a value is missing", where=where, hint="each line needs all columns of the first one"
        )
    filename = PurePosixPath(filename.replace("\\", "/"))
    if filename.is_absolute() or ".." in filename.parts:
        raise DataError(
            f"{str(filename)!r} leads outside the folder of images",
            where=where,
            hint="name files below that folder",
        )
    return Row(line, str(filename), label, split)


def _text(path: Path) -> str:
    try:
        with lzma.open(path) if path.suffix == ".xz" else path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise ValueError(f"more than {LARGEST} bytes")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            "it is not UTF-8", where=str(path), hint="save it as plain text, UTF-8"
        ) from error
    except (OSError, EOFError, ValueError, lzma.LZMAError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"cannot be read: {reason}", where=str(path), hint="fetch it again, or make it readable"
        ) from error
