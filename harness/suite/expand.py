"""A suite with everything written out: every key of every entry, with its default."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pydantic import BaseModel

from harness.suite.model import LearnerEntry, ProtocolEntry, Suite


def expand(suite: Suite) -> dict[str, Any]:
    """Write a checked suite out as plain values.

    Returns:
        JSON-able values, equal for suites that measure and show the same.
    """
    return {
        "name": suite.name,
        "budget": suite.budget.images,
        "snapshots": suite.snapshots,
        "learners": {entry.name: _learner(entry) for entry in suite.learners},
        "protocols": {entry.name: _protocol(entry) for entry in suite.protocols},
        "tables": _dumped(suite.tables),
        "published": _dumped(suite.published),
        "figures": _dumped(suite.figures),
        "claims": _dumped(suite.claims),
        "expect": _dumped(suite.expect),
    }


def _learner(entry: LearnerEntry) -> dict[str, Any]:
    out = {"kind": entry.cls.kind, **entry.settled}
    if entry.match:
        out["match"] = asdict(entry.match)
    return out


def _protocol(entry: ProtocolEntry) -> dict[str, Any]:
    return {
        "kind": entry.protocol.kind,
        **entry.protocol.config.model_dump(mode="json"),
        "seeds": entry.seeds,
        "learners": [learner.name for learner in entry.learners],
    }


def _dumped(specs: Sequence[BaseModel]) -> list[dict[str, Any]]:
    return [spec.model_dump(mode="json") for spec in specs]
