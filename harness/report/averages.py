"""Every number of a suite over its seeds, as tables show them: a row for each, with its origin."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness import budgets
from harness.cells.results import Results
from harness.records import Record, Trust, worst_level
from harness.report.aggregate import aggregate
from harness.report.derived import with_derived
from harness.report.formats import captions, metric_name
from harness.report.reference import distinguishing_keys

if TYPE_CHECKING:
    import pandas as pd


ALWAYS = ("attack", *budgets.KEYS, "ways", "shots")
"""Keys that name a number even where all of its protocol share them: elsewhere nobody knows."""


@dataclass(frozen=True)
class Average:
    """One number of one learner, over seeds.

    Attributes:
        records: What it is the mean of, one record per seed.
        at: The part of the setting that names it beside the protocol's other numbers.
        value: The mean.
        low, high: Its 95 % interval; None if none is defined.
    """

    records: tuple[Record, ...]
    at: dict[str, Any]
    value: float
    low: float | None
    high: float | None

    @property
    def first(self) -> Record:
        """A record of it: learner, protocol, data, metric, n and unit are those of all."""
        return self.records[0]

    @property
    def seeds(self) -> list[int]:
        """The seeds behind the mean."""
        return [record.seed for record in self.records]

    @property
    def trust(self) -> Trust:
        """The worst level of the trust checks behind it."""
        return worst_level(record.trust for record in self.records)

    @property
    def where(self) -> str:
        """Everything but the learner, in words: ``"robust, pgd-8, eps 0.1"``."""
        metric = "" if self.first.metric == "accuracy" else metric_name(self.first.metric)
        labels = captions(list(self.at), list(self.at.values()))
        return ", ".join(filter(None, [self.first.protocol, *labels, metric]))


def averages(results: Results) -> list[Average]:
    """Average every number over its seeds, by the function that tables use.

    Numbers are in the order of their first records; those derived from others come last.
    """
    derived = with_derived(results)
    verdicts = functools.cache(derived.verdicts)
    keys = distinguishing_keys(derived.records)
    seeds: dict[str, dict[int, Record]] = {}
    for record in derived.records:
        place = [record.protocol, record.learner, record.metric, record.dataset_hash]
        identity = json.dumps([*place, record.setting], sort_keys=True, default=str)
        seeds.setdefault(identity, {})[record.seed] = record
    found = []
    for by_seed in seeds.values():
        records = tuple(by_seed[seed] for seed in sorted(by_seed))
        mean = aggregate(records, verdicts)
        setting = records[0].setting
        named = dict.fromkeys([*keys[records[0].protocol], *ALWAYS])
        at = {key: setting[key] for key in named if key in setting}
        found.append(Average(records, at, mean.value, mean.low, mean.high))
    return found


def frame(numbers: list[Average]) -> pd.DataFrame:
    """One row for each number; keys of its setting that distinguish it are columns."""
    from harness.report.frames import of_rows

    keys = dict.fromkeys(key for number in numbers for key in number.at)
    return of_rows(
        {
            "learner": number.first.learner,
            "protocol": number.first.protocol,
            "dataset": number.first.dataset,
            **{f"setting_{key}": number.at.get(key) for key in keys},
            "metric": number.first.metric,
            "value": number.value,
            "low": number.low,
            "high": number.high,
            "n": number.first.n,
            "unit": number.first.unit,
            "seeds": len(number.seeds),
            "trust": number.trust,
        }
        for number in numbers
    )
