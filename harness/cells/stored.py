"""Results of everything in a store, whichever suite asked for it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from harness import registry
from harness.cells.collect import (
    budgets_of,
    cached_verdicts,
    drop_unreadable,
    records_of,
    remarks_of,
    without_garbage_collection,
)
from harness.cells.results import Results
from harness.errors import HarnessError
from harness.learning.files import PREFIX
from harness.records import Record, TrustCheck
from harness.storage.store import CellResult, Store


@dataclass(frozen=True)
class _Nameless:
    """A measurement under names made from its own identity."""

    key: str
    role: str
    learner: str
    protocol: str


@dataclass
class _Content:
    """The finished cells of a store, sorted by role."""

    measured: dict[str, CellResult] = field(default_factory=dict)
    trained: dict[str, str | None] = field(default_factory=dict)  # measurement -> training
    budgets: dict[str, int | None] = field(default_factory=dict)  # training -> budget
    checks: dict[str, list[TrustCheck]] = field(default_factory=dict)  # measurement -> checks

    def add(self, key: str, result: CellResult) -> None:
        identity = result.identity
        role = identity.get("role")
        if role == "train":
            self.budgets[key] = identity.get("budget")
        elif role == "trust":
            checks = [TrustCheck(**check) for check in result.trust]
            self.checks[identity["measured"]] = checks
        elif "protocol" in identity:
            self.measured[key] = result
            self.trained[key] = identity["training"]

    def trust(self, key: str) -> list[TrustCheck]:
        """The checks of a measurement: made while measuring, then by its trust cell."""
        checks = [TrustCheck(**check) for check in self.measured[key].trust]
        return checks + self.checks.get(key, [])


@without_garbage_collection()
def stored(store: Store) -> Results:
    """Collect all results of a store; learners and protocols get names from their identities.

    Raises:
        HarnessError: the store holds no measurement.
    """
    content = _Content()
    for key, result in store.results(store.finished()):
        content.add(key, result)
    if not content.measured:
        raise HarnessError(
            "it holds no measurement",
            where=str(store.root),
            hint="`harness run SUITE.yaml` makes some; a folder of results can be read where "
            "`harness paper SUITE.yaml --pack` has kept its measurements",
        )
    verdicts = cached_verdicts(store)
    drop_unreadable(content.measured, verdicts)
    trust: dict[str, list[TrustCheck]] = {}
    records: list[Record] = []
    learners: dict[str, dict[str, Any]] = {}
    for key in sorted(content.measured):
        result = content.measured[key]
        trust[key] = content.trust(key)
        name = title(result)
        learners[name] = result.identity["learner"]
        cell = _Nameless(key, "measure", name, result.identity["protocol"]["kind"])
        records += records_of("", cell, result, trust[key])
    kinds = sorted({record.protocol for record in records})
    return Results(
        suite=str(store.root),
        learners=sorted(learners),
        protocols={kind: kind for kind in kinds},
        blocks={},
        failures=[],
        records=records,
        verdicts=verdicts,
        trust=trust,
        configs={name: learner["config"] for name, learner in learners.items()},
        kinds={name: learner["kind"] for name, learner in learners.items()},
        budgets=budgets_of(content.trained, content.budgets),
        remarks=remarks_of(content.measured),
    )


def nameless(results: Results) -> Results:
    """Rename learners by kind and keys, and protocols by kind and dataset.

    If a store holds a number several times, computed by different code for example, the newest is
    kept.
    """
    titles = {
        name: title_of(results.kinds[name], config) for name, config in results.configs.items()
    }
    protocols: dict[str, str] = {}
    newest: dict[tuple[str | int, ...], Record] = {}
    for record in sorted(results.records, key=lambda record: record.created):
        kind = results.protocols[record.protocol]
        protocol = f"{kind} on {record.dataset}"
        setting = record.setting
        budget = results.budgets.get(record.cell)
        if budget is not None:
            setting = {**setting, "budget": budget}
        renamed = replace(
            record, learner=titles[record.learner], protocol=protocol, setting=setting
        )
        protocols[protocol] = kind
        newest[_place(renamed)] = renamed
    return replace(
        results,
        records=[newest[place] for place in sorted(newest)],
        learners=sorted(set(titles.values())),
        protocols=protocols,
        blocks={},
        configs={titles[name]: config for name, config in results.configs.items()},
        kinds={titles[name]: kind for name, kind in results.kinds.items()},
    )


def _place(record: Record) -> tuple[str | int, ...]:
    """What distinguishes a number from others; equal for repeated measurements of one number."""
    return (
        record.protocol,
        record.learner,
        record.metric,
        record.seed,
        record.dataset_hash,
        json.dumps(record.setting, sort_keys=True),
    )


def title(result: CellResult) -> str:
    """Name the learner of a cell by its kind and the keys that are not at their defaults."""
    learner = result.identity["learner"]
    return title_of(learner["kind"], learner["config"])


def title_of(kind: str, config: dict[str, Any]) -> str:
    """Name a learner by its kind and the keys not at their defaults, e.g. ``mlp (hidden=50)``."""
    defaults = _defaults(kind)
    changed = [
        f"{key}={_shown(value)}"
        for key, value in config.items()
        if key not in defaults or defaults[key] != value
    ]
    return f"{kind} ({', '.join(changed)})" if changed else kind


def _shown(value: Any) -> Any:
    """A value of a config; of the hash of a file or a network, some digits are enough."""
    if isinstance(value, dict) and "sha256" in value:
        return f"{value.get('network')} {str(value['sha256'])[:12]}"
    is_file = isinstance(value, str) and value.startswith(PREFIX)
    return value[: len(PREFIX) + 12] if is_file else value


@lru_cache
def _defaults(kind: str) -> dict[str, Any]:
    """Defaults of a kind; empty for a plugin."""
    if ":" in kind:
        return {}  # a module that a stranger's results name is never imported
    try:
        # Not validated: a required key has no default, and the others have theirs all the same.
        return registry.learners[kind].Config.model_construct().model_dump(mode="json")
    except (HarnessError, ValueError):
        return {}
