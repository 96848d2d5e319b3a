"""Records as a pandas frame, and a frame as JSON lines, CSV or parquet."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Iterable
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.records import Record

if TYPE_CHECKING:
    import pandas as pd

_FIELDS = [field.name for field in fields(Record) if field.name != "setting"]


def frame(records: Iterable[Record]) -> pd.DataFrame:
    """One row a record; a setting's plain keys are columns of their own, ``setting_eps`` say, the rest of it is JSON."""
    import pandas as pd

    records = list(records)
    columns = {name: list(map(attrgetter(name), records)) for name in _FIELDS}
    words: dict[int, str] = {}  # records of one cell share their versions
    columns["versions"] = [
        words.get(id(each)) or words.setdefault(id(each), _text(each))
        for each in columns["versions"]
    ]
    settings: dict[str, list[Any]] = {}
    for place, record in enumerate(records):
        for key, value in record.setting.items():
            column = settings.get(key)
            if column is None:
                column = settings[key] = [math.nan] * len(records)
            column[place] = (
                value if value is None or isinstance(value, str | int | float) else _text(value)
            )
    return pd.DataFrame(columns | {f"setting_{key}": column for key, column in settings.items()})


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def lines(table: pd.DataFrame) -> str:
    """One JSON object a row; every digit of a number."""
    rows = (
        table.astype(object).where(table.notna(), None).to_dict("records")
    )  # pandas' own JSON rounds to 15 digits
    return "".join(f"{json.dumps(row, default=str)}\n" for row in rows)


def query(table: pd.DataFrame, words: str) -> pd.DataFrame:
    """The rows that a pandas query chooses, e.g. ``learner == 'bio' and setting_eps > 0``.

    Raises:
        HarnessError: no such column, or not a query.
    """
    try:
        chosen = table.eval(words, engine="python", local_dict={}, global_dict={})
        if str(getattr(chosen, "dtype", "")) not in ("bool", "boolean"):
            raise ValueError("it is not true or false of each row")
        return table[chosen]
    except Exception as error:  # pandas raises what Python raises: any of a dozen classes
        columns = ", ".join(map(str, table.columns))
        raise HarnessError(
            f"not a query: {error}",
            where="--query",
            hint=f"e.g. \"learner == 'bio' and value > 0.9\"; columns: {columns}",
        ) from None


def write(table: pd.DataFrame, path: Path) -> None:
    """As JSON lines, CSV or parquet, by the file's ending.

    Raises:
        HarnessError: another ending, or parquet without pyarrow.
    """
    import io

    from harness.files import write_atomically

    if path.suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise HarnessError(
            "parquet needs pyarrow, which is not installed",
            where=str(path),
            hint="pip install pyarrow, or write .csv or .jsonl",
        )
    out = io.BytesIO()
    if path.suffix == ".parquet":
        table.to_parquet(out)
    elif path.suffix == ".csv":
        table.to_csv(out, index=False)
    elif path.suffix == ".jsonl":
        out.write(lines(table).encode())
    else:
        raise HarnessError(
            f"no format {path.suffix!r}", where=str(path), hint="write .jsonl, .csv or .parquet"
        )
    write_atomically(path, out.getvalue())
