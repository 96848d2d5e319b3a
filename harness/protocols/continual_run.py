"""One strategy on one stream: learn a task, test on all, go on; and resume where it was stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from harness.batching import in_batches
from harness.data.base import Images
from harness.data.streams import Parts, Stream
from harness.errors import HarnessError
from harness.lazy import nn, torch
from harness.learning.learner import Learner
from harness.protocols.base import Context
from harness.protocols.continual_attack import BROKEN, Robust, StreamAttack
from harness.protocols.continual_settings import ContinualSetting, split_name
from harness.protocols.requirements import classifier_of, require_logits
from harness.protocols.strategies import STRATEGIES, Schedule, Strategy, state_bytes

WATCHED = 100
"""Test images of each old task that are looked at within training."""

PROBED = 100
"""Test images of each task, tasks to come included, that hidden units are shown after each."""

Arrays = dict[str, np.ndarray]


@dataclass
class Course:
    """What one strategy did on one stream.

    Attributes:
        correct: uint8 (T + 1, N): whether each test image was right after t tasks.
        task: int64 (N,): task of each test image.
        curve: float64 (M, T): accuracy on old tasks within training, NaN for those to come.
        during: int64 (M,): the task that was being learned then.
        robust: uint8 (T + 1, M): whether each attacked image withstood after t tasks; empty
            without an attack.
        robust_task: int64 (M,): task of each attacked image.
        units: float32 (T, T, U): mean response of each hidden unit to images of each task, after
            each task; empty if units are not looked at.
        used: name -> number: what the strategy needed.
        has_sessions: Whether later tasks are of a few images.
        answered: Whether the untrained learner could be asked.
    """

    correct: list[np.ndarray] = field(default_factory=list)
    task: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    curve: list[np.ndarray] = field(default_factory=list)
    during: list[int] = field(default_factory=list)
    robust: list[np.ndarray] = field(default_factory=list)
    robust_task: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    units: list[np.ndarray] = field(default_factory=list)
    used: dict[str, float] = field(default_factory=dict)
    has_sessions: bool = False
    answered: bool = True

    def to_arrays(self) -> Arrays:
        """The course so far."""
        arrays = {"correct": np.stack(self.correct), "answered": np.array(self.answered)}
        arrays |= {f"used/{name}": np.array(number) for name, number in self.used.items()}
        if self.curve:
            arrays |= {"curve": np.stack(self.curve), "during": np.array(self.during)}
        if self.robust:
            arrays["robust"] = np.stack(self.robust)
        if self.units:
            arrays["units"] = np.stack(self.units)
        return arrays

    def load(self, arrays: Arrays) -> None:
        """Go on from ``to_arrays``."""
        self.correct = list(arrays["correct"])
        self.answered = bool(arrays["answered"])
        self.used = {name: float(array) for name, array in _below("used/", arrays).items()}
        if "curve" in arrays:
            self.curve = list(arrays["curve"])
            self.during = arrays["during"].tolist()
        if "robust" in arrays:
            self.robust = list(arrays["robust"])
        if "units" in arrays:
            self.units = list(arrays["units"])


class Watcher:
    """A ``watch`` callback that looks at old tasks every so many training steps.

    Args:
        every: Steps between looks.
        look: Learner -> accuracy on each task so far, NaN for those to come.
    """

    def __init__(self, every: int, look: Callable[[Learner], np.ndarray]) -> None:
        self.every = every
        self.look = look
        self.steps = 0
        self.rows: list[np.ndarray] = []

    def __call__(self, learner: Learner, seen: int) -> None:
        """Look, if it is time."""
        self.steps += 1
        if self.steps % self.every == 0:
            self.rows.append(self.look(learner))


@dataclass
class Walk:
    """One strategy on its way through one stream.

    Attributes:
        stream: The stream.
        train, test: The splits.
        setting: Of the cell.
        context: Of the cell.
    """

    stream: Stream
    train: Images
    test: Images
    setting: ContinualSetting
    context: Context

    def walk(self, untrained: Learner, before: Arrays, save: Callable[[Arrays], None]) -> Course:
        """Learn all tasks.

        Args:
            untrained: A learner that has learned nothing.
            before: What was saved when the walk was stopped; empty at its start.
            save: Called after each task with all that a resumed walk needs.
        """
        strategy = self._strategy(untrained)
        attack = self._attack()
        course = Course(task=self._test_tasks(), has_sessions=self.stream.has_sessions)
        if attack is not None:
            course.robust_task = attack.tasks()
            course.robust = [np.full(len(course.robust_task), BROKEN, np.uint8)]
        if before:
            course.load(_below("course/", before))
            strategy.load(_below("strategy/", before))
        else:
            course.correct.append(self._before_learning(strategy, course))
        for number in range(len(course.correct) - 1, len(self.stream)):
            self._learn(strategy, course, number)
            course.correct.append(self._judged(strategy.model(), strategy.learner))
            if attack is not None:
                course.robust.append(attack.verdicts(strategy.model(), number + 1))
            if self.setting.units and strategy.stays and strategy.learner.goes_on:
                course.units.append(self._responses(strategy.learner))
            course.used = _used(strategy)
            self.context.progress(
                (number + 1) / len(self.stream), f"task {number + 1} of {len(self.stream)}"
            )
            save({**_above("course/", course.to_arrays()), **_above("strategy/", strategy.state())})
        return course

    def _strategy(self, untrained: Learner) -> Strategy:
        kind, size = split_name(self.setting.strategy)
        schedule = Schedule(self.setting.passes, self.setting.chunk)
        # Of the order alone: every strategy and learner meets images in the same order.
        rng = self.context.rng.child("stream", self.stream.order)
        return STRATEGIES[kind](untrained, size, schedule, rng)

    def _attack(self) -> StreamAttack | None:
        if self.setting.robust is None:
            return None
        robust = Robust(*self.setting.robust)
        is_told = self.setting.scenario == "task"
        return StreamAttack(robust, self.stream, self.test, is_told, self.context)

    def _learn(self, strategy: Strategy, course: Course, number: int) -> None:
        """Learn one task."""
        watcher = None
        is_watched = strategy.stays and not strategy.answers_by_head
        if self.setting.watch_every is not None and is_watched:
            watcher = Watcher(self.setting.watch_every, lambda learner: self._look(learner, number))
            strategy.watch_with(watcher)
        parts = Parts(self.stream, self.train, number + 1)
        rivals = self._rivals(number + 1)
        strategy.learn(parts, rivals)
        if strategy.stays:
            strategy.learner.settle(parts[-1], rivals=rivals)
        if watcher is not None:
            rows = [*watcher.rows, self._look(strategy.learner, number)]
            course.curve += rows
            course.during += [number] * len(rows)

    def _rivals(self, tasks: int) -> torch.Tensor | None:
        """Which units the loss of an image runs over, after so many tasks began."""
        scenario, rivals = self.setting.scenario, self.setting.rivals
        if scenario == "domain" or (scenario == "class" and rivals == "all"):
            return None
        if scenario == "class" and rivals == "seen":
            return torch.from_numpy(self.stream.seen(tasks))
        return torch.from_numpy(self.stream.together(tasks))

    # ------------------------------------------------------------------------------- testing

    def _test_tasks(self) -> np.ndarray:
        sizes = [len(self.stream.part(self.test, i)) for i in range(len(self.stream))]
        return np.repeat(np.arange(len(sizes)), sizes)

    def _before_learning(self, strategy: Strategy, course: Course) -> np.ndarray:
        try:
            return self._judged(strategy.model(), strategy.learner)
        except HarnessError:  # it has no classifier before it has learned
            course.answered = False
            return np.zeros(len(course.task), np.uint8)

    def _judged(self, model: nn.Module, learner: Learner) -> np.ndarray:
        """Verdicts on the test images of all tasks, uint8 (N,)."""
        verdicts = [
            self._correct(model, self.stream.part(self.test, number), number, learner)
            for number in range(len(self.stream))
        ]
        return np.concatenate(verdicts)

    def _correct(
        self, model: nn.Module, images: Images, number: int, learner: Learner
    ) -> np.ndarray:
        """Verdicts on images of one task; the task is used only where the scenario tells it."""
        with torch.no_grad():
            x = images.tensor(self.context.device)
            logits = in_batches(model, x, batch_size=self.context.batch_size)
        require_logits(logits, (len(images), self.stream.outputs), learner)
        answers = logits.cpu()
        if self.setting.scenario == "task":
            own = torch.zeros(self.stream.outputs, dtype=torch.bool)
            own[list(self.stream.tasks[number].outputs)] = True
            answers = answers.masked_fill(~own, float("-inf"))
        correct: np.ndarray = answers.argmax(1).numpy() == images.known_labels
        return correct.astype(np.uint8)

    def _look(self, learner: Learner, number: int) -> np.ndarray:
        """Accuracy on the first test images of each task so far, (T,); NaN for those to come."""
        model = classifier_of(learner)
        seen = np.full(len(self.stream), np.nan)
        for old in range(number + 1):
            seen[old] = self._correct(model, self._some(old, WATCHED), old, learner).mean()
        return seen

    def _responses(self, learner: Learner) -> np.ndarray:
        """Mean response of each hidden unit to test images of each task, float32 (T, U)."""
        means = []
        for number in range(len(self.stream)):
            x = self._some(number, PROBED).tensor(self.context.device)
            means.append(in_batches(learner.embed, x, batch_size=self.context.batch_size).mean(0))
        return torch.stack(means).cpu().float().numpy()

    def _some(self, number: int, count: int) -> Images:
        """At most ``count`` test images of a task, spread over the split."""
        images = self.stream.part(self.test, number)
        rows = np.linspace(0, len(images) - 1, min(count, len(images))).astype(np.int64)
        return images.take(rows)


def _used(strategy: Strategy) -> dict[str, float]:
    """What a strategy needed so far."""
    return {
        "state_bytes": state_bytes(strategy.learner),
        "kept_bytes": strategy.kept_bytes,
        "images_trained": strategy.counts.trained,
        "images_replayed": strategy.counts.replayed,
    }


def _above(prefix: str, arrays: Arrays) -> Arrays:
    return {f"{prefix}{name}": array for name, array in arrays.items()}


def _below(prefix: str, arrays: Arrays) -> Arrays:
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
