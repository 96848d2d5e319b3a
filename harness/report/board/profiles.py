"""The pages of learners on a board."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from itertools import chain, count

from harness.cells.results import Results, Training
from harness.execute.display import duration
from harness.records import Record, worst_level
from harness.report.board.examples import examples
from harness.report.board.kinds import kind_of
from harness.report.board.looks import log_weights, receptive_fields
from harness.report.board.model import Chart, Division, Number, Profile, Remark, Tab
from harness.report.board.sketches import curve, histogram
from harness.report.notes import describe_choice

_CLEAN_COMMIT = re.compile(r"[0-9a-f]{7,40}")
"""A commit of a tree without changes, which are marked by a plus sign."""

_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")

MOST_LETTERS = 80
"""Length of a file name, without its ending."""

STEP_KEYS = ("epoch", "episodes", "iteration", "iterations")
"""Keys of a training log that count steps."""


def profiles(division: Division, shown: Sequence[Tab]) -> list[Profile]:
    """Make every learner's page, in the order of the suite."""
    results = division.results
    records: dict[str, list[Record]] = {}
    for record in results.records:
        records.setdefault(record.learner, []).append(record)
    files = file_names(results.learners)
    pages = []
    for place, name in enumerate(results.learners):
        own = records.get(name, [])
        cells = {record.cell for record in own}
        trainings = results.trainings.get(name, [])
        kind = results.kinds.get(name, "")
        pages.append(
            Profile(
                name=name,
                kind=kind,
                page=files[place],
                about=kind_of(kind),
                origin=division.origins.get(name, ""),
                config=results.configs.get(name, {}),
                cost=_cost(trainings),
                numbers=list(_numbers(place, shown)),
                trust=worst_level(record.trust for record in own),
                remarks=_remarks(place, shown),
                checked=sum(len(results.trust.get(cell, ())) for cell in cells),
                provenance=list(_provenance(own, results, division.commands.get(name, ""))),
                charts=[*_curves(trainings), *_weights(results, own)],
                fields=receptive_fields(results, own),
                examples=examples(results, own),
            )
        )
    return pages


def file_names(names: Sequence[str]) -> list[str]:
    """A file name for each learner, whatever it is called; different even where case is ignored.

    >>> file_names(["bio", "Bio", "../x"])
    ['bio.html', 'Bio-2.html', 'x.html']
    """
    taken: set[str] = set()
    files = []
    for name in names:
        stem = _UNSAFE.sub("-", name).strip("-.")[:MOST_LETTERS] or "learner"
        numbered = (f"{stem}-{k}" for k in count(2))
        free = next(each for each in chain([stem], numbered) if each.lower() not in taken)
        taken.add(free.lower())
        files.append(f"{free}.html")
    return files


def _cost(trainings: Sequence[Training]) -> dict[str, str]:
    """What the trainings of a learner took."""
    if not trainings:
        return {}
    seconds = [training.wall_s for training in trainings]
    facts = {
        "trainings": f"{len(trainings)}, on {', '.join(dict.fromkeys(t.data for t in trainings))}",
        "time of a training": duration(sum(seconds) / len(seconds)),
        "of all": duration(sum(seconds)),
    }
    seen = [training.images_seen for training in trainings if training.images_seen is not None]
    if seen:
        most = f"{max(seen):,}"
        facts["images seen"] = most if min(seen) == max(seen) else f"{min(seen):,} to {most}"
    return facts


def _weights(results: Results, records: Sequence[Record]) -> Iterator[Chart]:
    """The sizes of its live weights."""
    weights = log_weights(results, records)
    if weights:
        title = "Sizes of live weights, first bundle"
        yield histogram(title, "log w", weights["edges"], weights["density"])


def _numbers(learner: int, shown: Sequence[Tab]) -> Iterator[Number]:
    """Everything that tables show of a learner; what two tables of a protocol share, once."""
    seen: set[tuple[str, str, str]] = set()
    for tab in shown:
        for table in tab.tables:
            for row in table.rows:
                if row.learner != learner:
                    continue
                for column, cell in zip(table.columns, row.cells, strict=True):
                    if cell and (same := (tab.protocol, column.name, cell.text)) not in seen:
                        seen.add(same)
                        yield Number(tab, table, column, cell)


def _remarks(learner: int, shown: Sequence[Tab]) -> list[tuple[str, Remark]]:
    """Protocol and trust check, for the checks of a learner that did not pass."""
    remarks: dict[tuple[str, Remark], None] = {}
    for tab in shown:
        for table in tab.tables:
            for row in table.rows:
                if row.learner == learner:
                    remarks |= {(tab.protocol, remark): None for remark in row.remarks}
    return list(remarks)


def _provenance(
    records: Sequence[Record], results: Results, command: str
) -> Iterator[tuple[str, dict[str, str]]]:
    """Where the numbers of a learner come from, protocol by protocol.

    Args:
        command: measures the learner again, at the commit that measured it.
    """
    by_protocol: dict[str, list[Record]] = {}
    for record in records:
        by_protocol.setdefault(record.protocol, []).append(record)
    for protocol, own in by_protocol.items():
        choices = results.matches.get(protocol, {}).get(own[0].learner, [])
        facts = {
            "dataset": [f"{record.dataset} {record.dataset_hash[:12]}" for record in own],
            "seeds": [str(record.seed) for record in own],
            "commit": [record.git_commit or "unknown" for record in own],
            "run again": _runs_again(own, command),
            "device": [record.device for record in own],
            "versions": [_versions(record) for record in own],
            "measured": sorted(record.created[:10] for record in own),
            "cells": [record.cell for record in own],
            "matched": [describe_choice(choice) for choice in choices],
        }
        # dict.fromkeys: each fact once, in order.
        yield protocol, {key: ", ".join(dict.fromkeys(f)) for key, f in facts.items() if f}


def _runs_again(records: Sequence[Record], command: str) -> list[str]:
    """How anyone can measure the same again; empty if no clean commit is recorded."""
    commits = {record.git_commit for record in records}
    if not command or not all(map(_CLEAN_COMMIT.fullmatch, commits)):
        return []
    return [f"git checkout {commit} && {command}" for commit in sorted(commits)]


def _versions(record: Record) -> str:
    return ", ".join(f"{name} {version}" for name, version in record.versions.items())


def _curves(trainings: Sequence[Training]) -> Iterator[Chart]:
    """The curves of the first seed's trainings."""
    first_seed = min((training.seed for training in trainings), default=0)
    for training in trainings:
        if training.seed != first_seed:
            continue
        for key in dict.fromkeys(key for row in training.rows for key in row):
            if key in STEP_KEYS:
                continue
            along, points = _curve([row for row in training.rows if key in row], key)
            if len(points) > 1:
                yield curve(f"{key.replace('_', ' ')}, training on {training.data}", along, points)


def _is_counted(rows: Sequence[dict[str, float]], key: str) -> bool:
    return all(isinstance(row.get(key), int | float) for row in rows)


def _curve(rows: Sequence[dict[str, float]], key: str) -> tuple[str, list[tuple[float, float]]]:
    """One number over a training, against the steps that the log counts, or row by row."""
    step_key = next((name for name in STEP_KEYS if _is_counted(rows, name)), None)
    points = []
    for i, row in enumerate(rows):
        if not isinstance(row[key], int | float):
            continue
        step = float(row[step_key]) if step_key else float(i + 1)
        value = float(row[key])
        if math.isfinite(step) and math.isfinite(value):
            points.append((step, value))
    return step_key or "row of the log", points
