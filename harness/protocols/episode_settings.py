"""Which episodes a few-shot protocol measures: its keys, its settings, and what is impossible."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Discriminator, Field, Tag

from harness.data import episode_lists
from harness.data.base import Loaded, SplitFacts
from harness.data.episode_lists import EpisodeList
from harness.data.episodes import Span
from harness.data.sampler import Mode, capacity
from harness.errors import DataError
from harness.learning.learner import Learner, Regime
from harness.metrics.power import detectable_difference
from harness.protocols.base import Fault, Protocol, ProtocolConfig, S, SuiteFile, TrainingData
from harness.protocols.setting import Setting
from harness.registry import distinct

SPREAD = 0.1
"""Assumed standard deviation of the difference between two learners' accuracies in one episode, for
planning before anything has been measured."""

Count = Annotated[int, Field(ge=1)]
Range = Annotated[
    str,
    AfterValidator(lambda text: Span.of(text).value),
    Field(json_schema_extra={"pattern": "^[0-9]+-[0-9]+$"}),
]
One = Annotated[
    Annotated[Count, Tag("number")] | Annotated[Range, Tag("range")],
    Discriminator(lambda value: "range" if isinstance(value, str) else "number"),
]
More = Annotated[
    list[One],
    Field(min_length=1, json_schema_extra={"uniqueItems": True}),
    AfterValidator(distinct),
]
OneOrMore = Annotated[
    Annotated[Count, Tag("number")] | Annotated[Range, Tag("range")] | Annotated[More, Tag("more")],
    Discriminator(lambda value: {list: "more", str: "range"}.get(type(value), "number")),
]
"""The tag is chosen before validation, so that a faulty list is not called a faulty number."""

REGIMES = {
    "from_scratch": "from scratch: only the support set",
    "semi_supervised": "semi-supervised: unlabelled training images for the representation, "
    "then the support set",
    "class_transfer": "class transfer: labelled images of other classes, then the support set",
}


@dataclass(frozen=True)
class FewShotSetting(Setting):
    """Episodes of one size.

    Attributes:
        regime: what learners have seen before the support set.
        ways, shots: numbers, or ranges such as ``"5-20"``.
        queries: query images a class.
        episodes: how many a seed.
        splitting, split: that they are drawn from.
        mode, within_group: how they are drawn.
        episodes_from: sha256 of the list that they come from; None: they are drawn.
    """

    regime: str
    ways: int | str
    shots: int | str
    queries: int
    episodes: int
    splitting: str
    split: str
    mode: Mode = "replacement"
    within_group: bool = False
    episodes_from: str | None = None

    def to_identity(self) -> dict[str, Any]:
        """The setting as JSON; how episodes are drawn is left out where they come from a list."""
        identity = super().to_identity()
        if self.episodes_from is None:
            del identity["episodes_from"]
        else:
            del identity["mode"], identity["within_group"]
        return identity

    @property
    def label(self) -> str:
        """``"5w1s"``."""
        return f"{self.ways}w{self.shots}s"


class EpisodesConfig(ProtocolConfig):
    """Which episodes, and what learners may have seen before them."""

    regime: Regime = Field(
        "class_transfer", description="what a learner may see before the support set"
    )
    ways: OneOrMore = Field(5, description="classes an episode; `5-20`: drawn for each episode")
    shots: OneOrMore = Field(
        1,
        description="support images a class; `1-10`: drawn for each class of each episode",
    )
    queries: Count = Field(15, description="query images a class")
    episodes: int = Field(600, ge=2, description="episodes a setting and seed")
    splitting: str | None = Field(
        None, description="which splitting of the dataset; its first fitting one if left out"
    )
    split: Literal["val", "test"] = Field(
        "test", description="the split that episodes are drawn from"
    )
    mode: Literal["replacement", "class_disjoint", "image_disjoint"] = Field(
        "replacement", description="whether episodes may share classes and images"
    )
    within_group: bool = Field(
        False, description="all classes of an episode from one group, e.g. one alphabet"
    )
    episodes_from: SuiteFile | None = Field(
        None,
        description="a JSON list of episodes to use instead of drawing them, "
        "as `harness episodes` writes it",
    )


class EpisodeProtocol(Protocol[S]):
    """What protocols on episodes share: which episodes, and how they are described."""

    Config = EpisodesConfig
    config: EpisodesConfig

    @property
    def list_path(self) -> Path | None:
        """The file that episodes come from; None: they are drawn."""
        return Path(self.config.episodes_from) if self.config.episodes_from else None

    @cached_property
    def listed(self) -> EpisodeList | None:
        """The list in that file; None where there is none or it cannot be read (see ``faults``)."""
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
            DataError: it does not.
        """
        if self.listed is not None:
            self.listed.episodes_of(load(), str(self.list_path))

    @property
    def split(self) -> str:
        """The split that episodes are drawn from."""
        return self.listed.split if self.listed else self.config.split

    @property
    def splitting(self) -> str:
        """The splitting in use: class transfer wants disjoint classes, the other regimes shared ones."""
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

    def episode_settings(self) -> Iterator[FewShotSetting]:
        """One setting for each (ways, shots), or one for a list of episodes."""
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
                )

    def training(self) -> TrainingData | None:
        """Nothing from scratch; unlabelled images semi-supervised; other classes for class transfer."""
        if self.config.regime == "from_scratch":
            return None
        return TrainingData(self.splitting, labelled=self.config.regime == "class_transfer")

    def refuses(self, learner: type[Learner]) -> str | None:
        """A learner that does not have the regime."""
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
            "inference": "inductive: each query on its own, nothing (a batch norm, say) learned "
            "from other queries",
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
        if config.within_group:
            words.append("classes of an episode from one group")
        if _has_range(config.ways):
            words.append("a range of ways: drawn uniformly for each episode")
        if _has_range(config.shots):
            words.append("a range of shots: drawn uniformly for each class of each episode")
        return ", ".join(words)

    # ------------------------------------------------------------------------------------- faults

    def faults(self) -> Iterator[Fault]:
        """A list that cannot be used, a splitting or split that does not exist, too few images."""
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
            yield from self._size_faults(splittings[self.splitting][self.split])

    def _list_faults(self, path: Path) -> Iterator[Fault]:
        """An unreadable list, one of another dataset or of training classes, keys that contradict it."""
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
        """More ways than classes, more shots and queries than images, more episodes than there can be."""
        config = self.config
        where = f"{self.splitting}/{config.split}"
        for path, ways in _with_path("ways", config.ways):
            if Span.of(ways).high > facts.classes:
                yield Fault(
                    path,
                    f"{ways} ways, but {where} has {facts.classes} classes",
                    f"at most {facts.classes}",
                )
            if Span.of(ways).low < 2:
                yield Fault(path, "an episode needs at least 2 ways")
        for path, shots in _with_path("shots", config.shots):
            if Span.of(shots).high + config.queries > facts.per_class:
                yield Fault(
                    path,
                    f"{shots} shots + {config.queries} queries, but a class of {where} may have "
                    f"only {facts.per_class} images",
                    f"shots + queries can be at most {facts.per_class}",
                )
        most = self._capacity(facts)
        if most is not None and config.episodes > most:
            yield Fault(
                ("episodes",),
                f"{config.episodes} episodes, but mode {config.mode} allows {most}",
                f"at most {most}, or mode: replacement",
            )

    def _capacity(self, facts: SplitFacts) -> int | None:
        """The most episodes that every setting allows; None: any number.

        Every class counts as having as many images as the smallest.
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


def as_list(value: int | str | list[int | str]) -> list[int | str]:
    """A key that takes one value or a list of them, as a list."""
    return value if isinstance(value, list) else [value]


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
