"""From finished cells to results: names are given back to numbers here, so that a cell knows nothing of suites."""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from harness import registry
from harness.cells.matching import Match
from harness.cells.plan import Cell, Plan
from harness.cells.results import Matched, Results, Training
from harness.errors import HarnessError
from harness.records import Record, TrustCheck, worst_level
from harness.storage.store import CellResult, Store
from harness.suite.model import ProtocolEntry, Suite


@dataclass(frozen=True)
class Outline:
    """What results say of their suite; JSON-able, so that it can travel with cells to where the suite is not.

    Attributes:
        name, description: of the suite.
        learners: name -> its ``kind`` and whole ``config``; where a key of it is chosen, that is None, and ``match`` says how.
        protocols: name -> its ``kind``, its protocol ``block`` and its ``seeds``.
    """

    name: str
    description: str
    learners: dict[str, dict[str, Any]]
    protocols: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, suite: Suite) -> Outline:
        """The outline of a suite."""
        return cls(
            suite.name,
            suite.description,
            {
                e.name: {
                    "kind": e.cls.kind,
                    "config": e.settled,
                    "match": e.match and asdict(e.match),
                }
                for e in suite.learners
            },
            {
                e.name: {"kind": e.protocol.kind, "block": _block(e), "seeds": list(e.seeds)}
                for e in suite.protocols
            },
        )


class Named(Protocol):
    """A cell under the names that its suite gives (``harness.cells.plan.Cell`` is one)."""

    @property
    def key(self) -> str:
        """Its key."""

    @property
    def role(self) -> str:
        """Its kind of work."""

    @property
    def learner(self) -> str:
        """Name of its learner in the suite."""

    @property
    def protocol(self) -> str:
        """Name of its protocol in the suite."""


class Finished(Protocol):
    """Where finished cells are read from (``harness.storage.store.Store`` is one)."""

    def results(self, keys: Iterable[str]) -> Iterator[tuple[str, CellResult]]:
        """Finished cells of those keys, in any order."""

    def arrays(self, key: str) -> dict[str, np.ndarray]:
        """Its verdicts."""


def collect(plan: Plan, store: Finished, failed: dict[str, str] | None = None) -> Results:
    """Everything that a plan's finished cells hold, as results.

    Args:
        failed: cell key -> why it failed, to be shown where the numbers would be.
    """
    failed = failed or {}
    failures = [
        (cell.learner, cell.protocol, cell.seed, failed[cell.key])
        for cell in plan.cells
        if cell.role == "measure" and cell.key in failed
    ]
    failures += [
        (
            cell.learner,
            cell.protocol,
            cell.seed,
            f"not measured: its match failed ({failed[cell.behind]})",
        )
        for cell in plan.waiting
        if cell.role == "measure" and cell.behind in failed
    ]
    return gather(Outline.of(plan.suite), plan.cells, store, failures)


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Without the search for cycles of garbage: of a million records that all stay, it would look at each again and again."""
    searching = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searching:
            gc.enable()


@uncollected()
def gather(
    outline: Outline,
    cells: Sequence[Named],
    store: Finished,
    failures: Sequence[tuple[str, str, int, str]] = (),
) -> Results:
    """Everything that some named cells hold, as results; cells that are not finished are left out."""
    places = defaultdict(list)  # one cell may stand under several names
    for place, cell in enumerate(cells):
        places[cell.key].append(place)
    made: dict[str, CellResult] = {}
    trust, logs, rows, based, budgets = {}, {}, {}, {}, {}
    for key, result in store.results(places):
        role = cells[places[key][0]].role
        if role == "train":
            logs[key], budgets[key] = _training(result), result.identity["budget"]
        elif role == "match":
            made[key] = result
        else:
            trust[key], based[key] = (
                [TrustCheck(**check) for check in result.trust],
                result.identity["training"],
            )
            for place in places[key]:
                rows[place] = list(_records(outline.name, cells[place], result, trust[key]))
    records, trainings, matches = [], defaultdict(dict), _Matches(outline)
    for place, cell in enumerate(cells):
        if cell.key in logs:
            trainings[cell.learner][cell.key] = logs[cell.key]
        elif cell.key in made:
            matches.add(cell.learner, made[cell.key])
        elif place in rows:
            records += rows.pop(place)
            matches.used(cell, based[cell.key])

    return Results(
        suite=outline.name,
        configs={name: matches.config(name) for name in outline.learners},
        kinds={name: entry["kind"] for name, entry in outline.learners.items()},
        seeds={name: entry["seeds"] for name, entry in outline.protocols.items()},
        learners=list(outline.learners),
        protocols={name: entry["kind"] for name, entry in outline.protocols.items()},
        blocks={name: entry["block"] for name, entry in outline.protocols.items()},
        records=records,
        verdicts=_cached(store),
        trust={cell.key: trust[cell.key] for cell in cells if cell.key in trust},
        failures=list(failures),
        trainings={learner: list(found.values()) for learner, found in trainings.items()},
        matches=matches.of_protocols(),
        budgets=_budgets(based, budgets),
    )


class _Matches:
    """The keys that were chosen for learners, and which measurements stand on which choice."""

    def __init__(self, outline: Outline):
        self.outline = outline
        self.made: dict[str, dict[str, Matched]] = {}
        self.trained: dict[tuple[str, str], dict[str, None]] = {}

    def add(self, learner: str, result: CellResult) -> None:
        """Take up a choice that was made for a learner."""
        identity = result.identity
        data = f"{identity['dataset']['kind']}/{identity['splitting']}"
        target = self.outline.learners[learner]["match"]["target"]
        self.made.setdefault(learner, {})[result.log["training"]] = Matched(
            data,
            identity["seed"],
            target if isinstance(target, str) else "",
            Match(**result.log["match"]),
        )

    def used(self, cell: Named, training: str) -> None:
        """Note on which training a measurement stands."""
        self.trained.setdefault((cell.protocol, cell.learner), {})[training] = None

    def config(self, learner: str) -> dict[str, Any]:
        """A learner's config with the value that was chosen; several, each under its data and seed, where they differ."""
        entry, found = self.outline.learners[learner], list(self.made.get(learner, {}).values())
        if not found:
            return entry["config"]
        values = {f"{one.data}, seed {one.seed}": one.match.value for one in found}
        alike = len(set(values.values())) == 1
        return {**entry["config"], found[0].match.key: found[0].match.value if alike else values}

    def of_protocols(self) -> dict[str, dict[str, list[Matched]]]:
        """Protocol -> learner -> the choices that its numbers stand on."""
        out: dict[str, dict[str, list[Matched]]] = {}
        for (protocol, learner), keys in self.trained.items():
            found = [self.made[learner][key] for key in keys if key in self.made.get(learner, {})]
            if found:
                out.setdefault(protocol, {})[learner] = found
        return out


def _training(result: CellResult) -> Training:
    identity = result.identity
    data = f"{identity['dataset']['kind']}/{identity['splitting']}" + (
        "" if identity["labelled"] else ", unlabelled"
    )
    return Training(
        data,
        identity["seed"],
        result.log.get("images_seen", 0),
        result.log.get("rows", []),
        result.wall_s,
    )


@uncollected()
def stored(store: Store) -> Results:
    """All that lies in a store, whichever suite asked for it: learners and protocols go by what their cells say of them.

    Raises:
        HarnessError: no measurement is in it.
    """
    records, trust, based, budgets, learners = {}, {}, {}, {}, {}
    for key, result in store.results(store.finished()):
        identity = result.identity
        if identity.get("role") == "train":
            budgets[key] = identity["budget"]
        elif "protocol" in identity:
            name, based[key] = title(result), identity["training"]
            learners[name], trust[key] = (
                identity["learner"],
                [TrustCheck(**check) for check in result.trust],
            )
            cell = Cell(
                key,
                "measure",
                identity,
                identity["training"],
                name,
                identity["protocol"]["kind"],
                "",
            )
            records[key] = list(_records("", cell, result, trust[key]))
    if not records:
        raise HarnessError(
            "no measurement in it",
            where=str(store.root),
            hint="`harness run SUITE.yaml` makes them; a folder of "
            "results can be read where `harness paper SUITE.yaml --pack` has kept them",
        )
    kinds = sorted({record.protocol for found in records.values() for record in found})
    return Results(
        suite=str(store.root),
        learners=sorted(learners),
        protocols={kind: kind for kind in kinds},
        blocks={},
        failures=[],
        records=list(itertools.chain.from_iterable(records[key] for key in sorted(records))),
        verdicts=_cached(store),
        trust=trust,
        configs={name: found["config"] for name, found in learners.items()},
        kinds={name: found["kind"] for name, found in learners.items()},
        budgets=_budgets(based, budgets),
    )


def nameless(results: Results) -> Results:
    """Results without the names of their suite: learners by kind and keys, protocols by kind and dataset.

    Of a number that a store holds several times (computed by other code, say) the newest is left.
    """
    learners = {
        name: title_of(results.kinds[name], config) for name, config in results.configs.items()
    }
    protocols: dict[str, str] = {}
    newest: dict[tuple, Record] = {}
    for record in sorted(results.records, key=lambda record: record.created):
        kind, budget = results.protocols[record.protocol], results.budgets.get(record.cell)
        one = replace(
            record,
            learner=learners[record.learner],
            protocol=f"{kind} on {record.dataset}",
            setting=record.setting if budget is None else {**record.setting, "budget": budget},
        )
        protocols[one.protocol] = kind
        newest[
            one.protocol,
            one.learner,
            one.metric,
            one.seed,
            one.dataset_hash,
            json.dumps(one.setting, sort_keys=True),
        ] = one
    return replace(
        results,
        records=[newest[key] for key in sorted(newest)],
        learners=sorted({*learners.values()}),
        protocols=protocols,
        blocks={},
        configs={learners[name]: config for name, config in results.configs.items()},
        kinds={learners[name]: kind for name, kind in results.kinds.items()},
    )


def _budgets(based: dict[str, str | None], budgets: dict[str, int | None]) -> dict[str, int]:
    """Measurement -> the budget of the training that it is based on, where there was one."""
    return {
        key: budget
        for key, training in based.items()
        if (budget := budgets.get(training)) is not None
    }


def _cached(store: Finished) -> Callable[[str, str], np.ndarray]:
    """The verdicts of cells, by cell and name; those read last are kept."""

    @lru_cache(maxsize=256)
    def arrays(key: str) -> dict[str, np.ndarray]:
        return store.arrays(key)

    return lambda key, name: arrays(key)[name]


def title(result: CellResult) -> str:
    """The learner of a cell without its name in a suite: its kind and what sets it apart."""
    return title_of(result.identity["learner"]["kind"], result.identity["learner"]["config"])


def title_of(kind: str, config: dict[str, Any]) -> str:
    """A learner without a name, by its kind and what sets it apart."""
    usual = _usual(kind)
    switched = [
        f"{key}={value}" for key, value in config.items() if key not in usual or usual[key] != value
    ]
    return f"{kind} ({', '.join(switched)})" if switched else kind


@lru_cache
def _usual(kind: str) -> dict[str, Any]:
    """A kind's defaults; none for a learner of somebody's that is not here, or one whose keys have no defaults."""
    try:
        return registry.learners[kind].Config().model_dump(mode="json")
    except (HarnessError, ValueError):
        return {}


def _block(entry: ProtocolEntry) -> dict[str, str]:
    seeds = f"{len(entry.seeds)} ({', '.join(map(str, entry.seeds))})"
    return {
        "dataset": entry.dataset.title,
        **entry.protocol.block(),
        **_heads(entry),
        "seeds": seeds,
    }


def _heads(entry: ProtocolEntry) -> dict[str, str]:
    """Which few-shot head each learner's config names: rows differ in it as well as in their features."""
    if entry.protocol.kind not in ("few_shot", "attacked_episodes", "lake_runs"):
        return {}
    scratch = entry.protocol.config.regime == "from_scratch"
    heads = {
        e.name: getattr(e.config, "scratch_head" if scratch else "head", None)
        for e in entry.learners
    }
    named = [f"{name} {head}" for name, head in heads.items() if head]
    return {"heads": ", ".join(named)} if named else {}


def _records(
    suite: str, cell: Named, result: CellResult, checks: list[TrustCheck]
) -> Iterator[Record]:
    identity, worst = result.identity, worst_level(check.level for check in checks)
    setting, seed = identity["setting"], identity["seed"]
    dataset, content = identity["dataset"]["kind"], identity["dataset"]["content"]
    for value in result.values:
        own = value["setting"]
        yield Record(
            suite=suite,
            cell=cell.key,
            learner=cell.learner,
            dataset=dataset,
            protocol=cell.protocol,
            setting={**setting, **own} if own else setting,
            seed=seed,
            metric=value["metric"],
            value=value["value"],
            low=value["low"],
            high=value["high"],
            n=value["n"],
            unit=value["unit"],
            verdicts=value["verdicts"],
            trust=worst,
            wall_s=result.wall_s,
            device=result.device,
            versions=result.versions,
            dataset_hash=content,
            git_commit=result.git_commit,
            created=result.created,
        )
