"""Everything that a store holds, whichever suite asked for it, and results without a suite's names."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from harness import registry
from harness.cells.collect import (
    budgets_of,
    cached_verdicts,
    records_of,
    without_garbage_collection,
)
from harness.cells.results import Results
from harness.errors import HarnessError
from harness.records import Record, TrustCheck
from harness.storage.store import CellResult, Store


@dataclass(frozen=True)
class _Nameless:
    """A measurement under names made from its own identity."""

    key: str
    role: str
    learner: str
    protocol: str


@without_garbage_collection()
def stored(store: Store) -> Results:
    """All results of a store; learners and protocols go by what their cells say of them.

    Raises:
        HarnessError: it holds no measurement.
    """
    measured: dict[str, CellResult] = {}
    trained: dict[str, str | None] = {}
    budgets: dict[str, int | None] = {}
    checks: dict[str, list[TrustCheck]] = {}
    for key, result in store.results(store.finished()):
        identity = result.identity
        role = identity.get("role")
        if role == "train":
            budgets[key] = identity["budget"]
        elif role == "trust":
            checks[identity["measured"]] = [TrustCheck(**check) for check in result.trust]
        elif "protocol" in identity:
            measured[key] = result
            trained[key] = identity["training"]
    if not measured:
        raise HarnessError(
            "it holds no measurement",
            where=str(store.root),
            hint="`harness run SUITE.yaml` makes some; a folder of results can be read where "
            "`harness paper SUITE.yaml --pack` has kept its measurements",
        )
    trust: dict[str, list[TrustCheck]] = {}
    records: list[Record] = []
    learners: dict[str, dict[str, Any]] = {}
    for key in sorted(measured):
        result = measured[key]
        trust[key] = [TrustCheck(**check) for check in result.trust] + checks.get(key, [])
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
        verdicts=cached_verdicts(store),
        trust=trust,
        configs={name: learner["config"] for name, learner in learners.items()},
        kinds={name: learner["kind"] for name, learner in learners.items()},
        budgets=budgets_of(trained, budgets),
    )


def nameless(results: Results) -> Results:
    """Results without the names of their suite: learners by kind and keys, protocols by kind and dataset.

    Of a number that a store holds several times (computed by other code, say) the newest is kept.
    """
    learners = {
        name: title_of(results.kinds[name], config) for name, config in results.configs.items()
    }
    protocols: dict[str, str] = {}
    newest: dict[tuple, Record] = {}
    for record in sorted(results.records, key=lambda record: record.created):
        kind = results.protocols[record.protocol]
        budget = results.budgets.get(record.cell)
        setting = record.setting
        if budget is not None:
            setting = {**setting, "budget": budget}
        one = replace(
            record,
            learner=learners[record.learner],
            protocol=f"{kind} on {record.dataset}",
            setting=setting,
        )
        protocols[one.protocol] = kind
        place = (
            one.protocol,
            one.learner,
            one.metric,
            one.seed,
            one.dataset_hash,
            json.dumps(one.setting, sort_keys=True),
        )
        newest[place] = one
    return replace(
        results,
        records=[newest[place] for place in sorted(newest)],
        learners=sorted(set(learners.values())),
        protocols=protocols,
        blocks={},
        configs={learners[name]: config for name, config in results.configs.items()},
        kinds={learners[name]: kind for name, kind in results.kinds.items()},
    )


def title(result: CellResult) -> str:
    """The learner of a cell without its name in a suite: its kind and the keys that are not at their default."""
    learner = result.identity["learner"]
    return title_of(learner["kind"], learner["config"])


def title_of(kind: str, config: dict[str, Any]) -> str:
    """A learner by its kind and the keys that are not at their default, e.g. ``mlp (hidden=50)``."""
    defaults = _defaults(kind)
    changed = [
        f"{key}={value}"
        for key, value in config.items()
        if key not in defaults or defaults[key] != value
    ]
    return f"{kind} ({', '.join(changed)})" if changed else kind


@lru_cache
def _defaults(kind: str) -> dict[str, Any]:
    """A kind's defaults; none for a plugin that is not installed, or whose keys have no defaults."""
    try:
        return registry.learners[kind].Config().model_dump(mode="json")
    except (HarnessError, ValueError):
        return {}
