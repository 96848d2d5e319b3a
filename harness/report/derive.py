"""Results that follow from several attacks together: the worst case, and checks across attacks."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from harness.budgets import words
from harness.cells.results import Results
from harness.metrics.statistics import share_interval, wilson
from harness.records import UNION, WORST, Record, Trust, TrustCheck, worst_level
from harness.report.brackets import with_brackets

TOLERANCE = 0.01
"""Share of images that FGSM may break and PGD may miss before the row is distrusted.

PGD starts at random and can miss a few.
"""

ATTACKED = ("attack_sweep", "attacked_episodes")
"""Kinds of protocol whose records are under attack."""

EPISODE_KEYS = ("ways", "shots", "support_eps")
"""Keys of a setting that say which episodes were attacked, and with which support set."""

GroupKey = tuple[str, str, int, str | None, int, tuple]
"""Protocol, learner, seed, norm, number of units, episode keys.

Verdicts of records with the same group key can be combined.
"""

Arrays = dict[tuple[str, str], np.ndarray]
"""(cell, array name) -> derived verdicts."""


def with_worst_case(results: Results) -> Results:
    """Add the derived attacks ``"worst"`` and ``"union"``, and the checks across attacks.

    A sample is robust at eps if it withstands every attack of that norm at eps and at every
    smaller eps of the sweep, because a perturbation stays feasible in a larger budget. A learner
    that lacks an attack which another learner met (because a cell failed) gets no worst case: it
    would look better for having been attacked less. Where there are proofs, brackets follow.

    The union takes the norms of a protocol together, if they have equally many budgets: the first
    budget of each, the second of each, and so on.
    """
    attacked = {name for name, kind in results.protocols.items() if kind in ATTACKED}
    # Measured as a cascade, or derived before.
    worst = _with_attack(WORST, results)
    alone = swept(results, attacked - worst)
    united = swept(results, attacked - _with_attack(UNION, results))
    if not alone and len({record.setting.get("norm") for record in united}) < 2:
        return results
    checked = _with_checks(results, list(grouped(alone).values()))
    # Grouped again, because the checks changed the records' trust.
    groups = grouped(swept(checked, attacked - _with_attack(UNION, results)))
    expected = _expected(groups)
    standing = {
        key: list(_standing(group, expected[_without_learner(key)], results))
        for key, group in groups.items()
    }
    arrays: Arrays = {}
    derived: list[Record] = []
    for key, by_eps in standing.items():
        is_several = len({attack for attack, _ in expected[_without_learner(key)]}) > 1
        if is_several and key[0] not in worst:
            for each in by_eps:
                derived.append(_worst_record(each))
                arrays[derived[-1].cell, each.name] = each.units
    for each in _unions(standing):
        derived.append(_union_record(each))
        arrays[derived[-1].cell, each.name] = each.units

    def verdicts(cell: str, name: str) -> np.ndarray:
        if (cell, name) in arrays:
            return arrays[cell, name]
        return results.verdicts(cell, name)

    return with_brackets(replace(checked, records=checked.records + derived, verdicts=verdicts))


def _with_attack(name: str, results: Results) -> set[str]:
    """The protocols that have an attack of this name."""
    return {each.protocol for each in results.records if each.setting.get("attack") == name}


def swept(results: Results, protocols: set[str]) -> list[Record]:
    """The records of attack sweeps that verdicts are stored for."""
    return [
        record
        for record in results.records
        if record.protocol in protocols
        and record.metric == "accuracy"
        and record.verdicts is not None
        and {"attack", "eps"} <= record.setting.keys()
        # A worst case that was derived before has accuracies of episodes, not verdicts of queries.
        and not record.cell.startswith((f"{WORST}/", f"{UNION}/"))
        # Other images and another question: what withstands a class may still be misclassified.
        and "target" not in record.setting
    ]


def grouped(records: list[Record]) -> dict[GroupKey, list[Record]]:
    """Put records together whose verdicts can be combined."""
    groups: dict[GroupKey, list[Record]] = defaultdict(list)
    for record in records:
        groups[_group_key(record)].append(record)
    return groups


def _group_key(record: Record) -> GroupKey:
    episodes = tuple(record.setting.get(key) for key in EPISODE_KEYS)
    norm = record.setting.get("norm")
    return record.protocol, record.learner, record.seed, norm, record.n, episodes


def _without_learner(key: GroupKey) -> tuple:
    """A group key without learner and seed."""
    return key[0], *key[3:]


# ------------------------------------------------------------------------------------ worst case


def _expected(groups: dict[GroupKey, list[Record]]) -> dict[tuple, set[tuple[str, float]]]:
    """The attacks and budgets that any learner met."""
    expected: dict[tuple, set[tuple[str, float]]] = defaultdict(set)
    for key, group in groups.items():
        expected[_without_learner(key)] |= {_attack_and_eps(record) for record in group}
    return expected


def _attack_and_eps(record: Record) -> tuple[str, float]:
    """An attack with all its settings, and its eps."""
    setting = {key: value for key, value in record.setting.items() if key != "eps"}
    return json.dumps(setting, sort_keys=True), record.setting["eps"]


@dataclass(frozen=True)
class _Standing:
    """What withstood some attacks up to one eps.

    Attributes:
        used: the records of all attacks up to this eps, at least one.
        eps: the budget.
        robust: bool (n,) images, or (n, Q) queries of episodes.
    """

    used: list[Record]
    eps: float
    robust: np.ndarray

    @property
    def name(self) -> str:
        """Name of the array with the verdicts."""
        return f"eps={words(self.eps)}"

    @property
    def units(self) -> np.ndarray:
        """0 or 1 per image, or accuracy per episode, (n,)."""
        is_sample = self.used[0].unit == "sample"
        units: np.ndarray = self.robust.astype(np.uint8) if is_sample else self.robust.mean(axis=1)
        return units


def _standing(
    group: list[Record], expected: set[tuple[str, float]], results: Results
) -> Iterator[_Standing]:
    """What withstood all attacks of a group, at each eps."""
    available = {_attack_and_eps(record): record for record in group}
    robust = np.array(True)
    used: list[Record] = []
    for eps in sorted({eps for _, eps in expected}):
        wanted = sorted(pair for pair in expected if pair[1] == eps)
        if any(pair not in available for pair in wanted):
            return  # Larger eps depend on this one.
        for pair in wanted:
            used.append(available[pair])
            robust = robust & withstood(available[pair], results)
        yield _Standing([*used], eps, robust)


def _unions(standing: dict[GroupKey, list[_Standing]]) -> Iterator[_Standing]:
    """What withstood all norms of a protocol, at the first budget of each, the second, and so on.

    Norms of different numbers of budgets do not go together.
    """
    norms: dict[tuple, list[list[_Standing]]] = defaultdict(list)
    for key, by_eps in standing.items():
        positive = [each for each in by_eps if each.eps > 0]
        norms[(*key[:3], *key[4:])].append(positive)
    for each_norm in norms.values():
        if len(each_norm) > 1 and len({len(by_eps) for by_eps in each_norm}) == 1:
            for together in zip(*each_norm, strict=True):
                used = [record for each in together for record in each.used]
                robust = np.logical_and.reduce([each.robust for each in together])
                yield _Standing(used, together[0].eps, robust)


def _union_record(standing: _Standing) -> Record:
    """The record of a union; its eps is that of the first norm."""
    largest: dict[str, float] = {}
    for record in standing.used:
        eps = record.setting["eps"]
        norm = str(record.setting.get("norm"))
        largest[norm] = max(eps, largest.get(norm, 0.0))
    together = " + ".join(f"{norm} {words(eps)}" for norm, eps in largest.items())
    record = _worst_record(standing)
    _, *rest = record.cell.split("/")
    setting = {**record.setting, "attack": UNION, "norm": together}
    return replace(record, cell="/".join([UNION, *rest]), setting=setting)


def _worst_record(standing: _Standing) -> Record:
    """The record of a worst case."""
    used, units = standing.used, standing.units
    first = used[0]
    common = {
        key: value
        for key, value in first.setting.items()
        if all(record.setting.get(key) == value for record in used)
    }
    low: float | None
    high: float | None
    if first.unit == "sample":
        low, high = wilson(int(units.sum()), len(units))
    else:
        low, high = share_interval(units)
    return replace(
        first,
        cell="/".join(map(str, (WORST, *_group_key(first)))),
        setting={**common, "attack": WORST, "eps": standing.eps},
        value=float(units.mean()),
        low=low,
        high=high,
        verdicts=standing.name,
        trust=worst_level(record.trust for record in used),
        wall_s=0.0,
    )


def withstood(record: Record, results: Results) -> np.ndarray:
    """What withstood an attack, bool: (n,) images, or (n, Q) queries of episodes.

    Raises:
        ValueError: The record has no stored verdicts.
    """
    name = record.verdicts
    if name is None:
        raise ValueError(f"{record.metric} of {record.learner} has no stored verdicts")
    if record.unit != "sample":
        # The verdicts behind the accuracy of each episode.
        name = name.replace("accuracy/", "correct/", 1)
    standing: np.ndarray = np.asarray(results.verdicts(record.cell, name)) > 0
    return standing


# --------------------------------------------------------------------------- checks across attacks


def _with_checks(results: Results, groups: list[list[Record]]) -> Results:
    """Attach to the cells of PGD the check that it is at least as strong as FGSM."""
    checks: dict[str, TrustCheck] = {}
    for group in groups:
        check = pgd_against_fgsm(group, results)
        if check:
            checks |= {record.cell: check for record in group if _attack_kind(record) == "pgd"}
    trust = dict(results.trust)
    for cell, check in checks.items():
        trust[cell] = [*trust.get(cell, []), check]
    records = []
    for record in results.records:
        if record.cell in checks:
            level = worst_level([record.trust, checks[record.cell].level])
            record = replace(record, trust=level)
        records.append(record)
    return replace(results, records=records, trust=trust)


def _attack_kind(record: Record) -> str:
    """The kind of an attack, whatever its label."""
    kind: str = record.setting.get("config", {}).get("attack", record.setting["attack"])
    return kind


def pgd_against_fgsm(group: list[Record], results: Results) -> TrustCheck | None:
    """Count the images that FGSM breaks and PGD does not, at the eps where they are most.

    Args:
        group: Records of one learner, seed and norm.
        results: Where the verdicts are read from.

    Returns:
        The check, or None unless both attacks were run at some eps.
    """
    fgsm = _survivors([record for record in group if _attack_kind(record) == "fgsm"], results)
    pgd = _survivors([record for record in group if _attack_kind(record) == "pgd"], results)
    missed, at_eps, images = -1, 0.0, 0
    for eps in fgsm.keys() & pgd.keys():
        only_fgsm = int((pgd[eps] & ~fgsm[eps]).sum())
        images = pgd[eps].size
        missed, at_eps = max((missed, at_eps), (only_fgsm, eps))
    if missed < 0:
        return None
    level: Trust = "PASS"
    if missed > 0:
        level = "WARN" if missed <= TOLERANCE * images else "FAIL"
    return TrustCheck(
        "PGD at least as strong as FGSM",
        level,
        f"FGSM breaks {missed} of {images} images that PGD does not break (eps {words(at_eps)})",
    )


def _survivors(records: list[Record], results: Results) -> dict[float, np.ndarray]:
    """Eps -> bool (n,): what withstood all of ``records`` up to that eps."""
    survivors: dict[float, np.ndarray] = {}
    robust = np.array(True)
    for record in sorted(records, key=lambda record: record.setting["eps"]):
        robust = robust & withstood(record, results)
        survivors[record.setting["eps"]] = robust
    return survivors
