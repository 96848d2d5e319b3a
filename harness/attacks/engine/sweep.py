"""The sweep engine: runs one attack over an ascending grid of budgets, and records verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.attacks.base import TOLERANCE, Attack, Objective, Task
from harness.attacks.engine.bisection import known_robust
from harness.attacks.engine.geometry import column
from harness.attacks.engine.memory_layout import channels_last
from harness.attacks.engine.network_state import NetworkState
from harness.attacks.engine.victim import Victim, judge, restoring
from harness.lazy import nn, torch
from harness.learning.learner import Progress, silent
from harness.rng import Rng

SKIPPED = 2
"""In ``Sweep.correct``: not attacked, because the verdict was known already."""


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
        norm: float32 (E, O, R, N), size of the perturbation, in units of eps; NaN where not
            attacked.
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
    attacked. A perturbation that breaks a sample at one eps is feasible at every larger one, so
    verdicts are carried upwards (``sweep: nested``). With ``sweep: bisect`` they are carried
    downwards too: the smallest eps that breaks a sample is found by halving the grid, which takes
    two or three attacks instead of six on a grid of six. What withstood the larger ball has no
    adversary in the smaller one, as far as the attack can tell; one of the trust checks tests that.

    Args:
        model: float32 (B, C, H, W) in [0, 1] to logits. Its flags, gradients and parameters are
            restored afterwards; ``Sweep.changed`` names what the attack changed nevertheless.
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
    with restoring(model), channels_last(model, images):
        victim = Victim.of(model, images, batch_size, attack.view, rng)
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


@dataclass(frozen=True)
class _Run:
    """What one run found, a value for each of the rows attacked: bool, float32 and float32 (B,)."""

    correct: torch.Tensor
    margin: torch.Tensor
    norm: torch.Tensor


class _Block:
    """Some of the samples, on their way through the grid.

    Attributes:
        broken_at: int64 (N,), index of the smallest eps known to break a sample: 0 if it is wrong
            without an attack, the length of the grid if nothing has broken it.
        outside: how far the worst perturbed image left the box.
    """

    def __init__(
        self,
        victim: Victim,
        attack: Attack,
        images: torch.Tensor,
        labels: torch.Tensor,
        identity: np.ndarray,
        rng: Rng,
    ) -> None:
        self.victim = victim
        self.attack = attack
        self.images = images
        self.labels = labels
        self.identity = identity
        self.rng = rng
        self.grid = attack.config.eps
        self.outside = 0.0
        clean_logits = victim.logits(images)
        self.clean, self.clean_margin = judge(clean_logits, labels)
        self.runners_up = attack.target_order(victim, images, labels, clean_logits)
        self.broken_at = torch.where(self.clean, len(self.grid), 0)
        shape = (len(self.grid), len(attack.objectives), attack.restarts, len(images))
        self.correct = np.full(shape, SKIPPED, np.uint8)
        self.margin = np.full(shape, np.nan, np.float32)
        self.norm = np.full(shape, np.nan, np.float32)
        self._warm_starts: dict[Objective, _WarmStarts] = {}
        self._minimal_runs: dict[tuple[Objective, int], _Run] = {}

    def run(self) -> Sweep:
        """Attack the samples at every eps where their verdict is open."""
        if self.grid[0] == 0:
            self._record_clean()
        if self.attack.minimal or self.attack.config.sweep != "bisect":
            self._from_the_smallest()
        else:
            self._bisect()
        places = torch.arange(len(self.grid), device=self.broken_at.device)
        return Sweep(
            eps=tuple(self.grid),
            objectives=tuple(map(str, self.attack.objectives)),
            clean=_numpy(self.clean),
            clean_margin=_numpy(self.clean_margin),
            correct=self.correct,
            margin=self.margin,
            norm=self.norm,
            worst=_numpy(places[:, None] < self.broken_at),
            outside=self.outside,
        )

    def _record_clean(self) -> None:
        """The verdicts at eps 0 are those without an attack."""
        rows = _numpy(self.clean)
        self.correct[0][..., rows] = 1
        self.margin[0][..., rows] = _numpy(self.clean_margin)[rows]
        self.norm[0][..., rows] = 0

    def _from_the_smallest(self) -> None:
        """Sweep ``nested`` or ``independent``: every eps in turn, from the smallest."""
        nested = self.attack.config.sweep == "nested" and not self.attack.minimal
        for place, eps in enumerate(self.grid):
            if eps > 0:
                attacked = self.broken_at > place if nested else self.clean
                self._attack(place, attacked, stop_when_broken=nested)

    def _bisect(self) -> None:
        """Sweep ``bisect``: attack each sample at the middle of its open eps until none is open."""
        withstood = torch.full_like(self.broken_at, known_robust(self.grid))
        while True:
            open_rows = self.broken_at - withstood > 1
            if not open_rows.any():
                return
            middle = torch.where(open_rows, (withstood + self.broken_at) // 2, -1)
            for place in middle[open_rows].unique().tolist():
                here = middle == place
                self._attack(place, here, stop_when_broken=True)
                withstood[here & (self.broken_at > place)] = place

    def _attack(self, place: int, attacked: torch.Tensor, *, stop_when_broken: bool) -> None:
        """Make every run at one eps.

        Args:
            place: index of the eps.
            attacked: bool (N,), the samples to attack.
            stop_when_broken: attack a sample only until one run has broken it.
        """
        eps = self.grid[place]
        for restart in range(self.attack.restarts):
            for number, objective in enumerate(self.attack.objectives):
                chosen = attacked & (self.broken_at > place) if stop_when_broken else attacked
                rows = chosen.nonzero().squeeze(1)
                if not len(rows):
                    continue
                result = self._run(rows, eps, objective, restart, warm=stop_when_broken)
                cell = (place, number, restart, _numpy(rows))
                self.correct[cell] = _numpy(result.correct)
                self.margin[cell] = _numpy(result.margin)
                self.norm[cell] = _numpy(result.norm)
                broken = rows[~result.correct]
                self.broken_at[broken] = self.broken_at[broken].clamp(max=place)

    def _run(
        self, rows: torch.Tensor, eps: float, objective: Objective, restart: int, *, warm: bool
    ) -> _Run:
        """One run over some rows; of an attack without a budget, the first one serves every eps."""
        if self.attack.minimal:
            key = (objective, restart)
            if key not in self._minimal_runs:
                self._minimal_runs[key] = self._perturb(rows, eps, objective, restart, None)
            found = self._minimal_runs[key]
            too_large = found.norm > eps + TOLERANCE
            return _Run(found.correct | too_large, found.margin, found.norm)
        start = self._start(rows, eps, objective) if warm and restart == 0 else None
        return self._perturb(rows, eps, objective, restart, start)

    def _start(self, rows: torch.Tensor, eps: float, objective: Objective) -> torch.Tensor | None:
        """Where each sample's last run ended, scaled to this eps; None if there was no run.

        A sample that was broken by the first objective has no run of the others. They start where
        the first one ended.
        """
        if objective not in self._warm_starts:
            return None
        own = self._warm_starts[objective]
        before = own.eps[rows]
        deltas = own.deltas[rows]
        unknown = before.isinf()
        if unknown.any():
            first = self._warm_starts[self.attack.objectives[0]]
            before[unknown] = first.eps[rows[unknown]]
            deltas[unknown] = first.deltas[rows[unknown]]
        return deltas * column((eps / before).to(deltas.dtype), deltas)

    def _perturb(
        self,
        rows: torch.Tensor,
        eps: float,
        objective: Objective,
        restart: int,
        start: torch.Tensor | None,
    ) -> _Run:
        """Perturb some rows, and judge the result."""
        images = self.images[rows]
        labels = self.labels[rows]
        targets = self.runners_up[rows, objective.target - 1] if objective.target else None
        task = Task(
            images=images,
            labels=labels,
            targets=targets,
            identity=self.identity[_numpy(rows)],
            eps=eps,
            objective=objective,
            restart=restart,
            start=start,
            rng=self.rng,
        )
        candidates = self.attack.perturb(self.victim, task)
        if candidates.warm_start is not None and restart == 0:
            if objective not in self._warm_starts:
                self._warm_starts[objective] = _WarmStarts.none(self.images)
            self._warm_starts[objective].eps[rows] = eps
            self._warm_starts[objective].deltas[rows] = candidates.warm_start
        adversarial = candidates.adversarial
        self.outside = max(self.outside, float((adversarial - 0.5).abs().max() - 0.5))
        correct, margin = judge(self.victim.logits(adversarial), labels)
        return _Run(correct, margin, candidates.sizes_from(images, self.attack.config.norm))


@dataclass(frozen=True)
class _WarmStarts:
    """Where each sample's last run of one objective ended.

    Attributes:
        eps: float64 (N,), the budget of that run; infinite if there was none.
        deltas: float32 (N, C, H, W), the perturbations.
    """

    eps: torch.Tensor
    deltas: torch.Tensor

    @classmethod
    def none(cls, images: torch.Tensor) -> _WarmStarts:
        """No run has been made yet."""
        size = (len(images),)
        eps = torch.full(size, float("inf"), dtype=torch.float64, device=images.device)
        return cls(eps, torch.zeros_like(images))


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.cpu().numpy().copy()


def _join(parts: list[Sweep]) -> Sweep:
    """One sweep of the sweeps of several blocks of samples."""
    first = parts[0]

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts], axis=-1)

    return Sweep(
        eps=first.eps,
        objectives=first.objectives,
        clean=joined("clean"),
        clean_margin=joined("clean_margin"),
        correct=joined("correct"),
        margin=joined("margin"),
        norm=joined("norm"),
        worst=joined("worst"),
        outside=max(part.outside for part in parts),
    )
