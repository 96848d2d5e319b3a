"""Strategies: how a learner meets a stream, and what it may keep of it.

None needs more of a learner than ``go_on``, an untrained copy, and a memory of images. A learner
that cannot go on is trained anew, by ``fit``, on the images that the strategy would show it.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from harness.data.base import Images
from harness.data.streams import Parts
from harness.lazy import nn, torch
from harness.learning.going_on import add_to_means, heads_of_known
from harness.learning.learner import Budget, Learner
from harness.protocols.memories import Balanced, Memory, Reservoir, image_bytes, joined
from harness.protocols.requirements import classifier_of
from harness.rng import Rng

State = dict[str, np.ndarray]
Watch = Callable[[Learner, int], None]

LEARNER = "learner/"
MEMORY = "memory/"
"""Begin the names of the arrays of a state."""


@dataclass(frozen=True)
class Schedule:
    """How images are shown; the same for every strategy.

    Attributes:
        passes: Over the images of a task.
        chunk: Images of one call; None: the whole task.
    """

    passes: int
    chunk: int | None = None


@dataclass
class Counts:
    """What a strategy used.

    Attributes:
        trained: Images that learners were trained on, repeats counted.
        replayed: How many of them were not of the present task, or were shown from a memory.
    """

    trained: int = 0
    replayed: int = 0


@dataclass
class Strategy(ABC):
    """One way through a stream. ``learn`` is called once for each task.

    Attributes:
        untrained: A learner that has learned nothing; copied, and never changed.
        size: Images of the memory; 0 without one.
        schedule: How images are shown.
        rng: Source of the order of images and of the memory's draws.
        watch: Called after each training step of the learner that is measured.
    """

    untrained: Learner
    size: int
    schedule: Schedule
    rng: Rng
    watch: Watch | None = None
    counts: Counts = field(default_factory=Counts)

    stays = True
    """Whether one learner goes through the stream; otherwise each task has a new one."""

    answers_by_head = False
    """Whether answers come from a head of the strategy instead of the learner's classifier."""

    def __post_init__(self) -> None:
        self.learner = self._new()

    @abstractmethod
    def learn(self, parts: Parts, rivals: torch.Tensor | None) -> None:
        """Learn the last part.

        Args:
            parts: Of all tasks so far; a strategy reads earlier ones only if it keeps all images.
            rivals: See ``Learner.go_on``.
        """

    def model(self) -> nn.Module:
        """The classifier after the tasks so far."""
        return classifier_of(self.learner)

    def watch_with(self, watch: Watch) -> None:
        """Call ``watch`` after each training step from now on."""
        self.watch = watch
        self.learner.watch = watch

    @property
    def kept_bytes(self) -> int:
        """Bytes of the images that are kept."""
        return 0

    def state(self) -> State:
        """All that the next task needs, as arrays."""
        state = {
            "trained": np.array(self.counts.trained),
            "replayed": np.array(self.counts.replayed),
        }
        if self.stays:
            for name, tensor in self.learner.state_dict().items():
                state[f"{LEARNER}{name}"] = tensor.detach().cpu().numpy()
        return state

    def load(self, state: State) -> None:
        """Go on from ``state``."""
        self.counts = Counts(int(state["trained"]), int(state["replayed"]))
        own = _below(LEARNER, state)
        if own:
            self.learner = self._new()
            self.learner.load_state_dict(
                {name: torch.from_numpy(array.copy()) for name, array in own.items()}
            )
            self.learner.to(self.untrained.device)

    def _new(self) -> Learner:
        learner = copy.deepcopy(self.untrained)
        learner.watch = self.watch
        return learner

    def _show(self, learner: Learner, images: Images, rivals: torch.Tensor | None) -> None:
        """One call of the learner, or its whole training if it cannot go on."""
        if learner.goes_on:
            log = learner.go_on(images, rivals=rivals)
        else:
            budget = Budget(self.schedule.passes * len(images))
            log = learner.fit(images, budget=budget)
        self.counts.trained += log.images_seen or len(images)

    def _passes(self, learner: Learner) -> int:
        return self.schedule.passes if learner.goes_on else 1

    def _chunks(self, part: Images, *purpose: str | int) -> Iterator[Images]:
        """The images of one pass, in the parts of each call."""
        chunk = self.schedule.chunk
        if chunk is None:
            yield part
            return
        rows = self.rng.numpy("arrival", *purpose).permutation(len(part))
        for first in range(0, len(rows), chunk):
            yield part.take(rows[first : first + chunk])

    def _train(
        self, learner: Learner, part: Images, task: int, rivals: torch.Tensor | None
    ) -> None:
        """All passes over a part."""
        for number in range(self._passes(learner)):
            for chunk in self._chunks(part, task, number):
                self._show(learner, chunk, rivals)


class Naive(Strategy):
    """The present task and nothing else: the lower bound."""

    def learn(self, parts: Parts, rivals: torch.Tensor | None) -> None:
        """Go on with the last part."""
        self._train(self.learner, parts[-1], len(parts) - 1, rivals)


class _KeepsAll(Strategy):
    """Keeps every image."""

    _kept = 0

    @property
    def kept_bytes(self) -> int:
        """Bytes of all images so far."""
        return self._kept

    def _all(self, parts: Parts) -> Images:
        """The images of all parts; those of the past count as replayed."""
        every = joined(list(parts))
        self._kept = image_bytes(every)
        return every

    def _count_replayed(self, parts: Parts, trained_before: int) -> None:
        sizes = [len(part) for part in parts]
        past = sum(sizes[:-1]) / sum(sizes)
        self.counts.replayed += round(past * (self.counts.trained - trained_before))


class Cumulative(_KeepsAll):
    """The same learner goes on with all tasks so far: a stability gap although all is kept."""

    def learn(self, parts: Parts, rivals: torch.Tensor | None) -> None:
        """Go on with all parts."""
        before = self.counts.trained
        self._train(self.learner, self._all(parts), len(parts) - 1, rivals)
        self._count_replayed(parts, before)


class Joint(_KeepsAll):
    """A new learner for all tasks so far, with the same passes: the upper bound."""

    stays = False

    def learn(self, parts: Parts, rivals: torch.Tensor | None) -> None:
        """Train a new learner on all parts."""
        before = self.counts.trained
        self.learner = self._new()
        self._train(self.learner, self._all(parts), len(parts) - 1, rivals)
        self._count_replayed(parts, before)


class Offline(_KeepsAll):
    """A new learner's own training on all tasks so far: beside ``joint``, what going on costs."""

    stays = False

    def learn(self, parts: Parts, rivals: torch.Tensor | None) -> None:
        """Fit a new learner to all parts; ``fit`` tells all classes apart."""
        before = self.counts.trained
        self.learner = self._new()
        every = self._all(parts)
        log = self.learner.fit(every)
        self.counts.trained += log.images_seen or len(every)
        self._count_replayed(parts, before)


class Frozen(Strategy):
    """Learns the first task; later only class means of its features, which stay as they are."""

    answers_by_head = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.means: torch.Tensor | None = None
        self.members = torch.zeros(self.untrained.n_classes, dtype=torch.int64)

    def learn(self, parts: Parts, rivals: torch.Tensor | None) -> None:
        """Learn the first part; add the features of any part to the class means."""
        part = parts[-1]
        if len(parts) == 1:
            self._train(self.learner, part, 0, rivals)
        with torch.no_grad():
            features = self.learner.embed(part.tensor(self.learner.device)).cpu()
        if self.means is None:
            self.means = torch.zeros(len(self.members), features.shape[1])
        labels = torch.from_numpy(part.known_labels)
        self.means, self.members = add_to_means(self.means, self.members, features, labels)

    def model(self) -> nn.Module:
        """The nearest class mean on the features of the first task."""
        if self.means is None:
            return super().model()
        device = self.learner.device
        head = heads_of_known(self.means.to(device), self.members.to(device))
        return head.on(_embedding(self.learner))

    def state(self) -> State:
        """With the class means."""
        means = {} if self.means is None else {"means": self.means.numpy()}
        return {**super().state(), **means, "members": self.members.numpy()}

    def load(self, state: State) -> None:
        """Go on from ``state``."""
        super().load(state)
        self.members = torch.from_numpy(state["members"].copy())
        if "means" in state:
            self.means = torch.from_numpy(state["means"].copy())


class _Remembers(Strategy):
    """Keeps a memory of images."""

    memory: Memory

    @property
    def kept_bytes(self) -> int:
        """Bytes of the memory."""
        return 0 if self.memory.images is None else image_bytes(self.memory.images)

    def state(self) -> State:
        """With the memory."""
        own = {f"{MEMORY}{name}": array for name, array in self.memory.state().items()}
        return {**super().state(), **own}

    def load(self, state: State) -> None:
        """Go on from ``state``."""
        super().load(state)
        self.memory.load(_below(MEMORY, state), self.untrained.n_classes)

    def _arriving(self, part: Images, task: int) -> Images:
        """A part in the order in which its images arrive."""
        return part.take(self.rng.numpy("arrival", task, 0).permutation(len(part)))

    def _repeated(self, length: int, *purpose: str | int) -> Images:
        """The memory in a drawn order, repeated until there are so many images."""
        assert self.memory.images is not None
        rows = self.rng.numpy("replay", *purpose).permutation(len(self.memory))
        return self.memory.images.take(np.resize(rows, length))


class Replay(_Remembers):
    """Experience replay: each call has as many images of a reservoir as of the present task.

    Chaudhry et al. 2019 (arXiv 1902.10486). An image enters the memory once, after its task; with
    ``chunk``, after the chunk that brings it in the first pass.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self.memory = Reservoir(self.size, self.rng.child("reservoir"))

    def learn(self, parts: Parts, rivals: torch.Tensor | None) -> None:
        """Go on with the last part and the memory."""
        task = len(parts) - 1
        is_online = self.schedule.chunk is not None
        for number in range(self._passes(self.learner)):
            for place, chunk in enumerate(self._chunks(parts[-1], task, number)):
                self._show_both(chunk, rivals, task, number, place)
                if is_online and number == 0:
                    self.memory.add(chunk)
        if not is_online:
            self.memory.add(self._arriving(parts[-1], task))

    def _show_both(self, chunk: Images, rivals: torch.Tensor | None, *purpose: int) -> None:
        if not len(self.memory):
            self._show(self.learner, chunk, rivals)
            return
        before = self.counts.trained
        remembered = self._repeated(len(chunk), *purpose)
        self._show(self.learner, joined([chunk, remembered]), rivals)
        self.counts.replayed += (self.counts.trained - before) // 2


class GDumb(_Remembers):
    """A new learner on a class-balanced memory alone (Prabhu et al. 2020).

    A pass repeats the memory until it has as many images as the present task, so that a small
    memory does not also mean a short training.
    """

    stays = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.memory = Balanced(self.size, self.rng.child("balanced memory"))

    def learn(self, parts: Parts, rivals: torch.Tensor | None) -> None:
        """Fill the memory, then train a new learner on it."""
        task = len(parts) - 1
        self.memory.add(self._arriving(parts[-1], task))
        self.learner = self._new()
        before = self.counts.trained
        shown = self._repeated(max(len(self.memory), len(parts[-1])), task)
        self._train(self.learner, shown, task, rivals)
        self.counts.replayed += self.counts.trained - before


STRATEGIES: dict[str, type[Strategy]] = {
    "naive": Naive,
    "joint": Joint,
    "offline": Offline,
    "cumulative": Cumulative,
    "frozen": Frozen,
    "replay": Replay,
    "gdumb": GDumb,
}


def state_bytes(learner: Learner) -> int:
    """Bytes of a learner's state."""
    tensors = learner.state_dict().values()
    return sum(math.prod(tensor.shape) * tensor.element_size() for tensor in tensors)


def _below(prefix: str, state: State) -> State:
    return {
        name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)
    }


def _embedding(learner: Learner) -> nn.Module:
    """A learner's features as a module in eval mode."""

    class Embedding(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return learner.embed(images)

    return Embedding().eval()
