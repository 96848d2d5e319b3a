"""What stands under a table: how its intervals and bold numbers were made, and what is missing or distrusted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from harness.cells.results import Results
from harness.records import WORST, Record
from harness.report.aggregate import LEVEL, is_bootstrapped
from harness.report.formats import reach
from harness.report.table import Cell

_TESTS = {
    "sample": ("exact McNemar", "bootstrap over seeds and images, paired"),
    "image": ("t test paired by image", "bootstrap over seeds and images, paired"),
    "episode": ("t test paired by episode", "bootstrap over seeds and episodes, paired"),
    "listed episode": ("t test paired by episode", "bootstrap over seeds and episodes, paired"),
}


def reading(shown: Sequence[tuple[Cell, list[Record]]], distrusted: bool) -> Iterator[str]:
    """How to read the numbers.

    Args:
        shown: each cell with its records, one a seed.
        distrusted: whether a row is marked with a dagger.
    """
    yield from _intervals(shown)
    tests = {_test(cell.unit, len(records)) for cell, records in shown if cell.bold}
    if tests:
        aside = ", rows marked † aside," if distrusted else ""
        yield (
            f"Bold: the best of a column{aside} and all that is not significantly worse ({' / '.join(sorted(tests))}, "
            f"Holm-corrected over rows, p > {LEVEL:g})."
        )
    if any(r.setting.get("attack") == WORST for _, records in shown for r in records):
        yield "worst: an image counts as robust if it withstood every attack at this and every smaller eps."


def _test(unit: str, seeds: int) -> str:
    alone, several = _TESTS[unit]
    return alone if seeds == 1 else f"{several}, and paired t over {seeds} seeds"


def _intervals(shown: Sequence[tuple[Cell, list[Record]]]) -> Iterator[str]:
    """Which intervals there are, and what the signs before them mean."""
    arms = {id(cell): reach(cell.metric, cell.value, cell.low, cell.high) for cell, _ in shown}
    how = sorted({_interval(records) for cell, records in shown if arms[id(cell)]})
    if not how:
        return
    uneven = any("t interval" not in text for text in how)
    alone = any(arm[:1] in "+−" for arm in arms.values() if arm)
    yield (
        f"±: {' / '.join(how)}"
        + ("; its longer arm where they differ" if uneven else "")
        + ("; + or − alone: its only arm" if alone else "")
        + "."
    )


def _interval(records: Sequence[Record]) -> str:
    """Which interval a number has, as ``aggregate`` makes it."""
    first, several = records[0], len(records) > 1
    if several and not is_bootstrapped(records):
        return "95 % t interval over seeds"
    if several:
        within = {"episode": ", then episodes", "listed episode": " and episodes, crossed"}
        crossed = within.get(first.unit, " and test images, crossed")
        return f"95 % t interval over seeds, or hierarchical bootstrap over seeds{crossed}, whichever is wider"
    if first.unit == "sample" and first.metric == "accuracy":
        return "95 % Wilson interval over test images"
    return f"95 % t interval over {'images' if first.unit == 'sample' else f'{first.unit}s'}"


def partial(
    lacking: Mapping[tuple[str, tuple[int, ...]], Sequence[str]], planned: Sequence[int]
) -> Iterator[str]:
    """One line for the cells of a row that are over the same seeds, and not over those planned.

    Args:
        lacking: row and the seeds that its numbers are over -> the columns in which they are.
        planned: the seeds of the protocol.
    """
    for (row, seeds), columns in lacking.items():
        where = f" in {'; '.join(filter(None, columns))}" if any(columns) else ""
        yield (
            f"Partial: {row} has seed {_listed(seeds)} only, not {_listed(planned)}{where}; "
            "nothing is bold in a column with such a number."
        )


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))


def no_such_metric(wanted: Sequence[str], present: Iterable[str]) -> Iterator[str]:
    """One line where a table asks for what was not measured."""
    present = sorted(present)
    missing = [metric for metric in wanted if metric not in present]
    if present and missing:
        yield f"No {', '.join(missing)} was measured. Metrics there are: {', '.join(present)}."


def matched(
    results: Results, protocol: str, learners: Collection[str] | None = None
) -> Iterator[str]:
    """One line a learner of which a key was chosen: what was chosen, and what it reached; another where that is not near.

    Args:
        learners: these alone; all of them if left out.
    """
    for learner, found in results.matches.get(protocol, {}).items():
        if learners is not None and learner not in learners:
            continue
        first, measure = found[0], found[0].match.measure.replace("_", " ")
        of = f"{measure} of {first.target}" if first.target else f"{measure} {first.match.wanted:g}"
        how = (
            f"; the strongest {first.match.key} found to keep it on validation images"
            if measure == "clean accuracy"
            else ""
        )
        yield (
            f"Matched: {learner} to {of} within {first.match.tolerance:g} ({first.data}{how}): "
            f"{'; '.join(choices(results, protocol, learner))}."
        )
        missed = [str(one.seed) for one in found if not one.match.near]
        if missed:
            yield (
                f"Not matched: {learner}, seed {', '.join(missed)}: no {first.match.key} that was tried comes near enough to "
                f"that {measure}; the nearest was taken."
            )


def choices(results: Results, protocol: str, learner: str) -> Iterator[str]:
    """What was chosen for a learner, seed by seed: ``"seed 0: l1 = 0.00031, density 0.281 (wanted 0.285, 6 trainings)"``."""
    for one in results.matches.get(protocol, {}).get(learner, []):
        match = one.match
        yield (
            f"seed {one.seed}: {match.key} = {match.value:g}, {match.measure.replace('_', ' ')} {match.reached:.3f} "
            f"(wanted {match.wanted:.3f}, {len(match.tried)} trainings)"
        )


def failures(results: Results, protocol: str) -> Iterator[str]:
    """One line for the cells of a learner that ended in the same exception."""
    seeds: dict[tuple[str, str], set[int]] = {}
    for learner, where, seed, line in results.failures:
        if where == protocol:
            seeds.setdefault((learner, line), set()).add(seed)
    for (learner, line), failed in sorted(seeds.items()):
        yield f"Failed: {learner}, seed {_listed(sorted(failed))}: {line}"


def distrust(records: Iterable[Record], results: Results) -> Iterator[str]:
    """One line a failed trust check of the cells behind ``records``."""
    seen = {}
    for record in records:
        for check in results.trust.get(record.cell, ()):
            if check.level == "FAIL":
                seen[record.learner, record.seed, check.name] = check.detail
    for (learner, seed, name), detail in sorted(seen.items()):
        yield f"† {learner}, seed {seed}: trust check failed: {name}: {detail}"


def warnings(records: Iterable[Record], results: Results) -> Iterator[str]:
    """One line a trust check that warned: which learners under which attacks. The details lie in the store."""
    seen: dict[str, set[str]] = {}
    for record in records:
        for check in results.trust.get(record.cell, ()):
            if check.level == "WARN":
                seen.setdefault(check.name, set()).add(
                    f"{record.learner} ({record.setting.get('attack', record.protocol)})"
                )
    for name, where in sorted(seen.items()):
        yield f"Warning, {name}: {', '.join(sorted(where))}."
