"""What a board's page shows, as plain values. Templates and script add markup and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.cells.results import Results
from harness.records import Trust
from harness.report.board.kinds import Kind
from harness.report.printed import PrintedTable
from harness.suite.specs.published import PublishedSpec
from harness.suite.specs.tables import TableSpec

Comparison = list[float | None]
"""Two learners on one column: difference, low, high, p, units won, units lost."""


@dataclass(frozen=True)
class Division:
    """The results of one suite, from one source or several, and the tables that it asks for.

    Attributes:
        results: Everything measured.
        tables, published: As in the suite.
        description: As in the suite.
        origins: Learner -> name of the source that it comes from.
        commands: Learner -> command that measures it again, at the commit that measured it.
        path: Of the suite below ``suites/``, without ending, if it is in a folder there.
    """

    results: Results
    tables: list[TableSpec]
    published: list[PublishedSpec] = field(default_factory=list)
    description: str = ""
    origins: dict[str, str] = field(default_factory=dict)
    commands: dict[str, str] = field(default_factory=dict)
    path: str = ""


@dataclass(frozen=True)
class Refusal:
    """A row that is not shown on the board, and why; without a learner, a whole source."""

    origin: str
    learner: str
    protocol: str
    why: str

    def __str__(self) -> str:
        row = f"{self.learner} in {self.protocol}" if self.learner else ""
        return ": ".join(filter(None, [self.origin, row, self.why]))


@dataclass(frozen=True)
class Remark:
    """A trust check that did not pass.

    Attributes:
        level: ``"WARN"`` or ``"FAIL"``.
        where: Attack and seed.
        name, detail: Of the check.
    """

    level: Trust
    where: str
    name: str
    detail: str


@dataclass(frozen=True)
class Shown:
    """One number, as it is printed and as the script sorts and draws it.

    Attributes:
        text, error: The printed number and its error bar.
        value, low, high: In printed units (accuracies in percent).
        rank: Among the learners of its column; None if it is not ranked.
        tied: Whether others share its rank.
        bold: Whether it is the best or not shown to be worse.
    """

    text: str
    error: str
    value: float | None
    low: float | None
    high: float | None
    rank: int | None
    tied: bool
    bold: bool


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        name: As printed.
        learner: Position among the division's learners; None if the row is something else.
        trust: Worst level of its checks; ``"-"`` if there were none.
        remarks: The checks that did not pass.
        cells: One per column.
    """

    name: str
    learner: int | None
    trust: Trust
    remarks: list[Remark]
    cells: list[Shown | None]


@dataclass(frozen=True)
class Broken:
    """What the images of a split do to one learner.

    Attributes:
        row: Its row in the table.
        wrong: How many images break it.
        only_wrong, only_right: How many break no other learner, or all others; the first of them.
        strip: Picture of all images.
    """

    row: int
    wrong: int
    only_wrong: tuple[int, list[int]]
    only_right: tuple[int, list[int]]
    strip: str


@dataclass(frozen=True)
class HardImage:
    """An image, how many learners it breaks, and the rows of those that are right on it."""

    number: int
    breaks: int
    right: list[int]


@dataclass(frozen=True)
class PerImage:
    """Which images break whom, for one column of a table.

    Attributes:
        images, seeds: How many there are.
        learners: One for each ranked learner.
        counts: (learners that an image breaks, number of such images).
        hardest: The images that break most learners.
    """

    images: int
    seeds: int
    learners: list[Broken]
    counts: list[tuple[int, int]]
    hardest: list[HardImage]


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        levels: Its heading.
        metric, unit: What it measures.
        beside: ``"published"``, ``"difference"`` or ``"band"`` for a column added beside one of
            ours; else empty.
        ranked: Whether its numbers are ranked.
    """

    levels: tuple[str, ...]
    metric: str
    unit: str
    beside: str
    ranked: bool

    @property
    def name(self) -> str:
        """All levels in one line."""
        return ", ".join(filter(None, self.levels)) or self.metric


@dataclass(frozen=True)
class BoardTable:
    """A table, its ranks and its comparisons.

    Attributes:
        name: Name of its files, without ending.
        title: As printed.
        row_name: What a row is.
        columns, rows: The content.
        heads: Rows of the heading, each a list of (text, spanned columns); the last row has one
            text per column.
        first: The column that it is sorted by at first; None for the order of the suite.
        notes: How to read it.
        compared: Columns that learners are compared in.
        pairs: ``"i,j"`` (positions of learners, i < j) -> a comparison for each of these
            columns, or None.
        all_pairs: Whether ``pairs`` has every pair.
        images: Which images break whom in the first column; None if its units are no images.
        source: The printed table that it was made from, for the files beside the page.
    """

    name: str
    title: str
    row_name: str
    columns: list[Column]
    rows: list[Row]
    heads: list[list[tuple[str, int]]]
    first: int | None
    notes: tuple[str, ...]
    compared: list[int]
    pairs: dict[str, list[Comparison | None]]
    all_pairs: bool
    images: PerImage | None
    source: PrintedTable

    @property
    def headline(self) -> Column | None:
        """The column that it is sorted by at first."""
        return None if self.first is None else self.columns[self.first]

    @property
    def ordered(self) -> list[tuple[int, Row]]:
        """Rows with their positions, by rank, then number; those without a rank come last."""
        rows = list(enumerate(self.rows))
        if self.first is None:
            return rows
        column = self.first

        def place(numbered: tuple[int, Row]) -> tuple[float, float]:
            cell = numbered[1].cells[column]
            if cell is None or cell.rank is None:
                return (float("inf"), 0)
            return (cell.rank, -(cell.value or 0))

        return sorted(rows, key=place)


@dataclass(frozen=True)
class Tab:
    """A protocol of a suite: its tables, its charts and its conditions.

    Attributes:
        protocol, kind: Its name in the suite, and its kind.
        tables, charts: What it shows.
        block: Condition -> value.
        datasets, threats: What it measures on, and what images are exposed to.
    """

    protocol: str
    kind: str
    tables: list[BoardTable]
    charts: list[dict[str, Any]]
    block: dict[str, str]
    datasets: tuple[str, ...]
    threats: tuple[str, ...]


@dataclass(frozen=True)
class Number:
    """A number on a learner's page, with the tab, table and column that show it."""

    tab: Tab
    table: BoardTable
    column: Column
    shown: Shown


@dataclass(frozen=True)
class Chart:
    """A small chart of a learner's page, drawn as one path.

    Attributes:
        title, alt: Above it, and for those who do not see it.
        path: Data of an SVG path, in a frame of ``harness.report.board.sketches``.
        filled: Whether the path encloses an area.
        along: Name of the horizontal axis.
        ends: Lowest and highest number of the horizontal, then of the vertical axis.
    """

    title: str
    alt: str
    path: str
    filled: bool
    along: str
    ends: tuple[str, str, str, str]


@dataclass(frozen=True)
class Picture:
    """A picture of a learner's page: a PNG as data URI, and its words."""

    source: str
    alt: str
    caption: str


@dataclass(frozen=True)
class Profile:
    """A learner's page.

    Attributes:
        name, kind: Of the learner.
        page: Its file.
        about: Its kind in words.
        origin: The source that it comes from.
        config: Key -> value.
        cost: What its training took, in words.
        numbers: Everything that tables show of it.
        trust: Worst level of its checks; ``"-"`` if there were none.
        remarks: Protocol and check, for the checks that did not pass.
        checked: Number of checks.
        provenance: Protocol -> what was measured where and with what.
        charts: Curves of its first seed's trainings, and the sizes of its weights.
        fields: Receptive fields (units, height, width), each scaled to -1 .. 1.
        examples: Images under attack.
    """

    name: str
    kind: str
    page: str
    about: Kind
    origin: str
    config: dict[str, Any]
    cost: dict[str, str]
    numbers: list[Number]
    trust: Trust
    remarks: list[tuple[str, Remark]]
    checked: int
    provenance: list[tuple[str, dict[str, str]]]
    charts: list[Chart]
    fields: np.ndarray | None
    examples: list[Picture]

    @property
    def rivalries(self) -> list[tuple[Tab, BoardTable]]:
        """The tables in which it is compared with others."""
        tables = {}
        for number in self.numbers:
            if number.table.pairs:
                tables[number.tab.protocol, number.table.name] = (number.tab, number.table)
        return list(tables.values())
