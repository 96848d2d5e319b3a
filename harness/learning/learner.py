"""The Learner contract: what every rule and baseline offers, and all that a protocol may use.

A learner knows nothing of protocols. ``fit`` takes images as ``harness.data.base.Images`` (uint8).
Everything else takes float32 tensors in [0, 1] of shape (B, C, H, W).
"""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Literal

from harness import registry
from harness.data.base import Images
from harness.errors import HarnessError
from harness.lazy import nn, torch
from harness.rng import Rng

Progress = Callable[[float, str], None]
"""``progress(fraction_done, note)``; called as often as is convenient."""

Regime = Literal["from_scratch", "semi_supervised", "class_transfer"]

Scale = Literal["log", "linear"]
"""How a range of values is searched."""

EpisodeClassifier = Callable[["torch.Tensor"], "torch.Tensor"]
"""Maps query images or embeddings of E episodes, (E, Q, ...), to logits (E, Q, n_way)."""


def silent(fraction: float, note: str = "") -> None:
    """A ``Progress`` that shows nothing."""


def in_parts(progress: Progress, *sizes: float) -> list[Progress]:
    """Progress of consecutive parts of the work.

    >>> first, second = in_parts(lambda fraction, note: print(fraction, note), 3, 1)
    >>> second(0.5, "read-out")
    0.875 read-out

    Args:
        progress: Of the whole work.
        sizes: How much of the work each part is, in any unit.
    """
    total = sum(sizes) or 1
    parts: list[Progress] = []
    start = 0.0
    for size in sizes:
        parts.append(partial(_of_part, progress, start / total, size / total))
        start += size
    return parts


def _of_part(
    progress: Progress, start: float, share: float, fraction: float, note: str = ""
) -> None:
    progress(start + share * fraction, note)


@dataclass(frozen=True)
class Synapses:
    """One bundle of connections, as the biology audit reads it.

    Attributes:
        name: e.g. ``"input->hidden"``.
        weight: float (pre, post).
        mask: bool (pre, post), True where a synapse exists; ``None`` if all of them do.
        presynaptic_sign: Whether row i of ``weight`` holds everything that neuron i sends. Dale's
            law can only be tested where it does.
        enforced: Whether a clamp or projection acts on these weights. If so, their signs say
            nothing about the dynamics.
    """

    name: str
    weight: torch.Tensor
    mask: torch.Tensor | None = None
    presynaptic_sign: bool = True
    enforced: bool = False


@dataclass(frozen=True)
class Tunable:
    """A config key that ``match`` of a suite may choose, and its range.

    Attributes:
        key: Name of the key.
        low, high: Ends of the range; training must work at both.
        scale: How the range is searched.
    """

    key: str
    low: float
    high: float
    scale: Scale = "log"


@dataclass(frozen=True)
class Budget:
    """A cap on training that is the same for every learner.

    Attributes:
        images: Number of training images that a learner may see, repeats counted; ``None`` for as
            many as its config asks for.
    """

    images: int | None = None

    def cap(self, requested: int) -> int:
        """The number of images to train on, given the number requested.

        >>> Budget(20).cap(50), Budget(80).cap(50), Budget().cap(50)
        (20, 50, 50)
        """
        if self.images is None:
            return requested
        return min(requested, self.images)


@dataclass
class TrainingLog:
    """What happened in ``fit``, apart from anything that depends on the clock.

    Attributes:
        rows: One row per epoch, or per group of episodes.
        images_seen: Training images seen so far, repeats counted.
        sign_changes: Changes of a synapse's sign so far, summed over synapses; None until ``add``
            has been called twice, because signs that were not compared did not stay the same.
        remarks: What readers of its numbers must know about the training, one sentence fragment
            each, e.g. ``"weights trained on ImageNet elsewhere"``. Tables print them.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    images_seen: int = 0
    sign_changes: int | None = None
    remarks: list[str] = field(default_factory=list)
    _signs: list[torch.Tensor] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, summary: Mapping[str, Any]) -> TrainingLog:
        """The log that ``summary`` described."""
        return cls(**{**summary, "images_seen": summary["images_seen"] or 0})

    def summary(self) -> dict[str, Any]:
        """The log as JSON: None for what was not counted, and no remarks if there are none."""
        remarks = {"remarks": self.remarks} if self.remarks else {}
        return {
            "rows": self.rows,
            "images_seen": self.images_seen or None,
            "sign_changes": self.sign_changes,
            **remarks,
        }

    def step(self, learner: Learner) -> None:
        """Notify the learner's ``watch`` callback; call it after each training step."""
        if learner.watch is not None:
            learner.watch(learner, self.images_seen)

    def add(self, learner: Learner, **values: float) -> None:
        """Append a row and count the synapses whose sign has flipped since the last row.

        A synapse that is zero keeps the sign it had before, until it has a new one.
        """
        self.step(learner)
        with torch.no_grad():
            signs = [s.weight.sign().to(torch.int8).cpu() for s in learner.connectome()]
        before = signs if self._signs is None else self._signs
        if self._signs is not None:
            flips = sum(int((old * new < 0).sum()) for old, new in zip(before, signs, strict=True))
            self.sign_changes = (self.sign_changes or 0) + flips
        self._signs = [
            torch.where(new == 0, old, new) for old, new in zip(before, signs, strict=True)
        ]
        if values:
            self.rows.append({key: float(value) for key, value in values.items()})


NO_LIMIT = Budget()
"""The budget of a learner for which none was set."""


class Learner(ABC):
    """Anything that can be trained and then gives a differentiable classifier.

    A subclass registers itself with ``@learners.register(name)`` and has a nested ``Config``. Each
    one has a file of its own.

    Args:
        config: An instance of the class's ``Config``.
        image_shape: (C, H, W).
        n_classes: Number of classes that ``classifier()`` distinguishes.
        rng: Source of all its randomness.
    """

    kind: ClassVar[str]
    Config: ClassVar[type[registry.Config]]
    typical_training_s: ClassVar[float] = 10.0
    """Rough seconds of one ``fit`` of all of MNIST on one core with default keys.

    First runs are estimated from it (``harness.cells.cost``).
    """
    requires: ClassVar[str] = ""
    """Module of an optional extra that the learner needs; empty if it needs none."""
    watch: Callable[[Learner, int], None] | None = None
    """Callback with the learner and the images seen, during training (see ``TrainingLog.step``)."""
    training_log: TrainingLog | None = None
    """Log of its ``fit``; only set on a learner that was loaded from a store."""
    snapshots: Callable[[], dict[int, dict[str, torch.Tensor]]] | None = None
    """Loads {images seen: state}; only set on a learner loaded from a store that kept snapshots."""
    mini_batches: ClassVar[bool] = True
    """Whether it trains in mini-batches of its images, so that fewer of them mean fewer updates.

    False where the config alone sets the number of updates (episodes, iterations, a closed form).
    """
    transductive: ClassVar[bool] = False
    """Whether the answer to one query may depend on the other queries of its episode."""
    plastic: ClassVar[bool] = False
    """Whether its classifier changes while it classifies: fast weights, adaptation at test time."""
    goes_on: ClassVar[bool] = False
    """Whether it has ``go_on``: it can learn a stream of parts, one after the other."""
    regimes: ClassVar[frozenset[Regime]] = frozenset(
        {"from_scratch", "semi_supervised", "class_transfer"}
    )
    """Ways of learning from few examples that it supports."""
    tunable: ClassVar[tuple[Tunable, ...]] = ()
    """Keys that control its sparsity or accuracy; ``match`` uses the first if none is named."""

    def __init__(
        self,
        config: registry.Config,
        image_shape: tuple[int, int, int],
        n_classes: int,
        rng: Rng,
    ) -> None:
        self.config = config
        self.image_shape = image_shape
        self.n_classes = n_classes
        self.rng = rng
        self.device = torch.device("cpu")
        self.fitted = False

    @classmethod
    def absent(cls) -> str | None:
        """Why it cannot run in this environment, or None if it can."""
        if cls.requires and importlib.util.find_spec(cls.requires) is None:
            return f"{cls.requires} is not installed (`harness doctor` says how)"
        return None

    @classmethod
    def comes_trained(cls, config: Any) -> bool:
        """Whether it has its weights from elsewhere, so that protocols measure it as it is.

        Args:
            config: An instance of the class's ``Config``.
        """
        return False

    @property
    def frozen_features(self) -> bool:
        """Whether ``adapt`` reads images only through ``embed``.

        A protocol then embeds a split once for all episodes and calls ``head_many``.
        """
        return False

    @abstractmethod
    def fit(
        self, train: Images, *, budget: Budget = NO_LIMIT, progress: Progress = silent
    ) -> TrainingLog:
        """Learn from ``train`` and set ``self.fitted``.

        Args:
            train: ``train.labels`` is None in the semi-supervised regime.
            budget: Cap on the images that training may see.
            progress: Called now and then with the fraction done.
        """

    def go_on(
        self,
        part: Images,
        *,
        rivals: torch.Tensor | None = None,
        progress: Progress = silent,
    ) -> TrainingLog:
        """Learn from one pass over ``part``, from the present state, and set ``self.fitted``.

        All that it knows of what came before is in its state, and it knows nothing of what will
        come: rates are constant or fall with the images of the state, never with a share of
        training. All that a later call needs is in ``state_dict``, counters and moments included.
        What it draws comes from ``self.rng.child("part", k)``, with the number k of the call in the
        state. A classifier that was returned before stays as it is.

        Args:
            part: Labelled images of any of the ``n_classes`` classes, at least one.
            rivals: bool (n_classes, n_classes): row c says which classes the loss of an image of
                class c runs over; None: all.
            progress: Called now and then with the fraction done.

        Returns:
            The log of this call alone.

        Raises:
            HarnessError: It cannot go on learning.
        """
        raise HarnessError(
            f"{self.kind!r} cannot go on learning",
            hint="its `fit` starts anew; learners that go on have a `go_on`",
        )

    def settle(  # noqa: B027 - most learners have nothing to settle
        self, part: Images, *, rivals: torch.Tensor | None = None
    ) -> None:
        """Protect what was learned from ``part``; here it does nothing.

        Called after the last of its passes, where that is known; arguments as in ``go_on``.
        """

    @abstractmethod
    def classifier(self) -> nn.Module:
        """A module from images (B, C, H, W) in [0, 1] to logits (B, n_classes).

        It is differentiable, in eval mode, and normalises its input itself.
        """

    @abstractmethod
    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """The features that few-shot heads and the audit read: (B, C, H, W) to (B, D)."""

    @abstractmethod
    def connectome(self) -> list[Synapses]:
        """Every bundle of plastic synapses; empty if there are none."""

    @abstractmethod
    def state_dict(self) -> dict[str, torch.Tensor]:
        """All that ``fit`` learned, as tensors."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Load a state; the learner then behaves as the one that gave it."""

    @abstractmethod
    def adapt(
        self, support_images: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> nn.Module:
        """Learn one episode.

        Before ``fit`` (regime ``from_scratch``) all it learns from is the support set.

        Args:
            support_images: float (S, C, H, W) in [0, 1].
            support_labels: int64 (S,) in [0, n_way).
            n_way: Number of classes in the episode.

        Returns:
            A module like that of ``classifier()``, with n_way outputs.
        """

    def adapt_many(
        self, support_images: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> EpisodeClassifier:
        """``adapt`` over E episodes at once; both must give the same logits.

        This implementation loops; a learner with a faster one overrides it.

        Args:
            support_images: (E, S, C, H, W).
            support_labels: (E, S).
            n_way: Number of classes in each episode.
        """
        modules = [
            self.adapt(images, labels, n_way)
            for images, labels in zip(support_images, support_labels, strict=True)
        ]

        def classify(queries: torch.Tensor) -> torch.Tensor:
            logits = [module(x) for module, x in zip(modules, queries, strict=True)]
            return torch.stack(logits)

        return classify

    def head_many(
        self, support: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> EpisodeClassifier:
        """``adapt_many`` on embeddings (E, S, D) and (E, Q, D).

        Raises:
            TypeError: ``frozen_features`` is false.
        """
        raise TypeError(f"{type(self).__name__} has no frozen features")

    def to(self, device: str | torch.device) -> Learner:
        """Move the learner to ``device`` by moving its state."""
        state = {key: value.to(device) for key, value in self.state_dict().items()}
        self.device = torch.device(device)
        self.load_state_dict(state)
        return self
