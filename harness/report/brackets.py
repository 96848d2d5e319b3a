"""Brackets of robust accuracy: proven <= true <= attacked, for attacks and for the worst case."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from harness.budgets import words
from harness.cells.results import Results
from harness.errors import ProofError
from harness.metrics.statistics import wilson
from harness.records import WORST, Record

PROVEN = "proven"
BRACKET = "bracket"
UNDECIDED = "undecided"

NetworkKey = tuple[str, str, int, str | None, int]
"""Protocol, learner, seed, norm and number of images: what a proof is about, but for its eps."""

Proofs = dict[tuple[NetworkKey, float], list[Record]]
"""Network and eps -> the records of what is proven, one for each certified attack."""

Arrays = dict[tuple[str, str], np.ndarray]
"""(cell, array name) -> derived verdicts."""


def with_brackets(results: Results) -> Results:
    """Add what follows from proofs and attacks together.

    Each certified attack gets its ``bracket`` (``low`` is proven, ``high`` and ``value`` are left
    by the attack) and the ``undecided`` share between the two; the worst case gets both, and
    ``proven``: a proof is about a network, so it holds for every attack of its norm.

    Raises:
        ProofError: an image is proven robust and was broken, by any attack.
    """
    proofs = _proofs(results)
    if not proofs or any(record.metric == BRACKET for record in results.records):
        return results
    arrays: Arrays = {}
    derived: list[Record] = []
    for record in results.records:
        if record.metric == "accuracy" and record.verdicts is not None and "eps" in record.setting:
            derived += _of_attack(record, proofs, results, arrays)

    def verdicts(cell: str, name: str) -> np.ndarray:
        if (cell, name) in arrays:
            return arrays[cell, name]
        return results.verdicts(cell, name)

    return replace(results, records=results.records + derived, verdicts=verdicts)


def _proofs(results: Results) -> Proofs:
    proofs: Proofs = defaultdict(list)
    for record in results.records:
        if record.metric == PROVEN:
            proofs[_network(record), record.setting["eps"]].append(record)
    return dict(proofs)


def _network(record: Record) -> NetworkKey:
    norm = record.setting.get("norm")
    return record.protocol, record.learner, record.seed, norm, record.n


def _of_attack(
    attacked: Record, proofs: Proofs, results: Results, arrays: Arrays
) -> Iterator[Record]:
    """Compare one accuracy under attack with the proofs at its budget; fills ``arrays``."""
    eps = attacked.setting["eps"]
    found = proofs.get((_network(attacked), eps), [])
    if not found or attacked.verdicts is None:
        return
    withstood = results.verdicts(attacked.cell, attacked.verdicts) > 0
    proven = np.zeros(len(withstood), bool)
    for record in found:
        assert record.verdicts is not None  # every proof is stored
        proven |= results.verdicts(record.cell, record.verdicts) > 0
    _check(proven, withstood, attacked)

    is_worst = attacked.setting["attack"] == WORST
    if not (is_worst or any(record.cell == attacked.cell for record in found)):
        return
    if is_worst:
        yield _share(PROVEN, proven, attacked, arrays)
    yield _share(UNDECIDED, withstood & ~proven, attacked, arrays)
    yield replace(
        attacked,
        metric=BRACKET,
        low=float(proven.mean()),
        high=attacked.value,
        verdicts=None,
    )


def _check(proven: np.ndarray, withstood: np.ndarray, attacked: Record) -> None:
    both = np.flatnonzero(proven & ~withstood)
    if len(both):
        raise ProofError(
            f"{attacked.learner}, seed {attacked.seed}: the image at place {both[0]} is proven "
            f"robust at eps {words(attacked.setting['eps'])}, and {attacked.setting['attack']} "
            "breaks it",
            where=f"protocol {attacked.protocol}",
            hint="the bound or the attack is wrong, so no number of this suite is reliable; "
            "please report it with the suite",
        )


def _share(metric: str, units: np.ndarray, attacked: Record, arrays: Arrays) -> Record:
    """A record like that of the attack, of a share of the same images."""
    name = f"{metric}/eps={words(attacked.setting['eps'])}"
    arrays[attacked.cell, name] = units.astype(np.uint8)
    low, high = wilson(int(units.sum()), len(units))
    return replace(
        attacked, metric=metric, value=float(units.mean()), low=low, high=high, verdicts=name
    )
