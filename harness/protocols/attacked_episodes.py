"""Few-shot episodes under attack: a learner adapts to each support set, then its queries are attacked.

The episodes are those of `few_shot` with the same keys, so that the two pair, and so do learners by
episode. An attack on the support set (poisoning) is an option; queries are then attacked through the
classifier that was adapted to the poisoned set.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from pydantic import Field

from harness.attacks.engine.sweep import Sweep, sweep, verdict_name
from harness.attacks.engine.victim import Victim
from harness.data.base import Images, Loaded
from harness.data.episodes import Episodes
from harness.lazy import nn, torch
from harness.learning.learner import Learner
from harness.metrics.statistics import t_interval
from harness.protocols.attack_settings import (
    BUDGETS,
    ROBUST,
    AttackEntry,
    AttacksConfig,
    attack_faults,
    attack_words,
    knowledge,
    labelled,
)
from harness.protocols.base import Context, Fault, Measurement
from harness.protocols.episode_settings import EpisodeProtocol, EpisodesConfig, FewShotSetting
from harness.protocols.episode_verdicts import drawn
from harness.protocols.requirements import require_eval_mode, require_logits
from harness.protocols.setting import Setting
from harness.protocols.support_attack import SupportAttack, poisoned
from harness.records import TrustCheck, Value
from harness.registry import attacks, protocols

TRUSTED = 4
"""Episodes, the first ones, whose sweeps are checked. A check costs two or three sweeps of 25 queries."""


@dataclass(frozen=True)
class Poisoning:
    """How the support set is attacked.

    Attributes:
        norm, steps: of the attack.
        others: images a class, in no part of the episode, that the attacker climbs on.
        eps: budget of each support image.
    """

    norm: str
    steps: int
    others: int
    eps: float


@dataclass(frozen=True)
class AttackedEpisodesSetting(Setting):
    """Episodes of one size, one attack on their queries, and perhaps one on their support sets."""

    episodes: FewShotSetting
    entry: AttackEntry
    poisoning: Poisoning | None

    def to_identity(self) -> dict[str, Any]:
        """The setting as JSON."""
        identity = {**self.episodes.to_identity(), **self.entry.to_identity()}
        if self.poisoning is not None:
            how = self.poisoning
            identity["support"] = {"norm": how.norm, "steps": how.steps, "others": how.others}
            identity["support_eps"] = how.eps
        return identity

    @classmethod
    def from_identity(cls, identity: Mapping[str, Any]) -> Self:
        """The setting that ``to_identity`` described."""
        of_attacks = ("attack", "norm", "config", "support", "support_eps")
        episodes = {key: value for key, value in identity.items() if key not in of_attacks}
        poisoning = None
        if "support" in identity:
            poisoning = Poisoning(**identity["support"], eps=identity["support_eps"])
        return cls(
            FewShotSetting.from_identity(episodes), AttackEntry.from_identity(identity), poisoning
        )

    @property
    def label(self) -> str:
        """``"5w1s pgd-20"``."""
        return f"{self.episodes.label} {self.entry.label}"


@protocols.register("attacked_episodes")
class AttackedEpisodes(EpisodeProtocol[AttackedEpisodesSetting]):
    """Few-shot episodes whose queries, and if asked for support sets, are attacked."""

    setting_type = AttackedEpisodesSetting
    keys = ("eps",)

    class Config(EpisodesConfig, AttacksConfig):
        """Which episodes, as in `few_shot`, and which attacks, as in `attack_sweep`."""

        support: SupportAttack | None = Field(
            None, description="also attack the support set, before adaptation; clean if left out"
        )

    config: Config

    def settings(self) -> Iterator[AttackedEpisodesSetting]:
        """One cell for each (ways, shots), attack and budget of the support set."""
        for episodes in self.episode_settings():
            for entry in labelled(self.config.attacks):
                for poisoning in self._poisonings(episodes):
                    yield AttackedEpisodesSetting(episodes, entry, poisoning)

    def _poisonings(self, episodes: FewShotSetting) -> Iterator[Poisoning | None]:
        support = self.config.support
        if support is None:
            yield None
            return
        for eps in support.eps:
            yield Poisoning(support.norm, support.steps, self._others(episodes), eps)

    def _others(self, episodes: FewShotSetting) -> int:
        """Images a class that are in no part of an episode, at most as many as queries."""
        per_class = self.facts.splittings[self.splitting][self.config.split].per_class
        left = per_class - _single(episodes.shots) - self.config.queries
        return max(0, min(self.config.queries, left))

    def faults(self) -> Iterator[Fault]:
        """Those of the episodes, and attacks that cannot be made on them."""
        faults = list(super().faults())
        yield from faults
        if any(
            fault.path[0] in ("splitting", "split", "ways", "episodes_from") for fault in faults
        ):
            return
        settings = list(self.episode_settings())
        for key in ("ways", "shots"):
            for value in dict.fromkeys(getattr(setting, key) for setting in settings):
                if isinstance(value, str):
                    yield Fault(
                        ("episodes_from",) if self.listed else (key,),
                        f"{key} {value}: attacked episodes must be all of one size",
                        "numbers, or a list of them",
                    )
                    return
        fewest = min(_single(setting.ways) for setting in settings)
        yield from attack_faults(self.config.attacks, self.facts.image_shape, fewest)
        for place, config in enumerate(self.config.attacks):
            if attacks[config.attack](config).surrogate is not None:
                yield Fault(
                    ("attacks", place, "attack"),
                    f"{config.attack} needs a network that was trained on the classes of the "
                    "queries, and an episode's classes are new",
                    "use it in an attack_sweep",
                )
        yield from self._support_faults()

    def _support_faults(self) -> Iterator[Fault]:
        support = self.config.support
        if support is None or support.norm != "linf":
            return
        for place, eps in enumerate(support.eps):
            if eps > 1:
                yield Fault(
                    ("support", "eps", place),
                    f"eps {eps:g} is outside [0, 1] (pixels are in [0, 1])",
                )

    @classmethod
    def code(cls, setting: AttackedEpisodesSetting) -> list[type]:
        """The attack."""
        return setting.entry.code()

    @classmethod
    def measure(
        cls, learner: Learner, data: Loaded, setting: AttackedEpisodesSetting, context: Context
    ) -> Measurement:
        """Accuracy of every episode at every eps of the attack; means with 95 % t intervals.

        Raises:
            ValueError: the learner gives a classifier in train mode, or one that no gradient reaches
                where its support set is to be attacked.
            FloatingPointError: some logits are not finite.
        """
        images, episodes = drawn(data, setting.episodes, context)
        attack = setting.entry.attack
        sweeps: list[Sweep] = []
        checks: list[TrustCheck] = []
        for number in range(len(episodes)):
            episode, poison_checks = _episode(learner, images, episodes, number, setting, context)
            if number < TRUSTED:
                checks += poison_checks
            result = sweep(
                episode.model,
                episode.pixels,
                episode.labels,
                episode.identity,
                attack,
                context.rng,
                batch_size=context.batch_size,
            )
            sweeps.append(result)
            context.progress((number + 1) / len(episodes), attack.label)
        arrays = {**_arrays(sweeps), "classes": episodes.classes}
        checked = min(TRUSTED, len(episodes))
        log = {
            "outside": [result.outside for result in sweeps[:checked]],
            "changed": [list(result.changed) for result in sweeps[:checked]],
        }
        values = _values(sweeps[0].eps, arrays)
        return Measurement(values, arrays, merged(checks, checked), log)

    @property
    def checked(self) -> bool:
        """Whether trust checks follow the sweeps of the first episodes."""
        return self.config.trust

    @classmethod
    def trust(
        cls,
        learner: Learner,
        data: Loaded,
        setting: AttackedEpisodesSetting,
        context: Context,
        measured: Measurement,
    ) -> list[TrustCheck]:
        """The trust checks on the sweeps of the first episodes, one check a name."""
        from harness.attacks.trust import check

        images, episodes = drawn(data, setting.episodes, context)
        attack = setting.entry.attack
        checked = min(TRUSTED, len(episodes))
        checks: list[TrustCheck] = []
        for number in range(checked):
            episode, _ = _episode(learner, images, episodes, number, setting, context)
            result = Sweep.from_arrays(
                _arrays_of(measured.arrays, number),
                tuple(attack.config.eps),
                tuple(map(str, attack.objectives)),
                measured.log["outside"][number],
                tuple(measured.log["changed"][number]),
            )
            checks += check(
                episode.model,
                episode.pixels,
                episode.labels,
                episode.identity,
                attack,
                context.rng,
                result,
                batch_size=context.batch_size,
            )
            context.progress((number + 1) / checked, "trust checks")
        return merged(checks, checked)

    def block(self) -> dict[str, str]:
        """Conditions that every number of the table shares."""
        config = self.config
        checked = f"on {min(TRUSTED, config.episodes)} episodes of each sweep"
        return {
            **super().block(),
            "threat model": f"{knowledge(config.attacks)}, through the classifier adapted once to "
            f"the support set; {BUDGETS}",
            "support set": self._support_words(),
            "robust": ROBUST,
            **attack_words(config.attacks),
            "trust checks": checked if config.trust else "off",
        }

    def _support_words(self) -> str:
        support = self.config.support
        if support is None:
            return "clean; only queries are attacked"
        others = sorted({self._others(setting) for setting in self.episode_settings()})
        counts = "/".join(map(str, others))
        images = f"{counts} images a class that are in no part of the episode"
        if not others[0]:
            images = "the measured queries themselves, where a class has no other images"
        budgets = ", ".join(f"{eps:g}" for eps in support.eps)
        return (
            f"poisoned before adaptation, with unchanged labels: {support.norm}, eps {budgets} an "
            f"image, {support.steps} steps, all images together; the attacker knows learner, "
            f"support set and labels, and raises the cross-entropy of {images}; through the "
            "adaptation where that passes gradients, else by transfer from class means"
        )


def _single(count: int | str) -> int:
    """A number of ways or shots; ranges have been refused as faults."""
    assert isinstance(count, int)
    return count


@dataclass(frozen=True)
class _Episode:
    """One episode, ready to be attacked: the adapted classifier, and the queries (Q, C, H, W)."""

    model: nn.Module
    pixels: torch.Tensor
    labels: torch.Tensor
    identity: np.ndarray


def _episode(
    learner: Learner,
    images: Images,
    episodes: Episodes,
    number: int,
    setting: AttackedEpisodesSetting,
    context: Context,
) -> tuple[_Episode, list[TrustCheck]]:
    """Adapt to the support set of an episode, poisoned first if the setting says so."""
    ways = _single(setting.episodes.ways)
    support = images.take(episodes.support[number]).tensor(context.device)
    support_labels = torch.from_numpy(episodes.support_labels[number]).to(context.device)
    checks = []
    if setting.poisoning is not None:
        how = setting.poisoning
        support, check = poisoned(
            learner,
            images,
            episodes,
            number,
            support,
            support_labels,
            ways=ways,
            norm=how.norm,
            eps=how.eps,
            steps=how.steps,
            others=how.others,
            context=context,
        )
        checks.append(check)
    with torch.no_grad():
        model = learner.adapt(support, support_labels, ways)
    require_eval_mode(model, learner, "adapt()")
    queries = images.take(episodes.query[number])
    pixels = queries.tensor(context.device)
    labels = torch.from_numpy(episodes.query_labels[number]).to(context.device)
    logits = Victim(model, context.batch_size).logits(pixels)
    require_logits(logits, (len(pixels), ways), learner)
    # Every query of a run has randomness of its own.
    identity = number * len(queries) + np.arange(len(queries))
    return _Episode(model, pixels, labels, identity), checks


def merged(checks: Iterable[TrustCheck], episodes: int) -> list[TrustCheck]:
    """One check a name: it fails where most episodes fail it, and warns where any does not pass.

    An episode has few queries. At 5 ways and 5 queries one image is 4 points, more than the 3 at which
    the check of convergence fails; on honest networks it does in one episode of six. Neither the worst
    of several episodes nor two of four would therefore mean much.

    Args:
        checks: of some episodes.
        episodes: how many were checked.
    """
    by_name: dict[str, list[TrustCheck]] = defaultdict(list)
    for check in checks:
        by_name[check.name].append(check)
    return [_merged_check(name, each, episodes) for name, each in by_name.items()]


def _merged_check(name: str, checks: list[TrustCheck], episodes: int) -> TrustCheck:
    failed = [check for check in checks if check.level == "FAIL"]
    passed = [check for check in checks if check.level == "PASS"]
    warned = len(checks) - len(failed) - len(passed)
    worst = next((check for check in (*failed, *checks) if check.level != "PASS"), checks[0])
    detail = f"{len(failed)} of {episodes} episodes fail, {warned} warn; {worst.detail}"
    if 2 * len(failed) > episodes:
        return TrustCheck(name, "FAIL", detail)
    return TrustCheck(name, "WARN" if len(passed) < len(checks) else "PASS", detail)


# ---------------------------------------------------------------------------------------- numbers


def _arrays(sweeps: list[Sweep]) -> dict[str, np.ndarray]:
    """Verdicts by episode. ``attack/...`` have the axes eps, objective, restart, episode, query."""
    arrays = {}
    for place, eps in enumerate(sweeps[0].eps):
        correct = np.stack([result.worst[place] for result in sweeps])
        arrays[verdict_name(eps)] = correct.astype(np.uint8)
        arrays[verdict_name(eps, "accuracy")] = correct.mean(axis=1)
    for name in ("correct", "margin", "norm"):
        stacked = np.stack([getattr(result, name) for result in sweeps], axis=-2)
        arrays[f"attack/{name}"] = stacked
    arrays["clean/correct"] = np.stack([result.clean for result in sweeps]).astype(np.uint8)
    arrays["clean/margin"] = np.stack([result.clean_margin for result in sweeps])
    return arrays


def _arrays_of(arrays: Mapping[str, np.ndarray], number: int) -> dict[str, np.ndarray]:
    """The arrays of one episode's sweep, as ``Sweep.to_arrays`` gives them."""
    own = {}
    for name, array in arrays.items():
        if name.startswith("attack/"):
            own[name] = array[..., number, :]
        elif name.startswith(("correct/", "clean/")):
            own[name] = array[number]
    return own


def _values(grid: tuple[float, ...], arrays: Mapping[str, np.ndarray]) -> list[Value]:
    values = []
    for eps in grid:
        accuracy = arrays[verdict_name(eps, "accuracy")]
        low, high = t_interval(accuracy)
        value = Value(
            "accuracy",
            float(accuracy.mean()),
            low,
            high,
            n=len(accuracy),
            unit="episode",
            setting={"eps": eps},
            verdicts=verdict_name(eps, "accuracy"),
        )
        values.append(value)
    return values
