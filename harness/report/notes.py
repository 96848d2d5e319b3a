"""Notes under a table: how intervals and bold were made, and what is missing or distrusted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from harness.cells import opened
from harness.cells.results import Matched, Results
from harness.records import FROM_VERDICTS, UNION, WORST, Record
from harness.report.aggregate import has_units
from harness.report.formats import error_bar, is_bracket
from harness.report.pairs import LEVEL
from harness.report.table import Cell

_UNIT_NAMES = {"sample": "image", "listed episode": "episode"}
"""Unit -> what a reader calls it, if not by its own name."""

DETAILED = (opened.CHECK,)
"""Trust checks whose note needs the detail to be of use."""

SHARES_OF_SAMPLES = (*FROM_VERDICTS, "fpr95", "right_in_bin", "transferred")
"""Metrics that are means of verdicts, with Wilson intervals."""

RESAMPLED = {
    "rsa_": "95 % bootstrap interval over stimuli and subjects",
    "rf_": "95 % bootstrap interval over neurons",
    "spectrum_": "95 % jackknife interval over stimuli",
}
"""How the names of metrics begin whose interval of one seed is resampled -> what it is."""

Shown = Sequence[tuple[Cell, list[Record]]]
"""The cells of a table with their records, one per seed."""


def reading(shown: Shown, *, distrusted: bool) -> Iterator[str]:
    """Explain the intervals, the bold numbers and the worst case.

    Args:
        shown: The cells of the table.
        distrusted: Whether a row is marked with a dagger.
    """
    yield from _intervals(shown)
    tests = {_test(cell.unit, len(records)) for cell, records in shown if cell.bold}
    if tests:
        except_rows = "; rows marked † are excluded" if distrusted else ""
        yield (
            "Bold: the best of each column and all that are not shown to be worse. With a "
            f"probability of {100 * (1 - LEVEL):g} % a column's bold numbers include every row "
            f"that is truly the best ({' / '.join(sorted(tests))}, corrected for all pairs)"
            f"{except_rows}."
        )
    if any(record.setting.get("attack") == WORST for _, records in shown for record in records):
        yield (
            "worst: an image is robust if it withstands every attack "
            "at this eps and at every smaller eps."
        )
    unions = {
        record.setting["norm"]
        for _, records in shown
        for record in records
        if record.setting.get("attack") == UNION
    }
    if unions:
        yield (
            "union: an image is robust if it withstands the worst case in every norm, at budgets "
            f"that go together: {'; '.join(sorted(unions))}."
        )
    if any(is_bracket(cell.metric) for cell, _ in shown):
        yield (
            "a–b: proven and left by the attack, means over seeds; the robust accuracy of these "
            "networks on these images is between the two. –: no bound, or not measured."
        )


def _test(unit: str, seeds: int) -> str:
    name = _unit_name(unit)
    return (
        f"differences paired by {name}" if seeds == 1 else f"differences paired by seed and {name}"
    )


def _unit_name(unit: str) -> str:
    return _UNIT_NAMES.get(unit, unit)


def _intervals(shown: Shown) -> Iterator[str]:
    """Name the intervals, and explain the signs before them."""
    kinds = set()
    signs = set()
    is_lopsided = False
    is_sure = False
    for cell, records in shown:
        error = error_bar(cell.metric, cell.value, cell.low, cell.high)
        if error:
            kinds.add(_interval(records))
            signs.add("+−" if "−" in error[1:] else error[0])
            is_lopsided = is_lopsided or _is_lopsided(cell)
            is_sure = is_sure or cell.low == cell.high
    if not kinds:
        return
    note = f"±: {' / '.join(sorted(kinds))}"
    if "±" in signs and is_lopsided:
        note += "; the longer side if they differ"
    if "+−" in signs:
        note += "; + and −: both sides, where ± would leave 0 to 100 %"
    if signs & {"+", "−"}:
        note += "; + or − alone: the only side"
    if is_sure:
        note += "; ±0: equal in every seed"
    yield f"{note}."


def _is_lopsided(cell: Cell) -> bool:
    """Whether the sides of an interval differ by more than is printed."""
    if cell.low is None or cell.high is None:
        return False
    below = cell.value - cell.low
    above = cell.high - cell.value
    return abs(above - below) > 0.0005 * max(1.0, abs(cell.value))


def _interval(records: Sequence[Record]) -> str:
    """Name the interval that ``aggregate`` gives a number."""
    first = records[0]
    if len(records) > 1:
        over = f"seeds and {_unit_name(first.unit)}s" if has_units(records) else "seeds"
        return f"95 % t interval over {over}"
    if first.unit == "sample" and first.metric in SHARES_OF_SAMPLES:
        return "95 % Wilson interval over test images"
    for beginning, words in RESAMPLED.items():
        if first.metric.startswith(beginning):
            return words
    return f"95 % t interval over {_unit_name(first.unit)}s"


def one_seed(shown: Shown, *, of_learners: bool) -> Iterator[str]:
    """Say what a table of a single seed compares."""
    seeds = {record.seed for _, records in shown for record in records}
    learners = {record.learner for _, records in shown for record in records}
    if of_learners and len(learners) > 1 and len(seeds) == 1:
        yield (
            f"One seed ({seeds.pop()}): these numbers compare trained networks, not learners, "
            "because other seeds would train other networks."
        )


def partial(
    partial_columns: Mapping[tuple[str, tuple[int, ...]], Sequence[str]], planned: Sequence[int]
) -> Iterator[str]:
    """Name the numbers that are over other seeds than planned, one line per row and seeds.

    Args:
        partial_columns: Row and the seeds of its numbers -> the columns of these numbers.
        planned: The seeds of the protocol.
    """
    for (row, seeds), columns in partial_columns.items():
        where = f" in {'; '.join(filter(None, columns))}" if any(columns) else ""
        yield (f"Partial: {row} has only seed {_listed(seeds)} of {_listed(planned)}{where}.")


def left_out(columns_of: Mapping[tuple[str, str], Sequence[str]]) -> Iterator[str]:
    """Name the numbers that are not compared with their column, one line per row and reason.

    Args:
        columns_of: Row and reason -> the columns of these numbers.
    """
    for (row, reason), columns in columns_of.items():
        where = f" in {'; '.join(filter(None, columns))}" if any(columns) else ""
        yield f"Not compared: {row}{where}: {reason}."


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))


def unmeasured(missing: Sequence[str], measured: Sequence[str]) -> Iterator[str]:
    """Name the metrics that a table asks for and nobody measured."""
    if measured and missing:
        yield f"Not measured: {', '.join(missing)}. Measured metrics: {', '.join(measured)}."


def matched(
    results: Results, protocol: str, learners: Collection[str] | None = None
) -> Iterator[str]:
    """Say which keys ``match`` chose, one line per learner; another line if it missed its target.

    Args:
        results: All results.
        protocol: Name of the protocol.
        learners: Restrict the notes to these learners; all if None.
    """
    for learner, choices in results.matches.get(protocol, {}).items():
        if learners is None or learner in learners:
            yield from _matched(learner, choices)


def _matched(learner: str, choices: Sequence[Matched]) -> Iterator[str]:
    first = choices[0]
    key = first.match.key
    measure = first.match.measure.replace("_", " ")
    target = f"of {first.target}" if first.target else f"{first.match.wanted:g}"
    details = first.data
    if measure == "clean accuracy":
        details += f"; the strongest {key} that keeps it on validation images"
    seeds = "; ".join(map(describe_choice, choices))
    tolerance = f"{first.match.tolerance:g}"
    yield f"Matched: {learner} to {measure} {target} within {tolerance} ({details}): {seeds}."
    missed = [choice.seed for choice in choices if not choice.match.near]
    if missed:
        yield (
            f"Not matched: {learner}, seed {_listed(missed)}: no tried {key} reaches that "
            f"{measure} within the tolerance; the closest one is used."
        )


def describe_choice(choice: Matched) -> str:
    """Say what ``match`` chose for one seed.

    For example ``"seed 0: l1 = 0.00031, density 0.281 (target 0.285, 6 trainings)"``.
    """
    match = choice.match
    measure = match.measure.replace("_", " ")
    return (
        f"seed {choice.seed}: {match.key} = {match.value:g}, {measure} {match.reached:.3f} "
        f"(target {match.wanted:.3f}, {len(match.tried)} trainings)"
    )


def remarks(records: Iterable[Record], results: Results) -> Iterator[str]:
    """What the cells behind ``records`` say of themselves, one line each with all learners."""
    learners: dict[str, set[str]] = {}
    for record in records:
        for remark in results.remarks.get(record.cell, ()):
            learners.setdefault(remark, set()).add(record.learner)
    for remark, names in sorted(learners.items()):
        yield f"{', '.join(sorted(names))}: {remark}."


def failures(results: Results, protocol: str) -> Iterator[str]:
    """Name failed cells, one line for the cells of a learner with the same exception."""
    seeds: dict[tuple[str, str], set[int]] = {}
    for learner, where, seed, exception in results.failures:
        if where == protocol:
            seeds.setdefault((learner, exception), set()).add(seed)
    for (learner, exception), failed in sorted(seeds.items()):
        yield f"Failed: {learner}, seed {_listed(sorted(failed))}: {exception}"


def failed_checks(records: Iterable[Record], results: Results) -> Iterator[str]:
    """Name the failed trust checks of the cells behind ``records``, one line each."""
    details: dict[tuple[str, int, str], str] = {}
    for record in records:
        for check in results.trust.get(record.cell, ()):
            if check.level == "FAIL":
                details[record.learner, record.seed, check.name] = check.detail
    for (learner, seed, name), detail in sorted(details.items()):
        yield f"† {learner}, seed {seed}: trust check failed: {name}: {detail}"


def warned_checks(records: Iterable[Record], results: Results) -> Iterator[str]:
    """Name the trust checks that warned, one line each with all learners and attacks.

    The details are in the store, except for ``DETAILED`` checks, which say what was seen.
    """
    warned: dict[str, set[str]] = {}
    for record in records:
        for check in results.trust.get(record.cell, ()):
            if check.level != "WARN":
                continue
            if check.name in DETAILED:
                where = f"{record.learner} {check.detail}"
            else:
                where = f"{record.learner} ({record.setting.get('attack', record.protocol)})"
            warned.setdefault(check.name, set()).add(where)
    for name, where_all in sorted(warned.items()):
        yield f"Warning, {name}: {', '.join(sorted(where_all))}."
