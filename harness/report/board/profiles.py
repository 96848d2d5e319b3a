"""The pages of learners on a board."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from harness.cells.results import Results, Training
from harness.records import Record
from harness.report.board.looks import log_weights, receptive_fields
from harness.report.board.model import Division, Number, Profile, Remark, Tab
from harness.report.notes import describe_choice

_CLEAN_COMMIT = re.compile(r"[0-9a-f]{7,40}")
"""A commit of a tree without changes, which are marked by a plus sign."""

STEP_KEYS = ("epoch", "episodes", "iteration", "iterations")
"""Keys of a training log that count steps."""


def profiles(division: Division, shown: Sequence[Tab]) -> list[Profile]:
    """Make every learner's page, in the order of the suite."""
    results = division.results
    records: dict[str, list[Record]] = {}
    for record in results.records:
        records.setdefault(record.learner, []).append(record)
    pages = []
    for place, name in enumerate(results.learners):
        own = records.get(name, [])
        cells = {record.cell for record in own}
        pages.append(
            Profile(
                name=name,
                kind=results.kinds.get(name, ""),
                origin=division.origins.get(name, ""),
                config=results.configs.get(name, {}),
                numbers=list(_numbers(place, shown)),
                remarks=_remarks(place, shown),
                checked=sum(len(results.trust.get(cell, ())) for cell in cells),
                provenance=list(_provenance(own, results, division.commands.get(name, ""))),
                trainings=list(_trainings(results.trainings.get(name, []))),
                log_weights=log_weights(results, own),
                fields=receptive_fields(results, own),
            )
        )
    return pages


def _numbers(learner: int, shown: Sequence[Tab]) -> Iterator[Number]:
    """Everything that tables show of a learner."""
    for tab in shown:
        for table in tab.tables:
            for row in table.rows:
                if row.learner != learner:
                    continue
                for column, cell in zip(table.columns, row.cells, strict=True):
                    if cell:
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


def _trainings(trainings: Sequence[Training]) -> Iterator[dict[str, Any]]:
    """The curves of the first seed's trainings."""
    first_seed = min((training.seed for training in trainings), default=0)
    for training in trainings:
        if training.seed != first_seed or len(training.rows) < 2:
            continue
        keys = dict.fromkeys(key for row in training.rows for key in row)
        series = {}
        for key in keys:
            if key not in STEP_KEYS:
                series[key] = _curve([row for row in training.rows if key in row], key)
        yield {
            "data": training.data,
            "seed": training.seed,
            "images": training.images_seen,
            "series": series,
        }


def _is_counted(rows: Sequence[dict[str, float]], key: str) -> bool:
    return all(isinstance(row.get(key), int | float) for row in rows)


def _curve(rows: Sequence[dict[str, float]], key: str) -> dict[str, Any]:
    """One number over a training, against the steps that the log counts, or row by row."""
    step_key = next((name for name in STEP_KEYS if _is_counted(rows, name)), None)
    points = []
    for i, row in enumerate(rows):
        if not isinstance(row[key], int | float):
            continue
        step = float(row[step_key]) if step_key else float(i + 1)
        value = float(f"{row[key]:.4g}")
        if math.isfinite(step) and math.isfinite(value):
            points.append([step, value])
    return {"along": step_key or "row of the log", "points": points}
