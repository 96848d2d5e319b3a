"""The schema of what a cell holds, checked whenever a cell is written or read.

A hash shows that a file is as it was written, not that it makes sense. Stores, packs and
submissions may come from anyone, so types, ranges and lengths are checked before anything else
looks at a result.

Fields that a newer release added are named in a warning and left out.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, NotRequired, TypeVar

from pydantic import (
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    with_config,
)
from pydantic_core import from_json
from typing_extensions import TypedDict

from harness.errors import printable, remark
from harness.records import FROM_VERDICTS, Trust, Unit

_LARGEST = 1e100
"""Squares of numbers up to this one are finite, so that statistics of them are."""

_T = TypeVar("_T")

ROUNDING = 1e-9
"""How far sums of shares may be rounded out of their range."""

Word = Annotated[str, StringConstraints(max_length=300)]
"""A name or a label."""
Text = Annotated[str, StringConstraints(max_length=10_000)]
"""A few lines."""
Number = Annotated[float, Field(ge=-_LARGEST, le=_LARGEST, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=2**53)]

MOST_NAMES = 100_000
"""Most names of a mapping."""


def _few(content: Any) -> Any:
    """Refuse a mapping of very many names before pydantic keeps a fault, 2 KB, for each of them."""
    if isinstance(content, dict) and len(content) > MOST_NAMES:
        raise ValueError(f"{len(content):,} names; the limit is {MOST_NAMES:,}")
    return content


FEW = BeforeValidator(_few)
FIRST = FailFast()
"""Of a list, for the same reason, only the first fault is kept."""
Seed = Annotated[int, Field(ge=0, lt=2**64)]
Budget = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]

_MORE = ConfigDict(extra="allow")


@with_config(_MORE)
class Setting(TypedDict, total=False):
    """What distinguishes a number from others; protocols may add keys of their own."""

    attack: Word
    norm: Word
    eps: Budget
    support_eps: Budget
    corruption: Word
    severity: Count
    ways: Count | Word
    shots: Count | Word
    queries: Count
    episodes: Count
    regime: Word
    splitting: Word
    split: Word
    bundle: Word
    source: Word
    score: Word
    logits: Word
    bin: Count
    per_class: Count | Word
    config: Annotated[dict[Word, Any], FEW]


class ValueShape(TypedDict):
    """One number, see ``harness.records.Value``."""

    metric: Word
    value: Number
    low: Number | None
    high: Number | None
    n: Count
    unit: Unit
    setting: Setting | None
    verdicts: Word | None


class CheckShape(TypedDict):
    """One trust check, see ``harness.records.TrustCheck``."""

    name: Word
    level: Trust
    detail: Text


@with_config(_MORE)
class _Kind(TypedDict):
    kind: Word


@with_config(_MORE)
class _Configured(_Kind):
    config: Annotated[dict[Word, Any], FEW]


@with_config(_MORE)
class _Dataset(_Configured):
    content: Word


@with_config(_MORE)
class _Identity(TypedDict):
    """The parts of an identity that are read again; all others only enter its key."""

    seed: Seed
    learner: _Configured
    dataset: _Dataset


@with_config(_MORE)
class _Train(_Identity):
    role: Literal["train"]
    splitting: Word
    labelled: bool
    budget: NotRequired[Count | None]
    snapshots: NotRequired[bool]


@with_config(_MORE)
class _Search(TypedDict):
    key: Word
    target: Word | Number


@with_config(_MORE)
class _MatchPart(TypedDict):
    search: _Search


@with_config(_MORE)
class _Match(_Identity):
    role: Literal["match"]
    splitting: Word
    labelled: bool
    match: _MatchPart
    training: NotRequired[Word]


@with_config(_MORE)
class _Measure(_Identity):
    role: Literal["measure"]
    protocol: _Kind
    setting: Setting
    training: Word | None


@with_config(_MORE)
class _Judge(_Identity):
    role: Literal["judge"]
    protocol: _Kind
    setting: Setting
    training: Word | None
    measured: Word


@with_config(_MORE)
class _Trust(_Identity):
    role: Literal["trust"]
    protocol: _Kind
    setting: Setting
    training: Word | None
    measured: Word


class ResultShape(TypedDict):
    """What ``cell.json`` holds of a result, see ``harness.storage.store.CellResult``."""

    identity: Annotated[_Train | _Match | _Measure | _Judge | _Trust, Field(discriminator="role")]
    values: Annotated[list[ValueShape], FIRST]
    trust: Annotated[list[CheckShape], FIRST]
    log: Annotated[dict[Word, Any], FEW]
    wall_s: Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
    device: Word
    versions: Annotated[dict[Word, Word], FEW]
    git_commit: Word
    created: Word


Logged = float | int | str | bool | None


Remarks = Annotated[list[Text], Field(max_length=100)]


class _TrainingLog(TypedDict, total=False):
    rows: Annotated[list[Annotated[dict[Word, Logged], FEW]], FIRST]
    images_seen: Count | None
    sign_changes: Count | None
    remarks: Remarks


@with_config(_MORE)
class _MeasureLog(TypedDict, total=False):
    remarks: Remarks


class _Choice(TypedDict):
    measure: Word
    key: Word
    value: Number | int
    wanted: Number
    reached: Number
    tolerance: Number
    near: bool
    tried: Annotated[list[Annotated[list[Number], FIRST]], FIRST]


class _MatchLog(TypedDict):
    match: _Choice
    training: Word


_RESULT = TypeAdapter(ResultShape)
_LOGS: dict[str, TypeAdapter] = {
    "train": TypeAdapter(_TrainingLog),
    "match": TypeAdapter(_MatchLog),
    "measure": TypeAdapter(_MeasureLog),
    "judge": TypeAdapter(_MeasureLog),
}
_FIELDS = frozenset(ResultShape.__annotations__)
_PARTS = {
    "values": frozenset(ValueShape.__annotations__),
    "trust": frozenset(CheckShape.__annotations__),
}


_UNPRINTABLE = frozenset(["Cc", "Cf", "Cs"])
"""Unicode categories of control characters, of invisible marks, and of halves of characters."""


class Odd(ValueError):
    """A content that no release writes."""


def parse(data: bytes) -> Any:
    """Parse JSON that anyone may have written.

    >>> parse(b'{"eps": [0, 0.1]}')
    {'eps': [0, 0.1]}

    Raises:
        Odd: it is no JSON, is nested deeply, or has a text that cannot be printed.
    """
    try:
        content = from_json(data)
    except ValueError as error:
        raise Odd(f"not JSON: {error}") from None
    # JSON has no raw control characters, so plain ASCII without escapes can have none.
    if b"\\" in data or not data.isascii():
        for text in _texts(content):
            if not text.isprintable() and any(map(_is_control, text)):
                raise Odd(f"a text with control characters: {printable(text[:60])}")
    return content


def _texts(content: Any) -> Iterator[str]:
    """Yield every text in parsed JSON, keys included."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict):
        yield from content
        for value in content.values():
            yield from _texts(value)
    elif isinstance(content, list):
        for value in content:
            yield from _texts(value)


def _is_control(char: str) -> bool:
    """Whether a character can change what a terminal shows; line ends and tabs are harmless."""
    return char not in "\n\t" and unicodedata.category(char) in _UNPRINTABLE


def checked(result: Any) -> dict[str, Any]:
    """Check a result, and return it without the fields that this release does not know.

    Numbers and texts stay as they are, so that the result still belongs to its key.

    Args:
        result: parsed JSON.

    Raises:
        Odd: it is not a result.
    """
    try:
        _RESULT.validate_python(result, strict=True)
        if log := _LOGS.get(result["identity"]["role"]):
            log.validate_python(result["log"], strict=True)
    except ValidationError as error:
        raise Odd(first_fault(error)) from None
    for value in result["values"]:
        if value["metric"] in FROM_VERDICTS and not -ROUNDING <= value["value"] <= 1 + ROUNDING:
            raise Odd(f"values: {value['metric']} {value['value']:g} is not a share")
    return _known(result)


def validated(validate: Callable[[Any], _T], content: Any, what: str) -> _T:
    """Validate a content, without the fields that this release does not know.

    Args:
        validate: of a schema that forbids unknown fields.
        content: parsed JSON; unknown fields are removed from it.
        what: names the content in the warning of unknown fields.

    Raises:
        Odd: it does not fit the schema.
    """
    try:
        return validate(content)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        if any(fault["type"] != "extra_forbidden" for fault in faults):
            raise Odd(first_fault(error)) from None
    places = [fault["loc"] for fault in faults]
    for *steps, name in places:
        entry = content
        for step in steps:
            entry = entry[step]
        del entry[name]
    unknown = sorted({str(place[-1]) for place in places})
    remark(f"{what} has fields of a newer release, which are ignored: {', '.join(unknown)}")
    try:
        return validate(content)
    except ValidationError as error:
        raise Odd(first_fault(error)) from None


def _known(result: dict[str, Any]) -> dict[str, Any]:
    """Leave out the fields of a newer release."""
    if result.keys() > _FIELDS:
        result = _without_unknown(result, _FIELDS, "a result")
    for part, fields in _PARTS.items():
        if any(entry.keys() > fields for entry in result[part]):
            entries = [_without_unknown(entry, fields, part) for entry in result[part]]
            result = {**result, part: entries}
    return result


def _without_unknown(entry: Mapping[str, Any], fields: frozenset[str], what: str) -> dict[str, Any]:
    unknown = sorted(entry.keys() - fields)
    if unknown:
        remark(f"{what} has fields of a newer release, which are ignored: {', '.join(unknown)}")
    return {key: value for key, value in entry.items() if key in fields}


def first_fault(error: ValidationError) -> str:
    """Return the first fault of a validation as ``place: message``."""
    faults = error.errors(include_url=False, include_input=False)
    fault = min(faults, key=lambda each: each["type"] == "extra_forbidden")
    place = ".".join(str(step)[:60] for step in fault["loc"])
    return f"{place}: {fault['msg']}" if place else fault["msg"]
