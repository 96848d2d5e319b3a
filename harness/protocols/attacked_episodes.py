"""Few-shot episodes under attack: a learner adapts once to each support set, then its queries are attacked.

The episodes are those of `few_shot` with the same keys, so that the two pair, and so do learners by episode. An attack
on the support set (poisoning) is an option; queries are attacked after it, through the classifier that came of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Field

from harness.attacks.base import Attack
from harness.attacks.engine.poisoning import Classify, Poisoned, passes_gradient, poison
from harness.attacks.engine.sweep import Sweep, sweep, verdict_name
from harness.attacks.engine.victim import Victim
from harness.data.base import Images, Loaded
from harness.data.episodes import Episodes
from harness.lazy import nn, torch
from harness.learning import heads
from harness.learning.learner import Learner
from harness.metrics.statistics import t_interval
from harness.protocols.attack_list import (
    BUDGETS,
    ROBUST,
    AttacksConfig,
    attack_faults,
    attack_of,
    attack_settings,
    attack_words,
    knowledge,
)
from harness.protocols.base import Context, Fault, Measurement
from harness.protocols.checks import require_eval_mode, require_logits
from harness.protocols.few_shot import FewShot, drawn
from harness.records import TrustCheck, Value
from harness.registry import Config, attacks, distinct, protocols

TRUSTED = 4
"""Episodes, the first ones, whose sweeps are checked. A check costs two or three sweeps of 25 queries."""

LOGIT_TOLERANCE = 1e-3
"""Relative: two ways of computing the same classifier differ by rounding, other classifiers by much more."""

KNOWN = "the support attack sees the adaptation"
"""The check that warns where the support set was attacked by transfer."""


class SupportAttack(Config):
    """Keys of an attack on the support set."""

    norm: Literal["linf", "l2", "l1"] = Field(
        "linf", description="how the perturbation of a support image is measured"
    )
    eps: Annotated[list[Annotated[float, Field(ge=0)]], AfterValidator(distinct)] = Field(
        min_length=1, description="budgets of each support image, in pixel units; a cell each"
    )
    steps: int = Field(20, ge=1, le=10_000, description="gradient steps, of 2.5 / steps of eps")


@protocols.register("attacked_episodes")
class AttackedEpisodes(FewShot):
    """Few-shot episodes whose queries, and if asked for support sets, are attacked."""

    keys = ("eps",)

    class Config(FewShot.Config, AttacksConfig):
        """Which episodes, as in `few_shot`, and which attacks, as in `attack_sweep`."""

        support: SupportAttack | None = Field(
            None, description="also attack the support set, before adaptation; clean if left out"
        )

    config: Config

    def settings(self) -> Iterator[dict[str, Any]]:
        """One cell a (ways, shots), attack and budget of the support set."""
        support = self.config.support
        for setting in super().settings():
            for attacked in attack_settings(self.config.attacks):
                cell = {**setting, **attacked, "trust": self.config.trust}
                if support is None:
                    yield cell
                    continue
                how = {
                    "norm": support.norm,
                    "steps": support.steps,
                    "others": self._others(setting["shots"]),
                }
                for eps in support.eps:
                    yield {**cell, "support": how, "support_eps": eps}

    def _others(self, shots: int) -> int:
        """Images a class, at most as many as queries, that are in no part of an episode: what the attacker climbs on."""
        per_class = self.facts.splittings[self.splitting][self.config.split].per_class
        return max(0, min(self.config.queries, per_class - shots - self.config.queries))

    def faults(self) -> Iterator[Fault]:
        """Those of the episodes, and attacks that cannot be made on them."""
        found = list(super().faults())
        yield from found
        if any(fault.path[0] in ("splitting", "split", "ways", "episodes_from") for fault in found):
            return
        for key, value in {
            (key, setting[key]) for setting in super().settings() for key in ("ways", "shots")
        }:
            if isinstance(value, str):
                yield Fault(
                    ("episodes_from",) if self.listed else (key,),
                    f"{key} {value}: attacked episodes are all of one size",
                    "numbers, or a list of them",
                )
                return
        fewest = min(setting["ways"] for setting in super().settings())
        yield from attack_faults(self.config.attacks, self.facts.image_shape, fewest)
        for place, config in enumerate(self.config.attacks):
            if attacks[config.attack](config).surrogate is not None:
                yield Fault(
                    ("attacks", place, "attack"),
                    f"{config.attack} needs a network that was trained on the classes "
                    "of the queries, and an episode's classes are new",
                    "attack_sweep has it",
                )
        support = self.config.support
        for place, eps in enumerate(support.eps if support and support.norm == "linf" else []):
            if eps > 1:
                yield Fault(
                    ("support", "eps", place),
                    f"eps {eps:g} is outside [0, 1] (pixels are in [0, 1])",
                )

    def modules(self, setting: dict[str, Any]) -> list[str]:
        """And the attack's."""
        return [*super().modules(setting), type(attack_of(setting["config"])).__module__]

    @classmethod
    def measure(
        cls, learner: Learner, data: Loaded, setting: dict[str, Any], context: Context
    ) -> Measurement:
        """Accuracy of every episode at every eps of the attack; means with 95 % t intervals over episodes.

        Raises:
            ValueError: the learner gives a classifier in train mode, or one that no gradient reaches where its support
                set is to be attacked.
            FloatingPointError: some logits are not finite.
        """
        images, episodes = drawn(data, setting, context)
        attack, sweeps, checks = attack_of(setting["config"]), [], []
        for number in range(len(episodes)):
            swept, made = _attacked(learner, images, episodes, number, attack, setting, context)
            sweeps.append(swept)
            checks += made
            context.progress((number + 1) / len(episodes), attack.label)
        verdicts = {**_arrays(sweeps), "classes": episodes.classes}
        return Measurement(
            _values(sweeps[0].eps, verdicts), verdicts, _merged(checks, min(TRUSTED, len(episodes)))
        )

    def block(self) -> dict[str, str]:
        """Conditions that every number of the table shares."""
        return {
            **super().block(),
            "threat model": f"{knowledge(self.config.attacks)}, through the classifier adapted once to the support set; "
            f"{BUDGETS}",
            "support set": self._support_words(),
            "robust": ROBUST,
            **attack_words(self.config.attacks),
            "trust checks": f"on {min(TRUSTED, self.config.episodes)} episodes of each sweep"
            if self.config.trust
            else "off",
        }

    def _support_words(self) -> str:
        support = self.config.support
        if support is None:
            return "clean; only queries are attacked"
        others = sorted({self._others(setting["shots"]) for setting in super().settings()})
        images = f"{'/'.join(map(str, others))} images a class that are in no part of the episode"
        if not others[0]:
            images = "the measured queries themselves, where a class has no other images"
        budgets = ", ".join(f"{eps:g}" for eps in support.eps)
        return (
            f"poisoned before adaptation, its labels as they were: {support.norm}, eps {budgets} an image, {support.steps} "
            f"steps, all images together; the attacker knows learner, support set and labels, and raises the cross-entropy "
            f"of {images}; through the adaptation where that passes gradients, else by transfer from class means"
        )


def _attacked(
    learner: Learner,
    images: Images,
    episodes: Episodes,
    number: int,
    attack: Attack,
    setting: dict[str, Any],
    context: Context,
) -> tuple[Sweep, list[TrustCheck]]:
    """The sweep of one episode; and the checks on it, if it is among those that are checked."""
    from harness.attacks.trust import check

    support, queries = images.take(episodes.support[number]), images.take(episodes.query[number])
    shown, labels = (
        support.tensor(context.device),
        torch.from_numpy(episodes.support_labels[number]).to(context.device),
    )
    checks = []
    if "support" in setting:
        shown, checks = _poisoned(
            learner, images, episodes, number, shown, labels, setting, context
        )
    with torch.no_grad():
        model = learner.adapt(shown, labels, setting["ways"])
    require_eval_mode(model, learner, "adapt()")
    pixels, right = (
        queries.tensor(context.device),
        torch.from_numpy(episodes.query_labels[number]).to(context.device),
    )
    require_logits(
        Victim(model, context.batch_size).logits(pixels), (len(pixels), setting["ways"]), learner
    )
    identity = number * len(queries) + np.arange(len(queries))
    result = sweep(
        model, pixels, right, identity, attack, context.rng, batch_size=context.batch_size
    )
    if number >= TRUSTED:
        return result, []
    if setting["trust"]:
        checks += check(
            model,
            pixels,
            right,
            identity,
            attack,
            context.rng,
            result,
            batch_size=context.batch_size,
        )
    return result, checks


def _merged(checks: Iterable[TrustCheck], episodes: int) -> list[TrustCheck]:
    """One check a name: it fails where it does in more than half of the episodes, and warns where any does not pass.

    An episode has few queries. At 5 ways and 5 queries one image is 4 points, more than the 3 at which a check of
    convergence fails, which on honest networks it does in one episode of six: neither the worst of several nor two of four
    would say anything.
    """
    by_name: dict[str, list[TrustCheck]] = defaultdict(list)
    for check in checks:
        by_name[check.name].append(check)
    merged = []
    for name, made in by_name.items():
        failed, passed = ([c for c in made if c.level == level] for level in ("FAIL", "PASS"))
        level = (
            "FAIL" if 2 * len(failed) > episodes else "WARN" if len(passed) < len(made) else "PASS"
        )
        worst = next((c for c in (*failed, *made) if c.level != "PASS"), made[0])
        counts = f"{len(failed)} of {episodes} episodes fail, {len(made) - len(failed) - len(passed)} warn"
        merged.append(TrustCheck(name, level, f"{counts}; {worst.detail}"))
    return merged


# --------------------------------------------------------------------------------------------------- the support set


def _poisoned(
    learner: Learner,
    images: Images,
    episodes: Episodes,
    number: int,
    support: torch.Tensor,
    labels: torch.Tensor,
    setting: dict[str, Any],
    context: Context,
) -> tuple[torch.Tensor, list[TrustCheck]]:
    """The support set (S, C, H, W) as the attacker leaves it, and by what means it was attacked."""
    rows, of = _attackers(images, episodes, number, setting["support"]["others"], context)
    others, right = (
        images.take(rows).tensor(context.device),
        torch.from_numpy(of).to(context.device),
    )
    classify, sees, means = _proxy(learner, support, labels, others, setting["ways"])
    done = poison(
        classify,
        support,
        right,
        norm=setting["support"]["norm"],
        eps=setting["support_eps"],
        steps=setting["support"]["steps"],
    )
    return done.images, [TrustCheck(KNOWN, "PASS" if sees else "WARN", _told(means, done))]


def _told(means: str, done: Poisoned) -> str:
    return f"attacked through {means}: cross-entropy of the attacker's images {done.before:.2f}, then {done.after:.2f}"


def _attackers(
    images: Images, episodes: Episodes, number: int, others: int, context: Context
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and labels of the images that the attacker climbs on: ``others`` a class that are in no part of the episode.

    Where there are none (0), the measured queries themselves.
    """
    if not others:
        return episodes.query[number], episodes.query_labels[number]
    used = np.concatenate([episodes.support[number], episodes.query[number]])
    generator, rows = context.rng.numpy("support attack", number), []
    for label in episodes.classes[number]:
        free = np.setdiff1d(np.flatnonzero(images.labels == label), used)
        rows.append(generator.permutation(free)[:others])
    return np.concatenate(rows), np.repeat(np.arange(len(rows)), others)


def _proxy(
    learner: Learner, support: torch.Tensor, labels: torch.Tensor, others: torch.Tensor, n_way: int
) -> tuple[Classify, bool, str]:
    """What the attacker climbs in the classifier's place, whether it is that classifier, and its name.

    Raises:
        ValueError: nothing there is to climb.
    """

    def adapted(images: torch.Tensor) -> torch.Tensor:
        return learner.adapt(images, labels, n_way)(others)

    if passes_gradient(adapted, support):
        return adapted, True, "the adaptation"
    with torch.no_grad():
        clean = learner.adapt(support, labels, n_way)
    for embed, means in (
        (learner.embed, "class means on its embedding"),
        (clean, "class means on its clean logits"),
    ):
        classify = _class_means(embed, labels, others, n_way)
        if passes_gradient(classify, support):
            with torch.no_grad():
                same = torch.allclose(
                    classify(support), clean(others), rtol=LOGIT_TOLERANCE, atol=LOGIT_TOLERANCE
                )
            return classify, same, f"{means}{', which is how it adapts' if same else ' (transfer)'}"
    raise ValueError(
        f"{learner.kind}: no gradient reaches its support set, neither by adapt(), nor by embed(), nor by the "
        "classifier that adapt() gives; leave `support` out"
    )


def _class_means(
    embed: Callable[[torch.Tensor], torch.Tensor] | nn.Module,
    labels: torch.Tensor,
    others: torch.Tensor,
    n_way: int,
) -> Classify:
    """Nearest class mean on an embedding (Snell et al. 2017), as a function of the support set."""

    def classify(images: torch.Tensor) -> torch.Tensor:
        means = heads.class_means(embed(images)[None], labels[None], n_way)
        return heads.from_means(means)(embed(others)[None])[0]

    return classify


# ---------------------------------------------------------------------------------------------------------- numbers


def _arrays(sweeps: list[Sweep]) -> dict[str, np.ndarray]:
    """Verdicts, episode by episode. ``attack/...`` have the axes eps, objective, restart, episode, query."""
    arrays = {}
    for place, eps in enumerate(sweeps[0].eps):
        correct = np.stack([one.worst[place] for one in sweeps])
        arrays[verdict_name(eps)] = correct.astype(np.uint8)
        arrays[verdict_name(eps, "accuracy")] = correct.mean(axis=1)
    for name in ("correct", "margin", "norm"):
        arrays[f"attack/{name}"] = np.stack([getattr(one, name) for one in sweeps], axis=-2)
    arrays["clean/correct"] = np.stack([one.clean for one in sweeps]).astype(np.uint8)
    arrays["clean/margin"] = np.stack([one.clean_margin for one in sweeps])
    return arrays


def _values(grid: tuple[float, ...], verdicts: dict[str, np.ndarray]) -> list[Value]:
    values = []
    for eps in grid:
        accuracy = verdicts[verdict_name(eps, "accuracy")]
        low, high = t_interval(accuracy)
        values.append(
            Value(
                "accuracy",
                float(accuracy.mean()),
                low,
                high,
                len(accuracy),
                "episode",
                {"eps": eps},
                verdict_name(eps, "accuracy"),
            )
        )
    return values
