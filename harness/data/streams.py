"""Streams: tasks that are learned one after the other, as pure functions of classes and an order.

A stream says which classes each task has, which output unit stands for each, and through which view
its images are seen. It names no image: a task has all images of its classes in a split, so the same
stream has train and test parts. Order 0 is the dataset's own order; every other number is a draw
that is the same for every learner, seed and suite.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from harness.data.base import Images, Loaded
from harness.data.views import PLAIN, View
from harness.errors import DataError
from harness.rng import Rng

Scenario = Literal["task", "domain", "class"]
"""What is asked at test time: among the task's own classes, which of the units that all tasks
share, or which of the classes of all tasks (van de Ven, Tuytelaars & Tolias 2022)."""


@dataclass(frozen=True)
class Task:
    """One task of a stream.

    Attributes:
        name: For people; not part of the stream's hash.
        classes: Labels in the splitting, in the order of their output units.
        outputs: The output unit of each class.
        view: Through which its images are seen.
        shots: How many images of each class are learned, drawn by the stream's order; None: all.
            All test images are tested.
    """

    name: str
    classes: tuple[int, ...]
    outputs: tuple[int, ...]
    view: View = PLAIN
    shots: int | None = None

    def part(self, images: Images, outputs: int) -> Images:
        """Its images: seen through its view, labelled by output units.

        Args:
            images: A split.
            outputs: Output units of the stream.
        """
        unit = np.full(images.n_classes, -1)
        unit[list(self.classes)] = self.outputs
        labels = unit[images.known_labels]
        rows = np.flatnonzero(labels >= 0)
        return Images(self.view(images.pixels[rows]), labels[rows], images.index[rows], outputs)

    def to_json(self) -> dict[str, Any]:
        """What its hash covers."""
        content = {
            "classes": list(self.classes),
            "outputs": list(self.outputs),
            "view": self.view.to_json(),
        }
        return content if self.shots is None else {**content, "shots": self.shots}


@dataclass(frozen=True)
class Stream:
    """Tasks in the order in which they are learned.

    Attributes:
        scenario: What is asked at test time.
        order: Number of the order that the tasks were drawn with.
        tasks: At least two.
    """

    scenario: Scenario
    order: int
    tasks: tuple[Task, ...]

    def __len__(self) -> int:
        return len(self.tasks)

    @property
    def outputs(self) -> int:
        """Number of output units."""
        return 1 + max(unit for task in self.tasks for unit in task.outputs)

    @property
    def has_sessions(self) -> bool:
        """Whether some tasks have a few images only."""
        return any(task.shots is not None for task in self.tasks)

    @property
    def sha256(self) -> str:
        """Hash of everything that a learner meets, given the images; equal tasks hash alike."""
        content: dict[str, Any] = {
            "scenario": self.scenario,
            "tasks": [task.to_json() for task in self.tasks],
        }
        if self.has_sessions:
            content["order"] = self.order
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def part(self, images: Images, number: int) -> Images:
        """The images of a task.

        Args:
            images: A split.
            number: Of the task, from 0.
        """
        return self.tasks[number].part(images, self.outputs)

    def together(self, tasks: int) -> np.ndarray:
        """Which output units belong to one task, bool (outputs, outputs), true on the diagonal.

        Args:
            tasks: How many tasks, from the first, are looked at.
        """
        pairs = np.eye(self.outputs, dtype=bool)
        for task in self.tasks[:tasks]:
            pairs[np.ix_(task.outputs, task.outputs)] = True
        return pairs

    def seen(self, tasks: int) -> np.ndarray:
        """Which output units are both among those of the first tasks, bool (outputs, outputs)."""
        units = sorted({unit for task in self.tasks[:tasks] for unit in task.outputs})
        pairs = np.eye(self.outputs, dtype=bool)
        pairs[np.ix_(units, units)] = True
        return pairs


@dataclass(frozen=True)
class Halves:
    """Which images a stream is learned from, and which it is tested on.

    Attributes:
        splitting: Of the dataset.
        split: The split that is tested on; ``train`` is learned.
        held_out: Where splits have different classes: images of each class of ``split`` that are
            tested on, drawn once and for all; its other images are learned. None: as above.
    """

    splitting: str
    split: str
    held_out: int | None = None

    @property
    def learned(self) -> str:
        """The split that is learned."""
        return "train" if self.held_out is None else self.split

    def images(self, data: Loaded) -> tuple[Images, Images]:
        """The images to learn and those to test on."""
        images = data.split(self.splitting, self.learned)
        if self.held_out is None:
            return images, data.split(self.splitting, self.split)
        generator = Rng(0).child("held out of streams").numpy("order")
        is_tested = _drawn_of_each_class(images.known_labels, self.held_out, generator)
        return images.take(np.flatnonzero(~is_tested)), images.take(np.flatnonzero(is_tested))


def _drawn_of_each_class(
    labels: np.ndarray, count: int, generator: np.random.Generator
) -> np.ndarray:
    """Whether each image is one of so many of its class that are drawn, bool (N,)."""
    shuffled = generator.permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    sizes = np.bincount(labels)
    rank = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    is_drawn = np.zeros(len(labels), bool)
    is_drawn[by_class[rank < count]] = True
    return is_drawn


class Parts:
    """The parts of a stream up to the present task; later ones cannot be reached.

    Args:
        stream: The stream.
        images: A split.
        count: How many tasks there are so far.
    """

    def __init__(self, stream: Stream, images: Images, count: int) -> None:
        self.stream = stream
        self.images = images
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Images]:
        return (self[number] for number in range(self.count))

    def __getitem__(self, number: int) -> Images:
        if not -self.count <= number < self.count:
            raise IndexError(number)
        number %= self.count
        part = self.stream.part(self.images, number)
        shots = self.stream.tasks[number].shots
        if shots is None:
            return part
        generator = draws(self.stream.order).numpy("shots", number)
        return part.take(np.flatnonzero(_drawn_of_each_class(part.known_labels, shots, generator)))


def draws(order: int) -> Rng:
    """All randomness of an order."""
    return Rng(0).child("stream", order)


def by_classes(n_classes: int, classes_per_task: int, scenario: Scenario, order: int) -> Stream:
    """Split the classes into tasks of equal size.

    >>> [task.classes for task in by_classes(6, 2, "class", 0).tasks]
    [(0, 1), (2, 3), (4, 5)]

    Raises:
        DataError: The classes do not divide, or there are fewer than two tasks.
    """
    if n_classes % classes_per_task:
        raise DataError(
            f"{n_classes} classes do not divide into tasks of {classes_per_task}",
            hint=f"divisors: {', '.join(map(str, _divisors(n_classes)))}",
        )
    classes = np.arange(n_classes)
    if order:
        classes = draws(order).numpy("classes").permutation(n_classes)
    groups = classes.reshape(-1, classes_per_task).tolist()
    names = [",".join(map(str, group)) for group in groups]
    return _of_groups(names, groups, scenario, order)


def _divisors(number: int) -> list[int]:
    return [each for each in range(1, number // 2 + 1) if number % each == 0]


def by_groups(
    groups: Sequence[int], names: Sequence[str], scenario: Scenario, order: int
) -> Stream:
    """A task for each group of classes, e.g. for each alphabet; they may differ in size.

    Args:
        groups: Group of each class.
        names: Name of each group.
        scenario: What is asked at test time.
        order: Number of the order of the groups; classes keep theirs.

    Raises:
        DataError: There are fewer than two groups, or a domain scenario has unequal ones.
    """
    numbers = list(range(len(names)))
    if order:
        numbers = draws(order).numpy("groups").permutation(len(names)).tolist()
    members = [np.flatnonzero(np.asarray(groups) == number).tolist() for number in numbers]
    return _of_groups([names[number] for number in numbers], members, scenario, order)


def by_sessions(
    n_classes: int, base: int, ways: int, shots: int, scenario: Scenario, order: int
) -> Stream:
    """A task of many classes with all their images, then sessions of a few images of new ones.

    >>> [len(task.classes) for task in by_sessions(10, 6, 2, 5, "class", 1).tasks]
    [6, 2, 2]

    Args:
        n_classes: Number of classes.
        base: How many of them the first task has.
        ways: Classes of a session.
        shots: Images of each class that a session learns.
        scenario: What is asked at test time.
        order: Number of the order of the classes, and of the draw of images.

    Raises:
        DataError: The other classes do not divide into sessions.
    """
    if not 0 < base < n_classes or (n_classes - base) % ways:
        raise DataError(
            f"{n_classes - base} classes after a base of {base} do not divide into sessions of "
            f"{ways}",
            hint=f"e.g. a base of {n_classes - ways * max(1, n_classes // (2 * ways))}",
        )
    classes = np.arange(n_classes)
    if order:
        classes = draws(order).numpy("classes").permutation(n_classes)
    groups = [classes[:base].tolist(), *classes[base:].reshape(-1, ways).tolist()]
    names = ["base", *(f"session {number}" for number in range(1, len(groups)))]
    plain = _of_groups(names, groups, scenario, order)
    sessions = [replace(task, shots=shots) for task in plain.tasks[1:]]
    return replace(plain, tasks=(plain.tasks[0], *sessions))


def _of_groups(
    names: Sequence[str], groups: Sequence[Sequence[int]], scenario: Scenario, order: int
) -> Stream:
    """A plain stream from the classes of each task."""
    sizes = {len(group) for group in groups}
    if len(groups) < 2:
        raise DataError(
            "a stream needs at least two tasks", hint="fewer classes a task, or more groups"
        )
    if scenario == "domain" and len(sizes) > 1:
        raise DataError(
            f"tasks of {min(sizes)} to {max(sizes)} classes cannot share their output units",
            hint="scenario domain needs tasks of equal size; use task or class",
        )
    tasks = []
    first = 0
    for name, group in zip(names, groups, strict=True):
        outputs = tuple(range(first, first + len(group)))
        tasks.append(Task(name, tuple(group), outputs))
        if scenario != "domain":
            first += len(group)
    return Stream(scenario, order, tuple(tasks))


def permuted(
    n_classes: int, tasks: int, image_shape: tuple[int, int, int], scenario: Scenario, order: int
) -> Stream:
    """All classes in every task, with the pixels of each image permuted; the first task is plain.

    Args:
        n_classes: Number of classes.
        tasks: Number of tasks.
        image_shape: (C, H, W); channels are permuted alike.
        scenario: What is asked at test time.
        order: Number of the draw of permutations.
    """
    size = image_shape[1] * image_shape[2]
    views = [PLAIN]
    for number in range(1, tasks):
        places = draws(order).numpy("pixels", number).permutation(size)
        views.append(View("permute", tuple(places.tolist())))
    names = ["plain", *(f"permutation {number}" for number in range(1, tasks))]
    return _of_views(n_classes, names, views, scenario, order)


def rotated(n_classes: int, degrees: Sequence[float], scenario: Scenario, order: int) -> Stream:
    """All classes in every task, each task rotated by its own angle.

    Args:
        n_classes: Number of classes.
        degrees: The angles; order 0 keeps their order.
        scenario: What is asked at test time.
        order: Number of the order of the angles.
    """
    angles = list(degrees)
    if order:
        angles = [angles[i] for i in draws(order).numpy("degrees").permutation(len(angles))]
    views = [View("rotate", degrees=float(angle)) if angle else PLAIN for angle in angles]
    return _of_views(n_classes, [f"{angle:g} degrees" for angle in angles], views, scenario, order)


def _of_views(
    n_classes: int, names: Sequence[str], views: Sequence[View], scenario: Scenario, order: int
) -> Stream:
    tasks = []
    for number, (name, view) in enumerate(zip(names, views, strict=True)):
        first = 0 if scenario == "domain" else number * n_classes
        outputs = tuple(range(first, first + n_classes))
        tasks.append(Task(name, tuple(range(n_classes)), outputs, view))
    if len(tasks) < 2:
        raise DataError("a stream needs at least two tasks", hint="more `tasks` or `degrees`")
    return Stream(scenario, order, tuple(tasks))
