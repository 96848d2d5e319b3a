"""A reference: what a suite measured, verdict by verdict, in a small file that can be read, reviewed and committed.

Rows stand one a line with their numbers; the verdicts behind them follow, packed, each under the hash of what it holds.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.cells.results import Results
from harness.commits import File
from harness.errors import HarnessError
from harness.files import write_atomically
from harness.records import Record, Trust
from harness.report.formats import captions, metric_name

SCHEMA = 1
SAMPLES = ("index", "classes")
"""Stored arrays that say which images, or which classes of episodes, were measured."""

At = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Number:
    """One seed's number.

    Attributes:
        units: float64 (n,), what ``value`` is the mean of; None where it is of no units.
        samples: hash of which images or episodes the units are; "" where that is not stored.
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
        at: what tells it from the protocol's other numbers, e.g. ``(("attack", "pgd"), ("eps", 0.1))``.
        setting: all else that it was measured under.
        dataset: hash of the data.
        seeds: suite seed -> number.
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
    def key(self) -> tuple[str, str, str, At]:
        """What two runs of a suite know it by."""
        return self.protocol, self.learner, self.metric, self.at

    @property
    def where(self) -> str:
        """Everything but the learner, in words: ``"robust, pgd-8, eps 0.1"``."""
        metric = "" if self.metric == "accuracy" else metric_name(self.metric)
        return ", ".join(
            filter(
                None,
                [self.protocol, *captions(*zip(*self.at, strict=True)), metric]
                if self.at
                else [self.protocol, metric],
            )
        )

    @property
    def name(self) -> str:
        """In words: ``"bio: robust, pgd-8, eps 0.1"``."""
        return f"{self.learner}: {self.where}"


@dataclass(frozen=True)
class Reference:
    """What a suite measured.

    Attributes:
        learners: name -> kind and config.
        keys: protocol -> keys of the setting that tell its numbers apart.
        made_by: command, commit, data, environment.
    """

    suite: str
    rows: list[Row]
    learners: dict[str, dict[str, Any]] = field(default_factory=dict)
    keys: dict[str, list[str]] = field(default_factory=dict)
    made_by: dict[str, Any] = field(default_factory=dict)


def of_results(
    results: Results,
    learners: dict[str, dict[str, Any]] | None = None,
    made_by: dict[str, Any] | None = None,
    keys: dict[str, list[str]] | None = None,
) -> Reference:
    """Results as a reference.

    Args:
        keys: of an earlier reference, so that rows are known by the same ones.
    """
    found = telling(results.records) | (keys or {})
    rows: dict[tuple, Row] = {}
    for record in results.records:
        at = tuple(
            (key, record.setting[key]) for key in found[record.protocol] if key in record.setting
        )
        setting = {key: value for key, value in record.setting.items() if key not in dict(at)}
        key = (
            record.protocol,
            record.learner,
            record.metric,
            at,
            json.dumps(setting, sort_keys=True),
            record.dataset_hash,
        )
        row = rows.setdefault(
            key,
            Row(
                record.protocol,
                record.learner,
                record.metric,
                record.unit,
                at,
                setting,
                record.dataset_hash,
                {},
            ),
        )
        row.seeds[record.seed] = _number(record, results)
    return Reference(results.suite, list(rows.values()), learners or {}, found, made_by or {})


def telling(records: Iterable[Record]) -> dict[str, list[str]]:
    """Protocol -> plain keys of the setting in which its records differ, or which only some of them have."""
    seen: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        plain = {key: value for key, value in record.setting.items() if is_plain(value)}
        seen.setdefault(record.protocol, []).append(plain)
    return {
        protocol: [
            key
            for key in dict.fromkeys(key for setting in settings for key in setting)
            if len({setting.get(key, ...) for setting in settings}) > 1
        ]
        for protocol, settings in seen.items()
    }


def is_plain(value: Any) -> bool:
    """Whether a key of a setting with this value can tell rows apart."""
    return value is None or isinstance(value, str | int | float)


def _number(record: Record, results: Results) -> Number:
    units = (
        None
        if record.verdicts is None
        else np.asarray(results.verdicts(record.cell, record.verdicts), np.float64)
    )
    samples = "" if units is None else _samples(record, results)
    return Number(record.value, record.low, record.high, record.n, record.trust, units, samples)


def _samples(record: Record, results: Results) -> str:
    for name in SAMPLES:
        try:
            return digest(results.verdicts(record.cell, name).astype(np.int64))
        except KeyError:
            continue
    return ""


def digest(array: np.ndarray) -> str:
    """Hash of an array's shape and content."""
    content = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return hashlib.sha256(
        f"{array.shape} {array.dtype.kind}".encode() + content.tobytes()
    ).hexdigest()[:16]


def pack(units: np.ndarray) -> dict[str, Any]:
    """An array (n,) of few different values, as those values and a code of a few bits a unit; lossless.

    >>> pack(np.array([1.0, 0.0, 1.0]))
    {'n': 3, 'levels': [0.0, 1.0], 'codes': 'oA=='}
    """
    levels, codes = np.unique(units, return_inverse=True)
    width = max(1, int(len(levels) - 1).bit_length())
    bits = (codes[:, None] >> np.arange(width)) & 1
    return {
        "n": len(units),
        "levels": levels.tolist(),
        "codes": base64.b64encode(np.packbits(bits.astype(np.uint8).ravel()).tobytes()).decode(),
    }


def unpack(packed: dict[str, Any]) -> np.ndarray:
    """What ``pack`` packed, float64 (n,)."""
    levels, n = np.asarray(packed["levels"], np.float64), packed["n"]
    width = max(1, (len(levels) - 1).bit_length())
    bits = np.unpackbits(
        np.frombuffer(base64.b64decode(packed["codes"], validate=True), np.uint8), count=n * width
    )
    return levels[(bits.reshape(n, width).astype(np.int64) << np.arange(width)).sum(axis=1)]


def save(reference: Reference, path: Path) -> None:
    """Write a reference; the same content gives the same bytes."""
    settings: dict[str, Any] = {}
    verdicts: dict[str, Any] = {}
    rows = [_row_out(row, settings, verdicts) for row in reference.rows]
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
    write_atomically(path, ("{\n" + ",\n".join(parts) + "\n}\n").encode())


def _row_out(row: Row, settings: dict[str, Any], verdicts: dict[str, Any]) -> dict[str, Any]:
    setting = hashlib.sha256(_line(row.setting).encode()).hexdigest()[:8]
    settings[setting] = row.setting
    seeds = {}
    for seed, number in row.seeds.items():
        out = {
            "value": number.value,
            "low": number.low,
            "high": number.high,
            "n": number.n,
            "trust": number.trust,
        }
        if number.units is not None:
            out |= {"verdicts": digest(number.units), "samples": number.samples}
            verdicts[out["verdicts"]] = pack(number.units)
        seeds[str(seed)] = out
    return {
        "protocol": row.protocol,
        "learner": row.learner,
        "metric": row.metric,
        "at": dict(row.at),
        "unit": row.unit,
        "setting": setting,
        "dataset": row.dataset,
        "seeds": seeds,
    }


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _lines(entries: dict[str, Any]) -> str:
    return (
        "{\n  "
        + ",\n  ".join(f"{_line(key)}: {_line(value)}" for key, value in entries.items())
        + "\n }"
    )


def _block(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False).replace("\n", "\n ")


def load(path: File) -> Reference:
    """Read a reference, a file on disk or of a commit, each array held against its hash.

    Raises:
        HarnessError: no such file, or one that is no reference, or damaged.
    """
    try:
        with path.open("rb") as file:
            data = json.loads(file.read())
    except OSError as error:
        raise HarnessError(
            f"cannot read the reference: {error.strerror}",
            where=str(path),
            hint="`harness check SUITE.yaml --update` writes one",
        ) from None
    except (ValueError, RecursionError):
        raise _damaged(path) from None
    try:
        if data["schema"] != SCHEMA:
            raise HarnessError(
                f"a reference of schema {data['schema']}, and this release reads {SCHEMA}",
                where=str(path),
                hint="remove it, then write it anew with `harness check SUITE.yaml --update`",
            )
        arrays = {name: unpack(packed) for name, packed in data["verdicts"].items()}
        if any(digest(array) != name for name, array in arrays.items()):
            raise _damaged(path)
        rows = [_row_in(row, data["settings"], arrays) for row in data["rows"]]
        return Reference(data["suite"], rows, data["learners"], data["keys"], data["made_by"])
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError):
        raise _damaged(path) from None


def _row_in(row: dict[str, Any], settings: dict[str, Any], arrays: dict[str, np.ndarray]) -> Row:
    seeds = {
        int(seed): Number(
            one["value"],
            one["low"],
            one["high"],
            one["n"],
            one["trust"],
            arrays[one["verdicts"]] if "verdicts" in one else None,
            one.get("samples", ""),
        )
        for seed, one in row["seeds"].items()
    }
    return Row(
        row["protocol"],
        row["learner"],
        row["metric"],
        row["unit"],
        tuple(row["at"].items()),
        settings[row["setting"]],
        row["dataset"],
        seeds,
    )


def _damaged(path: File) -> HarnessError:
    return HarnessError(
        "not a reference, or a damaged one",
        where=str(path),
        hint="take it from version control again, or remove it and write it anew with "
        "`harness check SUITE.yaml --update`",
    )
