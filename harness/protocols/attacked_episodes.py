"""Few-shot episodes under attack: a learner adapts to a support set, then queries are attacked.

The episodes are those of `few_shot` with the same keys, so results of the two protocols are paired.
Optionally the support set is attacked too (poisoning). Queries are then attacked through the
classifier that was adapted to the poisoned set.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from harness import budgets
from harness.attacks.engine.sweep import Sweep, sweep
from harness.attacks.engine.victim import Victim
from harness.data.base import Images, Loaded
from harness.data.episodes import Episodes
from harness.lazy import nn, torch
from harness.learning.learner import Learner
from harness.protocols.attack_settings import (
    BUDGETS,
    ROBUST,
    AttacksConfig,
    attack_faults,
    attack_words,
    knowledge,
    labelled,
)
from harness.protocols.attacked_numbers import accuracies, arrays_of_episode, arrays_of_sweeps
from harness.protocols.attacked_settings import AttackedEpisodesSetting, Poisoning
from harness.protocols.base import Context, Fault, Measurement, TrustContext
from harness.protocols.episode_protocol import EpisodeProtocol
from harness.protocols.episode_settings import EpisodesConfig, FewShotSetting
from harness.protocols.episode_verdicts import drawn
from harness.protocols.inference import of_episodes
from harness.protocols.requirements import require_eval_mode, require_logits
from harness.protocols.support_attack import SupportAttack, poisoned
from harness.records import TrustCheck
from harness.registry import attacks, protocols

TRUSTED = 4
"""Number of first episodes whose sweeps are checked.

The checks of one episode cost two or three sweeps of 25 queries."""


@protocols.register("attacked_episodes")
class AttackedEpisodes(EpisodeProtocol[AttackedEpisodesSetting]):
    """Few-shot episodes whose queries, and optionally support sets, are attacked."""

    setting_type = AttackedEpisodesSetting
    keys = ("eps",)

    class Config(EpisodesConfig, AttacksConfig):
        """Which episodes, as in `few_shot`, and which attacks, as in `attack_sweep`."""

        support: SupportAttack | None = Field(
            None, description="also attack the support set, before adaptation; clean if left out"
        )

    config: Config

    def settings(self) -> Iterator[AttackedEpisodesSetting]:
        """Yield one setting for each (ways, shots), attack, and budget of the support set."""
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
        """Images for each class that an episode does not use, at most as many as queries."""
        left = self.split_facts.per_class - _single(episodes.shots) - self.config.queries
        return max(0, min(self.config.queries, left))

    def faults(self) -> Iterator[Fault]:
        """Yield faults of the episodes, and attacks that cannot run on them."""
        faults = list(super().faults())
        yield from faults
        decisive = ("splitting", "split", "ways", "episodes_from")
        if any(fault.path[0] in decisive for fault in faults):
            return
        settings = list(self.episode_settings())
        size_fault = self._size_fault(settings)
        if size_fault is not None:
            yield size_fault
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
            for key in ("target", "save"):
                if getattr(config, key) is not None:
                    yield Fault(
                        ("attacks", place, key),
                        "every episode has classes and images of its own",
                        "use it in an attack_sweep",
                    )
            if config.certify:
                yield Fault(
                    ("attacks", place, "certify"),
                    "an episode's classifier is not certified",
                    "use it in an attack_sweep",
                )
        yield from self._support_faults()

    def _size_fault(self, settings: list[FewShotSetting]) -> Fault | None:
        """A range of ways or shots: its episodes would differ in size."""
        for key in ("ways", "shots"):
            for setting in settings:
                value = getattr(setting, key)
                if isinstance(value, str):
                    return Fault(
                        ("episodes_from",) if self.listed else (key,),
                        f"{key} {value}: attacked episodes must be all of one size",
                        "numbers, or a list of them",
                    )
        return None

    def _support_faults(self) -> Iterator[Fault]:
        support = self.config.support
        if support is None or support.norm != "linf":
            return
        for place, eps in enumerate(support.eps):
            if eps > 1:
                yield Fault(("support", "eps", place), budgets.too_large(eps, 1.0))

    @classmethod
    def code(cls, setting: AttackedEpisodesSetting) -> list[type]:
        """The attack."""
        return setting.entry.code()

    @classmethod
    def measure(
        cls, learner: Learner, data: Loaded, setting: AttackedEpisodesSetting, context: Context
    ) -> Measurement:
        """Attack every episode at every eps; mean accuracies with 95 % intervals.

        Raises:
            ValueError: the learner gives a classifier in train mode, or no gradient reaches a
                support set that is to be attacked.
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
        arrays = {**arrays_of_sweeps(sweeps), "classes": episodes.classes}
        checked = min(TRUSTED, len(episodes))
        log = {
            "outside": [result.outside for result in sweeps[:checked]],
            "changed": [list(result.changed) for result in sweeps[:checked]],
        }
        values = accuracies(sweeps[0].eps, arrays)
        inference = of_episodes(learner, images, episodes, context.device)
        checks = [*merged(checks, checked), *inference.checks]
        return Measurement(values, arrays, checks, log, inference.remarks)

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
        context: TrustContext,
        measured: Measurement,
    ) -> list[TrustCheck]:
        """Check the sweeps of the first episodes, and merge checks of the same name."""
        from harness.attacks.trust import check

        images, episodes = drawn(data, setting.episodes, context)
        attack = setting.entry.attack
        checked = min(TRUSTED, len(episodes))
        checks: list[TrustCheck] = []
        for number in range(checked):
            episode, _ = _episode(learner, images, episodes, number, setting, context)
            result = Sweep.from_arrays(
                arrays_of_episode(measured.arrays, number),
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
        grid = ", ".join(map(budgets.words, support.eps))
        return (
            f"poisoned before adaptation, with unchanged labels: {support.norm}, eps {grid} an "
            f"image, {support.steps} steps, all images together; the attacker knows learner, "
            f"support set and labels, and raises the cross-entropy of {images}; through the "
            "adaptation where that passes gradients, else by transfer from class means"
        )


def _single(count: int | str) -> int:
    """A number of ways or shots; ranges were refused as faults."""
    assert isinstance(count, int)
    return count


@dataclass(frozen=True)
class _Episode:
    """One episode, ready to be attacked.

    Attributes:
        model: Classifier adapted to the support set.
        pixels: float (Q, C, H, W), the queries.
        labels: int64 (Q,).
        identity: int64 (Q,), distinct among all queries of a measurement.
    """

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
    """Adapt to the support set of an episode, after poisoning it if the setting says so.

    Returns:
        the episode, and the checks of the poisoning, if any.
    """
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
    # Every query of a measurement has randomness of its own.
    identity = number * len(queries) + np.arange(len(queries))
    return _Episode(model, pixels, labels, identity), checks


def merged(checks: Iterable[TrustCheck], episodes: int) -> list[TrustCheck]:
    """Merge the checks of several episodes by name.

    A merged check fails if most episodes fail, and warns if any does not pass. An episode has few
    queries: at 5 ways and 5 queries one image is 4 points, more than the 3 at which the check of
    convergence fails. On honest networks it fails in one episode of six, so neither the worst
    episode nor two of four mean much.

    Args:
        checks: of some episodes.
        episodes: number of episodes checked.
    """
    by_name: dict[str, list[TrustCheck]] = defaultdict(list)
    for check in checks:
        by_name[check.name].append(check)
    return [_merged_check(name, each, episodes) for name, each in by_name.items()]


def _merged_check(name: str, checks: list[TrustCheck], episodes: int) -> TrustCheck:
    # Where a check could not be made, the other episodes decide.
    checks = [check for check in checks if check.level != "-"]
    if not checks:
        return TrustCheck(name, "-", f"not applicable in {episodes} episodes")
    failed = [check for check in checks if check.level == "FAIL"]
    passed = [check for check in checks if check.level == "PASS"]
    warned = len(checks) - len(failed) - len(passed)
    alarming = [*failed, *(check for check in checks if check.level != "PASS"), checks[0]]
    worst = alarming[0]
    detail = f"{len(failed)} of {episodes} episodes fail, {warned} warn; {worst.detail}"
    if 2 * len(failed) > episodes:
        return TrustCheck(name, "FAIL", detail)
    return TrustCheck(name, "WARN" if len(passed) < len(checks) else "PASS", detail)
