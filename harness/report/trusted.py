"""Which attack sweeps are to be believed: the trust checks of a suite's results, or of all that lie in a store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from harness.cells import collect
from harness.cells.results import Results
from harness.errors import HarnessError
from harness.records import Trust, TrustCheck, worst_level
from harness.report.derive import ATTACKED, with_worst_case
from harness.storage.store import Store


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
        return sorted(
            (check for check in self.checks if check.level in ("FAIL", "WARN")),
            key=lambda check: check.level,
        )

    def to_dict(self) -> dict[str, Any]:
        """A plain dict, ready for JSON."""
        return asdict(self)


def of_results(results: Results) -> list[Row]:
    """Every attack sweep of a suite's results, in their order, with the checks across attacks.

    Raises:
        HarnessError: there is none.
    """
    sweeps = {
        (record.learner, record.protocol, record.setting["attack"], record.seed, record.cell): None
        for record in results.records
        if results.protocols[record.protocol] in ATTACKED
    }
    if not {*ATTACKED} & {*results.protocols.values()}:
        raise HarnessError(
            "it has no attack sweep",
            where=results.suite,
            hint="a protocol of kind attack_sweep is one",
        )
    trust = with_worst_case(results).trust
    return _some([_row(*sweep, trust[sweep[-1]]) for sweep in sweeps], f"of {results.suite}")


def of_store(store: Store) -> list[Row]:
    """Every attack sweep in a store, whichever suite asked for it.

    Raises:
        HarnessError: there is none.
    """
    return _some(
        sorted(_stored(store), key=lambda row: (row.protocol, row.learner, row.seed, row.attack)),
        f"in {store.root}",
    )


def _stored(store: Store) -> Iterator[Row]:
    for key, result in store.results(store.finished()):
        identity = result.identity
        if identity.get("protocol", {}).get("kind") in ATTACKED:
            yield _row(
                collect.title(result),
                identity["dataset"]["kind"],
                identity["setting"]["attack"],
                identity["seed"],
                key,
                [TrustCheck(**check) for check in result.trust],
            )


def _row(
    learner: str, protocol: str, attack: str, seed: int, cell: str, checks: list[TrustCheck]
) -> Row:
    return Row(
        learner,
        protocol,
        attack,
        seed,
        cell,
        worst_level(check.level for check in checks),
        tuple(checks),
    )


def _some(rows: list[Row], where: str) -> list[Row]:
    if not rows:
        raise HarnessError(f"no attack sweep {where}", hint="`harness run SUITE.yaml` makes them")
    return rows
