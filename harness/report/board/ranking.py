"""Ranks of learners in a board's columns, and comparisons of pairs of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from harness.report.aggregate import Verdicts
from harness.report.board.model import Comparison
from harness.report.formats import BETTER
from harness.report.numbers import rounded
from harness.report.pairs import Pair, Rivals, comparable, places
from harness.report.pivot import Pivot
from harness.report.table import Table

MOST_PAIRS = 1500
"""Pairs of learners that a table's comparisons hold.

With more learners than that allows, each is compared with the best ones only.
"""


@dataclass(frozen=True)
class Ranking:
    """The learners of a column that can be tested against each other.

    Attributes:
        rows: Their rows.
        rivals: Their tests, by position in ``rows``.
        ranks: Row -> rank; the rows of rank 1 are those that the table shows in bold.
    """

    rows: list[int]
    rivals: Rivals
    ranks: dict[int, int]

    @cached_property
    def _sharing(self) -> Counter[int]:
        return Counter(self.ranks.values())

    def is_tied(self, row: int) -> bool:
        """Whether a row shares its rank with another one."""
        return row in self.ranks and self._sharing[self.ranks[row]] > 1

    def compare(self, row: int, other: int) -> Comparison | None:
        """Compare two rows; None unless both are ranked."""
        if row not in self.ranks or other not in self.ranks:
            return None
        pair = self.rivals.pair(self.rows.index(row), self.rows.index(other))
        return _comparison(pair)


def rank_columns(
    pivoted: Pivot, table: Table, verdicts: Verdicts, planned: Sequence[int]
) -> dict[int, Ranking]:
    """Rank the learners of each column that has at least two which can be tested.

    Args:
        pivoted: The records of the table.
        table: The table.
        verdicts: Reads the stored units.
        planned: The seeds that every number should be over.

    Returns:
        Position of the column -> ranking.
    """
    if not pivoted.of_learners:
        return {}
    rankings = {}
    for j in range(len(table.columns)):
        ranking = _rank_column(pivoted, table, j, verdicts, planned)
        if ranking:
            rankings[j] = ranking
    return rankings


def _rank_column(
    pivoted: Pivot, table: Table, j: int, verdicts: Verdicts, planned: Sequence[int]
) -> Ranking | None:
    measured_keys = len(pivoted.column_keys)
    column = table.columns[j][:measured_keys]
    added = dict(zip(table.column_keys, table.columns[j], strict=True))
    for key in pivoted.column_keys:
        added.pop(key, None)  # a key may be asked for twice
    # A single number is given the name of its metric where published numbers are beside it.
    added.pop("metric", None)
    if any(value is not None for value in added.values()):
        return None  # a published number or a summary
    numbers = {
        i: pivoted.grid[row, column]
        for i, row in enumerate(table.rows)
        if i not in table.distrusted and _is_rankable(pivoted, (row, column))
    }
    rows = sorted(comparable(numbers, planned).keys)
    if not rows:
        return None
    rivals = Rivals([numbers[i] for i in rows], verdicts)
    return Ranking(rows, rivals, dict(zip(rows, places(rivals.ranks()), strict=True)))


def _is_rankable(pivoted: Pivot, place: tuple) -> bool:
    """Whether a number was measured, is better if higher, and has stored units."""
    records = pivoted.grid.get(place, [])
    return bool(records) and all(
        BETTER.get(record.metric) == 1 and record.verdicts is not None for record in records
    )


def comparisons(
    rankings: dict[int, Ranking], first: int | None, learners: Sequence[int | None]
) -> tuple[dict[str, list[Comparison | None]], bool]:
    """Compare learners in pairs, those with high ranks first if there are too many.

    Args:
        rankings: Column -> ranking.
        first: The column whose ranks decide which learners come first.
        learners: Position of the learner of each row.

    Returns:
        ``"i,j"`` (learners) -> a comparison per column, and whether these are all pairs.
    """
    leading = rankings[first].ranks if first is not None else {}
    unranked = len(learners) + 1
    rows = sorted(
        {row for ranking in rankings.values() for row in ranking.rows},
        key=lambda row: (leading.get(row, unranked), row),
    )
    best = len(rows)
    if len(rows) * (len(rows) - 1) // 2 > MOST_PAIRS:
        best = max(1, MOST_PAIRS // len(rows))
    pairs = {}
    for place, row in enumerate(rows[:best]):
        for other in rows[place + 1 :]:
            low, high = sorted((row, other))
            key = f"{learners[low]},{learners[high]}"
            pairs[key] = [ranking.compare(low, high) for ranking in rankings.values()]
    return dict(sorted(pairs.items())), best == len(rows)


def _comparison(pair: Pair) -> Comparison:
    """A pair as the script shows it: differences in points, p with three digits."""
    return [
        rounded(pair.difference, 100, 3),
        rounded(pair.low, 100, 3),
        rounded(pair.high, 100, 3),
        float(f"{pair.p:.3g}"),
        pair.first,
        pair.second,
    ]
