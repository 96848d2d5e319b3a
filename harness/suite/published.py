"""The published numbers that come with the package: ``shelf/FILE.csv``, one line a number, cited as ``FILE/LEARNER``.

Columns: who (``learner``), how measured (``protocol``, a kind, and ``setting``), which number (``metric``, ``value``), its 95 %
interval as reported (``low``, ``high``; empty where none is), what independent reproductions reach (``band_low``,
``band_high``, ``band_source``), the ``source``, and ``second_hand``: ``yes`` where it was not read at the source.
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


@lru_cache
def shelf() -> dict[str, list[dict[str, str]]]:
    """``FILE/LEARNER`` -> its lines."""
    found: dict[str, list[dict[str, str]]] = {}
    for path in sorted(SHELF.glob("*.csv")):
        with open(path, encoding="utf-8", newline="") as file:
            for line in csv.DictReader(file):
                found.setdefault(f"{path.stem}/{line['learner']}", []).append(line)
    return found


def cited(spec: PublishedSpec, kind: str) -> list[PublishedSpec]:
    """What a citation stands for: a spec with its value for each line that is of this kind of protocol.

    Of a spec that names neither a learner nor a row the numbers stand in a row called as their learner is.

    Args:
        spec: with ``cite``; its setting, and its metric where given, choose among the lines.
        kind: of the protocol that it names.

    Raises:
        HarnessError: nobody on the shelf is called so, or has no such number.
    """
    if spec.cite not in shelf():
        raise HarnessError(
            f"no published numbers of {spec.cite!r}", hint=did_you_mean(spec.cite, shelf())
        )
    lines = [
        line
        for line in shelf()[spec.cite]
        if line["protocol"] == kind
        and ("metric" not in spec.model_fields_set or line["metric"] == spec.metric)
        and all(_setting(line).get(key) == value for key, value in spec.setting.items())
    ]
    if not lines:
        there = ", ".join(
            dict.fromkeys(f"{line['metric']} ({line['protocol']})" for line in shelf()[spec.cite])
        )
        raise HarnessError(
            f"{spec.cite!r} has no such number for {kind}", hint=f"there are: {there}"
        )
    return [_spec(spec, line) for line in lines]


def _spec(spec: PublishedSpec, line: dict[str, str]) -> PublishedSpec:
    row = line["learner"] if spec.row is None and spec.learner is None else spec.row
    source = line["source"] + ("; second-hand" if line["second_hand"] == "yes" else "")
    return PublishedSpec(
        learner=spec.learner,
        row=row,
        protocol=spec.protocol,
        metric=line["metric"],
        setting=_setting(line),
        value=float(line["value"]),
        interval=_span(line, "low", "high"),
        source=source,
        band=_span(line, "band_low", "band_high"),
        band_source=line["band_source"] or None,
    )


def _span(line: dict[str, str], low: str, high: str) -> tuple[float, float] | None:
    return (float(line[low]), float(line[high])) if line[low] else None


def _setting(line: dict[str, str]) -> dict[str, Any]:
    """``"ways=5 shots=1"`` as a setting."""
    return {
        key: json.loads(value)
        for key, _, value in (pair.partition("=") for pair in line["setting"].split())
    }
