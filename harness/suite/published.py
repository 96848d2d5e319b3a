"""Published numbers that come with the package, in ``shelf/FILE.csv``; cited as ``FILE/LEARNER``.

Each line is one number:

* ``learner``, ``protocol`` (a kind), ``dataset`` (with its switches) and ``setting``: what was
  measured;
* ``metric`` and ``value``: the number;
* ``low`` and ``high``: its 95 % interval as reported, empty if none was;
* ``band_low``, ``band_high`` and ``band_source``: the range of independent reproductions;
* ``variant``: of the method, if it has several; ``run_by``: ``the authors``, or who ran it again;
* ``source``: where it was reported;
* ``second_hand``: ``yes`` if it was not read at the source;
* ``doubt``: why the number is doubtful; empty if it is not.
"""

from __future__ import annotations

import csv
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.data.base import Dataset
from harness.errors import HarnessError, did_you_mean
from harness.suite.specs.published import PublishedSpec

SHELF = Path(__file__).parent / "shelf"

AUTHORS = "the authors"
"""Value of ``run_by`` for numbers of the paper that proposed the method."""

Line = dict[str, str]
"""Column -> text."""


@lru_cache
def shelf() -> dict[str, list[Line]]:
    """Read the shelf: ``FILE/LEARNER`` -> its lines."""
    lines: dict[str, list[Line]] = {}
    for path in sorted(SHELF.glob("*.csv")):
        with open(path, encoding="utf-8", newline="") as file:
            for line in csv.DictReader(file):
                lines.setdefault(f"{path.stem}/{line['learner']}", []).append(line)
    return lines


def cited(spec: PublishedSpec, kind: str) -> list[PublishedSpec]:
    """Resolve a citation: one spec with its value for each line that it selects.

    A citation that names neither a learner nor a row puts its numbers in a row with the name of
    the cited learner.

    Args:
        spec: A spec with ``cite``; its setting, and its metric if given, select lines.
        kind: Kind of the protocol that it names.

    Raises:
        HarnessError: Unknown citation, or no such number.
    """
    cite = str(spec.cite)
    if cite not in shelf():
        raise HarnessError(f"no published numbers of {cite!r}", hint=did_you_mean(cite, shelf()))
    lines = [line for line in shelf()[cite] if _is_selected(line, spec, kind)]
    if not lines:
        available = [f"{line['metric']} ({line['protocol']})" for line in shelf()[cite]]
        raise HarnessError(
            f"{cite!r} has no such number for {kind}",
            hint=f"available: {', '.join(dict.fromkeys(available))}",
        )
    return [_spec(spec, line) for line in lines]


def other_data(spec: PublishedSpec, kind: str, dataset: Dataset) -> str:
    """The data that cited numbers were measured on, if it is not that of a protocol; else "".

    Args:
        spec: A spec with a known ``cite``.
        kind: Kind of the protocol.
        dataset: Its dataset.
    """
    lines = [line for line in shelf()[str(spec.cite)] if _is_selected(line, spec, kind)]
    config = dataset.config.model_dump(mode="json")
    for line in lines:
        name, _, switches = line["dataset"].partition(" ")
        expected = _pairs(switches)
        is_same = all(config.get(key) == value for key, value in expected.items())
        if name != dataset.kind or not is_same:
            return line["dataset"]
    return ""


def _is_selected(line: Line, spec: PublishedSpec, kind: str) -> bool:
    if line["protocol"] != kind:
        return False
    if "metric" in spec.model_fields_set and line["metric"] != spec.metric:
        return False
    setting = _setting(line)
    return all(setting.get(key) == value for key, value in spec.setting.items())


def _spec(spec: PublishedSpec, line: Line) -> PublishedSpec:
    """The citation with the number of one line."""
    row = spec.row
    if spec.row is None and spec.learner is None:
        row = line["learner"]
    return PublishedSpec.model_validate(
        {
            "learner": spec.learner,
            "row": row,
            "protocol": spec.protocol,
            "metric": line["metric"],
            "setting": _setting(line),
            "value": float(line["value"]),
            "interval": _interval(line, "low", "high"),
            "source": _source(line),
            "band": _interval(line, "band_low", "band_high"),
            "band_source": line["band_source"] or None,
        }
    )


def _source(line: Line) -> str:
    """Where a number comes from, of which variant it is, who ran it, and what is doubtful."""
    parts = [line["source"], line["variant"]]
    if line["run_by"] != AUTHORS:
        parts.append(f"run by {line['run_by']}")
    if line["doubt"]:
        parts.append(f"doubtful: {line['doubt']}")
    if line["second_hand"] == "yes":
        parts.append("second-hand")
    return "; ".join(filter(None, parts))


def _interval(line: Line, low: str, high: str) -> tuple[float, float] | None:
    """The bounds in two columns; None if they are empty."""
    return (float(line[low]), float(line[high])) if line[low] else None


def _setting(line: Line) -> dict[str, Any]:
    """The setting of a line."""
    return _pairs(line["setting"])


def _pairs(text: str) -> dict[str, Any]:
    """Parse keys and values such as ``"ways=5 shots=1"``."""
    pairs = {}
    for pair in text.split():
        key, _, value = pair.partition("=")
        pairs[key] = json.loads(value)
    return pairs
