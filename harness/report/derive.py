"""What follows from several attacks together, without running anything: the worst case, and checks across attacks."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from harness.cells.results import Results
from harness.metrics.statistics import t_interval, wilson
from harness.records import WORST, Record, TrustCheck, worst_level

TOLERANCE = 0.01
"""Share of images that may fall to FGSM but not to PGD, whose random start can miss a few, before the row is distrusted."""

ATTACKED = ("attack_sweep", "attacked_episodes")
"""Kinds of protocol whose records are of attacks."""

EPISODE = ("ways", "shots", "support_eps")
"""Keys of a setting that say which episodes were attacked, and how their support set was before."""

Key = tuple[str, str, int, str | None, int, tuple]
"""protocol, learner, seed, norm, number of units, which episodes: what verdicts can be combined within."""


def with_worst_case(results: Results) -> Results:
    """``results`` with a derived attack ``"worst"`` and the checks across attacks, for every protocol under attack in it.

    A sample counts as robust at eps if it withstood every attack of that norm at eps and at every smaller eps of the
    sweep, since a perturbation stays feasible in a larger budget. Where any learner met an attack that another did not
    (a failed cell), the other gets no worst case: it would look better for having been attacked less.
    """
    attacked = {name for name, kind in results.protocols.items() if kind in ATTACKED}
    swept = [r for r in results.records if r.protocol in attacked and _is_swept(r)]
    if not swept or any(r.setting["attack"] == WORST for r in swept):
        return results
    checked = _with_checks(results, list(_grouped(swept).values()))
    groups = _grouped(
        [r for r in checked.records if r.protocol in attacked and _is_swept(r)]
    )  # with what the checks said
    arrays: dict[tuple[str, str], np.ndarray] = {}
    expected = _expected(groups)
    derived = [
        record
        for key, group in groups.items()
        for record in _worst_cases(group, expected[_whatever_learner(key)], results, arrays)
    ]
    return replace(
        checked,
        records=checked.records + derived,
        verdicts=lambda cell, name: (
            arrays[cell, name] if (cell, name) in arrays else results.verdicts(cell, name)
        ),
    )


def _grouped(records: list[Record]) -> dict[Key, list[Record]]:
    groups: dict[Key, list[Record]] = defaultdict(list)
    for record in records:
        groups[_key(record)].append(record)
    return groups


def _is_swept(record: Record) -> bool:
    return (
        record.metric == "accuracy"
        and record.verdicts is not None
        and {"attack", "eps"} <= record.setting.keys()
    )


def _key(record: Record) -> Key:
    which = tuple(record.setting.get(key) for key in EPISODE)
    return record.protocol, record.learner, record.seed, record.setting.get("norm"), record.n, which


def _attack(record: Record) -> str:
    """An attack with all its settings, eps left out."""
    return json.dumps({k: v for k, v in record.setting.items() if k != "eps"}, sort_keys=True)


def _name(record: Record) -> str:
    """Which attack it is, whatever label it goes by."""
    return record.setting.get("config", {}).get("attack", record.setting["attack"])


def _whatever_learner(key: Key) -> tuple:
    return key[0], *key[3:]


def _expected(groups: dict[Key, list[Record]]) -> dict[tuple, set[tuple[str, float]]]:
    """Which attacks and budgets any learner met."""
    out: dict[tuple, set[tuple[str, float]]] = defaultdict(set)
    for key, group in groups.items():
        out[_whatever_learner(key)] |= {(_attack(r), r.setting["eps"]) for r in group}
    return out


def _worst_cases(
    group: list[Record],
    expected: set[tuple[str, float]],
    results: Results,
    arrays: dict[tuple[str, str], np.ndarray],
) -> Iterator[Record]:
    """One record an eps; fills ``arrays`` with the verdicts behind it."""
    at = {(_attack(r), r.setting["eps"]): r for r in group}
    if len({attack for attack, _ in expected}) < 2:
        return
    robust, used = np.array(True), []
    for eps in sorted({eps for _, eps in expected}):
        wanted = sorted(pair for pair in expected if pair[1] == eps)
        if any(pair not in at for pair in wanted):
            return  # and neither at any larger eps
        used += [at[pair] for pair in wanted]
        for pair in wanted:
            robust = robust & _verdict(at[pair], results)
        units = robust.astype(np.uint8) if used[0].unit == "sample" else robust.mean(axis=1)
        record = _derived(used, eps, units)
        arrays[record.cell, record.verdicts] = units
        yield record


def _derived(used: list[Record], eps: float, units: np.ndarray) -> Record:
    first = used[0]
    common = {k: v for k, v in first.setting.items() if all(r.setting.get(k) == v for r in used)}
    low, high = (
        wilson(int(units.sum()), len(units)) if first.unit == "sample" else t_interval(units)
    )
    return replace(
        first,
        cell="/".join(map(str, (WORST, *_key(first)))),
        setting={**common, "attack": WORST, "eps": eps},
        value=float(units.mean()),
        low=low,
        high=high,
        verdicts=f"eps={eps:g}",
        trust=worst_level(r.trust for r in used),
        wall_s=0.0,
    )


def _verdict(record: Record, results: Results) -> np.ndarray:
    """What stood, bool: (n,) images, or (n, Q) queries of episodes, whose accuracies are what the record is the mean of."""
    name = (
        record.verdicts
        if record.unit == "sample"
        else record.verdicts.replace("accuracy/", "correct/", 1)
    )
    return np.asarray(results.verdicts(record.cell, name)) > 0


def _with_checks(results: Results, groups: list[list[Record]]) -> Results:
    """PGD's cells carry the check that it is at least as strong as FGSM."""
    found: dict[str, TrustCheck] = {}
    for group in groups:
        check = pgd_against_fgsm(group, results)
        if check:
            found |= {r.cell: check for r in group if _name(r) == "pgd"}
    trust = results.trust | {
        cell: [*results.trust.get(cell, []), check] for cell, check in found.items()
    }
    records = [
        replace(r, trust=worst_level([r.trust, found[r.cell].level])) if r.cell in found else r
        for r in results.records
    ]
    return replace(results, records=records, trust=trust)


def pgd_against_fgsm(group: list[Record], results: Results) -> TrustCheck | None:
    """Images that fall to FGSM but not to PGD, at the eps where most do; None where not both were run.

    Args:
        group: records of one learner, seed and norm.
    """
    worst, n = (-1, 0.0), 0
    left = {
        name: _survivors([r for r in group if _name(r) == name], results)
        for name in ("fgsm", "pgd")
    }
    for eps in left["fgsm"].keys() & left["pgd"].keys():
        missed, n = int((left["pgd"][eps] & ~left["fgsm"][eps]).sum()), left["pgd"][eps].size
        worst = max(worst, (missed, eps))
    if worst[0] < 0:
        return None
    level = "PASS" if worst[0] == 0 else "WARN" if worst[0] <= TOLERANCE * n else "FAIL"
    return TrustCheck(
        "PGD at least as strong as FGSM",
        level,
        f"{worst[0]} of {n} images fall to FGSM but not to PGD (eps {worst[1]:g})",
    )


def _survivors(records: list[Record], results: Results) -> dict[float, np.ndarray]:
    """Eps -> bool (n,): what withstood all of ``records`` up to that eps."""
    out, robust = {}, True
    for record in sorted(records, key=lambda r: r.setting["eps"]):
        robust = robust & _verdict(record, results)
        out[record.setting["eps"]] = robust
    return out
