"""What stands under a table: how its intervals and bold numbers were made, and what is missing or distrusted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from harness.records import Record
from harness.report.aggregate import LEVEL
from harness.report.derive import WORST
from harness.report.results import Results

FEW_SEEDS = 5
"""With fewer, a bootstrap over seeds is visibly too narrow."""

_TESTS = {("sample", False): "exact McNemar", ("episode", False): "t test paired by episode",
          ("sample", True): "bootstrap over seeds and images, paired",
          ("episode", True): "bootstrap over seeds and episodes, paired"}


def reading(records: Sequence[Record], bold: bool, distrusted: bool) -> Iterator[str]:
    """How to read the numbers.

    Args:
        records: all that the table shows.
        bold: whether any number is bold.
        distrusted: whether a row is marked with a dagger.
    """
    seeds = {r.seed for r in records}
    several = len(seeds) > 1
    how = sorted({text for r in records if (text := _interval(r, several))})
    if how:
        yield f"±: half the width of the {' / '.join(how)}."
    if several and len(seeds) < FEW_SEEDS:
        yield f"{len(seeds)} seeds say little about the spread between seeds: intervals over so few are too narrow."
    if bold:
        tests = {_TESTS[r.unit, several] for r in records if (r.unit, several) in _TESTS}
        aside = ", rows marked † aside," if distrusted else ""
        yield (f"Bold: the best of a column{aside} and all that is not significantly worse ({' / '.join(sorted(tests))}, "
               f"Holm-corrected over rows, p > {LEVEL:g}).")
    if any(r.setting.get("attack") == WORST for r in records):
        yield "worst: an image counts as robust if it withstood every attack at this and every smaller eps."


def _interval(record: Record, several: bool) -> str | None:
    """Which interval a number has, as ``aggregate`` makes it."""
    if several and record.verdicts is None:
        return "95 % t interval over seeds"
    if several:
        return "95 % hierarchical bootstrap over seeds" + (", then episodes" if record.unit == "episode" else
                                                           " and test images, crossed")
    if record.low is None:
        return None
    if record.unit == "sample" and record.metric == "accuracy":
        return "95 % Wilson interval over test images"
    return f"95 % t interval over {'images' if record.unit == 'sample' else f'{record.unit}s'}"


def failures(results: Results, protocol: str) -> Iterator[str]:
    """One line for the cells of a learner that ended in the same exception."""
    seeds: dict[tuple[str, str], set[int]] = {}
    for learner, where, seed, line in results.failures:
        if where == protocol:
            seeds.setdefault((learner, line), set()).add(seed)
    for (learner, line), failed in sorted(seeds.items()):
        yield f"Failed: {learner}, seed {', '.join(map(str, sorted(failed)))}: {line}"


def distrust(records: Iterable[Record], results: Results) -> Iterator[str]:
    """One line a failed trust check of the cells behind ``records``."""
    seen = {}
    for record in records:
        for check in results.trust.get(record.cell, ()):
            if check.level == "FAIL":
                seen[record.learner, record.seed, check.name] = check.detail
    for (learner, seed, name), detail in sorted(seen.items()):
        yield f"† {learner}, seed {seed}: trust check failed: {name}: {detail}"
