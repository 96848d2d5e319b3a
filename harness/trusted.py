"""Which attack sweeps are to be believed: the trust checks of a suite's cells, or of all that lie in a store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from harness import collect
from harness.errors import HarnessError
from harness.plan import Plan
from harness.records import Trust, TrustCheck
from harness.report.aggregate import worst_level
from harness.report.derive import ATTACKED, with_worst_case
from harness.store import Store


@dataclass(frozen=True)
class Row:
    """One attack sweep of one learner and seed.

    Attributes:
        learner: its name in the suite; from a store, where it has none, its kind and the keys that are not at their default.
        protocol: its name in the suite; from a store the dataset's.
        attack: its label.
        seed: of the suite.
        cell: key in the store.
        level: the worst of its checks; ``"-"``: none was made.
        checks: all of them.
    """

    learner: str
    protocol: str
    attack: str
    seed: int
    cell: str
    level: Trust
    checks: tuple[TrustCheck, ...]

    @property
    def remarks(self) -> list[TrustCheck]:
        """The checks that did not pass, failed ones first."""
        return sorted((check for check in self.checks if check.level in ("FAIL", "WARN")), key=lambda check: check.level)

    def to_dict(self) -> dict[str, Any]:
        """A plain dict, ready for JSON."""
        return asdict(self)


def of_suite(plan: Plan, store: Store) -> list[Row]:
    """Every finished attack sweep of a suite, in its order, with the checks across attacks.

    Raises:
        HarnessError: no sweep of it is in the store.
    """
    results = with_worst_case(collect.collect(plan, store))
    kinds = {entry.name: entry.protocol.kind for entry in plan.suite.protocols}
    rows = [_row(cell.learner, cell.protocol, cell.identity, cell.key, results.trust[cell.key])
            for cell in plan.cells if cell.key in results.trust and kinds[cell.protocol] in ATTACKED]
    return _some(rows, f"of {plan.suite.name} in {store.root}")


def of_store(store: Store) -> list[Row]:
    """Every attack sweep in a store, whichever suite asked for it.

    Raises:
        HarnessError: there is none.
    """
    return _some(sorted(_stored(store), key=lambda row: (row.protocol, row.learner, row.seed, row.attack)), f"in {store.root}")


def _stored(store: Store) -> Iterator[Row]:
    for key, result in store.results(store.finished()):
        if result.identity.get("protocol", {}).get("kind") in ATTACKED:
            dataset = result.identity["dataset"]["kind"]
            yield _row(collect.title(result), dataset, result.identity, key, [TrustCheck(**check) for check in result.trust])


def _row(learner: str, protocol: str, identity: dict[str, Any], key: str, checks: list[TrustCheck]) -> Row:
    level = worst_level(check.level for check in checks)
    return Row(learner, protocol, identity["setting"]["attack"], identity["seed"], key, level, tuple(checks))


def _some(rows: list[Row], where: str) -> list[Row]:
    if not rows:
        raise HarnessError(f"no attack sweep {where}", hint="`harness run SUITE.yaml` makes them")
    return rows
