"""What protocols on episodes share: which episodes they measure, and which are impossible."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np

from harness.data import episode_lists
from harness.data.base import Loaded, SplitFacts
from harness.data.episode_lists import EpisodeList
from harness.data.episodes import Span
from harness.data.sampler import capacity
from harness.errors import DataError
from harness.learning.learner import Learner
from harness.metrics.power import detectable_difference
from harness.protocols.base import Fault, Protocol, S, TrainingData
from harness.protocols.episode_settings import EpisodesConfig, FewShotSetting, as_list

SPREAD = 0.1
"""Assumed standard deviation of the difference between two learners in one episode.

It is used for planning, before anything has been measured."""

REGIMES = {
    "from_scratch": "from scratch: only the support set",
    "semi_supervised": "semi-supervised: unlabelled training images for the representation, "
    "then the support set",
    "class_transfer": "class transfer: labelled images of other classes, then the support set",
}


class EpisodeProtocol(Protocol[S]):
    """A protocol on episodes; subclasses say how they are measured."""

    Config = EpisodesConfig
    config: EpisodesConfig

    @property
    def list_path(self) -> Path | None:
        """The file that episodes come from; None: they are drawn."""
        return Path(self.config.episodes_from) if self.config.episodes_from else None

    @cached_property
    def listed(self) -> EpisodeList | None:
        """The list in that file; None if there is none or it cannot be read (see ``faults``)."""
        if self.list_path is None:
            return None
        try:
            return episode_lists.read(self.list_path)
        except DataError:
            return None

    def files(self) -> dict[str, Path]:
        """The list, by its hash."""
        if self.listed is None or self.list_path is None:
            return {}
        return {self.listed.sha256: self.list_path}

    def examine(self, load: Callable[[], Loaded]) -> None:
        """Check that the data has every image that the list names.

        Raises:
            DataError: an image is missing.
        """
        if self.listed is not None:
            self.listed.episodes_of(load(), str(self.list_path))

    @property
    def split(self) -> str:
        """The split that episodes are drawn from."""
        return self.listed.split if self.listed else self.config.split

    @property
    def splitting(self) -> str:
        """The splitting in use: with disjoint classes for class transfer, else with shared ones."""
        if self.listed:
            return self.listed.splitting
        if self.config.splitting:
            return self.config.splitting
        wants_disjoint = self.config.regime == "class_transfer"
        fitting = [
            name
            for name in self.facts.splittings
            if (name in self.facts.class_disjoint) == wants_disjoint
        ]
        return (fitting or list(self.facts.splittings))[0]

    @property
    def min_images(self) -> int:
        """Classes with fewer images are left out; the same ones in every setting."""
        config = self.config
        if self.listed or config.min_images is None:
            return 0
        if isinstance(config.min_images, int):
            return config.min_images
        return max(Span.of(shots).high for shots in as_list(config.shots)) + config.queries

    @property
    def split_facts(self) -> SplitFacts:
        """Sizes of the split that episodes are drawn from, without classes that are left out."""
        return self.facts.splittings[self.splitting][self.split].of_size(self.min_images)

    def episode_settings(self) -> Iterator[FewShotSetting]:
        """Yield one setting for each (ways, shots), or one for a list of episodes."""
        config = self.config
        if self.listed:
            yield FewShotSetting(
                regime=config.regime,
                ways=self.listed.ways,
                shots=self.listed.shots,
                queries=self.listed.queries,
                episodes=len(self.listed.episodes),
                splitting=self.listed.splitting,
                split=self.listed.split,
                episodes_from=self.listed.sha256,
            )
            return
        for ways in as_list(config.ways):
            for shots in as_list(config.shots):
                yield FewShotSetting(
                    regime=config.regime,
                    ways=ways,
                    shots=shots,
                    queries=config.queries,
                    episodes=config.episodes,
                    splitting=self.splitting,
                    split=config.split,
                    mode=config.mode,
                    within_group=config.within_group,
                    min_images=self.min_images,
                )

    def training(self) -> TrainingData | None:
        """No data from scratch, unlabelled images if semi-supervised, else other classes."""
        if self.config.regime == "from_scratch":
            return None
        return TrainingData(self.splitting, labelled=self.config.regime == "class_transfer")

    def refuses(self, learner: type[Learner]) -> str | None:
        """Refuse a learner that does not support the regime."""
        if self.config.regime in learner.regimes:
            return None
        regimes = ", ".join(sorted(learner.regimes))
        return f"it does not learn {self.config.regime} (only {regimes})"

    def detectable(self, seeds: int = 1, spread: float | None = None) -> str:
        """From the number of episodes; each seed adds episodes, unless they come from a list."""
        episodes = len(self.listed.episodes) if self.listed else self.config.episodes * seeds
        if spread is None:
            spread = SPREAD
            known = "if their differences spread by"
        else:
            known = "differences in the store spread by"
        points = 100 * detectable_difference(episodes, spread)
        each = f" over {seeds} seeds" if seeds > 1 and not self.listed else ""
        return (
            f"{points:.1f} points between two learners ({episodes} paired episodes{each}, "
            f"80 % power, {known} {100 * spread:.0f} points an episode)"
        )

    def block(self) -> dict[str, str]:
        """Conditions that every number of the table shares."""
        queries = self.listed.queries if self.listed else self.config.queries
        return {
            "regime": REGIMES[self.config.regime],
            "split": f"{self.splitting}/{self.split}",
            "image size": "x".join(map(str, self.facts.image_shape)),
            "episodes": self._episode_words(),
            "queries": f"{queries} a class",
            "inference": "inductive unless noted: a few queries classified alone got the same "
            "logits as together",
        }

    def _episode_words(self) -> str:
        if self.listed and self.list_path:
            return (
                f"{len(self.listed.episodes)} of {self.list_path.name} "
                f"(sha256 {self.listed.sha256[:16]}), the same for every learner and seed"
            )
        config = self.config
        drawn = {
            "replacement": "drawn with replacement (intervals are for this set of images)",
            "class_disjoint": "no class in two episodes",
            "image_disjoint": "no image in two episodes",
        }
        words = [f"{config.episodes} a seed, the same for every learner", drawn[config.mode]]
        if self.min_images:
            words.append(self._left_out())
        if config.within_group:
            words.append("classes of an episode from one group")
        if _has_range(config.ways):
            words.append("a range of ways: drawn uniformly for each episode")
        if _has_range(config.shots):
            words.append("a range of shots: drawn uniformly for each class of each episode")
        return ", ".join(words)

    def _left_out(self) -> str:
        counts = self.facts.splittings[self.splitting][self.split].counts
        small = [name for name, count in counts.items() if count < self.min_images]
        names = f" ({_first(small)})" if small else ""
        return f"{len(small)} classes with fewer than {self.min_images} images left out{names}"

    # ------------------------------------------------------------------------------------- faults

    def faults(self) -> Iterator[Fault]:
        """Yield unusable lists, unknown splittings and splits, and too few images."""
        config = self.config
        splittings = self.facts.splittings
        at = ("episodes_from",) if self.list_path else ()
        if self.list_path:
            list_faults = list(self._list_faults(self.list_path))
            yield from list_faults
            if list_faults:
                return
        if self.splitting not in splittings:
            yield Fault(
                at or ("splitting",),
                f"no splitting {self.splitting!r}",
                f"allowed: {', '.join(splittings)}",
            )
            return
        if self.split not in splittings[self.splitting]:
            yield Fault(
                at or ("split",),
                f"no split {self.split!r} in {self.splitting!r}",
                f"allowed: {', '.join(splittings[self.splitting])}",
            )
            return
        if config.regime == "class_transfer" and self.splitting not in self.facts.class_disjoint:
            allowed = ", ".join(sorted(self.facts.class_disjoint)) or "none in this dataset"
            named = ("splitting",) if config.splitting else ("dataset",)
            yield Fault(
                at or named,
                "class transfer needs a splitting without shared classes, "
                f"and {self.splitting!r} shares them",
                f"such splittings: {allowed}",
            )
        if not self.list_path:
            yield from self._size_faults(self.split_facts)

    def _list_faults(self, path: Path) -> Iterator[Fault]:
        """Yield faults of a list: unreadable, of other data, of train, or at odds with a key."""
        try:
            listed = episode_lists.read(path)
        except DataError as error:
            yield Fault(("episodes_from",), f"{error.where}: {error.message}", error.hint or "")
            return
        named = self.config.dataset
        kind = named if isinstance(named, str) else named.get("kind")
        if kind != listed.dataset:
            yield Fault(
                ("dataset",), f"the episodes of {path} are of {listed.dataset!r}, not of {kind!r}"
            )
        if listed.split == "train":
            yield Fault(
                ("episodes_from",),
                "its episodes are of the split that learners are trained on",
                "use a list of val or test",
            )
        fixed = next(self.episode_settings()).to_identity()
        fixed |= {"mode": "replacement", "within_group": False}
        chosen = (fixed.keys() - {"regime", "episodes_from"}) & self.config.model_fields_set
        for key in sorted(chosen):
            if getattr(self.config, key) not in (fixed[key], [fixed[key]]):
                yield Fault(
                    (key,), f"{key} cannot be chosen for episodes from a list", "leave it out"
                )

    def _size_faults(self, facts: SplitFacts) -> Iterator[Fault]:
        """Yield settings with more ways, images or episodes than the split allows."""
        config = self.config
        where = f"{self.splitting}/{config.split}"
        enough = f" with {self.min_images} images or more" if self.min_images else ""
        for path, ways in _with_path("ways", config.ways):
            if Span.of(ways).high > facts.classes:
                yield Fault(
                    path,
                    f"{ways} ways, but {where} has {facts.classes} classes{enough}",
                    f"at most {facts.classes}",
                )
            if Span.of(ways).low < 2:
                yield Fault(path, "an episode needs at least 2 ways")
        for path, shots in _with_path("shots", config.shots):
            if Span.of(shots).high + config.queries > facts.per_class:
                yield self._too_few(path, facts, shots)
        most = self._capacity(facts)
        if most is not None and config.episodes > most:
            yield Fault(
                ("episodes",),
                f"{config.episodes} episodes, but mode {config.mode} allows {most}",
                f"at most {most}, or mode: replacement",
            )

    def _too_few(self, path: tuple[str | int, ...], facts: SplitFacts, shots: int | str) -> Fault:
        """The fault of classes that have too few images; it names them where they are known."""
        needed = Span.of(shots).high + self.config.queries
        asked = f"{shots} shots + {self.config.queries} queries"
        where = f"{self.splitting}/{self.config.split}"
        hint = f"shots + queries can be at most {facts.per_class}"
        small = sorted((count, name) for name, count in facts.counts.items() if count < needed)
        if not small:
            message = f"{asked}, but a class of {where} may have only {facts.per_class} images"
            return Fault(path, message, hint)
        named = _first([f"{name!r} has {count}" for count, name in small])
        return Fault(
            path,
            f"{asked} need {needed} images a class, but of {where} {named}",
            f"{hint}, or leave these classes out: `min_images: skip`",
        )

    def _capacity(self, facts: SplitFacts) -> int | None:
        """The most episodes that every setting allows; None: any number.

        Every class is assumed to have as many images as the smallest.
        """
        counts = np.full(facts.classes, facts.per_class)
        capacities = []
        for setting in self.episode_settings():
            ways = Span.of(setting.ways).high
            shots = Span.of(setting.shots).high
            if ways > facts.classes or shots + setting.queries > facts.per_class:
                continue
            allowed = capacity(
                counts, ways=ways, shots=shots, queries=setting.queries, mode=self.config.mode
            )
            if allowed is not None:
                capacities.append(allowed)
        return min(capacities, default=None)


def _first(words: list[str], most: int = 5) -> str:
    """The first of many words, and how many more there are."""
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more


def _has_range(value: int | str | list[int | str]) -> bool:
    return any(isinstance(each, str) for each in as_list(value))


def _with_path(
    key: str, value: int | str | list[int | str]
) -> Iterator[tuple[tuple[str | int, ...], int | str]]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield (key, index), item
    else:
        yield (key,), value
