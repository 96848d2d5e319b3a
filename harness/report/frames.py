"""Records as a pandas frame, and a frame as JSON lines, CSV or Parquet."""

from __future__ import annotations

import importlib.util
import io
import json
import math
from collections.abc import Iterable
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.files import write_atomically
from harness.records import Record
from harness.report.spreadsheets import harmless

if TYPE_CHECKING:
    import pandas as pd

_FIELDS = [field.name for field in fields(Record) if field.name != "setting"]


def frame(records: Iterable[Record]) -> pd.DataFrame:
    """Make a frame with one row per record.

    Plain entries of a setting have columns of their own, such as ``setting_eps``. Other entries
    are JSON in theirs.
    """
    import pandas as pd

    records = list(records)
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
    return pd.DataFrame(columns)


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
