"""The sweep engine: one attack over an ascending grid of budgets, and only the work that can change a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np

from harness.attacks.base import TOLERANCE, Attack, Objective, Trial
from harness.attacks.engine.geometry import column, norms
from harness.attacks.engine.layout import channels_last
from harness.attacks.engine.network_state import NetworkState
from harness.attacks.engine.victim import Victim, as_found, judge
from harness.lazy import nn, torch
from harness.learning.learner import Progress, silent
from harness.rng import Rng

SKIPPED = 2
"""In ``Sweep.correct``: not attacked, because its verdict was known (a clean error, or carried from another eps)."""


def verdict_name(eps: float, of: str = "correct") -> str:
    """Name of the stored verdicts at one eps.

    >>> verdict_name(0.1), verdict_name(0.1, "accuracy")
    ('correct/eps=0.1', 'accuracy/eps=0.1')
    """
    return f"{of}/eps={eps:.12g}"


@dataclass(frozen=True)
class Sweep:
    """The complete record of one attack. Axes: eps (E), objectives (O), restarts (R), samples (N).

    Attributes:
        eps: (E,) ascending.
        objectives: names, (O,).
        clean: bool (N,), classified correctly without an attack.
        clean_margin: float32 (N,), right logit minus the best wrong one.
        correct: uint8 (E, O, R, N): 1 withstood this run, 0 was broken by it, 2 was not attacked.
        margin: float32 (E, O, R, N), after the run; NaN where not attacked.
        norm: float32 (E, O, R, N), of the perturbation; NaN where not attacked.
        worst: bool (E, N): no run at this or a smaller eps broke it.
        outside: how far the worst perturbed image left the box [0, 1].
        changed: what the attack left changed, of the network and of global random state.
    """

    eps: tuple[float, ...]
    objectives: tuple[str, ...]
    clean: np.ndarray
    clean_margin: np.ndarray
    correct: np.ndarray
    margin: np.ndarray
    norm: np.ndarray
    worst: np.ndarray
    outside: float
    changed: tuple[str, ...] = ()

    def accuracy(self) -> np.ndarray:
        """Robust accuracy at each eps, (E,)."""
        accuracy: np.ndarray = self.worst.mean(1)
        return accuracy

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The verdicts by the names under which they are stored. Booleans become uint8."""
        worst = {
            verdict_name(eps): robust.astype(np.uint8)
            for eps, robust in zip(self.eps, self.worst, strict=True)
        }
        return {
            **worst,
            "attack/correct": self.correct,
            "attack/margin": self.margin,
            "attack/norm": self.norm,
            "clean/correct": self.clean.astype(np.uint8),
            "clean/margin": self.clean_margin,
        }

    @classmethod
    def from_arrays(
        cls,
        arrays: Mapping[str, np.ndarray],
        eps: Sequence[float],
        objectives: Sequence[str],
        outside: float,
        changed: Sequence[str],
    ) -> Sweep:
        """Rebuild a sweep from what ``to_arrays`` gave, and from what no array holds."""
        worst = np.stack([arrays[verdict_name(budget)].astype(bool) for budget in eps])
        return cls(
            eps=tuple(eps),
            objectives=tuple(objectives),
            clean=arrays["clean/correct"].astype(bool),
            clean_margin=arrays["clean/margin"],
            correct=arrays["attack/correct"],
            margin=arrays["attack/margin"],
            norm=arrays["attack/norm"],
            worst=worst,
            outside=outside,
            changed=tuple(changed),
        )


def sweep(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    identity: np.ndarray,
    attack: Attack,
    rng: Rng,
    *,
    batch_size: int = 256,
    progress: Progress = silent,
) -> Sweep:
    """Attack every image at every eps of the attack's grid.

    A sample that the network gets wrong without an attack counts as broken at every eps and is not
    attacked. A perturbation that breaks a sample at one eps is feasible at every larger one, so verdicts
    are carried upwards (``sweep: nested``). With ``sweep: bisect`` they are carried downwards too: the
    smallest eps that breaks a sample is found by halving the grid, which takes two or three attacks
    instead of six on a grid of six. What withstood the larger ball has no adversary in the smaller one,
    as far as the attack can tell; one of the trust checks tests that.

    Args:
        model: float32 (B, C, H, W) in [0, 1] to logits. Its flags, gradients and parameters are restored
            afterwards; ``Sweep.changed`` names what the attack changed nevertheless.
        images: float32 (N, C, H, W) in [0, 1], N >= 1.
        labels: int64 (N,).
        identity: int (N,), seeds each sample's random starts.
        attack: the attack, with its grid of budgets.
        rng: source of the starts.
        batch_size: rows per forward pass; changes no value.
        progress: called with the share of the images that is finished.

    Raises:
        ValueError: images outside [0, 1].
    """
    if not (images.amin() >= 0 and images.amax() <= 1):
        raise ValueError("images must be finite and in [0, 1]")
    before = NetworkState.of(model)
    with as_found(model), channels_last(model, images):
        victim = Victim.met(model, images, batch_size, attack.view, rng)
        result = sweep_victim(victim, images, labels, identity, attack, rng, progress)
    return replace(result, changed=tuple(before.changed(model)))


def sweep_victim(
    victim: Victim,
    images: torch.Tensor,
    labels: torch.Tensor,
    identity: np.ndarray,
    attack: Attack,
    rng: Rng,
    progress: Progress = silent,
) -> Sweep:
    """``sweep`` for a network that is prepared already; its changes are not recorded."""
    parts = []
    for start in range(0, len(images), attack.block):
        rows = slice(start, start + attack.block)
        block = _Block(victim, attack, images[rows], labels[rows], np.asarray(identity)[rows], rng)
        parts.append(block.run())
        progress(min(1.0, (start + attack.block) / len(images)), attack.label)
    return _join(parts)


@dataclass
class _Block:
    """A stretch of samples on its way through the grid."""

    victim: Victim
    attack: Attack
    images: torch.Tensor
    labels: torch.Tensor
    identity: np.ndarray
    rng: Rng
    outside: float = 0.0
    _last: dict[Objective, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)
    _once: dict[tuple, tuple[torch.Tensor, ...]] = field(default_factory=dict)

    def run(self) -> Sweep:
        grid, attack = self.attack.config.eps, self.attack
        clean_logits = self.victim.logits(self.images)
        self.clean, clean_margin = judge(clean_logits, self.labels)
        wrong = clean_logits.scatter(1, self.labels[:, None], float("-inf"))
        self.runners_up = wrong.argsort(dim=1, descending=True, stable=True)
        shape = (len(grid), len(attack.objectives), attack.restarts, len(self.images))
        self.correct = np.full(shape, SKIPPED, np.uint8)
        self.margin, self.norm = (
            np.full(shape, np.nan, np.float32),
            np.full(shape, np.nan, np.float32),
        )
        self.broken_at = torch.where(
            self.clean, len(grid), 0
        )  # place of the smallest eps known to break a sample
        if grid[0] == 0:
            self._unattacked(clean_margin)
        if attack.minimal or attack.config.sweep != "bisect":
            self._ascend()
        else:
            self._bisect()
        worst = _numpy(
            torch.arange(len(grid), device=self.broken_at.device)[:, None] < self.broken_at
        )
        return Sweep(
            tuple(grid),
            tuple(map(str, attack.objectives)),
            _numpy(self.clean),
            _numpy(clean_margin),
            self.correct,
            self.margin,
            self.norm,
            worst,
            self.outside,
        )

    def _unattacked(self, clean_margin: torch.Tensor) -> None:
        rows = _numpy(self.clean)
        self.correct[0][..., rows] = 1
        self.margin[0][..., rows] = _numpy(clean_margin)[rows]
        self.norm[0][..., rows] = 0

    def _ascend(self) -> None:
        """Every eps in turn, from the smallest."""
        nested = self.attack.config.sweep == "nested" and not self.attack.minimal
        for place, eps in enumerate(self.attack.config.eps):
            if eps > 0:
                self._at(place, self.broken_at > place if nested else self.clean, nested)

    def _bisect(self) -> None:
        """Each sample at the middle of what is open about it, until nothing is."""
        grid = self.attack.config.eps
        stood_at = torch.full_like(self.broken_at, 0 if grid[0] == 0 else -1)
        while (unsettled := self.broken_at - stood_at > 1).any():
            middle = torch.where(unsettled, (stood_at + self.broken_at) // 2, -1)
            for place in middle[unsettled].unique().tolist():
                here = middle == place
                self._at(place, here, True)
                stood_at[here & (self.broken_at > place)] = place

    def _at(self, place: int, tried: torch.Tensor, sparing: bool) -> None:
        """Every run at one eps, on the samples ``tried``, bool (N,); ``sparing``: each only until it is broken."""
        eps = self.attack.config.eps[place]
        for restart, (number, objective) in product(
            range(self.attack.restarts), enumerate(self.attack.objectives)
        ):
            rows = (tried & (self.broken_at > place) if sparing else tried).nonzero().squeeze(1)
            if not len(rows):
                continue
            stood, margin, norm = self._attempt(rows, eps, objective, restart, sparing)
            cell = (place, number, restart, _numpy(rows))
            self.correct[cell], self.margin[cell], self.norm[cell] = (
                _numpy(stood),
                _numpy(margin),
                _numpy(norm),
            )
            broken = rows[~stood]
            self.broken_at[broken] = self.broken_at[broken].clamp(max=place)

    def _attempt(
        self, rows: torch.Tensor, eps: float, objective: Objective, restart: int, nested: bool
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Stood, margin and norm of one run over ``rows``."""
        if self.attack.minimal:
            if (objective, restart) not in self._once:
                self._once[objective, restart] = self._run(rows, eps, objective, restart, None)
            correct, margin, norm = self._once[objective, restart]
            return correct | (norm > eps + TOLERANCE), margin, norm
        start = self._warm(rows, eps, objective) if nested and restart == 0 else None
        return self._run(rows, eps, objective, restart, start)

    def _warm(self, rows: torch.Tensor, eps: float, objective: Objective) -> torch.Tensor | None:
        """Where each sample's last run ended, stretched or shrunk to this eps; None while there was none.

        A sample that fell to the first objective has no run of the others: they start where the first ended.
        """
        if objective not in self._last:
            return None
        before, deltas = (tensor[rows] for tensor in self._last[objective])
        if (unknown := before.isinf()).any():
            first = self._last[self.attack.objectives[0]]
            before[unknown], deltas[unknown] = (tensor[rows[unknown]] for tensor in first)
        return deltas * column((eps / before).to(deltas.dtype), deltas)

    def _run(
        self,
        rows: torch.Tensor,
        eps: float,
        objective: Objective,
        restart: int,
        start: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        images, labels = self.images[rows], self.labels[rows]
        targets = self.runners_up[rows, objective.target - 1] if objective.target else None
        trial = Trial(
            images,
            labels,
            targets,
            self.identity[_numpy(rows)],
            eps,
            objective,
            restart,
            start,
            self.rng,
        )
        attempt = self.attack.perturb(self.victim, trial)
        if attempt.last is not None and restart == 0:
            if objective not in self._last:
                unknown = torch.full(
                    (len(self.images),), float("inf"), dtype=torch.float64, device=rows.device
                )
                self._last[objective] = unknown, torch.zeros_like(self.images)
            before, deltas = self._last[objective]
            before[rows], deltas[rows] = eps, attempt.last
        adversarial = attempt.adversarial
        self.outside = max(self.outside, float((adversarial - 0.5).abs().max() - 0.5))
        correct, margin = judge(self.victim.logits(adversarial), labels)
        return correct, margin, norms(adversarial - images, self.attack.config.norm)


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.cpu().numpy().copy()


def _join(parts: list[Sweep]) -> Sweep:
    def along(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts], axis=-1)

    arrays = {
        name: along(name)
        for name in ("clean", "clean_margin", "correct", "margin", "norm", "worst")
    }
    return Sweep(
        parts[0].eps, parts[0].objectives, **arrays, outside=max(part.outside for part in parts)
    )
