"""Since when each claim of a suite has its bounds, and when its numbers were first measured.

A rule that decides a claim is worth most if it was written before the measurement. Git knows when.
What people had seen by then it does not know; a suite says so in its comments.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypedDict

import yaml

from harness.records import Record
from harness.suite.model import Suite
from harness.suite.specs.claims import ClaimSpec


class Bounds(TypedDict):
    """When a claim was decided upon, and measured; ``""`` where it is not known.

    Attributes:
        commit: the first commit since which its measures and controls are as they are now.
        date: of that commit, ISO 8601.
        measured: when the first of the numbers that decide it was measured, ISO 8601.
    """

    commit: str
    date: str
    measured: str


def of_claims(suite: Suite, records: Iterable[Record]) -> dict[str, Bounds]:
    """Claim -> its history."""
    first: dict[str, str] = {}
    for record in records:
        known = first.get(record.protocol, record.created)
        first[record.protocol] = min(known, record.created)
    since = _since(suite.file) if suite.file else {}
    history: dict[str, Bounds] = {}
    for claim in suite.claims:
        commit, date = since.get(claim.name, ("", ""))
        measured = _first(claim, first)
        history[claim.name] = {"commit": commit, "date": date, "measured": measured}
    return history


def _first(claim: ClaimSpec, first: dict[str, str]) -> str:
    dates = [first[each.protocol] for each in claim.measures if each.protocol in first]
    return min(dates, default="")


def _since(file: Path) -> dict[str, tuple[str, str]]:
    """Claim -> commit and date since which its rule is that of the file; {} outside a repository.

    A claim whose rule was changed and not committed is missing.
    """
    folder, name = file.resolve().parent, file.name
    log = _git(folder, "log", "--format=%h %cI", "--abbrev=10", "--", name)
    if not log:
        return {}
    now = _rules(file.read_text(encoding="utf-8"))
    unchanged = set(now)
    since: dict[str, tuple[str, str]] = {}
    for line in log.splitlines():  # from the last commit back
        commit, _, date = line.partition(" ")
        then = _rules(_git(folder, "show", f"{commit}:./{name}"))
        unchanged = {claim for claim in unchanged if then.get(claim) == now[claim]}
        since |= dict.fromkeys(unchanged, (commit, date))
    return since


def _rules(text: str) -> dict[str, Any]:
    """Claim -> all that decides it, of a suite file; {} of a text that is none."""
    try:
        claims = yaml.safe_load(text)["claims"]
        return {
            each["name"]: {key: value for key, value in each.items() if key != "claim"}
            for each in claims
        }
    except (yaml.YAMLError, KeyError, TypeError):
        return {}


def _git(folder: Path, *words: str) -> str:
    command: Sequence[str] = ["git", *words]
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", check=False, cwd=folder
        )
    except OSError:
        return ""
    return done.stdout if done.returncode == 0 else ""
