"""Published numbers that come with the package, in ``shelf/FILE.csv``; cited as ``FILE/LEARNER``.

Each line is one number:

* ``learner``, ``protocol`` (a kind) and ``setting``: what was measured;
* ``metric`` and ``value``: the number;
* ``low`` and ``high``: its 95 % interval as reported, empty if none was;
* ``band_low``, ``band_high`` and ``band_source``: the range of independent reproductions;
* ``source``: where it was reported;
* ``second_hand``: ``yes`` if it was not read at the source.
"""

from __future__ import annotations

import csv
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, did_you_mean
from harness.suite.specs.published import PublishedSpec

SHELF = Path(__file__).parent / "shelf"

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
    source = line["source"]
    if line["second_hand"] == "yes":
        source += "; second-hand"
    return PublishedSpec.model_validate(
        {
            "learner": spec.learner,
            "row": row,
            "protocol": spec.protocol,
            "metric": line["metric"],
            "setting": _setting(line),
            "value": float(line["value"]),
            "interval": _interval(line, "low", "high"),
            "source": source,
            "band": _interval(line, "band_low", "band_high"),
            "band_source": line["band_source"] or None,
        }
    )


def _interval(line: Line, low: str, high: str) -> tuple[float, float] | None:
    """The bounds in two columns; None if they are empty."""
    return (float(line[low]), float(line[high])) if line[low] else None


def _setting(line: Line) -> dict[str, Any]:
    """Parse a setting such as ``"ways=5 shots=1"``."""
    setting = {}
    for pair in line["setting"].split():
        key, _, value = pair.partition("=")
        setting[key] = json.loads(value)
    return setting
