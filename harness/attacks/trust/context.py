"""What the trust checks share: the attack's input and result, and other attacks on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from harness import budgets
from harness.attacks.base import Attack, Objective, Task
from harness.attacks.engine.losses import LOSSES
from harness.attacks.engine.random_state import isolated_random_state
from harness.attacks.engine.sweep import SKIPPED, Sweep, sweep_victim
from harness.attacks.engine.victim import Victim, input_gradient, relative_spread, restoring
from harness.attacks.trust.base import Check
from harness.attacks.trust.thresholds import DRAWN, NEAREST, RESOLUTION
from harness.batching import padded
from harness.lazy import nn, torch
from harness.records import TrustCheck
from harness.rng import Rng

if TYPE_CHECKING:
    from harness.attacks.engine.straight_through import StraightThrough
    from harness.attacks.trust.transfers import Transfers


@dataclass(frozen=True)
class CheckContext:
    """What every check reads: the arguments of ``check``, and what is derived from them."""

    model: nn.Module
    images: torch.Tensor
    labels: torch.Tensor
    identity: np.ndarray
    attack: Attack
    rng: Rng
    result: Sweep
    batch_size: int
    fresh: Callable[[], nn.Module]
    relatives: Mapping[str, nn.Module]
    plastic: bool
    _results: dict[type[Check], list[TrustCheck]] = field(default_factory=dict)

    def results_of(self, check: type[Check]) -> list[TrustCheck]:
        """What a check says about this sweep. It runs once, even if another check asks for it."""
        if check not in self._results:
            self._results[check] = check().results(self)
        return self._results[check]

    # ---------------------------------------------------------------------------------- the network

    @cached_property
    def victim(self) -> Victim:
        """The network, seen as the attack sees it."""
        rng = self.rng.child("trust")
        return Victim.of(self.model, self.images, self.batch_size, self.attack.view, rng)

    def fresh_victim(self) -> Victim:
        """A copy of the network that has not classified anything."""
        return Victim(self.fresh(), self.victim.batch_size, self.victim.view, self.victim.seed)

    @cached_property
    def clean_sample(self) -> tuple[np.ndarray, torch.Tensor]:
        """Rows of some images, in descending order, and their logits (n, n_classes).

        The logits come from batches of unusual sizes: a network whose answer depends on the other
        images of a batch gives itself away.
        """
        everything = np.ones(len(self.images), bool)
        rows = self.pick(everything, self.sample_size(5, 200), "clean")[::-1].copy()
        images = self.images[self.index(rows)]
        other = Victim(self.model, 48, self.victim.view, self.victim.seed)
        batches = [images[:16], *images[16:].split(37)]
        return rows, torch.cat([other.logits(batch) for batch in batches if len(batch)])

    @cached_property
    def surrogates(self) -> StraightThrough:
        """Functions without a gradient that were met between some images and their margins."""
        from harness.attacks.engine.straight_through import StraightThrough

        rows = self.index(self._parts_sample)
        inputs = padded(self.images[rows]).clone().requires_grad_()
        with torch.enable_grad(), isolated_random_state(0):
            with StraightThrough() as mode:
                logits = self.model(inputs)
            if logits.requires_grad:
                total = LOSSES["margin"](logits, padded(self.labels[rows]), None).sum()
                input_gradient(total, inputs)
        return mode

    @property
    def climbs_surrogate(self) -> bool:
        """Whether the gradient that the attack climbs is, in part, that of a surrogate function."""
        if self.attack.view.backward == "straight-through":
            return bool(self.surrogates.seen)
        return bool(self.surrogates.cut()) and self._parts_matter

    @cached_property
    def _parts_sample(self) -> np.ndarray:
        everything = np.ones(len(self.images), bool)
        return self.pick(everything, self.sample_size(10, 100), "parts")

    @cached_property
    def _parts_matter(self) -> bool:
        """Whether functions without a gradient change the logits.

        A rounding of something that is then multiplied by zero excuses no gradient.
        """
        from harness.attacks.engine.real_graph import Softened

        images = padded(self.images[self.index(self._parts_sample)])
        with torch.enable_grad(), isolated_random_state(0):
            hard = self.fresh()(images.clone().requires_grad_())
            with Softened():
                soft = self.fresh()(images.clone().requires_grad_())
        return relative_spread(torch.stack([hard.detach(), soft.detach()])) > RESOLUTION

    # --------------------------------------------------------------------------------- the verdicts

    @property
    def middle(self) -> int:
        """Index of the most telling eps: where accuracy is nearest to half of clean.

        The largest of equals; -1 if the grid has no eps above 0.
        """
        accuracy = self.result.accuracy()
        half = self.result.clean.mean() / 2
        places = [place for place, eps in enumerate(self.result.eps) if eps > 0]
        return min(places, key=lambda place: (abs(accuracy[place] - half), -place), default=-1)

    @cached_property
    def two_places(self) -> list[int]:
        """Indices of the two eps at which survivors are attacked again: the middle, and another.

        The other is the largest at which at least one image in ten survives; otherwise the
        smallest.
        """
        if self.middle < 0:
            return []
        others = [
            place
            for place, eps in enumerate(self.result.eps)
            if eps > 0 and place != self.middle and self.result.worst[place].any()
        ]
        telling = [place for place in others if self.result.worst[place].mean() >= 0.1]
        return [self.middle, *(telling[-1:] or others[:1])]

    @property
    def middle_eps(self) -> float:
        """The most telling eps itself."""
        return self.result.eps[self.middle]

    @property
    def pgd_has_norm(self) -> bool:
        """Whether PGD can be run in the attack's norm."""
        return self.attack.config.norm in ("linf", "l2", "l1")

    @property
    def comparable_to_pgd(self) -> bool:
        """Whether the attack climbs a gradient in a ball in which PGD and noise can be run too."""
        return (
            self.middle >= 0
            and self.attack.config.norm in ("linf", "l2")
            and bool(self.attack.climbs)
        )

    @cached_property
    def carried(self) -> np.ndarray:
        """Bool (E, N): counts as robust at this eps only because it withstood a larger one."""
        unattacked: np.ndarray = (self.result.correct == SKIPPED).all((1, 2))
        return self.result.worst & unattacked

    # --------------------------------------------------------------------------------- some samples

    def index(self, rows: np.ndarray) -> torch.Tensor:
        """Rows as an index tensor on the images' device."""
        return torch.from_numpy(rows).to(self.images.device)

    def sample_size(self, part: int, most: int | None = None) -> int:
        """How many images a check may use: one in ``part``, at least 16, at most ``most``."""
        size = max(16, len(self.images) // part)
        return size if most is None else min(size, most)

    def pick(self, mask: np.ndarray, most: int, purpose: str) -> np.ndarray:
        """At most ``most`` of the samples in ``mask``, chosen at random, in ascending order."""
        rows = np.flatnonzero(mask)
        if len(rows) <= most:
            return rows
        generator = self.rng.numpy("trust", purpose)
        return np.sort(generator.choice(rows, most, replace=False))

    def nearest_survivors(self, most: int, place: int | None = None) -> np.ndarray:
        """The samples of smallest margin among those robust at an eps, in ascending order.

        They fall first, so their number is nearly the whole effect of another attack.

        Args:
            most: at most so many.
            place: index of the eps; None: the middle one.
        """
        place = self.middle if place is None else place
        rows = np.flatnonzero(self.result.worst[place])
        return self.nearest(rows, self.result.margin[place], most)

    def tried_again(self, place: int) -> np.ndarray:
        """The survivors of an eps that other attacks are tried on: the nearest, and random ones."""
        nearest = self.nearest_survivors(NEAREST, place)
        return np.union1d(nearest, self.spread_survivors(DRAWN, place))

    @cached_property
    def transfers(self) -> Transfers:
        """Adversarial images of other networks for all that is tried again."""
        from harness.attacks.trust.transfers import Transfers  # imports this module

        return Transfers.of(self)

    def spread_survivors(self, most: int, place: int) -> np.ndarray:
        """Random samples among those robust at an eps, as many of each class as there are.

        A mask over some images only may leave them large margins, where the nearest do not show it.
        """
        rows = np.flatnonzero(self.result.worst[place])
        order = self.rng.numpy("trust", "spread", place).permutation(len(rows))
        labels = self.labels.cpu().numpy()[rows[order]]
        # The first of every class come before the second of any.
        turn = np.zeros(len(rows), int)
        for label in np.unique(labels):
            of_class = np.flatnonzero(labels == label)
            turn[of_class] = np.arange(len(of_class))
        first = np.argsort(turn, kind="stable")[:most]
        return np.sort(rows[order[first]])

    def nearest(self, rows: np.ndarray, margins: np.ndarray, most: int) -> np.ndarray:
        """Those of some rows with the smallest margins (..., N): at most ``most``, ascending."""
        of_rows = margins.reshape(-1, len(self.images))[:, rows]
        lowest = np.where(np.isnan(of_rows), np.inf, of_rows).min(0, initial=np.inf)
        return np.sort(rows[np.argsort(lowest, kind="stable")[:most]])

    # ------------------------------------------------------------------------------- another attack

    def task(self, rows: np.ndarray, eps: float, objective: Objective) -> Task:
        """One run over ``rows``."""
        at = self.index(rows)
        rng = self.rng.child("trust")
        return Task(
            images=self.images[at],
            labels=self.labels[at],
            targets=None,
            identity=self.identity[rows],
            eps=eps,
            objective=objective,
            restart=0,
            start=None,
            rng=rng,
        )

    def survives(self, attack: Attack, rows: np.ndarray) -> np.ndarray:
        """Which of ``rows`` withstand another attack at the last of its eps, bool (len(rows),)."""
        if not len(rows):
            return np.zeros(0, bool)
        at = self.index(rows)
        with restoring(self.model):
            result = sweep_victim(
                self.victim,
                self.images[at],
                self.labels[at],
                self.identity[rows],
                attack,
                self.rng.child("trust"),
            )
        return result.worst[-1]

    def taken_by(self, attack: Attack, rows: np.ndarray, eps: float) -> Taken:
        """How much accuracy another attack takes from ``rows`` at ``eps``."""
        broken = int((~self.survives(attack, rows)).sum())
        accuracy = broken / len(self.images)
        at_least = "at least " if 0 < broken == len(rows) else ""
        words = (
            f"took {at_least}{100 * accuracy:.2f} points at eps {budgets.words(eps)}, "
            f"from the {len(rows)} nearest"
        )
        return Taken(accuracy, broken, words)


@dataclass(frozen=True)
class Taken:
    """What another attack takes from the survivors of the sweep.

    Attributes:
        accuracy: as a share of all images.
        broken: number of samples.
        words: both, as a report prints them.
    """

    accuracy: float
    broken: int
    words: str
