"""Episodes of easyfsl's testbeds: a CSV with a row for each image of each task.

An example::

    ,image_id,task,labels,support
    0,17,0,2,True
    1,12,0,2,False

``image_id`` counts the images of the split from 0, class by class, ``labels`` its classes from 0.
Both in the order that the dataset has here; a row whose image is of another class is refused.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np

from harness.data.base import Loaded
from harness.data.episode_lists import COUNTS, EpisodeList, Listed, check
from harness.data.json_files import MOST_BYTES
from harness.errors import DataError

COLUMNS = ("image_id", "task", "labels", "support")
_SIDES = {"true": "support", "1": "support", "false": "query", "0": "query"}
HINT = f"a testbed of easyfsl has the columns {', '.join(COLUMNS)}"

Task = dict[int, dict[str, list[int]]]
"""Class -> side -> numbers of images within the class."""


def read(path: Path, data: Loaded, *, dataset: str, splitting: str, split: str) -> EpisodeList:
    """Read a testbed as a list of episodes, in the order of its task numbers.

    Args:
        path: the CSV.
        data: the dataset whose images it counts.
        dataset: kind of the dataset.
        splitting, split: whose images they are.

    Raises:
        DataError: it cannot be read, has no such columns, or does not fit the data.
    """
    names = data.split_classes(splitting, split)
    tasks = _tasks(path, data.split(splitting, split).known_labels)
    episodes = [
        Listed(
            classes=[names[label] for label in sorted(task)],
            support=[task[label]["support"] for label in sorted(task)],
            query=[task[label]["query"] for label in sorted(task)],
        )
        for _, task in sorted(tasks.items())
    ]
    if len(episodes) < 2:
        raise DataError("fewer than 2 tasks", where=str(path), hint="an interval needs two")
    queries = {len(each) for episode in episodes for each in episode.query}
    if len(queries) > 1 or queries == {0}:
        counts = ", ".join(map(str, sorted(queries)))
        raise DataError(
            f"classes have {counts} query images",
            where=str(path),
            hint="lists of episodes need one number above 0 for all",
        )
    found = EpisodeList(
        dataset=dataset,
        splitting=splitting,
        split=split,
        content=data.content_hash(),
        ways=_span([len(episode.classes) for episode in episodes]),
        shots=_span([len(each) for episode in episodes for each in episode.support]),
        queries=queries.pop(),
        counts=COUNTS,
        episodes=episodes,
    )
    check(found, str(path))
    return found


def _span(counts: list[int]) -> int | str:
    """A number, or a range such as ``1-5``."""
    low, high = min(counts), max(counts)
    return low if low == high else f"{low}-{high}"


def _tasks(path: Path, labels: np.ndarray) -> dict[int, Task]:
    """Task -> its images; ``labels`` are those of the split."""
    order = np.argsort(labels, kind="stable")
    by_class = labels[order]
    counts = np.bincount(labels)
    first = np.cumsum(counts) - counts
    tasks: dict[int, Task] = defaultdict(lambda: defaultdict(lambda: {"support": [], "query": []}))
    for line, row in _rows(path):
        where = f"{path}:{line}"
        try:
            image, task, label = (int(row[column]) for column in COLUMNS[:3])
            side = _SIDES[row["support"].strip().lower()]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise DataError("not an image of a task", where=where, hint=HINT) from None
        if not 0 <= image < len(labels):
            most = len(labels) - 1
            raise DataError(f"no image {image}", where=where, hint=f"images are 0 to {most}")
        if by_class[image] != label:
            raise DataError(
                f"image {image} is of class {by_class[image]}, not {label}",
                where=where,
                hint="the testbed is for other data, or its classes are in another order",
            )
        tasks[task][label][side].append(image - int(first[label]))
    return tasks


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Line and columns of each row."""
    where = str(path)
    try:
        if path.stat().st_size > MOST_BYTES or not path.is_file():
            raise DataError("not a file, or too large", where=where, hint=HINT)
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or [])]
            if missing:
                raise DataError(f"no column {missing[0]!r}", where=where, hint=HINT)
            return [(reader.line_num, row) for row in reader]
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=where, hint=HINT) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"not a CSV: {error}", where=where, hint=HINT) from None
