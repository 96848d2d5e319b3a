"""Records as a pandas frame, and a frame as JSON lines, CSV or Parquet."""

from __future__ import annotations

import importlib.util
import io
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, fields
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.files import write_atomically
from harness.records import Record
from harness.report.spreadsheets import harmless
from harness.report.table import Table

if TYPE_CHECKING:
    import pandas as pd

_FIELDS = [field.name for field in fields(Record) if field.name != "setting"]


def frame(records: Iterable[Record]) -> pd.DataFrame:
    """Make a frame with one row per record.

    Plain entries of a setting have columns of their own, such as ``setting_eps``. Other entries
    are JSON in theirs.
    """
    import pandas as pd

    return pd.DataFrame(_columns(list(records)))


def _columns(records: list[Record]) -> dict[str, list[Any]]:
    columns = {name: list(map(attrgetter(name), records)) for name in _FIELDS}
    columns["versions"] = _as_json(columns["versions"])
    settings: dict[str, list[Any]] = {}
    for place, record in enumerate(records):
        for key, value in record.setting.items():
            column = settings.get(key)
            if column is None:
                column = settings[key] = [math.nan] * len(records)
            is_plain = value is None or isinstance(value, str | int | float)
            column[place] = value if is_plain else _json(value)
    for key, column in settings.items():
        columns[f"setting_{key}"] = column
    return columns


def typed(records: Iterable[Record]) -> pd.DataFrame:
    """Make that frame with the type of each column's values: words are categories."""
    import pandas as pd

    columns = _columns(list(records))
    return pd.DataFrame({name: _typed(name, values) for name, values in columns.items()})


def _typed(name: str, values: list[Any]) -> pd.Series:
    """A column; whole numbers stay whole beside missing ones.

    >>> columns = ([5, 6], [5, math.nan], [0, 0.5, None], ["a", None], [True])
    >>> [str(_typed("", values).dtype) for values in columns]
    ['int64', 'Int64', 'float64', 'category', 'bool']
    """
    import pandas as pd

    column = pd.Series(values, dtype=object)
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if name == "created":
        return pd.to_datetime(column, utc=True)
    if kind in ("floating", "mixed-integer-float", "empty"):
        return column.astype("float64")
    if kind in ("integer", "boolean"):
        return column.convert_dtypes() if column.hasnans else column.infer_objects()
    return column.astype("category")


def of_table(table: Table) -> pd.DataFrame:
    """Make a frame with one row per number of a table: its labels, then the number.

    ``seeds`` is how many there are.
    """
    keys = (*table.row_keys, *table.column_keys)
    rows = []
    for row, cells in zip(table.rows, table.cells, strict=True):
        for column, cell in zip(table.columns, cells, strict=True):
            if cell is not None:
                labels = dict(zip(keys, (*row, *column), strict=True))
                # A label that is called like a part of a number replaces it.
                rows.append({**labels, **asdict(cell), "seeds": len(cell.seeds), **labels})
    return of_rows(rows)


def of_rows(rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Make a frame of flat rows with equal keys; words are categories."""
    import pandas as pd

    rows = list(rows)
    columns = {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}
    return pd.DataFrame({name: _typed(name, values) for name, values in columns.items()})


def _as_json(values: list[Any]) -> list[str]:
    """Each value as JSON. The same object, as the records of a cell share, is encoded once."""
    encoded: dict[int, str] = {}
    texts = []
    for value in values:
        text = encoded.get(id(value))
        if text is None:
            text = encoded[id(value)] = _json(value)
        texts.append(text)
    return texts


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def lines(table: pd.DataFrame) -> str:
    """Print one JSON object per row, with every digit of its numbers."""
    # Not pandas' own JSON, which rounds to 15 digits.
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return "".join(f"{json.dumps(row, default=str)}\n" for row in rows)


def query(table: pd.DataFrame, text: str) -> pd.DataFrame:
    """Select the rows that match a pandas query, e.g. ``learner == 'bio' and setting_eps > 0``.

    Raises:
        HarnessError: Unknown column, or not a query.
    """
    try:
        chosen: Any = table.eval(text, engine="python", local_dict={}, global_dict={})
        if str(getattr(chosen, "dtype", "")) not in ("bool", "boolean"):
            raise ValueError("it does not evaluate to true or false for each row")
        return table[chosen]
    except Exception as error:  # pandas lets through whatever Python raises
        columns = ", ".join(map(str, table.columns))
        raise HarnessError(
            f"invalid query: {error}",
            where="--query",
            hint=f"e.g. \"learner == 'bio' and value > 0.9\"; columns: {columns}",
        ) from None


def write(table: pd.DataFrame, path: Path) -> None:
    """Write a frame as JSON lines, CSV or Parquet, by the ending of the file name.

    Raises:
        HarnessError: Another ending, or Parquet without pyarrow.
    """
    out = io.BytesIO()
    if path.suffix == ".parquet":
        if importlib.util.find_spec("pyarrow") is None:
            raise HarnessError(
                "writing Parquet needs pyarrow, which is not installed",
                where=str(path),
                hint="pip install pyarrow, or write .csv or .jsonl",
            )
        table.to_parquet(out)
    elif path.suffix == ".csv":
        table.rename(columns=harmless).map(harmless).to_csv(out, index=False)
    elif path.suffix == ".jsonl":
        out.write(lines(table).encode())
    else:
        raise HarnessError(
            f"unknown format {path.suffix!r}",
            where=str(path),
            hint="write .jsonl, .csv or .parquet",
        )
    write_atomically(path, out.getvalue())
