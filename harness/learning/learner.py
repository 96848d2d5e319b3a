"""The Learner contract: what every rule and every baseline offers, and all that a protocol may ask of it.

A learner knows nothing of protocols. Images arrive as ``harness.data.base.Images`` (uint8) in ``fit`` and as float32
tensors in [0, 1], shape (B, C, H, W), everywhere else.
"""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from harness.data.base import Images
from harness.lazy import nn, torch
from harness.registry import Config
from harness.rng import Rng

Progress = Callable[[float, str], None]
"""``progress(fraction_done, note)``; a learner calls it a few times a second at most."""

Regime = Literal["from_scratch", "semi_supervised", "class_transfer"]

Scale = Literal["log", "linear"]
"""How a range of values is searched."""

EpisodeClassifier = Callable[["torch.Tensor"], "torch.Tensor"]
"""Query images or embeddings of E episodes, (E, Q, ...), to logits (E, Q, n_way)."""


def silent(fraction: float, note: str = "") -> None:
    """The progress that shows nothing."""


@dataclass(frozen=True)
class Synapses:
    """One bundle of connections, for the biology audit.

    Attributes:
        name: e.g. ``"input->hidden"``.
        weight: float (pre, post).
        mask: bool (pre, post), the synapses that exist; ``None``: all of them.
        presynaptic_sign: whether row i of ``weight`` is all that neuron i sends, so that Dale's law can be asked of it.
        enforced: whether a clamp or projection acts on these weights (then a sign says nothing about the dynamics).
    """

    name: str
    weight: torch.Tensor
    mask: torch.Tensor | None = None
    presynaptic_sign: bool = True
    enforced: bool = False


@dataclass(frozen=True)
class Tunable:
    """A key of a learner's config that ``match`` of a suite may choose, and in which range.

    Attributes:
        key: its name.
        low, high: ends of the range; a learner must be able to train at both.
        scale: how the range is searched.
    """

    key: str
    low: float
    high: float
    scale: Scale = "log"


@dataclass(frozen=True)
class Budget:
    """A cap on training, the same for every learner it is given to.

    Attributes:
        images: training images a learner may look at, repeats counted; ``None``: what its own config asks for.
    """

    images: int | None = None

    def cap(self, wanted: int) -> int:
        """The number of images to train on, given the number wanted."""
        return wanted if self.images is None else min(wanted, self.images)


@dataclass
class TrainingLog:
    """What happened in ``fit``: one row an epoch (or a stretch of episodes), nothing that depends on the clock."""

    rows: list[dict[str, float]] = field(default_factory=list)
    images_seen: int = 0
    sign_changes: int = 0
    _signs: list[torch.Tensor] = field(default_factory=list, repr=False)

    def step(self, learner: Learner) -> None:
        """Tell whoever watches that the learner has changed; to be called after each step, and cheap."""
        if learner.watch is not None:
            learner.watch(learner, self.images_seen)

    def add(self, learner: Learner, **values: float) -> None:
        """Append a row, and count the synapses whose sign is the opposite of the last that they had.

        A synapse that passes through zero between two rows keeps its old sign until it has a new one.
        """
        self.step(learner)
        with torch.no_grad():
            signs = [s.weight.sign().to(torch.int8).cpu() for s in learner.connectome()]
        self.sign_changes += sum(
            int((a * b < 0).sum()) for a, b in zip(self._signs, signs, strict=False)
        )
        before = self._signs or signs
        self._signs = [
            torch.where(new == 0, old, new) for old, new in zip(before, signs, strict=True)
        ]
        if values:
            self.rows.append({key: float(value) for key, value in values.items()})


class Learner(ABC):
    """Anything that can be trained and then gives a differentiable classifier.

    A subclass registers itself with ``@learners.register(name)``, has a nested ``Config``, and is one file.

    Args:
        config: an instance of the class's ``Config``.
        image_shape: (C, H, W).
        n_classes: number of classes ``classifier()`` tells apart.
        rng: source of all its randomness.
    """

    kind: ClassVar[str]
    Config: ClassVar[type[Config]]
    typical_training_s: ClassVar[float] = 10.0
    """Rough seconds of one ``fit`` on one core with default keys: for the order and estimate of a first run only."""
    requires: ClassVar[str] = ""
    """A module of an extra that it cannot do without; empty: it needs none."""
    watch: Callable[[Learner, int], None] | None = None
    """Called with the learner and the images seen, as it learns (see ``TrainingLog.step``); None: nobody watches."""
    training_log: TrainingLog | None = None
    """Of a learner that came from a store: what happened in its ``fit``."""
    snapshots: Callable[[], dict[int, dict[str, torch.Tensor]]] | None = None
    """Of a learner that came from a store: images seen -> its state then; None where none were kept."""
    regimes: ClassVar[frozenset[Regime]] = frozenset(
        {"from_scratch", "semi_supervised", "class_transfer"}
    )
    """Ways of learning from few examples that make sense for it."""
    tunable: ClassVar[tuple[Tunable, ...]] = ()
    """Keys by which it can be made as sparse or as accurate as another learner; ``match`` takes the first if none is named."""

    def __init__(self, config: Config, image_shape: tuple[int, int, int], n_classes: int, rng: Rng):
        self.config, self.image_shape, self.n_classes, self.rng = (
            config,
            image_shape,
            n_classes,
            rng,
        )
        self.device = torch.device("cpu")
        self.fitted = False

    @classmethod
    def absent(cls) -> str | None:
        """Why it cannot be run in this environment, or None."""
        missing = cls.requires and importlib.util.find_spec(cls.requires) is None
        return f"{cls.requires} is not installed (`harness doctor` says how)" if missing else None

    @property
    def frozen_features(self) -> bool:
        """True while ``adapt`` reads images only through ``embed``: a protocol then embeds a split once for all episodes."""
        return False

    @abstractmethod
    def fit(
        self, train: Images, *, budget: Budget = Budget(), progress: Progress = silent
    ) -> TrainingLog:
        """Learn from ``train``; ``train.labels`` is None in the semi-supervised regime. Sets ``self.fitted``."""

    @abstractmethod
    def classifier(self) -> nn.Module:
        """Images (B, C, H, W) in [0, 1] to logits (B, n_classes): differentiable, in eval mode, normalisation inside."""

    @abstractmethod
    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """The representation that few-shot heads and the audit read: (B, C, H, W) -> (B, D)."""

    @abstractmethod
    def connectome(self) -> list[Synapses]:
        """Every bundle of plastic synapses; empty where there are none."""

    @abstractmethod
    def state_dict(self) -> dict[str, torch.Tensor]:
        """All that ``fit`` learned, as tensors."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Take up a state; the learner then behaves as the one that gave it."""

    @abstractmethod
    def adapt(
        self, support_images: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> nn.Module:
        """A classifier for one episode.

        Before ``fit`` (regime ``from_scratch``) everything it knows comes from the support set.

        Args:
            support_images: float (S, C, H, W) in [0, 1].
            support_labels: int64 (S,) in [0, n_way).

        Returns:
            A module as ``classifier()`` gives it, with n_way outputs.
        """

    def adapt_many(
        self, support_images: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> EpisodeClassifier:
        """``adapt`` over E episodes at once: (E, S, C, H, W) and (E, S). The two must agree.

        This form loops; a learner with a faster one overrides it.
        """
        modules = [
            self.adapt(x, y, n_way) for x, y in zip(support_images, support_labels, strict=True)
        ]
        return lambda queries: torch.stack(
            [module(x) for module, x in zip(modules, queries, strict=True)]
        )

    def head_many(
        self, support: torch.Tensor, support_labels: torch.Tensor, n_way: int
    ) -> EpisodeClassifier:
        """``adapt_many`` on embeddings (E, S, D), (E, Q, D); only asked while ``frozen_features`` is true."""
        raise TypeError(f"{type(self).__name__} has no frozen features")

    def to(self, device: str | torch.device) -> Learner:
        """Move; the state travels through ``state_dict``."""
        state = {key: value.to(device) for key, value in self.state_dict().items()}
        self.device = torch.device(device)
        self.load_state_dict(state)
        return self
