"""A suite as the site shows it: its tabs and learners, its headline, and where it comes from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.records import Record
from harness.report.board.model import (
    BoardTable,
    Column,
    Division,
    Profile,
    Row,
    Shown,
    Tab,
)
from harness.report.board.profiles import profiles
from harness.report.board.tabs import NO_THREAT, tabs

BEST = 3
"""Ranks that the first screen shows."""

MOST_COMMITS = 3
"""Commits that are named, where cells of a suite were measured by several."""

MOST_BEST = 6
"""Rows that it shows at most, where many share a rank."""


@dataclass(frozen=True)
class Placed:
    """A learner's number in the headline of a table."""

    tab: Tab
    table: BoardTable
    column: Column
    row: Row
    profile: Profile
    shown: Shown


@dataclass(frozen=True)
class Headline:
    """What a suite is sorted by: its first ranked table under attack, else its first ranked one.

    Attributes:
        tab, table, column: The number that the suite is sorted by.
        best: The first ranks.
        more: How many others share those ranks.
    """

    tab: Tab
    table: BoardTable
    column: Column
    best: list[Placed]
    more: int


@dataclass(frozen=True)
class View:
    """A suite on the site.

    Attributes:
        division: Its results.
        tabs: A tab for each protocol.
        profiles: A page for each learner, in the order of the suite.
        headline: None if none of its numbers are ranked.
        placed: Every learner in the headline of every table.
        about: Where its numbers come from: condition -> value, empty if it is not known.
    """

    division: Division
    tabs: list[Tab]
    profiles: list[Profile]
    headline: Headline | None
    placed: list[Placed]
    about: dict[str, str]

    @property
    def name(self) -> str:
        """Of the suite."""
        return self.division.results.suite

    @property
    def label(self) -> str:
        """Name that is shown: ``baselines/adversarial`` says more than ``adversarial``."""
        return self.division.path or self.name

    @property
    def per_image(self) -> list[tuple[Tab, BoardTable]]:
        """The tables whose images can be looked at one by one, each column once."""
        tables: dict[tuple[str, str], tuple[Tab, BoardTable]] = {}
        for tab in self.tabs:
            for table in tab.tables:
                if table.images and table.headline:
                    tables.setdefault((tab.protocol, table.headline.name), (tab, table))
        return list(tables.values())

    @property
    def families(self) -> tuple[str, ...]:
        """Of its learners, each once; so are the data sets and threat models of its protocols."""
        return tuple(dict.fromkeys(profile.about.family for profile in self.profiles))

    @property
    def datasets(self) -> tuple[str, ...]:
        """That it measures on."""
        return tuple(dict.fromkeys(name for tab in self.tabs for name in tab.datasets))

    @property
    def threats(self) -> tuple[str, ...]:
        """That it exposes images to."""
        return tuple(dict.fromkeys(name for tab in self.tabs for name in tab.threats))


def view(division: Division) -> View:
    """Lay out a suite."""
    own = tabs(division)
    pages = profiles(division, own)
    placed = [each for tab in own for table in tab.tables for each in _placed(tab, table, pages)]
    return View(
        division=division,
        tabs=own,
        profiles=pages,
        headline=_headline(placed),
        placed=placed,
        about=_about(division),
    )


def _placed(tab: Tab, table: BoardTable, pages: Sequence[Profile]) -> list[Placed]:
    """The learners of a table in its headline, by rank."""
    placed = []
    for _, row in table.ordered:
        cell = row.cells[table.first] if table.first is not None else None
        if cell and row.learner is not None and table.headline:
            page = pages[row.learner]
            placed.append(Placed(tab, table, table.headline, row, page, cell))
    return placed


def _headline(placed: Sequence[Placed]) -> Headline | None:
    if not placed:
        return None
    attacked = (each for each in placed if each.tab.threats != (NO_THREAT,))
    first = next(attacked, placed[0])
    ranked = [
        each
        for each in placed
        if each.table is first.table and each.shown.rank is not None and each.shown.rank <= BEST
    ]
    best = ranked[:MOST_BEST]
    return Headline(first.tab, first.table, first.column, best, len(ranked) - len(best))


def _about(division: Division) -> dict[str, str]:
    """When, by which code and on what a suite was measured, and how to do so again."""
    records = division.results.records
    return {
        "measured": _dates(records),
        "seeds": _each(str(record.seed) for record in records),
        "commit": _commits(records),
        "releases": _each(
            f"{name} {release}" for record in records for name, release in record.versions.items()
        ),
        "device": _each(record.device for record in records),
        "from": _each(division.origins.values()),
        "command": _each(division.commands.values(), "; "),
    }


def _commits(records: Sequence[Record]) -> str:
    """The commits of the code that measured, those of most numbers first."""
    counts = Counter(record.git_commit or "unknown" for record in records)
    named = [commit for commit, _ in counts.most_common(MOST_COMMITS)]
    more = len(counts) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")


def _dates(records: Sequence[Record]) -> str:
    days = sorted({record.created[:10] for record in records if record.created})
    if len(days) < 2:
        return "".join(days)
    return f"{days[0]} to {days[-1]}"


def _each(values: Iterable[str], between: str = ", ") -> str:
    return between.join(dict.fromkeys(filter(None, values)))
