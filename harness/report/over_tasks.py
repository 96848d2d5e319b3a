"""Learners over all tasks of one or several suites, by the numbers that tables show.

A task is a column of a protocol's table: a dataset, an attack and its eps, ways and shots. Each
seed is a run. Only learners with a number in every task are compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from harness.cells.results import Results
from harness.errors import HarnessError
from harness.metrics.over_tasks import (
    bootstrap,
    interquartile_mean,
    probability_of_improvement,
    profile,
)
from harness.records import WORST, Record
from harness.report import frames
from harness.report.derive import ATTACKED
from harness.report.derived import with_derived
from harness.report.formats import BETTER, CLEAN, MEAN, captions
from harness.report.grid import Labels, distinguish, fold_clean, group, ordered
from harness.report.tables import DEFAULT_COLUMNS
from harness.rng import Rng

FEW_SEEDS = 5
"""With fewer runs of a task, bootstrap intervals are known to be too narrow."""


@dataclass(frozen=True)
class Scores:
    """The scores of learners on tasks.

    Attributes:
        metric: What they are.
        tasks: Table and column of each in words, in order.
        learners: Learner -> scores (R, T), best first.
        left_out: Learner -> why it is not compared.
        failed: Learners with a failed trust check behind a score.
        places: Learner -> its place in its suite, by which figures colour it.
    """

    metric: str
    tasks: list[str]
    learners: dict[str, np.ndarray]
    left_out: dict[str, str]
    failed: list[str]
    places: dict[str, int]

    def notes(self) -> Iterator[str]:
        """How to read a summary of them, and what is missing."""
        few = min(len(scores) for scores in self.learners.values())
        columns: dict[str, list[str]] = {}
        for task in self.tasks:
            table, _, column = task.partition(", ")
            columns.setdefault(table, []).append(column)
        for table, own in columns.items():
            yield ": ".join(filter(None, [f"tasks of {table}", ", ".join(filter(None, own))]))
        if few == 1:
            yield "one seed: no interval, since other seeds would train other networks"
        elif few < FEW_SEEDS:
            yield f"{few} seeds: a bootstrap over so few is too narrow"
        if self.failed:
            yield f"a trust check failed, so these may be too high: {', '.join(self.failed)}"
        by_reason: dict[str, list[str]] = {}
        for learner, reason in self.left_out.items():
            by_reason.setdefault(reason, []).append(learner)
        for reason, learners in by_reason.items():
            which = "which" if len(learners) == 1 else "each of which"
            yield f"left out: {', '.join(learners)}, {which} {reason}"


# ------------------------------------------------------------------------------------ the scores


def scores_of(
    sources: Sequence[Results], metric: str = "accuracy", query: str | None = None
) -> Scores:
    """Collect the scores of the learners that have a number in every task.

    Args:
        sources: Results of suites; learners of one name count as one.
        metric: A metric for which higher is better.
        query: A pandas query on records, which chooses the tasks. Without one, attacks count by
            their worst case, and means over other tasks do not count.

    Raises:
        HarnessError: A metric that is not better for being higher, a source without it, or fewer
            than two learners.
    """
    if BETTER.get(metric) != 1:
        good = ", ".join(name for name, sign in BETTER.items() if sign == 1)
        raise HarnessError(
            f"no metric for which higher is better: {metric!r}",
            where="--metric",
            hint=f"one of {good}",
        )
    columns: dict[str, dict[str, list[Record]]] = {}
    several = len(sources) > 1
    for results in sources:
        tasks = list(_tasks(results, metric, query))
        if not tasks:
            raise HarnessError(
                f"it has no {metric}" + (" that matches the query" if query else ""),
                where=results.suite,
            )
        for name, column in tasks:
            columns[f"{results.suite}: {name}" if several else name] = column
    named = dict.fromkeys(learner for results in sources for learner in results.learners)
    places = {learner: place for place, learner in enumerate(named)}
    return _matched(metric, columns, places)


def _tasks(
    results: Results, metric: str, query: str | None
) -> Iterator[tuple[str, dict[str, list[Record]]]]:
    """Each task of a suite in words, with the records of each learner."""
    derived = with_derived(results)
    chosen = [record for record in derived.records if record.metric == metric]
    if query is not None and chosen:
        matching = frames.query(frames.frame(chosen), query)
        chosen = [chosen[i] for i in matching.index]
    for protocol, kind in derived.protocols.items():
        own = [record for record in chosen if record.protocol == protocol]
        keys, records = distinguish(own, ("learner",), tuple(DEFAULT_COLUMNS.get(kind, [])))
        if kind in ATTACKED:
            records = fold_clean(records, ("learner",), keys)
            keys, records = distinguish(records, ("learner",), keys)
        grid = group(records, ("learner",), keys)
        places = ordered({column for _, column in grid}, keys, derived.learners)
        if query is None:
            places = _plain(places)
        for place in places:
            datasets = dict.fromkeys(r.dataset for r in records)
            table = f"{protocol} on {' and '.join(datasets)}"
            column = " ".join(filter(None, captions(keys, place)))
            yield (
                ", ".join(filter(None, [table, column])),
                {row[0]: found for (row, column), found in grid.items() if column == place},
            )


def _plain(places: Sequence[Labels]) -> list[Labels]:
    """Tasks that are no summary of others, with the worst case for all attacks."""
    has_worst = any(WORST in place for place in places)
    return [
        place
        for place in places
        if MEAN not in place and (not has_worst or WORST in place or CLEAN in place)
    ]


def _matched(
    metric: str, columns: dict[str, dict[str, list[Record]]], places: dict[str, int]
) -> Scores:
    """The scores of the learners with a number in every task."""
    measured = {learner for column in columns.values() for learner in column}
    learners = [learner for learner in places if learner in measured]
    left_out: dict[str, str] = {}
    found: dict[str, np.ndarray] = {}
    failed = []
    for learner in learners:
        missing = [task for task, column in columns.items() if learner not in column]
        if missing:
            left_out[learner] = (
                f"lacks {len(missing)} of {len(columns)} tasks, such as {missing[0]}"
            )
            continue
        by_task = [{r.seed: r.value for r in column[learner]} for column in columns.values()]
        seeds = sorted(set.intersection(*(set(values) for values in by_task)))
        if not seeds:
            left_out[learner] = "has no seed that is the same in all tasks"
            continue
        found[learner] = np.array([[values[seed] for values in by_task] for seed in seeds])
        if any(r.trust == "FAIL" for column in columns.values() for r in column[learner]):
            failed.append(learner)
    if len(found) < 2:
        commonest = Counter(left_out.values()).most_common(1)
        raise HarnessError(
            f"{len(found)} of {len(learners)} learners have a number in each of "
            f"{len(columns)} tasks" + (f"; one {commonest[0][0]}" if commonest else ""),
            hint="choose tasks that learners share, e.g. --query \"protocol == 'robust'\"",
        )
    best_first = sorted(found, key=lambda name: -interquartile_mean(found[name]))
    ranked = {learner: found[learner] for learner in best_first}
    return Scores(metric, list(columns), ranked, left_out, failed, places)


# ----------------------------------------------------------------------------------- the summary


def summary(scores: Scores, against: str | None = None) -> list[dict[str, Any]]:
    """A row for each learner, the best first.

    ``iqm`` is the interquartile mean; ``better`` the probability that a run of the learner beats
    one of ``against`` on a task. Intervals are 95 % percentiles of a stratified bootstrap over
    seeds; None where there is one seed only.

    Args:
        scores: Of the learners.
        against: Learner that all are compared with; the best one if None.

    Raises:
        HarnessError: There is no such learner.
    """
    rival = against or next(iter(scores.learners))
    if rival not in scores.learners:
        raise HarnessError(
            f"{rival!r} has no score in every task",
            where="--against",
            hint=f"one of {', '.join(scores.learners)}",
        )
    rows = []
    for learner, own in scores.learners.items():
        rng = Rng(0).child("over tasks", learner)
        low, high = _interval(interquartile_mean, [own], rng)
        row = {"learner": learner, "iqm": float(interquartile_mean(own)), "low": low, "high": high}
        better = better_low = better_high = None
        if learner != rival:
            other = scores.learners[rival]
            better = float(probability_of_improvement(own, other))
            better_low, better_high = _interval(probability_of_improvement, [own, other], rng)
        row |= {"better": better, "better_low": better_low, "better_high": better_high}
        rows.append({**row, "against": rival, "tasks": own.shape[1], "seeds": own.shape[0]})
    return rows


def _interval(
    statistic: Any, matrices: Sequence[np.ndarray], rng: Rng
) -> tuple[float | None, float | None]:
    """The interval of a statistic; none if a matrix has one run."""
    if min(len(matrix) for matrix in matrices) < 2:
        return None, None
    low, high = bootstrap(statistic, matrices, rng.numpy(f"{len(matrices)} matrices"))
    return float(low), float(high)


@dataclass(frozen=True)
class Profile:
    """A performance profile: the share of runs above each threshold, and its interval, (K,) each.

    The ends are None for one seed.
    """

    share: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None


def profiles(scores: Scores, thresholds: np.ndarray) -> dict[str, Profile]:
    """The performance profile of each learner.

    Args:
        scores: Of the learners.
        thresholds: (K,).
    """
    found: dict[str, Profile] = {}
    at = partial(profile, thresholds=thresholds)
    for learner, own in scores.learners.items():
        ends: tuple[np.ndarray, ...] = ()
        if len(own) > 1:
            ends = bootstrap(at, [own], Rng(0).child("profile", learner).numpy("draws"))
        found[learner] = Profile(at(own), *ends)
    return found
