"""Which measurements are reliable: the trust checks of a suite's results, or of a whole store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.cells import stored
from harness.cells.results import Results
from harness.errors import HarnessError
from harness.records import Trust, TrustCheck, worst_level
from harness.report.derive import ATTACKED, with_worst_case
from harness.storage.store import CellResult, Store


@dataclass(frozen=True)
class Row:
    """One attack sweep, or another measurement with trust checks, of one learner and seed.

    Attributes:
        learner: Its name in the suite. In a store, which has no names, its kind and the keys
            that differ from their defaults.
        protocol: Its name in the suite; in a store, the name of the dataset.
        attack: Its label; empty for a measurement without an attack.
        seed: Seed of the suite.
        cell: Key in the store.
        level: The worst level of its checks; ``"-"`` if there were none.
        checks: All checks.
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
        remarks = [check for check in self.checks if check.level in ("FAIL", "WARN")]
        return sorted(remarks, key=lambda check: check.level)

    def to_dict(self) -> dict[str, Any]:
        """A plain dict, ready for JSON."""
        return asdict(self)


def of_results(results: Results) -> list[Row]:
    """List everything with trust checks in a suite's results: every attack sweep above all.

    Raises:
        HarnessError: The suite has no attack sweep, or none has been run, and nothing else has
            trust checks.
    """
    trust = with_worst_case(results).trust
    rows: dict[tuple, Row] = {}
    for record in results.records:
        if results.protocols[record.protocol] not in ATTACKED and not trust.get(record.cell):
            continue
        attack = record.setting.get("attack", "")
        # The records of a sweep differ in eps only; they share their cell.
        sweep = (record.learner, record.protocol, attack, record.seed, record.cell)
        if sweep not in rows:
            rows[sweep] = _row(*sweep, trust[record.cell])
    if not rows and not {*ATTACKED} & {*results.protocols.values()}:
        raise HarnessError(
            "the suite has no attack sweep",
            where=results.suite,
            hint="add a protocol of kind attack_sweep",
        )
    return _not_empty(list(rows.values()), f"of {results.suite}")


def of_store(store: Store) -> list[Row]:
    """List everything with trust checks in a store, whichever suite asked for it.

    Raises:
        HarnessError: There is none.
    """
    rows = sorted(_stored(store), key=lambda row: (row.protocol, row.learner, row.seed, row.attack))
    return _not_empty(rows, f"in {store.root}")


def _stored(store: Store) -> Iterator[Row]:
    sweeps: dict[str, CellResult] = {}
    checks: dict[str, list[dict[str, Any]]] = {}  # of trust cells, by the sweep that they judge
    for key, result in store.results(store.finished()):
        identity = result.identity
        attacked = identity.get("protocol", {}).get("kind") in ATTACKED
        if identity["role"] == "trust":
            checks[identity["measured"]] = result.trust
        elif attacked or (identity["role"] == "measure" and result.trust):
            sweeps[key] = result
    for key, result in sweeps.items():
        identity = result.identity
        every = [*result.trust, *checks.get(key, [])]
        yield _row(
            learner=stored.title(result),
            protocol=identity["dataset"]["kind"],
            attack=identity["setting"].get("attack", ""),
            seed=identity["seed"],
            cell=key,
            checks=[TrustCheck(**check) for check in every],
        )


def _row(
    learner: str, protocol: str, attack: str, seed: int, cell: str, checks: Sequence[TrustCheck]
) -> Row:
    return Row(
        learner=learner,
        protocol=protocol,
        attack=attack,
        seed=seed,
        cell=cell,
        level=worst_level(check.level for check in checks),
        checks=tuple(checks),
    )


def _not_empty(rows: list[Row], where: str) -> list[Row]:
    if not rows:
        raise HarnessError(
            f"no attack sweep {where}", hint="measure one with `harness run SUITE.yaml`"
        )
    return rows
