"""Few-shot episodes: N ways, K shots, Q queries; the same episodes for every learner."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Discriminator, Field, Tag

from harness.batching import in_batches
from harness.data import episode_lists
from harness.data.base import Images, Loaded, SplitFacts
from harness.data.episode_lists import EpisodeList
from harness.data.episodes import Episodes, Span
from harness.data.sampler import capacity, sample
from harness.errors import DataError
from harness.lazy import torch
from harness.learning.learner import Learner, Regime
from harness.metrics.statistics import detectable_difference, t_interval
from harness.protocols.base import (
    Context,
    Fault,
    Measurement,
    Protocol,
    ProtocolConfig,
    SuiteFile,
    TrainingData,
)
from harness.protocols.checks import require_eval_mode, require_logits
from harness.records import Value
from harness.registry import distinct, protocols

CHUNK = 16
"""Episodes adapted at once. Fixed, so that no bit of a result depends on how much memory there is."""

HEAD_NUMBERS = 1 << 20
"""Heads on frozen features are cheap: so many numbers of embeddings (4 MiB) at once, if CHUNK episodes have fewer."""

NOTHING = 255
"""Verdict on a query that an episode does not have, because it has fewer ways than another."""

SPREAD = 0.1
"""Assumed standard deviation of the difference between two learners' accuracies in one episode, for planning before anything
has been measured."""

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

        regime: Regime = Field(
            "class_transfer", description="what a learner may see before the support set"
        )
        ways: OneOrMore = Field(5, description="classes an episode; `5-20`: drawn for each episode")
        shots: OneOrMore = Field(
            1, description="support images a class; `1-10`: drawn for each class of each episode"
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
            description="a JSON list of episodes to use instead of drawing them, as `harness episodes` writes it",
        )

    @property
    def list_path(self) -> Path | None:
        """The list that episodes come from; None: they are drawn."""
        return Path(self.config.episodes_from) if self.config.episodes_from else None

    @cached_property
    def listed(self) -> EpisodeList | None:
        """That list; None where there is none, or none that can be read (``faults`` says why)."""
        try:
            return self.list_path and episode_lists.read(self.list_path)
        except DataError:
            return None

    def files(self) -> dict[str, Path]:
        """The list."""
        return {self.listed.sha256: self.list_path} if self.listed else {}

    def examine(self, load: Callable[[], Loaded]) -> None:
        """Whether the data has all that the list names.

        Raises:
            DataError: it has not.
        """
        if self.listed:
            self.listed.episodes_of(load(), str(self.list_path))

    @property
    def split(self) -> str:
        """The split that episodes are drawn from."""
        return self.listed.split if self.listed else self.config.split

    @property
    def splitting(self) -> str:
        """The splitting in use: class transfer wants one without shared classes, the others one with."""
        if self.listed:
            return self.listed.splitting
        if self.config.splitting:
            return self.config.splitting
        wanted = self.config.regime == "class_transfer"
        fitting = [
            name for name in self.facts.splittings if (name in self.facts.class_disjoint) == wanted
        ]
        return (fitting or list(self.facts.splittings))[0]

    def settings(self) -> Iterator[dict[str, Any]]:
        """One cell a (ways, shots), or one for a list of episodes."""
        config, listed = self.config, self.listed
        if listed:
            yield {
                "regime": config.regime,
                "ways": listed.ways,
                "shots": listed.shots,
                "queries": listed.queries,
                "episodes": len(listed.episodes),
                "splitting": listed.splitting,
                "split": listed.split,
                "episodes_from": listed.sha256,
            }
            return
        for ways in _listed(config.ways):
            for shots in _listed(config.shots):
                yield {
                    "regime": config.regime,
                    "ways": ways,
                    "shots": shots,
                    "queries": config.queries,
                    "episodes": config.episodes,
                    "splitting": self.splitting,
                    "split": config.split,
                    "mode": config.mode,
                    "within_group": config.within_group,
                }

    def training(self) -> TrainingData | None:
        """Nothing from scratch; unlabelled images semi-supervised; background classes for class transfer."""
        if self.config.regime == "from_scratch":
            return None
        return TrainingData(self.splitting, labelled=self.config.regime == "class_transfer")

    def faults(self) -> Iterator[Fault]:
        """A list that cannot be used, a splitting or split that is not there, more ways than classes, too many images."""
        config, splittings = self.config, self.facts.splittings
        at = ("episodes_from",) if self.list_path else ()
        if self.list_path:
            faults = list(self._list_faults())
            yield from faults
            if faults:
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
            yield Fault(
                at or (("splitting",) if config.splitting else ("dataset",)),
                f"class transfer needs a splitting without shared classes, and {self.splitting!r} shares them",
                f"such splittings: {allowed}",
            )
        if not self.list_path:
            yield from self._counts(splittings[self.splitting][self.split])

    def _list_faults(self) -> Iterator[Fault]:
        """A list that cannot be read, is for another dataset or for training classes; keys that say otherwise than it."""
        try:
            listed = episode_lists.read(self.list_path)
        except DataError as error:
            yield Fault(("episodes_from",), f"{error.where}: {error.message}", error.hint or "")
            return
        named = self.config.dataset
        if (kind := named if isinstance(named, str) else named.get("kind")) != listed.dataset:
            yield Fault(
                ("dataset",),
                f"the episodes of {self.list_path} are of {listed.dataset!r}, not of {kind!r}",
            )
        if listed.split == "train":
            yield Fault(
                ("episodes_from",),
                "its episodes are of the split that learners are trained on",
                "a list of val or test",
            )
        said = {**next(self.settings()), "mode": "replacement", "within_group": False}
        for key in sorted(
            (said.keys() - {"regime", "episodes_from"}) & self.config.model_fields_set
        ):
            if getattr(self.config, key) not in (said[key], [said[key]]):
                yield Fault(
                    (key,), f"{key} cannot be chosen for episodes from a list", "leave it out"
                )

    def _counts(self, facts: SplitFacts) -> Iterator[Fault]:
        config = self.config
        for path, ways in _with_path("ways", config.ways):
            if Span.of(ways).high > facts.classes:
                yield Fault(
                    path,
                    f"{ways} ways, but {self.splitting}/{config.split} has {facts.classes} classes",
                    f"at most {facts.classes}",
                )
            if Span.of(ways).low < 2:
                yield Fault(path, "an episode needs at least 2 ways")
        for path, shots in _with_path("shots", config.shots):
            if Span.of(shots).high + config.queries > facts.per_class:
                yield Fault(
                    path,
                    f"{shots} shots + {config.queries} queries, but a class of {self.splitting}/{config.split} "
                    f"may have only {facts.per_class} images",
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
        """The most episodes that every setting allows, if each class had the images of the smallest; None: any number."""
        counts, most = np.full(facts.classes, facts.per_class), None
        for setting in self.settings():
            ways, shots = Span.of(setting["ways"]).high, Span.of(setting["shots"]).high
            if ways <= facts.classes and shots + setting["queries"] <= facts.per_class:
                found = capacity(
                    counts,
                    ways=ways,
                    shots=shots,
                    queries=setting["queries"],
                    mode=self.config.mode,
                )
                most = found if most is None else min(most, found)
        return most

    def refuses(self, learner: type[Learner]) -> str | None:
        """A learner that has no such regime."""
        if self.config.regime in learner.regimes:
            return None
        return f"it does not learn {self.config.regime} (only {', '.join(sorted(learner.regimes))})"

    @classmethod
    def measure(
        cls, learner: Learner, data: Loaded, setting: dict[str, Any], context: Context
    ) -> Measurement:
        """Accuracy of every episode; mean with a 95 % t interval over episodes."""
        images, episodes = drawn(data, setting, context)
        correct = episode_verdicts(learner, images, episodes, context)
        accuracy = np.mean(correct, axis=1, where=correct != NOTHING)
        low, high = t_interval(accuracy)
        unit = "listed episode" if "episodes_from" in setting else "episode"
        value = Value(
            "accuracy", float(accuracy.mean()), low, high, len(accuracy), unit, verdicts="accuracy"
        )
        return Measurement(
            [value], {"accuracy": accuracy, "correct": correct, "classes": episodes.classes}
        )

    def detectable(self, seeds: int = 1, spread: float | None = None) -> str:
        """From the number of episodes; seeds add episodes of their own, unless these come from a list."""
        episodes = len(self.listed.episodes) if self.listed else self.config.episodes * seeds
        known = (
            "differences in the store spread by"
            if spread is not None
            else "if their differences spread by"
        )
        spread = SPREAD if spread is None else spread
        points = 100 * detectable_difference(episodes, spread)
        each = f" over {seeds} seeds" if seeds > 1 and not self.listed else ""
        return (
            f"{points:.1f} points between two learners ({episodes} paired episodes{each}, 80 % power, "
            f"{known} {100 * spread:.0f} points an episode)"
        )

    def block(self) -> dict[str, str]:
        """Conditions that every number of the table shares."""
        return {
            "regime": REGIMES[self.config.regime],
            "split": f"{self.splitting}/{self.split}",
            "image size": "x".join(map(str, self.facts.image_shape)),
            "episodes": self._episode_words(),
            "queries": f"{self.listed.queries if self.listed else self.config.queries} a class",
            "inference": "inductive: each query on its own, nothing (a batch norm, say) learned from other queries",
        }

    def _episode_words(self) -> str:
        if self.listed:
            return (
                f"{len(self.listed.episodes)} of {self.list_path.name} (sha256 {self.listed.sha256[:16]}), the same for "
                "every learner and seed"
            )
        config = self.config
        drawn = {
            "replacement": "drawn with replacement (intervals are for this set of images)",
            "class_disjoint": "no class in two episodes",
            "image_disjoint": "no image in two episodes",
        }[config.mode]
        ranges = [
            words
            for values, words in (
                (config.ways, "a range of ways: drawn uniformly for each episode"),
                (config.shots, "a range of shots: drawn uniformly for each class of each episode"),
            )
            if any(isinstance(value, str) for value in _listed(values))
        ]
        grouped = ["classes of an episode from one group"] if config.within_group else []
        return ", ".join(
            [f"{config.episodes} a seed, the same for every learner", drawn, *grouped, *ranges]
        )


def drawn(data: Loaded, setting: dict[str, Any], context: Context) -> tuple[Images, Episodes]:
    """The images of a setting's split, and its episodes: the same for every protocol that has such a setting."""
    images = data.split(setting["splitting"], setting["split"])
    if "episodes_from" in setting:
        path = context.files[setting["episodes_from"]]
        return images, episode_lists.read(path).episodes_of(data, str(path))
    groups = (
        data.split_groups(setting["splitting"], setting["split"])
        if setting["within_group"]
        else None
    )
    return images, sample(
        images,
        ways=setting["ways"],
        shots=setting["shots"],
        queries=setting["queries"],
        episodes=setting["episodes"],
        rng=context.rng.child("episodes"),
        groups=groups,
        mode=setting["mode"],
    )


def list_of(data: Loaded, dataset: str, setting: dict[str, Any], context: Context) -> EpisodeList:
    """A setting's episodes as a list."""
    return episode_lists.listing(
        data,
        setting["splitting"],
        setting["split"],
        drawn(data, setting, context)[1],
        dataset=dataset,
        ways=setting["ways"],
        shots=setting["shots"],
        queries=setting["queries"],
    )


def episode_verdicts(
    learner: Learner, images: Images, episodes: Episodes, context: Context
) -> np.ndarray:
    """uint8 (E, ways * queries): which queries each episode's classifier gets right; NOTHING where there is no query.

    Raises:
        ValueError: the learner gives classifiers in train mode (the first episode's is looked at).
        FloatingPointError: some logits are not finite.
    """
    verdicts, done = np.full(episodes.query.shape, NOTHING, np.uint8), 0
    with torch.no_grad():
        _look_at_first(learner, images, episodes, context)
        # Only the images that some episode uses are embedded, once each, however many episodes share them.
        rows = episodes.rows()
        place = np.zeros(len(images), np.int64)
        place[rows] = np.arange(len(rows))
        pool = torch.from_numpy(images.pixels[rows]).to(context.device)
        if learner.frozen_features:
            pool = in_batches(
                lambda pixels: learner.embed(_unit(pixels)), pool, batch_size=context.batch_size
            )
        for positions, alike in episodes.by_shape():
            count = CHUNK
            if learner.frozen_features:
                count = max(
                    CHUNK,
                    HEAD_NUMBERS
                    // (pool.shape[1] * (alike.support.shape[1] + alike.query.shape[1])),
                )
            for start in range(0, len(alike), count):
                part = alike.take(slice(start, start + count))
                guesses = _guesses(
                    learner,
                    pool,
                    place[part.support],
                    part.support_labels,
                    place[part.query],
                    part.classes.shape[1],
                )
                verdicts[positions[start : start + count], : guesses.shape[1]] = (
                    guesses == part.query_labels
                )
                done += len(part)
                context.progress(done / len(episodes), "episodes")
    return verdicts


def _look_at_first(learner: Learner, images: Images, episodes: Episodes, context: Context) -> None:
    _, first = next(episodes.take(slice(0, 1)).by_shape())
    support = images.take(first.support[0]).tensor(context.device)
    labels = torch.from_numpy(first.support_labels[0]).to(context.device)
    require_eval_mode(learner.adapt(support, labels, first.classes.shape[1]), learner, "adapt()")


def _guesses(
    learner: Learner,
    pool: torch.Tensor,
    support: np.ndarray,
    labels: np.ndarray,
    query: np.ndarray,
    n_way: int,
) -> np.ndarray:
    """Labels (E, Q) that the classifiers of E episodes give; ``support`` (E, S) and ``query`` (E, Q) are rows of ``pool``."""
    labels = torch.from_numpy(labels).to(pool.device)
    if learner.frozen_features:
        logits = learner.head_many(pool[support], labels, n_way)(pool[query])
    else:
        logits = learner.adapt_many(_unit(pool[support]), labels, n_way)(_unit(pool[query]))
    require_logits(logits, (*query.shape, n_way), learner)
    return logits.argmax(-1).cpu().numpy()


def _unit(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 images as float32 in [0, 1]."""
    return pixels.float().div_(255)


def _listed(value: int | str | list[int | str]) -> list[int | str]:
    return value if isinstance(value, list) else [value]


def _with_path(key: str, value: int | str | list[int | str]) -> Iterator[tuple[tuple, int | str]]:
    if isinstance(value, list):
        yield from (((key, index), item) for index, item in enumerate(value))
    else:
        yield (key,), value
