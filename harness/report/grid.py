"""Records sorted into the rows and columns of a table. No cell ever mixes two measurements."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from operator import attrgetter
from typing import Any

from harness.cells.results import Results
from harness.errors import HarnessError
from harness.metrics.catalogue import METRICS
from harness.protocols.continual_settings import strategy_place
from harness.records import NO_ATTACK, UNION, WORST, Record
from harness.report.formats import CLEAN, MEAN

Labels = tuple[Any, ...]
"""The values of a row's or a column's keys, e.g. ``("pgd", 0.1)`` for ``("attack", "eps")``."""

Place = tuple[Labels, Labels]
"""Row labels and column labels of a cell."""

Grid = dict[Place, list[Record]]
"""Place -> records, one per seed, in order of seeds."""

_SEPARATING = ("dataset", "metric", "learner")
"""Fields that distinguish measurements, in addition to their settings."""

_FIELDS = (*_SEPARATING, "seed")
"""Keys that name a field of the record; every other key names an entry of its setting."""

_ATTACK_KEYS = ("attack", "eps", "norm", "config")
"""Keys of a setting that describe the attack."""

_PRINTABLE = (str, int, float, type(None))

_measurement = attrgetter(*_SEPARATING)


def label_of(record: Record, key: str) -> Any:
    """The value of ``key`` in a record; a list becomes text so that it can label a column."""
    value = getattr(record, key) if key in _FIELDS else record.setting.get(key)
    return value if isinstance(value, _PRINTABLE) else str(value)


def labels_of(record: Record, keys: Iterable[str]) -> Labels:
    """The values of ``keys`` in a record: its place along one axis of a table."""
    return tuple([label_of(record, key) for key in keys])


def _labels_of_all(records: list[Record], keys: tuple[str, ...]) -> Iterable[Labels]:
    """``labels_of`` each record, computed key by key because that is faster."""
    if not keys:
        return itertools.repeat(())
    columns: list[Iterable[Any]] = []
    for key in keys:
        if key in _FIELDS:
            columns.append(map(attrgetter(key), records))
        else:
            columns.append([label_of(record, key) for record in records])
    return zip(*columns, strict=True)


def group(records: list[Record], rows: tuple[str, ...], columns: tuple[str, ...]) -> Grid:
    """Group records by the labels of their row and column."""
    grid: Grid = defaultdict(list)
    records = sorted(records, key=attrgetter("seed"))
    row_labels = _labels_of_all(records, rows)
    column_labels = _labels_of_all(records, columns)
    # Not strict: without keys, labels repeat for ever.
    for record, row, column in zip(records, row_labels, column_labels, strict=False):
        grid[row, column].append(record)
    return dict(grid)


# ------------------------------------------------------------------------------- clean accuracy


def fold_clean(
    records: list[Record], rows: tuple[str, ...], columns: tuple[str, ...]
) -> list[Record]:
    """Merge the records at eps 0 into one labelled ``clean``, because there all attacks agree.

    Should attacks disagree at eps 0, the worst case is kept. Keys on the other axis than eps
    are kept, so that a row per attack has its own clean number. Keys that do not describe the
    attack, such as the ways of an episode, are kept too.
    """
    across = columns if "eps" in rows else rows
    attacked: list[Record] = []
    clean: dict[tuple, Record] = {}
    for record in records:
        if not _is_clean(record):
            attacked.append(record)
            continue
        place = (
            record.learner,
            record.seed,
            record.dataset,
            record.metric,
            str(_without_attack(record, across)),
        )
        known = clean.get(place)
        if known is None or (_is_worst(record) and not _is_worst(known)):
            clean[place] = record
    for record in clean.values():
        setting = {"attack": CLEAN, "eps": 0} | _without_attack(record, across)
        attacked.append(replace(record, setting=setting))
    return attacked


def _without_attack(record: Record, kept: tuple[str, ...]) -> dict[str, Any]:
    """A record's setting in order of keys, without the attack's keys unless they are ``kept``."""
    return {
        key: value
        for key, value in sorted(record.setting.items())
        if key in kept or key not in _ATTACK_KEYS
    }


def _is_clean(record: Record) -> bool:
    return "attack" in record.setting and record.setting.get("eps") == 0


def _is_worst(record: Record) -> bool:
    return bool(record.setting["attack"] == WORST)


# ------------------------------------------------------------------ one measurement in each cell


def distinguish(
    records: list[Record], rows: tuple[str, ...], columns: tuple[str, ...]
) -> tuple[tuple[str, ...], list[Record]]:
    """Add column keys until no cell holds two records of one seed.

    A breakdown that shares a cell with its own summary is dropped.

    Returns:
        The column keys, and the records that are left.

    Raises:
        HarnessError: Two records with equal settings have different values.
    """
    # The same object may be listed twice.
    records = list({id(record): record for record in records}.values())
    while True:
        dropped: set[int] = set()
        missing_key = None
        for cell in group(records, rows, columns).values():
            missing_key, out = _distinguishing_key(cell, {*rows, *columns})
            dropped |= out
            if missing_key is not None:
                break
        records = [record for record in records if id(record) not in dropped]
        if missing_key is None:
            return columns, records
        columns = (*columns, missing_key)


def _distinguishing_key(cell: list[Record], used: set[str]) -> tuple[str | None, set[int]]:
    """Find a key that separates the records of one seed in a cell.

    Returns:
        The key (None if nothing clashes any more), and the ids of records to drop.
    """
    dropped: set[int] = set()
    while _has_clash(cell):
        keys = [*sorted({key for record in cell for key in record.setting}), *_SEPARATING]
        values = {key: _values(cell, key) for key in keys if key not in used}
        differing = [key for key, found in values.items() if len({*map(str, found)}) > 1]
        # Prefer a key that every record has: one that only some have may mark a breakdown.
        shared = [key for key in differing if None not in values[key]]
        if shared:
            return shared[0], dropped
        out = _breakdowns(cell) or _repeated(cell, differing)
        if not out:
            return differing[0], dropped
        dropped |= out
        cell = [record for record in cell if id(record) not in out]
    return None, dropped


def _has_clash(cell: list[Record]) -> bool:
    """Whether a cell holds two records of one seed."""
    return len({record.seed for record in cell}) < len(cell)


def _values(cell: list[Record], key: str) -> list[Any]:
    """The value of ``key`` in each record of a cell."""
    if key in _FIELDS:
        return list(map(attrgetter(key), cell))
    return [record.setting.get(key) for record in cell]


def _breakdowns(cell: list[Record]) -> set[int]:
    """Ids of the records that another record of the same seed summarises."""
    by_seed: dict[int, list[Record]] = {}
    for record in cell:
        by_seed.setdefault(record.seed, []).append(record)
    out: set[int] = set()
    for records in by_seed.values():
        for part, whole in itertools.product(records, records):
            # Comparing lengths first is what makes large tables fast.
            if len(whole.setting) < len(part.setting) and _summarises(whole, part):
                out.add(id(part))
    return out


def _summarises(whole: Record, part: Record) -> bool:
    """Whether ``part`` is the same measurement as ``whole``, in one part of it."""
    inside = whole.setting.items() < part.setting.items()
    return inside and bool(_measurement(whole) == _measurement(part))


def _repeated(clash: list[Record], differing: list[str]) -> set[int]:
    """Ids of the records that repeat another one of the same seed; none if a key differs.

    Raises:
        HarnessError: They do not have the same value.
    """
    if differing:
        return set()
    first: dict[int, Record] = {}
    for record in clash:
        known = first.setdefault(record.seed, record)
        if _number(known) != _number(record):
            raise HarnessError(
                f"two results for {record.metric} of {record.learner}, seed {record.seed}, "
                f"{record.setting}: "
                f"{known.value:g} over {known.n} and {record.value:g} over {record.n}",
                where=f"table of {record.protocol}",
                hint=f"they come from the cells {known.cell} and {record.cell}; "
                "remove the outdated one",
            )
    return {id(record) for record in clash} - {id(record) for record in first.values()}


def _number(record: Record) -> tuple[float, float | None, float | None, int]:
    return record.value, record.low, record.high, record.n


# ------------------------------------------------------------------------------------ one number


def numbers_of(
    results: Results, protocol: str, metric: str, setting: dict[str, Any], learner: str
) -> list[Record]:
    """The records of one number of a learner, one per seed.

    Of several records that match ``setting``, the one with the fewest further keys is taken:
    the summary of the others.

    Raises:
        HarnessError: Several numbers match, and none of them summarises the others.
    """
    matching = [
        record
        for record in results.records
        if record.protocol == protocol
        and record.metric == metric
        and record.learner == learner
        and all(record.setting.get(key) == value for key, value in setting.items())
    ]
    matching.sort(key=lambda record: (record.seed, len(record.setting)))
    chosen = []
    for _, same_seed in itertools.groupby(matching, key=lambda record: record.seed):
        first, *others = same_seed
        rivals = [record for record in others if len(record.setting) == len(first.setting)]
        if rivals:
            raise _ambiguous(first, rivals, setting)
        chosen.append(first)
    return chosen


def _ambiguous(first: Record, rivals: list[Record], setting: dict[str, Any]) -> HarnessError:
    differing = [
        key
        for key, value in first.setting.items()
        if any(rival.setting.get(key) != value for rival in rivals)
    ]
    return HarnessError(
        f"{setting or 'an empty setting'} matches {1 + len(rivals)} numbers "
        f"of {first.metric} of {first.learner}",
        where=f"protocol {first.protocol}",
        hint=f"give {' and '.join(differing)} in its `setting`",
    )


# ----------------------------------------------------------------------------------------- order


def ordered(values: set[Labels], keys: tuple[str, ...], learners: list[str]) -> list[Labels]:
    """Sort labels into reading order, whatever the order of records.

    Learners are in the order of the suite, metrics in that of the catalogue, strategies from none
    to joint training; numbers ascend. ``clean`` comes first, the worst case and the mean last.
    """
    by_learner = {name: i for i, name in enumerate(learners)}
    positions = {
        "learner": by_learner,
        "source": by_learner,
        "metric": {name: i for i, name in enumerate(METRICS)},
    }

    def rank(key: str, value: Any) -> tuple[float | str, ...]:
        if value is None or value in (CLEAN, NO_ATTACK):
            return (0, 0, "")
        if value in (WORST, MEAN):
            return (3, 0, "")
        if value == UNION:
            return (4, 0, "")
        if key == "strategy" and isinstance(value, str):
            return (1, *strategy_place(value), "")
        known = positions.get(key, {})
        if value in known:
            return (1, known[value], "")
        return (2, 0, value) if isinstance(value, str) else (1, value, "")

    def position(labels: Labels) -> list[tuple[float | str, ...]]:
        return [rank(key, value) for key, value in zip(keys, labels, strict=True)]

    return sorted(values, key=position)
