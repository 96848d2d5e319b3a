"""Streams as JSON: the same tasks in other code, or tasks of other code here.

An example::

    {"schema": 1, "dataset": "mnist5k", "splitting": "standard", "split": "test",
     "content": "f352...", "scenario": "class", "order": 3, "sha256": "0b1d...",
     "counts": "images of a split, in the order of the dataset, from 0",
     "tasks": [{"name": "7,2", "classes": [7, 2], "class_names": ["7", "2"], "outputs": [0, 1],
                "view": {"kind": "plain"},
                "train": {"n": 700, "sha256": "...", "images": [[0, 3], 9, ...]},
                "test": {"n": 200, "sha256": "...", "images": [...]}}, ...]}

Classes are given by number, in the order of the splitting's classes. ``images`` has the numbers of
a task's images in their split; ``[0, 3]`` are 0, 1, 2 and 3. Together they are all images of the
task's classes. With ``held_out``, all are from ``split``, and so many of each class are tested on.
``class_names``, ``images``, every ``sha256`` and ``content`` may be left out; what is given must
agree with the data here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from harness.data import json_files
from harness.data.base import Loaded
from harness.data.streams import Halves, Parts, Scenario, Stream, Task
from harness.data.views import View
from harness.errors import DataError
from harness.registry import Config

HOW_TO_WRITE = "`harness streams SUITE.yaml --out FOLDER` writes such files"

COUNTS = "images of a split, in the order of the dataset, from 0"

Count = Annotated[int, Field(ge=0)]
Name = Annotated[str, Field(max_length=300)]


class ViewFile(Config):
    """How a task's images are seen."""

    kind: Literal["plain", "permute", "rotate"] = "plain"
    pixels: list[Count] | None = None
    degrees: float | None = None


class PartFile(Config):
    """A task's images in one split."""

    n: Count
    sha256: str | None = None
    images: list[Count | tuple[Count, Count]] | None = None


class TaskFile(Config):
    """One task."""

    name: Name
    classes: list[Count] = Field(min_length=1)
    class_names: list[Name] | None = None
    outputs: list[Count] = Field(min_length=1)
    view: ViewFile = ViewFile()
    shots: Annotated[int, Field(ge=1)] | None = None
    train: PartFile | None = None
    test: PartFile | None = None


class StreamFile(Config):
    """A stream of one splitting."""

    version: Literal[1] = Field(alias="schema")
    dataset: str
    splitting: str
    split: str
    held_out: Annotated[int, Field(ge=1)] | None = None
    content: str | None = None
    scenario: Scenario
    order: int = 0
    sha256: str | None = None
    counts: str | None = None
    tasks: list[TaskFile] = Field(min_length=2)

    @property
    def tested(self) -> Halves:
        """Which images it is learned from and tested on."""
        return Halves(self.splitting, self.split, self.held_out)

    def stream(self, n_classes: int, pixels: int, where: str) -> Stream:
        """The stream, for a splitting with so many classes and images of so many pixels.

        Raises:
            DataError: There is no such class, or the tasks are impossible.
        """
        tasks = []
        for number, task in enumerate(self.tasks):
            fault = _fault(task, n_classes, pixels)
            if fault:
                raise DataError(f"task {number}: {fault}", where=where, hint=HOW_TO_WRITE)
            view = _view(task.view)
            classes, outputs = tuple(task.classes), tuple(task.outputs)
            tasks.append(Task(task.name, classes, outputs, view, task.shots))
        stream = Stream(self.scenario, self.order, tuple(tasks))
        _check_outputs(stream, where)
        if self.sha256 not in (None, stream.sha256):
            given = str(self.sha256)[:16]
            raise DataError(
                f"its tasks hash to {stream.sha256[:16]}..., but it says {given}...",
                where=where,
                hint="it was edited: remove `sha256` if that was on purpose",
            )
        return stream

    def check(self, data: Loaded, where: str) -> None:
        """Compare what it says of content and images with the data.

        Raises:
            DataError: Something differs.
        """
        if self.content not in (None, data.content_hash()):
            raise DataError(
                "the stream is for other data: its `content` is not that of this dataset",
                where=where,
                hint="use the release of the dataset that it was made with, or remove `content`",
            )
        names = data.split_classes(self.splitting, self.tested.learned)
        for number, task in enumerate(self.tasks):
            here = [names[label] for label in task.classes]
            if task.class_names not in (None, here):
                raise DataError(
                    f"task {number}: its classes are {', '.join(here)} in this dataset, and "
                    f"it calls them {', '.join(task.class_names or ())}",
                    where=where,
                )
        pixels = data.pixels.shape[2] * data.pixels.shape[3]
        stream = self.stream(len(names), pixels, where)
        for number, task in enumerate(self.tasks):
            for key, actual in _rows(data, self.tested, stream, number).items():
                given: PartFile | None = getattr(task, key)
                if given is not None and not _agrees(given, actual):
                    raise DataError(
                        f"task {number}: its {key} images are not the {len(actual)} that its "
                        f"classes have in {self.splitting}",
                        where=where,
                        hint="for fewer images, import them as a dataset of your own",
                    )


def _fault(task: TaskFile, n_classes: int, pixels: int) -> str:
    """The first fault of one task; empty if there is none."""
    if max(task.classes) >= n_classes:
        return f"no class {max(task.classes)}: there are {n_classes}, numbered from 0"
    if len({*task.classes}) < len(task.classes):
        return "duplicate class"
    if len(task.outputs) != len(task.classes) or len({*task.outputs}) < len(task.outputs):
        return f"{len(task.classes)} classes need as many different outputs"
    if max(task.outputs) >= 10**6:
        return f"no output {max(task.outputs)}: outputs are numbered from 0"
    view = task.view
    if (view.kind == "permute") != (view.pixels is not None):
        return "a view has `pixels` if, and only if, its kind is permute"
    if (view.kind == "rotate") != (view.degrees is not None):
        return "a view has `degrees` if, and only if, its kind is rotate"
    if view.pixels is not None and sorted(view.pixels) != list(range(pixels)):
        return f"`pixels` of its view are no permutation of 0 to {pixels - 1}"
    return ""


def _view(given: ViewFile) -> View:
    return View(given.kind, tuple(given.pixels or ()), given.degrees or 0.0)


def _check_outputs(stream: Stream, where: str) -> None:
    used = {unit for task in stream.tasks for unit in task.outputs}
    units = [unit for task in stream.tasks for unit in task.outputs]
    if used != set(range(stream.outputs)):
        raise DataError("its outputs leave out numbers", where=where, hint="count them from 0")
    if stream.scenario == "domain" and any({*task.outputs} != used for task in stream.tasks):
        raise DataError("tasks of scenario domain share all outputs", where=where)
    if stream.scenario != "domain" and len(units) != len(used):
        raise DataError(
            f"two tasks of scenario {stream.scenario} have the same output", where=where
        )


def _rows(data: Loaded, tested: Halves, stream: Stream, number: int) -> dict[str, np.ndarray]:
    """``train`` and ``test`` -> the numbers of a task's images in their split."""
    learned, held = tested.images(data)
    parts = {
        "train": (tested.learned, Parts(stream, learned, len(stream))[number]),
        "test": (tested.split, stream.part(held, number)),
    }
    # The images of a split are in ascending order of their position in the dataset.
    return {
        key: np.searchsorted(data.split(tested.splitting, split).index, part.index)
        for key, (split, part) in parts.items()
    }


def _agrees(given: PartFile, actual: np.ndarray) -> bool:
    if given.n != len(actual):
        return False
    if given.sha256 is not None:
        return given.sha256 == _hash(actual)
    return given.images is None or _unfolded(given.images) == actual.tolist()


def _hash(rows: np.ndarray) -> str:
    return hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()


def runs(rows: np.ndarray) -> list[int | list[int]]:
    """Fold ascending numbers into runs.

    >>> runs(np.array([0, 1, 2, 5, 7, 8]))
    [[0, 2], 5, [7, 8]]
    """
    folded: list[int | list[int]] = []
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    for run in np.split(rows, breaks):
        if len(run) == 1:
            folded.append(int(run[0]))
        elif len(run):
            folded.append([int(run[0]), int(run[-1])])
    return folded


def _unfolded(folded: Sequence[int | tuple[int, int]]) -> list[int]:
    rows: list[int] = []
    for each in folded:
        if isinstance(each, int):
            rows.append(each)
        elif each[1] - each[0] > 10**8:
            return []
        else:
            rows.extend(range(each[0], each[1] + 1))
    return rows


def described(stream: Stream, data: Loaded, tested: Halves, dataset: str) -> dict[str, Any]:
    """A stream as the content of its file.

    Args:
        stream: The stream.
        data: The dataset.
        tested: Which images it is learned from and tested on.
        dataset: Name of the dataset.
    """
    names = data.split_classes(tested.splitting, tested.learned)

    def part(rows: np.ndarray) -> dict[str, Any]:
        return {"n": len(rows), "sha256": _hash(rows), "images": runs(rows)}

    tasks = [
        {
            "name": task.name,
            "classes": list(task.classes),
            "class_names": [names[label] for label in task.classes],
            "outputs": list(task.outputs),
            "view": task.view.to_json(),
            **({} if task.shots is None else {"shots": task.shots}),
            **{key: part(rows) for key, rows in _rows(data, tested, stream, number).items()},
        }
        for number, task in enumerate(stream.tasks)
    ]
    held_out = {} if tested.held_out is None else {"held_out": tested.held_out}
    return {
        "schema": 1,
        "dataset": dataset,
        "splitting": tested.splitting,
        "split": tested.split,
        **held_out,
        "content": data.content_hash(),
        "scenario": stream.scenario,
        "order": stream.order,
        "sha256": stream.sha256,
        "counts": COUNTS,
        "tasks": tasks,
    }


def read(path: str | Path) -> StreamFile:
    """Read a file.

    Raises:
        DataError: It cannot be read, or is not a stream.
    """
    return json_files.read(path, StreamFile, "a stream", HOW_TO_WRITE)
