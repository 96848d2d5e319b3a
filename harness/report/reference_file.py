"""Reading a reference from a file that anyone may have written."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired

import numpy as np
from pydantic import ConfigDict, Field, StringConstraints, TypeAdapter, with_config
from typing_extensions import TypedDict

from harness.commits import File
from harness.errors import HarnessError
from harness.records import Trust, Unit
from harness.report.reference import SCHEMA, Number, Reference, Row, digest, is_plain, unpack
from harness.storage import schema
from harness.storage.schema import Count, Odd, Setting, Text, Word

MOST_BYTES = 2**26
"""Largest file that is read; that of the gate has 0.1 MiB."""
MOST_UNITS = 2**22
"""Largest number of units behind one number."""
_SeedName = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,19}$")]
_STRICT = ConfigDict(extra="forbid", strict=True)


@with_config(_STRICT)
class _Number(TypedDict):
    value: schema.Number
    low: schema.Number | None
    high: schema.Number | None
    n: Annotated[int, Field(ge=1, le=2**53)]
    trust: Trust
    verdicts: NotRequired[Word]
    samples: NotRequired[Word]


@with_config(_STRICT)
class _Row(TypedDict):
    protocol: Word
    learner: Word
    metric: Word
    at: Setting
    unit: Unit
    setting: Word
    dataset: Word
    seeds: Annotated[dict[_SeedName, _Number], Field(min_length=1)]


@with_config(_STRICT)
class _Verdicts(TypedDict):
    n: Annotated[int, Field(ge=1, le=MOST_UNITS)]
    levels: Annotated[list[schema.Number], Field(min_length=1, max_length=MOST_UNITS)]
    codes: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]*={0,2}$")]


@with_config(_STRICT)
class _Learner(TypedDict):
    kind: Word
    config: Annotated[dict[Word, Any], schema.FEW]


@with_config(ConfigDict(extra="allow", strict=True))
class _MadeBy(TypedDict, total=False):
    command: Text
    git_commit: Word
    git_date: Word
    data: Annotated[dict[Word, Word], schema.FEW]
    environment: Annotated[dict[Word, Any], schema.FEW]


@with_config(_STRICT)
class _Reference(TypedDict):
    schema: Count
    suite: Word
    made_by: _MadeBy
    learners: Annotated[dict[Word, _Learner], schema.FEW]
    keys: Annotated[dict[Word, list[Word]], schema.FEW]
    settings: Annotated[dict[Word, Setting], schema.FEW]
    rows: Annotated[list[_Row], schema.FIRST]
    verdicts: Annotated[dict[Word, _Verdicts], schema.FEW]


_REFERENCE = TypeAdapter(_Reference)


def load(path: File) -> Reference:
    """Read a reference, on disk or in a commit, and check each array against its hash.

    Fields of a newer release are named in a warning and left out.

    Raises:
        HarnessError: No such file, not a reference, or a damaged one.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise HarnessError(
            f"cannot read the reference: {error.strerror}",
            where=str(path),
            hint="write one with `harness check SUITE.yaml --update`",
        ) from None
    try:
        if len(data) > MOST_BYTES:
            raise Odd(f"larger than {MOST_BYTES >> 20} MiB")
        content = schema.parse(data)
        _check_schema(content, path)
        return _reference(schema.validated(_REFERENCE.validate_python, content, str(path)))
    except Odd as odd:
        raise HarnessError(
            f"not a reference, or a damaged one: {odd}",
            where=str(path),
            hint="restore it from version control, or remove it and write a new one with "
            "`harness check SUITE.yaml --update`",
        ) from None


def _check_schema(content: Any, path: File) -> None:
    number = content.get("schema") if isinstance(content, dict) else None
    if isinstance(number, int) and number != SCHEMA:
        raise HarnessError(
            f"the reference has schema {number}, this release reads {SCHEMA}",
            where=str(path),
            hint="remove it and write a new one with `harness check SUITE.yaml --update`",
        )


def _reference(content: _Reference) -> Reference:
    arrays = {name: _units(name, packed) for name, packed in content["verdicts"].items()}
    rows = [_row(row, content["settings"], arrays) for row in content["rows"]]
    return Reference(
        suite=content["suite"],
        rows=rows,
        learners={name: dict(learner) for name, learner in content["learners"].items()},
        keys=content["keys"],
        made_by=dict(content["made_by"]),
    )


def _units(name: str, packed: _Verdicts) -> np.ndarray:
    """Unpack an array.

    Raises:
        Odd: it has another hash than its name, or fewer codes than units.
    """
    try:
        units = unpack(packed)
    except (ValueError, IndexError):
        raise Odd(f"verdicts.{name[:40]}: not packed verdicts") from None
    if digest(units) != name:
        raise Odd(f"verdicts.{name[:40]}: changed: it has another hash")
    return units


def _row(row: _Row, settings: dict[str, Setting], arrays: dict[str, np.ndarray]) -> Row:
    place = f"rows: {row['learner'][:40]} in {row['protocol'][:40]}"
    if row["setting"] not in settings:
        raise Odd(f"{place}: no setting {row['setting'][:40]!r}")
    if not all(map(is_plain, row["at"].values())):
        raise Odd(f"{place}: at: only plain values can distinguish numbers")
    # Older references list the trust checks in a setting; they are cells of their own now.
    setting = {key: value for key, value in settings[row["setting"]].items() if key != "trust"}
    seeds = {int(seed): _number(one, arrays, place) for seed, one in row["seeds"].items()}
    if len({number.units is None for number in seeds.values()}) > 1:
        raise Odd(f"{place}: some seeds have verdicts, and others have none")
    return Row(
        protocol=row["protocol"],
        learner=row["learner"],
        metric=row["metric"],
        unit=row["unit"],
        at=tuple(row["at"].items()),
        setting=setting,
        dataset=row["dataset"],
        seeds=seeds,
    )


def _number(content: _Number, arrays: dict[str, np.ndarray], place: str) -> Number:
    units = None
    if "verdicts" in content:
        units = arrays.get(content["verdicts"])
        if units is None or len(units) != content["n"]:
            raise Odd(f"{place}: not {content['n']} verdicts")
    return Number(
        value=content["value"],
        low=content["low"],
        high=content["high"],
        n=content["n"],
        trust=content["trust"],
        units=units,
        samples=content.get("samples", ""),
    )
