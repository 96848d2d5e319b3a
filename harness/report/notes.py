"""What stands under a table: how its intervals and bold numbers were made, and what is missing or distrusted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from harness.records import Record
from harness.report.aggregate import LEVEL
from harness.report.derive import WORST
from harness.report.results import Results

FEW_SEEDS = 5
"""With fewer, a bootstrap over seeds is visibly too narrow."""

_ONE_SEED = {"sample": "95 % Wilson interval over test images", "episode": "95 % t interval over episodes"}
_SEEDS = {"sample": "hierarchical bootstrap (95 %) over seeds and test images, crossed",
          "episode": "hierarchical bootstrap (95 %) over seeds, then episodes"}
_TESTS = {("sample", False): "exact McNemar", ("episode", False): "t test paired by episode",
          ("sample", True): "bootstrap over seeds and images, paired",
          ("episode", True): "bootstrap over seeds and episodes, paired"}


def reading(records: Sequence[Record], bold: bool) -> Iterator[str]:
    """How to read the numbers.

    Args:
        records: all that the table shows.
        bold: whether any number is bold.
    """
    seeds, units = sorted({r.seed for r in records}), sorted({r.unit for r in records if r.low is not None})
    several = len(seeds) > 1
    how = [(_SEEDS if several else _ONE_SEED).get(unit) for unit in units]
    if any(how):
        yield f"±: half the width of the {' / '.join(filter(None, how))}."
    if several and len(seeds) < FEW_SEEDS:
        yield f"{len(seeds)} seeds say little about the spread between seeds: intervals over so few are too narrow."
    if bold:
        tests = {_TESTS[r.unit, several] for r in records if (r.unit, several) in _TESTS}
        yield (f"Bold: the best of a column and all that is not significantly worse ({' / '.join(sorted(tests))}, "
               f"Holm-corrected over rows, p > {LEVEL:g}).")
    if any(r.setting.get("attack") == WORST for r in records):
        yield "worst: an image counts as robust if it withstood every attack at this and every smaller eps."


def failures(results: Results, protocol: str) -> Iterator[str]:
    """One line a cell that ended in an exception."""
    for learner, where, seed, line in sorted(results.failures):
        if where == protocol:
            yield f"Failed: {learner}, seed {seed}: {line}"


def distrust(records: Iterable[Record], results: Results) -> Iterator[str]:
    """One line a failed trust check of the cells behind ``records``."""
    seen = {}
    for record in records:
        for check in results.trust.get(record.cell, ()):
            if check.level == "FAIL":
                seen[record.learner, record.seed, check.name] = check.detail
    for (learner, seed, name), detail in sorted(seen.items()):
        yield f"† {learner}, seed {seed}: trust check failed: {name}: {detail}"
