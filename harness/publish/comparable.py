"""Whether a row was measured like the rows of a board: on the same units, seeds and settings."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cached_property
from typing import Any

from harness.cells.results import Results
from harness.records import FROM_VERDICTS, Record
from harness.report.changes import changes
from harness.report.formats import captions
from harness.report.reference import is_plain, samples_of

Place = tuple[str, str]
"""Metric, and the plain values of its setting: what distinguishes a number from others of a row."""


class Rivals:
    """The rows of a board in one protocol.

    Args:
        board: results on the board.
        protocol: name of the protocol.
    """

    def __init__(self, board: Results, protocol: str) -> None:
        self._board = board
        self.records = [record for record in board.records if record.protocol == protocol]

    @cached_property
    def _seeds(self) -> set[int]:
        return {record.seed for record in self.records}

    @cached_property
    def _by_place(self) -> dict[Place, dict[int, Record]]:
        """Place -> seed -> some record of the board."""
        by_place: dict[Place, dict[int, Record]] = {}
        for record in _judged(self.records):
            by_place.setdefault(_place(record), {}).setdefault(record.seed, record)
        return by_place

    @cached_property
    def _everywhere(self) -> set[Place]:
        """Places that every learner on the board has."""
        places: dict[str, set[Place]] = {}
        for record in _judged(self.records):
            places.setdefault(record.learner, set()).add(_place(record))
        return set.intersection(*places.values()) if places else set()

    def difference(self, results: Results, row: list[Record]) -> str:
        """Say how a row differs from those on the board; ``""`` if it can be compared.

        Args:
            results: of the row.
            row: records of one learner in the protocol.
        """
        if not self.records:
            return ""
        seeds = {record.seed for record in row}
        if seeds != self._seeds:
            return f"seeds {_listed(seeds)}, the board's are {_listed(self._seeds)}"
        judged = _judged(row)
        missing = self._everywhere - {_place(record) for record in judged}
        if missing:
            return f"it lacks {_words(min(missing))}, which all rows of the board have"
        for record in judged:
            reason = self._difference(results, record)
            if reason:
                return reason
        return ""

    def _difference(self, results: Results, record: Record) -> str:
        rivals = self._by_place.get(_place(record))
        if rivals is None:
            return f"no row of the board has {_words(_place(record))}"
        rival = rivals.get(record.seed, next(iter(rivals.values())))
        apart = changes(rival.setting, record.setting)
        if apart:
            return f"set differently, board -> row: {', '.join(apart[:3])}"
        if (record.n, record.unit) != (rival.n, rival.unit):
            return f"{record.n} {record.unit}s, the board has {rival.n} {rival.unit}s"
        if record.seed == rival.seed and self._samples(rival) != samples_of(record, results):
            return f"other {record.unit}s than the board's, or in another order"
        return ""

    def _samples(self, rival: Record) -> str:
        return samples_of(rival, self._board)


def _judged(records: Iterable[Record]) -> list[Record]:
    """Numbers that learners are compared by; all others describe a learner."""
    return [record for record in records if record.metric in FROM_VERDICTS]


def _place(record: Record) -> Place:
    plain = {key: value for key, value in record.setting.items() if is_plain(value)}
    return record.metric, json.dumps(plain, sort_keys=True)


def _words(place: Place) -> str:
    metric, setting = place
    plain: dict[str, Any] = json.loads(setting)
    words = captions(list(plain), list(plain.values()))
    return ", ".join([metric, *filter(None, words)])


def _listed(seeds: set[int]) -> str:
    return ", ".join(map(str, sorted(seeds)))
