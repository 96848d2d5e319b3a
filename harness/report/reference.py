"""A reference: what a suite measured, verdict by verdict, in a small file to review and commit.

Rows come first, one per line with their numbers. The verdicts behind them follow, packed, each
under the hash of its content.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.cells.results import Results
from harness.files import write_text
from harness.records import Record, Trust
from harness.report.formats import captions, metric_name

SCHEMA = 1

SAMPLES = ("index", "classes")
"""Stored arrays that say which images, or which classes of episodes, were measured."""

At = tuple[tuple[str, Any], ...]
"""Keys and values of a setting, e.g. ``(("attack", "pgd"), ("eps", 0.1))``."""

RowKey = tuple[str, str, str, At]
"""Protocol, learner, metric, and the part of the setting that distinguishes numbers."""


@dataclass(frozen=True)
class Number:
    """One seed's number.

    Attributes:
        value, low, high, n, trust: As in a record.
        units: What ``value`` is the mean of, float64 (n,); None if no units are stored.
        samples: Hash of which images or episodes the units are; empty if that is not stored.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    trust: Trust
    units: np.ndarray | None = None
    samples: str = ""


@dataclass(frozen=True)
class Row:
    """One number of one learner, over seeds.

    Attributes:
        protocol, learner, metric, unit: As in a record.
        at: The part of the setting that distinguishes it from the protocol's other numbers.
        setting: The rest of the setting.
        dataset: Hash of the data.
        seeds: Seed of the suite -> number.
    """

    protocol: str
    learner: str
    metric: str
    unit: str
    at: At
    setting: dict[str, Any]
    dataset: str
    seeds: dict[int, Number]

    @property
    def key(self) -> RowKey:
        """What identifies the number in two runs of a suite."""
        return self.protocol, self.learner, self.metric, self.at

    @property
    def where(self) -> str:
        """Everything but the learner, in words: ``"robust, pgd-8, eps 0.1"``."""
        keys = [key for key, _ in self.at]
        values = [value for _, value in self.at]
        metric = "" if self.metric == "accuracy" else metric_name(self.metric)
        return ", ".join(filter(None, [self.protocol, *captions(keys, values), metric]))

    @property
    def name(self) -> str:
        """Learner and number in words: ``"bio: robust, pgd-8, eps 0.1"``."""
        return f"{self.learner}: {self.where}"


@dataclass(frozen=True)
class Reference:
    """What a suite measured.

    Attributes:
        suite: Its name.
        rows: Its numbers.
        learners: Name -> kind and config.
        keys: Protocol -> keys of the setting that distinguish its numbers.
        made_by: Command, commit, data, environment.
    """

    suite: str
    rows: list[Row]
    learners: dict[str, dict[str, Any]] = field(default_factory=dict)
    keys: dict[str, list[str]] = field(default_factory=dict)
    made_by: dict[str, Any] = field(default_factory=dict)


# ------------------------------------------------------------------------- results to a reference


def of_results(
    results: Results,
    learners: dict[str, dict[str, Any]] | None = None,
    made_by: dict[str, Any] | None = None,
    keys: dict[str, list[str]] | None = None,
) -> Reference:
    """Turn results into a reference.

    Args:
        results: Everything measured.
        learners: Name -> kind and config.
        made_by: Command, commit, data, environment.
        keys: Those of an earlier reference, so that rows are identified by the same ones.
    """
    keys = distinguishing_keys(results.records) | (keys or {})
    rows: dict[tuple, Row] = {}
    for record in results.records:
        row = _row_of(record, keys[record.protocol])
        identity = (*row.key, json.dumps(row.setting, sort_keys=True), row.dataset)
        row = rows.setdefault(identity, row)
        row.seeds[record.seed] = _number_of(record, results)
    return Reference(results.suite, list(rows.values()), learners or {}, keys, made_by or {})


def _row_of(record: Record, keys: Iterable[str]) -> Row:
    """The row of a record, without any number yet."""
    at = {key: record.setting[key] for key in keys if key in record.setting}
    rest = {key: value for key, value in record.setting.items() if key not in at}
    return Row(
        protocol=record.protocol,
        learner=record.learner,
        metric=record.metric,
        unit=record.unit,
        at=tuple(at.items()),
        setting=rest,
        dataset=record.dataset_hash,
        seeds={},
    )


def distinguishing_keys(records: Iterable[Record]) -> dict[str, list[str]]:
    """Find the keys of settings that distinguish a protocol's records.

    Returns:
        Protocol -> keys with a plain value that differs, or that only some records have.
    """
    settings: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        plain = {key: value for key, value in record.setting.items() if is_plain(value)}
        settings.setdefault(record.protocol, []).append(plain)
    return {protocol: _differing_keys(each) for protocol, each in settings.items()}


def _differing_keys(settings: list[dict[str, Any]]) -> list[str]:
    keys = dict.fromkeys(key for setting in settings for key in setting)
    # The ellipsis stands for a missing key: None is a value.
    return [key for key in keys if len({setting.get(key, ...) for setting in settings}) > 1]


def is_plain(value: Any) -> bool:
    """Whether a key of a setting with this value can distinguish rows."""
    return value is None or isinstance(value, str | int | float)


def _number_of(record: Record, results: Results) -> Number:
    units = None
    samples = ""
    if record.verdicts is not None:
        units = np.asarray(results.verdicts(record.cell, record.verdicts), np.float64)
        samples = samples_of(record, results)
    return Number(record.value, record.low, record.high, record.n, record.trust, units, samples)


def samples_of(record: Record, results: Results) -> str:
    """Hash of which images or episodes were measured; empty if that is not stored."""
    for name in SAMPLES:
        try:
            return digest(results.verdicts(record.cell, name).astype(np.int64))
        except KeyError:
            continue
    return ""


# ---------------------------------------------------------------------------------- packed arrays


def digest(array: np.ndarray) -> str:
    """Hash an array's shape and content."""
    content = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    head = f"{array.shape} {array.dtype.kind}".encode()
    return hashlib.sha256(head + content.tobytes()).hexdigest()[:16]


def pack(units: np.ndarray) -> dict[str, Any]:
    """Pack an array (n,) with few different values: the values, and a few bits per unit. Lossless.

    >>> pack(np.array([1.0, 0.0, 1.0]))
    {'n': 3, 'levels': [0.0, 1.0], 'codes': 'oA=='}
    """
    levels, codes = np.unique(units, return_inverse=True)
    width = _code_width(len(levels))
    bits = (codes[:, None] >> np.arange(width)) & 1
    packed = np.packbits(bits.astype(np.uint8).ravel())
    return {
        "n": len(units),
        "levels": levels.tolist(),
        "codes": base64.b64encode(packed.tobytes()).decode(),
    }


def unpack(packed: Mapping[str, Any]) -> np.ndarray:
    """Restore what ``pack`` packed, float64 (n,).

    Raises:
        ValueError: There are fewer codes than units.
    """
    levels = np.asarray(packed["levels"], np.float64)
    n = packed["n"]
    width = _code_width(len(levels))
    codes = np.frombuffer(base64.b64decode(packed["codes"], validate=True), np.uint8)
    if len(codes) != -(-n * width // 8):
        raise ValueError("another number of codes than of units")
    bits = np.unpackbits(codes, count=n * width).reshape(n, width).astype(np.int64)
    units: np.ndarray = levels[(bits << np.arange(width)).sum(axis=1)]
    return units


def _code_width(levels: int) -> int:
    """Bits of a code for one of so many levels."""
    return max(1, (levels - 1).bit_length())


# -------------------------------------------------------------------------------------- to a file


def save(reference: Reference, path: Path) -> None:
    """Write a reference. The same content gives the same bytes."""
    settings: dict[str, Any] = {}
    verdicts: dict[str, Any] = {}
    rows = [_row_to_json(row, settings, verdicts) for row in reference.rows]
    parts = [
        f' "schema": {SCHEMA}',
        f' "suite": {_line(reference.suite)}',
        f' "made_by": {_block(reference.made_by)}',
        f' "learners": {_lines(reference.learners)}',
        f' "keys": {_lines(reference.keys)}',
        f' "settings": {_lines(settings)}',
        ' "rows": [\n  ' + ",\n  ".join(map(_line, rows)) + "\n ]",
        f' "verdicts": {_lines(verdicts)}',
    ]
    write_text(path, "{\n" + ",\n".join(parts) + "\n}\n")


def _row_to_json(row: Row, settings: dict[str, Any], verdicts: dict[str, Any]) -> dict[str, Any]:
    """A row as JSON; adds its setting and its verdicts to those of the file."""
    setting = hashlib.sha256(_line(row.setting).encode()).hexdigest()[:8]
    settings[setting] = row.setting
    return {
        "protocol": row.protocol,
        "learner": row.learner,
        "metric": row.metric,
        "at": dict(row.at),
        "unit": row.unit,
        "setting": setting,
        "dataset": row.dataset,
        "seeds": {str(seed): _number_to_json(one, verdicts) for seed, one in row.seeds.items()},
    }


def _number_to_json(one: Number, verdicts: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {
        "value": one.value,
        "low": one.low,
        "high": one.high,
        "n": one.n,
        "trust": one.trust,
    }
    if one.units is not None:
        name = digest(one.units)
        verdicts[name] = pack(one.units)
        content["verdicts"] = name
        content["samples"] = one.samples
    return content


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _lines(entries: dict[str, Any]) -> str:
    """A JSON object with one entry per line."""
    lines = [f"{_line(key)}: {_line(value)}" for key, value in entries.items()]
    return "{\n  " + ",\n  ".join(lines) + "\n }"


def _block(value: Any) -> str:
    """A JSON object with one value per line, at every level."""
    return json.dumps(value, indent=1, ensure_ascii=False).replace("\n", "\n ")
