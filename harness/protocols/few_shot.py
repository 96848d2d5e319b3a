"""Few-shot episodes: N ways, K shots, Q queries; the same episodes for every learner."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Discriminator, Field, Tag

from harness.batching import in_batches
from harness.data.base import Images, Loaded, SplitFacts
from harness.data.episodes import Episodes, capacity, sample
from harness.lazy import torch
from harness.learner import Learner, Regime
from harness.metrics.statistics import detectable_difference, t_interval
from harness.protocols.base import Context, Fault, Measurement, Protocol, ProtocolConfig, TrainingData
from harness.protocols.checks import require_eval_mode, require_finite
from harness.records import Value
from harness.registry import distinct, protocols

CHUNK = 16
"""Episodes adapted at once. Fixed, so that no bit of a result depends on how much memory there is."""

SPREAD = 0.1
"""Assumed standard deviation of the difference between two learners' accuracies in one episode, for planning only."""

Count = Annotated[int, Field(ge=1)]
Counts = Annotated[list[Count], Field(min_length=1, json_schema_extra={"uniqueItems": True}), AfterValidator(distinct)]
OneOrMore = Annotated[Annotated[Count, Tag("one")] | Annotated[Counts, Tag("more")],
                      Discriminator(lambda value: "more" if isinstance(value, list) else "one")]
"""Told apart beforehand, so that a faulty list is not called a faulty number."""

REGIMES = {
    "from_scratch": "from scratch: only the support set",
    "semi_supervised": "semi-supervised: unlabelled training images for the representation, then the support set",
    "class_transfer": "class transfer: labelled images of other classes, then the support set",
}


@protocols.register("few_shot")
class FewShot(Protocol):
    """N-way K-shot episodes in one of three regimes, paired between learners."""

    class Config(ProtocolConfig):
        """Which episodes, and what learners may have seen before them."""

        regime: Regime = Field("class_transfer", description="what a learner may see before the support set")
        ways: OneOrMore = Field(5, description="classes an episode")
        shots: OneOrMore = Field(1, description="support images a class")
        queries: Count = Field(15, description="query images a class")
        episodes: int = Field(600, ge=2, description="episodes a setting and seed")
        splitting: str | None = Field(None, description="which splitting of the dataset; its first fitting one if left out")
        split: Literal["val", "test"] = Field("test", description="the split that episodes are drawn from")
        mode: Literal["replacement", "class_disjoint", "image_disjoint"] = Field(
            "replacement", description="whether episodes may share classes and images")
        within_group: bool = Field(False, description="all classes of an episode from one group, e.g. one alphabet")

    @property
    def splitting(self) -> str:
        """The splitting in use: class transfer wants one without shared classes, the others one with."""
        if self.config.splitting:
            return self.config.splitting
        wanted = self.config.regime == "class_transfer"
        fitting = [name for name in self.facts.splittings if (name in self.facts.class_disjoint) == wanted]
        return (fitting or list(self.facts.splittings))[0]

    def settings(self) -> Iterator[dict[str, Any]]:
        """One cell a (ways, shots)."""
        config = self.config
        for ways in _listed(config.ways):
            for shots in _listed(config.shots):
                yield {"regime": config.regime, "ways": ways, "shots": shots, "queries": config.queries,
                       "episodes": config.episodes, "splitting": self.splitting, "split": config.split,
                       "mode": config.mode, "within_group": config.within_group}

    def training(self) -> TrainingData | None:
        """Nothing from scratch; unlabelled images semi-supervised; background classes for class transfer."""
        if self.config.regime == "from_scratch":
            return None
        return TrainingData(self.splitting, labelled=self.config.regime == "class_transfer")

    def faults(self) -> Iterator[Fault]:
        """A splitting or split that is not there, more ways than classes, more images than a class has."""
        config, splittings = self.config, self.facts.splittings
        if self.splitting not in splittings:
            yield Fault(("splitting",), f"no splitting {self.splitting!r}", f"allowed: {', '.join(splittings)}")
            return
        if config.split not in splittings[self.splitting]:
            yield Fault(("split",), f"no split {config.split!r} in {self.splitting!r}",
                        f"allowed: {', '.join(splittings[self.splitting])}")
            return
        if config.regime == "class_transfer" and self.splitting not in self.facts.class_disjoint:
            allowed = ", ".join(sorted(self.facts.class_disjoint)) or "none in this dataset"
            yield Fault(("splitting",) if config.splitting else ("dataset",),
                        f"class transfer needs a splitting without shared classes, and {self.splitting!r} shares them",
                        f"such splittings: {allowed}")
        yield from self._counts(splittings[self.splitting][config.split])

    def _counts(self, facts: SplitFacts) -> Iterator[Fault]:
        config = self.config
        for path, ways in _with_path("ways", config.ways):
            if ways > facts.classes:
                yield Fault(path, f"{ways} ways, but {self.splitting}/{config.split} has {facts.classes} classes",
                            f"at most {facts.classes}")
            if ways < 2:
                yield Fault(path, "an episode needs at least 2 ways")
        for path, shots in _with_path("shots", config.shots):
            if shots + config.queries > facts.per_class:
                yield Fault(path, f"{shots} shots + {config.queries} queries, but a class of {self.splitting}/{config.split} "
                            f"may have only {facts.per_class} images", f"shots + queries can be at most {facts.per_class}")
        most = self._capacity(facts)
        if most is not None and config.episodes > most:
            yield Fault(("episodes",), f"{config.episodes} episodes, but mode {config.mode} allows {most}",
                        f"at most {most}, or mode: replacement")

    def _capacity(self, facts: SplitFacts) -> int | None:
        """The most episodes that every setting allows, if each class had the images of the smallest; None: any number."""
        counts, most = np.full(facts.classes, facts.per_class), None
        for setting in self.settings():
            if setting["ways"] <= facts.classes and setting["shots"] + setting["queries"] <= facts.per_class:
                found = capacity(counts, ways=setting["ways"], shots=setting["shots"], queries=setting["queries"],
                                 mode=self.config.mode)
                most = found if most is None else min(most, found)
        return most

    def refuses(self, learner: type[Learner]) -> str | None:
        """A learner that has no such regime."""
        if self.config.regime in learner.regimes:
            return None
        return f"it does not learn {self.config.regime} (only {', '.join(sorted(learner.regimes))})"

    @classmethod
    def measure(cls, learner: Learner, data: Loaded, setting: dict[str, Any], context: Context) -> Measurement:
        """Accuracy of every episode; mean with a 95 % t interval over episodes."""
        images, episodes = drawn(data, setting, context)
        correct = episode_verdicts(learner, images, episodes, setting["ways"], context)
        accuracy = correct.mean(axis=1)
        low, high = t_interval(accuracy)
        value = Value("accuracy", float(accuracy.mean()), low, high, len(accuracy), "episode", verdicts="accuracy")
        return Measurement([value], {"accuracy": accuracy, "correct": correct, "classes": episodes.classes})

    def detectable(self) -> str:
        """From the number of episodes, with a spread that is usual at 5-way 1-shot."""
        points = 100 * detectable_difference(self.config.episodes, SPREAD)
        return (f"{points:.1f} points between two learners ({self.config.episodes} paired episodes, 80 % power, if their "
                f"differences spread by {100 * SPREAD:.0f} points)")

    def block(self) -> dict[str, str]:
        """Conditions that every number of the table shares."""
        config = self.config
        drawn = {"replacement": "drawn with replacement (intervals are for this set of images)",
                 "class_disjoint": "no class in two episodes", "image_disjoint": "no image in two episodes"}[config.mode]
        grouped = ", classes of an episode from one group" if config.within_group else ""
        return {
            "regime": REGIMES[config.regime],
            "split": f"{self.splitting}/{config.split}{grouped}",
            "image size": "x".join(map(str, self.facts.image_shape)),
            "episodes": f"{config.episodes} a seed, the same for every learner, {drawn}",
            "queries": f"{config.queries} a class",
            "inference": "inductive: each query on its own, nothing (a batch norm, say) learned from other queries",
        }


def drawn(data: Loaded, setting: dict[str, Any], context: Context) -> tuple[Images, Episodes]:
    """The images of a setting's split, and its episodes: the same for every protocol that has such a setting."""
    images = data.split(setting["splitting"], setting["split"])
    groups = data.split_groups(setting["splitting"], setting["split"]) if setting["within_group"] else None
    return images, sample(images, ways=setting["ways"], shots=setting["shots"], queries=setting["queries"],
                          episodes=setting["episodes"], rng=context.rng.child("episodes"), groups=groups, mode=setting["mode"])


def episode_verdicts(learner: Learner, images: Images, episodes: Episodes, ways: int, context: Context) -> np.ndarray:
    """uint8 (E, ways * queries): which queries each episode's classifier gets right.

    Raises:
        ValueError: the learner gives classifiers in train mode (the first episode's is looked at).
        FloatingPointError: some logits are not finite.
    """
    frozen = learner.frozen_features
    # Only the images that some episode uses are embedded, once each, however many episodes share them.
    rows, inverse = np.unique(np.concatenate([episodes.support, episodes.query], axis=1), return_inverse=True)
    inverse = inverse.reshape(len(episodes.support), -1)
    support, query = np.split(inverse, [episodes.support.shape[1]], axis=1)
    with torch.no_grad():
        first = images.take(episodes.support[0]).tensor(context.device)
        labels = torch.from_numpy(episodes.support_labels[0]).to(context.device)
        require_eval_mode(learner.adapt(first, labels, ways), learner, "adapt()")
        pool = images.take(rows).tensor(context.device)
        if frozen:
            pool = in_batches(learner.embed, pool, batch_size=context.batch_size)
        adapt = learner.head_many if frozen else learner.adapt_many
        parts = []
        for start in range(0, len(support), CHUNK):
            part = slice(start, start + CHUNK)
            labels = torch.from_numpy(episodes.support_labels[part]).to(context.device)
            logits = adapt(pool[support[part]], labels, ways)(pool[query[part]])
            require_finite(logits, learner)
            parts.append((logits.argmax(-1).cpu().numpy() == episodes.query_labels[part]).astype(np.uint8))
            context.progress(min(1.0, (start + CHUNK) / len(support)), "episodes")
    return np.concatenate(parts)


def _listed(value: int | list[int]) -> list[int]:
    return value if isinstance(value, list) else [value]


def _with_path(key: str, value: int | list[int]) -> Iterator[tuple[tuple, int]]:
    if isinstance(value, list):
        yield from (((key, index), item) for index, item in enumerate(value))
    else:
        yield (key,), value
