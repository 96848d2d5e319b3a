"""Whether a sweep is to be believed: checks that an honest network and a working attack pass, and the rest does not.

They run on a tenth or a twentieth of the images, so that together they cost a fraction of the sweep; each says on how
many. Where another attack is sent after what still stands, it is sent after the samples with the smallest margins,
which fall first, so that their number is nearly the whole effect. Where a check needs a budget it takes the most
telling one: the eps at which accuracy is nearest to half of clean.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from harness.attacks.base import TOLERANCE, Attack, Objective, Trial
from harness.attacks.engine import blackbox
from harness.attacks.engine.found import Found
from harness.attacks.engine.geometry import direction, random_in_ball
from harness.attacks.engine.layout import channels_last
from harness.attacks.engine.losses import LOSSES
from harness.attacks.engine.sealed import sealed
from harness.attacks.engine.sweep import SKIPPED, Sweep, sweep
from harness.attacks.engine.victim import (
    NOISE,
    Victim,
    View,
    as_found,
    input_gradient,
    judge,
    spread,
)
from harness.attacks.fgsm import FGSM
from harness.attacks.noise import Noise
from harness.attacks.pgd import PGD
from harness.batching import padded
from harness.lazy import nn, torch
from harness.records import Trust, TrustCheck
from harness.rng import Rng

if TYPE_CHECKING:
    from harness.attacks.engine.surrogates import StraightThrough

NO_GRADIENT = 0.05
"""A sample without gradient stands whatever a gradient attack does, so this share bounds how much robustness may be
overstated: 5 points are the width of the 95 % interval at some 400 images, more than chance would blur."""

SCALE = (0.05, 0.10)
"""Runs on differently weighted gradients differ by a few samples of 50 in either direction; saturation takes tens of percent."""

CONVERGED = (0.01, 0.03)
"""Change of accuracy under doubled steps: under a point is converged, over three is another number."""

WEAKER = 0.002
"""Accuracy that a weaker attack may take from what a stronger one left; one sample alone is an accident."""

QUERIES = 200
"""Of Square, a sample: too few to measure robustness by, enough for what was only masked."""

BLACK_BOX = (0.02, 0.30)
"""Share of the nearest standing samples, not counting one, that search and transfer may break after an ascent. After
PGD-20 on cross-entropy and margin they broke at most 1 of 16 on honest networks (MNIST: MLPs, a convnet, class means, a
Hebbian prototype network), after PGD that keeps the last iterate 3 of 16 (an MLP on 8 x 8 digits); and on an MLP behind
ripple on every pixel, or with a wrong sign on 30 to 40 % of its input gradient, 6 to 16 of 16."""

STEP = 0.25
"""Of eps: the step of PGD-10. Finer steps see less of a ripple, coarser ones more of an honest network's curvature."""

SLOPE = (0.15, 0.30)
"""Part of the promised gain that may be missing: at most 0.08 was on those honest networks (0.04 on MNIST), 0.21 to 0.32
behind the coarsest ripple, 0.38 and more on every other masked one."""

BENT = 0.5
"""Up to this part an honest network may just bend: 0.30 to 0.38 were missing on a ProtoNet of four pooled convolutions whose
accuracy falls from 79 to 16 % between 0.05 and 0.1. A mask that costs so little also lets searches win over the ascent
(`BLACK_BOX`), so it takes both to fail."""

CORNER = (0.35, 3.0)
"""What must be gained at random points of the ball, and times what is gained at the image, for the image to be a corner of
an honest function that an iterated attack leaves with its first step. A network that normalises blank patches
(``ech-stack``) gains 0.04 to 0.06 of what is promised at the image and 0.58 to 0.65 away from it (Linf), masked ones
gain the same at both: 0.01 and -0.07, 0.06 and 0.07, 0.41 and 0.37."""

RISING = (0.25, 0.5)
"""Part of the samples that a step along a surrogate gradient may fail: its size promises nothing, its direction must help."""

FLIPS = 0.05
"""Part of the verdicts in which two means may differ: as much as a random number may be of a robust accuracy."""

RESOLUTION = 1e-4
"""A gain below this part of the largest logit drowns in float32 rounding (6e-8 of it a logit)."""

LUKEWARM = 1.1
"""Times 1 / n_classes: a network that is right, and whose median confidence is not above this, has logits near zero, so
that its softmax says nothing. An honest one has 3 / n_classes and more (class means of pixels) after any training."""

FGSM_STRONGER = 0.02
"""PGD and FGSM climb along different paths, and each finds a few samples the other does not; beyond this PGD is broken."""


@dataclass(frozen=True)
class _Bench:
    """What every check reads."""

    model: nn.Module
    images: torch.Tensor
    labels: torch.Tensor
    identity: np.ndarray
    attack: Attack
    rng: Rng
    result: Sweep
    batch_size: int

    @cached_property
    def victim(self) -> Victim:
        """The network, as the attack looks at it."""
        return Victim.met(
            self.model, self.images, self.batch_size, self.attack.view, self.rng.child("trust")
        )

    @cached_property
    def sample(self) -> tuple[np.ndarray, torch.Tensor]:
        """Some images, in an order of their own, and their logits (n, n_classes), found in batches of other sizes."""
        rows = self.pick(np.ones(len(self.images), bool), self.share(5, 200), "clean")[::-1].copy()
        images, other = (
            self.images[self.at(rows)],
            Victim(self.model, 48, self.victim.view, self.victim.seed),
        )
        return rows, torch.cat(
            [other.logits(part) for part in (images[:16], *images[16:].split(37)) if len(part)]
        )

    @cached_property
    def parts(self) -> StraightThrough:
        """What was met of functions without a gradient on the way from some images to their margins, and back."""
        from harness.attacks.engine.surrogates import StraightThrough

        rows = self.at(self.pick(np.ones(len(self.images), bool), self.share(10, 100), "parts"))
        inputs = padded(self.images[rows]).clone().requires_grad_()
        with torch.enable_grad(), sealed(0):
            with StraightThrough() as mode:
                logits = self.model(inputs)
            if logits.requires_grad:
                input_gradient(
                    LOSSES["margin"](logits, padded(self.labels[rows]), None).sum(), inputs
                )
        return mode

    @property
    def surrogate(self) -> bool:
        """Whether the gradient that the attack climbs is, in part, another function's."""
        return bool(
            self.parts.seen if self.attack.view.backward == "straight-through" else self.parts.cut()
        )

    @cached_property
    def carried(self) -> np.ndarray:
        """Bool (E, N): stands at this eps because it withstood a larger one; it was not attacked here."""
        unattacked = (self.result.correct == SKIPPED).all((1, 2))
        return self.result.worst & unattacked

    def at(self, rows: np.ndarray) -> torch.Tensor:
        """Rows as an index on the images' device."""
        return torch.from_numpy(rows).to(self.images.device)

    def share(self, part: int, most: int | None = None) -> int:
        """How many images a check may use: one in ``part``, 16 at least."""
        size = max(16, len(self.images) // part)
        return size if most is None else min(size, most)

    @property
    def middle(self) -> int:
        """Index of the eps at which accuracy is nearest to half of clean, the largest of equals; -1: the grid is only 0."""
        accuracy, half = self.result.accuracy(), self.result.clean.mean() / 2
        places = [place for place, eps in enumerate(self.result.eps) if eps > 0]
        return min(places, key=lambda place: (abs(accuracy[place] - half), -place), default=-1)

    def pick(self, mask: np.ndarray, most: int, purpose: str) -> np.ndarray:
        """At most ``most`` of the samples in ``mask``, by lot, ascending."""
        rows = np.flatnonzero(mask)
        return (
            rows
            if len(rows) <= most
            else np.sort(self.rng.numpy("trust", purpose).choice(rows, most, replace=False))
        )

    def nearest(self, most: int) -> np.ndarray:
        """At most ``most`` of the samples that stand at the middle eps: those of smallest margin, ascending."""
        rows = np.flatnonzero(self.result.worst[self.middle])
        margins = self.result.margin[self.middle].reshape(-1, len(self.images))[:, rows]
        lowest = np.where(np.isnan(margins), np.inf, margins).min(0, initial=np.inf)
        return np.sort(rows[np.argsort(lowest, kind="stable")[:most]])

    def trial(self, rows: np.ndarray, eps: float, objective: Objective) -> Trial:
        """One run over ``rows``."""
        at = self.at(rows)
        return Trial(
            self.images[at],
            self.labels[at],
            None,
            self.identity[rows],
            eps,
            objective,
            0,
            None,
            self.rng.child("trust"),
        )

    def standing(self, attack: Attack, rows: np.ndarray) -> np.ndarray:
        """Which of ``rows`` stand another attack at the last of its eps, bool (len(rows),)."""
        if not len(rows):
            return np.zeros(0, bool)
        at = self.at(rows)
        return sweep(
            self.model,
            self.images[at],
            self.labels[at],
            self.identity[rows],
            attack,
            self.rng.child("trust"),
            victim=self.victim,
        ).worst[-1]


def check(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    identity: np.ndarray,
    attack: Attack,
    rng: Rng,
    result: Sweep,
    found: Found,
    *,
    batch_size: int = 256,
) -> list[TrustCheck]:
    """Every check that applies to a sweep. Arguments as for ``sweep``; ``found`` is from before it."""
    bench = _Bench(model, images, labels, np.asarray(identity), attack, rng, result, batch_size)
    with as_found(model), channels_last(model, images):
        checks = [
            _clean(bench),
            _constant(bench),
            _inside(bench),
            _perturbs(bench),
            _deterministic(bench),
            _unbounded(bench),
        ]
        if attack.climbs:
            checks += [_gradients(bench), _parts(bench)]
        else:
            checks.append(
                TrustCheck(
                    "upper bound: no gradient attack",
                    "WARN",
                    "only outputs were seen: a gradient may break more",
                )
            )
        if bench.middle >= 0:
            checks += _by_other_attacks(bench)
        if bench.attack.config.sweep == "bisect" and bench.carried.any():
            checks.append(_carried(bench))
        checks += _as_named(bench)
    changed = found.changed(model)
    return [
        *checks,
        TrustCheck(
            "model left as found",
            _level(len(changed), 0, 0),
            ", ".join(changed) or "nothing changed",
        ),
    ]


def _level(value: float, warn: float, fail: float) -> Trust:
    """PASS up to ``warn``, WARN up to ``fail``, FAIL above; what is not a number fails."""
    if value <= warn:
        return "PASS"
    return "WARN" if value <= fail else "FAIL"


def _clean(bench: _Bench) -> TrustCheck:
    """Verdicts without attack, found another way: other company, other batch sizes; and the attack with no budget."""
    rows, logits = bench.sample
    correct, margin = judge(logits, bench.labels[bench.at(rows)])
    # In other batches other kernels run, whose rounding may decide a tie: a tie is no disagreement.
    tie = margin.abs() <= 1e-4 * logits.abs().amax(1).clamp_min(1)
    differ = int(((correct.cpu().numpy() != bench.result.clean[rows]) & ~tie.cpu().numpy()).sum())
    moved, tried = 0, np.zeros(0, int)
    if not bench.attack.minimal:
        tried = bench.pick(bench.result.clean, 16, "eps 0")
        moved = _moved(bench, tried)
    by_noise = FLIPS * (len(rows) + len(tried)) if bench.victim.stochastic else 0
    return TrustCheck(
        "eps 0 equals clean",
        _level(differ + moved, 0, by_noise),
        f"{differ} of {len(rows)} clean verdicts differ in other batches; eps 0 breaks {moved} of {len(tried)}",
    )


def _moved(bench: _Bench, rows: np.ndarray) -> int:
    """How many samples the attack breaks with a budget of 0 (the sweep itself never runs it there)."""
    if not len(rows):
        return 0
    trial = bench.trial(rows, 0.0, Objective(bench.attack.objectives[0].loss))
    adversarial = bench.attack.perturb(bench.victim, trial).adversarial
    return int((~judge(bench.victim.logits(adversarial), trial.labels)[0]).sum())


def _constant(bench: _Bench) -> TrustCheck:
    """A network that says the same of every image cannot be attacked, and is not robust."""
    rows, logits = bench.sample
    differ, classes = spread(logits[:, None]), len(logits.argmax(1).unique())
    if differ <= NOISE:
        return TrustCheck(
            "not constant",
            "FAIL",
            f"the logits of {len(rows)} images are all the same: constant output",
        )
    few = classes == 1 and len(bench.labels[bench.at(rows)].unique()) > 1
    return TrustCheck(
        "not constant",
        "WARN" if few else "PASS",
        f"{len(rows)} images are classified as {classes} classes",
    )


def _inside(bench: _Bench) -> TrustCheck:
    """Every perturbed image that counts is in its ball and in the box."""
    result = bench.result
    excess = result.norm - np.array(result.eps, np.float32)[:, None, None, None]
    counted = result.correct == 0 if bench.attack.minimal else result.correct != SKIPPED
    over = float(excess[counted].max(initial=0))
    worst = max(over, result.outside, 0.0)
    return TrustCheck(
        "inside the budget and the box",
        _level(worst, TOLERANCE, TOLERANCE),
        f"norm - eps at most {over:.2g}, outside the box by {max(result.outside, 0.0):.2g}",
    )


def _perturbs(bench: _Bench) -> TrustCheck:
    """An attack that returns the images it was given measures nothing."""
    result = bench.result
    attacked = (result.correct != SKIPPED) & (np.array(result.eps) > 0)[:, None, None, None]
    still = float((result.norm[attacked] == 0).mean()) if attacked.any() else 0.0
    level = _level(still, 0.99, 1.0) if bench.attack.keeps_failures else _level(still, 0.01, 0.5)
    return TrustCheck(
        "perturbs", level, f"{100 * still:.1f} % of {int(attacked.sum())} runs changed nothing"
    )


def _gradients(bench: _Bench) -> TrustCheck:
    """Samples that no loss of the attack gives a finite, non-zero input gradient."""
    rows = bench.pick(bench.result.clean, bench.share(10, 100), "gradients")
    if not len(rows):
        return TrustCheck("gradients exist", "PASS", "nothing is correct unattacked")
    at = bench.at(rows)
    usable, said = torch.zeros(len(rows), dtype=torch.bool, device=at.device), []
    for loss in bench.attack.climbs:
        gradient = bench.victim.gradient(bench.images[at], bench.labels[at], None, LOSSES[loss])[
            0
        ].flatten(1)
        good = gradient.isfinite().all(1) & (gradient != 0).any(1)
        said.append(f"{loss} {100 * (1 - float(good.float().mean())):.0f} %")
        usable |= good
    share = 1 - float(usable.float().mean())
    return TrustCheck(
        "gradients exist",
        _level(share, 0.01, NO_GRADIENT),
        f"{100 * share:.1f} % of {len(rows)} samples have none ({', '.join(said)})",
    )


def _parts(bench: _Bench) -> TrustCheck:
    """Steps and rounding between the input and the logits: without a surrogate gradient an attack cannot see past them."""
    seen, jumps, cut = bench.parts.seen, bench.parts.jumps(), bench.parts.cut()
    name = "non-differentiable parts"
    if not jumps:
        mild = [
            f"{part} (surrogate declared, or no effect)" if part in cut else f"{part} (no jump)"
            for part in seen
        ]
        return TrustCheck(name, "PASS", ", ".join(mild) or "none")
    if bench.attack.view.backward == "straight-through":
        return TrustCheck(name, "PASS", f"{', '.join(jumps)}: attacked straight through")
    return TrustCheck(
        name, "FAIL", f"{', '.join(jumps)}: no surrogate gradient; use backward: straight-through"
    )


def _deterministic(bench: _Bench) -> TrustCheck:
    """Five forward passes of the same images; where they differ, the means that the verdicts are of."""
    rows = bench.pick(np.ones(len(bench.images), bool), bench.share(10, 100), "deterministic")
    images, samples = bench.images[bench.at(rows)], bench.attack.view.samples
    single = Victim(bench.model, bench.batch_size, View(), bench.rng.child("trust", "passes").seed)
    passes = torch.stack([single.logits(images) for _ in range(5)])
    relative = spread(passes)
    said = f"logits differ by up to {100 * relative:.2g} % over 5 passes of {len(rows)} images"
    if relative <= NOISE:
        return TrustCheck("deterministic", _level(relative, 0, NOISE), said)
    if samples == 1:
        return TrustCheck(
            "deterministic", "FAIL", f"{said}, and each verdict is of one: set samples"
        )
    means = torch.stack([bench.victim.logits(images) for _ in range(2)])
    flips = float((means[0].argmax(1) != means[1].argmax(1)).float().mean())
    return TrustCheck(
        "deterministic",
        "WARN" if flips <= FLIPS else "FAIL",
        f"{said}, means of {samples} passes by {100 * spread(means):.2g} %, "
        f"which changes {100 * flips:.1f} % of verdicts",
    )


def _unbounded(bench: _Bench) -> TrustCheck:
    """With half the box as budget every image can be made the same grey: what still stands is masked, not robust."""
    stood = bench.result.worst[-1]
    rows = bench.pick(stood, bench.share(10, 100), "unbounded")
    losses = list(bench.attack.climbs) or ["margin"]
    kept = bench.standing(PGD(PGD.Config(attack="pgd", eps=[0.5], steps=10, loss=losses)), rows)
    chance = 1 / bench.sample[1].shape[1]
    accuracy = float(stood.mean() * kept.mean()) if len(rows) else 0.0
    return TrustCheck(
        "unbounded",
        _level(accuracy, chance, chance),
        f"accuracy {100 * accuracy:.1f} % at linf 0.5, chance {100 * chance:.1f} %: PGD-10 on {len(rows)} standing",
    )


def _by_other_attacks(bench: _Bench) -> Iterator[TrustCheck]:
    """Checks that send another attack after what the sweep left standing at its most telling eps."""
    eps, norm, stronger = (
        bench.result.eps[bench.middle],
        bench.attack.config.norm,
        bench.attack.stronger(),
    )
    if stronger is not None:
        once = {"eps": [eps]} | ({"restarts": 1} if bench.attack.restarts > 1 else {})
        again = type(stronger)(stronger.config.model_copy(update=once))
        taken, _, words = _taken(bench, again, bench.nearest(bench.share(20)), eps)
        yield TrustCheck("converged", _level(taken, *CONVERGED), f"doubled steps {words}")
    if norm not in ("linf", "l2") or not bench.attack.climbs:
        return
    yield _scale(bench, eps, norm)
    searched = _black_box(bench, eps, norm)
    yield _slope(bench, eps, norm, searched.level)
    yield searched
    if stronger is not None:
        fgsm = FGSM(FGSM.Config(attack="fgsm", norm=norm, eps=[eps]))
        taken, broken, words = _taken(bench, fgsm, bench.nearest(bench.share(10)), eps)
        level = _level(taken if broken > 1 else 0, WEAKER, FGSM_STRONGER)
        yield TrustCheck("at least as strong as FGSM", level, f"FGSM {words}")


def _taken(bench: _Bench, attack: Attack, rows: np.ndarray, eps: float) -> tuple[float, int, str]:
    """Accuracy that another attack takes from what stands, how many samples that is, and both in words."""
    broken = int((~bench.standing(attack, rows)).sum())
    taken = broken / len(bench.images)
    least = "at least " if 0 < broken == len(rows) else ""
    return (
        taken,
        broken,
        f"took {least}{100 * taken:.2f} points at eps {eps:g}, from the {len(rows)} nearest",
    )


def _carried(bench: _Bench) -> TrustCheck:
    """The attack on what it was not tried on, because it had failed with a larger budget.

    No true robustness falls short at the smaller budget, but an attack's success may. Only a run of it tells: on the samples
    that withstood least, at the eps where most verdicts were carried.
    """
    place = int(bench.carried.sum(1).argmax())
    rows, eps = np.flatnonzero(bench.carried[place]), bench.result.eps[place]
    margins = bench.result.margin.reshape(-1, len(bench.images))[:, rows]
    lowest = np.where(np.isnan(margins), np.inf, margins).min(0)
    nearest = np.sort(rows[np.argsort(lowest, kind="stable")[: bench.share(20)]])
    alone = type(bench.attack)(
        bench.attack.config.model_copy(update={"eps": [eps], "sweep": "nested"})
    )
    taken, _, words = _taken(bench, alone, nearest, eps)
    return TrustCheck(
        "verdicts carried down", _level(taken, *CONVERGED), f"the attack itself {words}"
    )


def _black_box(bench: _Bench, eps: float, norm: str) -> TrustCheck:
    """Noise, Square (Linf) and transfer from class means, none of which needs the network's gradient."""
    rows = bench.nearest(bench.share(20, 96))
    if not len(rows):
        return TrustCheck("black box not stronger", "PASS", f"nothing stands at eps {eps:g}")
    trial, victim = bench.trial(rows, eps, Objective("margin")), bench.victim
    noise = ~bench.standing(
        Noise(Noise.Config(attack="noise", norm=norm, eps=[eps], draws=5)), rows
    )
    broken = {"5 draws of noise": noise}
    found = {
        "transfer from class means": blackbox.from_class_means(
            bench.images, bench.labels, trial, norm
        )
    }
    if norm == "linf":
        found[f"{QUERIES} queries of Square"] = blackbox.square(victim, trial, QUERIES)
    for name, adversarial in found.items():
        broken[name] = (~judge(victim.logits(adversarial), trial.labels)[0]).cpu().numpy()
    together = np.logical_or.reduce(list(broken.values()))
    counts = (
        ", ".join(f"{name} broke {by.sum()}" for name, by in broken.items())
        + f", together {together.sum()}"
    )
    return TrustCheck(
        "black box not stronger",
        _black_box_level(bench, int(noise.sum()), int(together.sum()), len(rows)),
        f"of the {len(rows)} nearest at eps {eps:g} {counts}",
    )


def _black_box_level(bench: _Bench, blind: int, together: int, tried: int) -> Trust:
    """Noise is weaker than any attack; search and transfer may well beat a single step, but not an ascent."""
    if blind > 1 and blind / len(bench.images) > WEAKER:
        return "FAIL"
    level = _level((together - 1) / tried, *BLACK_BOX)
    return "WARN" if level == "FAIL" and bench.attack.stronger() is None else level


def _slope(bench: _Bench, eps: float, norm: str, searched: Trust) -> TrustCheck:
    """The margin's change over a step along its gradient, as a share of what the gradient promises.

    At what stands: where a mask would show, and where an honest margin has not bent yet. ``searched``: what became of searches
    that need no gradient.
    """
    name = "gradient matches the function"
    rows = bench.pick(bench.result.worst[bench.middle], bench.share(10, 100), "slope")
    if not len(rows):
        return TrustCheck(name, "PASS", f"nothing stands at eps {eps:g}")
    trial = bench.trial(rows, eps, Objective("margin"))
    gained, promised, usable = _step(bench, trial.images, trial, norm)
    if usable.sum() < len(rows) / 2:
        return TrustCheck(
            name,
            "WARN",
            f"of {len(rows)} samples {int(usable.sum())} have a slope large enough to compare",
        )
    if bench.surrogate:
        rising = float((gained[usable] > 0).float().mean())
        return TrustCheck(
            name,
            _level(1 - rising, *RISING),
            f"a step of {STEP * eps:.3g} along the surrogate gradient "
            f"lowers the margin of {100 * rising:.0f} % of {int(usable.sum())}",
        )
    share = float((gained[usable] / promised[usable]).median())
    level = _level(1 - share, *SLOPE)
    said = (
        f"a step of {STEP * eps:.3g} along the gradient gains {share:.2f} of what it promises, "
        f"median of {int(usable.sum())}"
    )
    if level == "FAIL" and bench.attack.stronger() is not None:
        noise = random_in_ball(
            trial.rng, trial.identity, 0, tuple(trial.images.shape[1:]), norm, eps
        )
        gained, promised, usable = _step(
            bench, (trial.images + noise.to(trial.images.device)).clamp(0, 1), trial, norm
        )
        away = float((gained[usable] / promised[usable]).median()) if usable.any() else 0.0
        said += f", and {away:.2f} at random points of the ball"
        level = "WARN" if away >= max(CORNER[0], CORNER[1] * share) else level
    if level == "FAIL" and 1 - share <= BENT and searched != "FAIL":
        level = "WARN"
    return TrustCheck(name, level, said)


def _step(
    bench: _Bench, points: torch.Tensor, trial: Trial, norm: str
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What a step along the margin's gradient gains, what the gradient promises, and for which samples that can be compared.

    A central difference, each (B,).
    """
    gradient = bench.victim.gradient(points, trial.labels, None, LOSSES["margin"])[0]
    step = STEP * trial.eps * direction(gradient, norm)
    ahead, behind = (points + step).clamp(0, 1), (points - step).clamp(0, 1)
    near, far = bench.victim.logits(behind), bench.victim.logits(ahead)
    gained = judge(near, trial.labels)[1] - judge(far, trial.labels)[1]
    promised = (gradient.nan_to_num(0, 0, 0) * (ahead - behind)).flatten(1).sum(1)
    usable = promised > RESOLUTION * near.abs().amax(1)
    if bench.surrogate:  # on a plateau of a step nothing is gained, and nothing is wrong
        usable &= gained != 0
    return gained, promised, usable


def _scale(bench: _Bench, eps: float, norm: str) -> TrustCheck:
    """Cross-entropy against the same with every row's logits at unit spread, from the same starts.

    Judged by what rescaling gains over cross-entropy, as far as the sweep, with whatever losses it has, missed it too.
    """
    rows = bench.pick(bench.result.clean, bench.share(20, 50), "scale")
    if not len(rows):
        return TrustCheck("scale", "PASS", "nothing is correct unattacked")
    steps = 1 if bench.attack.stronger() is None else 10

    def standing(loss: str, some: np.ndarray) -> np.ndarray:
        config = PGD.Config(
            attack="pgd", norm=norm, eps=[eps], steps=steps, step_size=2.5 / steps, loss=[loss]
        )
        return bench.standing(PGD(config), some)

    stood = rows[bench.result.worst[bench.middle][rows]]
    lost = missed = float((~standing("ce-norm", stood)).sum() / len(rows))
    said = f"logits rescaled, PGD-{steps} breaks {100 * missed:.0f} % of {len(rows)} at eps {eps:g} that the sweep missed"
    if missed > SCALE[0]:  # else whatever CE alone may say changes nothing
        raw, rescaled = (standing(loss, rows).mean() for loss in ("ce", "ce-norm"))
        lost = min(missed, float(raw - rescaled))
        said += f"; {100 * raw:.0f} % stand CE, {100 * rescaled:.0f} % with logits rescaled"
    level, odd = _odd_logits(bench)
    return TrustCheck(
        "scale", max(level, _level(lost, *SCALE), key=("PASS", "WARN", "FAIL").index), said + odd
    )


def _odd_logits(bench: _Bench) -> tuple[Trust, str]:
    """What is odd about logits that only cross-entropy is computed of.

    Of probabilities it still points uphill. Of logits near zero it raises all wrong classes alike: a weak attack.
    """
    if set(bench.attack.climbs) != {"ce"}:
        return "PASS", ""
    rows, logits = bench.sample
    if bool((logits >= 0).all()) and bool(((logits.sum(1) - 1).abs() < 1e-3).all()):
        return "WARN", "; outputs are probabilities, not logits"
    confidence = float(logits.softmax(1).amax(1).median())
    if bench.result.clean[rows].mean() > 0.5 and confidence <= LUKEWARM / logits.shape[1]:
        return (
            "FAIL",
            f"; logits are near zero: median confidence {confidence:.2f}, as good as undecided, though mostly right",
        )
    return "PASS", ""


def _as_named(bench: _Bench) -> Iterator[TrustCheck]:
    for note in bench.attack.notes(bench.sample[1]):
        yield TrustCheck("as named", "WARN", note)
