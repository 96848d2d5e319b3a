"""Lists of episodes as JSON: to use the very same episodes in other code, or other code's episodes
here.

    {"dataset": "omniglot", "splitting": "vinyals", "split": "test", "content": "fc94fb...",
     "ways": 2, "shots": 1, "queries": 2,
     "episodes": [{"classes": ["Greek/character01", "Latin/character07"], "support": [[3], [0]],
     "query": [[5, 9], [1, 2]]}]}

A class has its name, an image its number among the images of its class in the split, from 0 (for
Omniglot that is the drawer, from 0). ``ways`` and ``shots`` are numbers or ranges such as
``"1-10"``, and every episode is held to them. ``content``, the dataset's content hash, may be left
out; where it stands, it must be that of the data.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, ValidationError

from harness.data.base import Images, Loaded
from harness.data.episodes import PAD, Episodes, Span
from harness.errors import DataError, did_you_mean
from harness.registry import Config

MOST_BYTES = 1 << 28
Ranks = list[list[Annotated[int, Field(ge=0)]]]


class Listed(Config):
    """One episode: the name of each class, and the numbers of its support and query images."""

    classes: list[str]
    support: Ranks
    query: Ranks


class EpisodeList(Config):
    """A list of episodes of one split."""

    dataset: str
    splitting: str
    split: str
    content: str | None = None
    ways: int | str
    shots: int | str
    queries: int = Field(ge=1)
    episodes: list[Listed] = Field(min_length=2)

    @property
    def sha256(self) -> str:
        """Hash of what the list says."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def episodes_of(self, data: Loaded, where: str | None = None) -> Episodes:
        """The episodes as rows of their split.

        Args:
            data: the dataset.
            where: the list's file, for errors.

        Raises:
            DataError: a class or an image is not there, or the list was made for other data.
        """
        if self.content not in (None, found := data.content_hash()):
            raise DataError(
                f"the list is for other data: content {self.content[:16]}..., and this is {found[:16]}...",
                where=where,
                hint="use the release of the dataset that it was made with, or leave `content` out",
            )
        images, names = (
            data.split(self.splitting, self.split),
            data.split_classes(self.splitting, self.split),
        )
        number, order = (
            {name: i for i, name in enumerate(names)},
            np.argsort(images.labels, kind="stable"),
        )
        count = np.bincount(images.labels, minlength=len(names))
        start = np.cumsum(count) - count
        ways, shots = Span.of(self.ways).high, Span.of(self.shots).high
        classes = np.full((len(self.episodes), ways), PAD)
        support = np.full((len(self.episodes), ways, shots), PAD)
        query = np.full((len(self.episodes), ways, self.queries), PAD)
        for place, episode in enumerate(self.episodes):
            for way, name in enumerate(episode.classes):
                if name not in number:
                    raise DataError(
                        f"episode {place}: {self.splitting}/{self.split} has no class {name!r}",
                        where=where,
                        hint=did_you_mean(name, names),
                    )
                classes[place, way] = label = number[name]
                for rows, ranks in ((support, episode.support[way]), (query, episode.query[way])):
                    if max(ranks) >= count[label]:
                        raise DataError(
                            f"episode {place}: there is no image {max(ranks)} of {name!r}",
                            where=where,
                            hint=f"its images are 0 to {count[label] - 1}",
                        )
                    rows[place, way, : len(ranks)] = order[start[label] + np.array(ranks)]
        of = [
            np.where(rows < 0, PAD, np.arange(ways)[:, None]).reshape(len(rows), -1)
            for rows in (support, query)
        ]
        return Episodes(
            support.reshape(len(support), -1), of[0], query.reshape(len(query), -1), of[1], classes
        )

    def to_json(self) -> str:
        """The list as text, one episode a line."""
        head = self.model_dump(mode="json", exclude={"episodes"}, exclude_none=True)
        lines = ",\n".join(
            json.dumps(episode.model_dump(), ensure_ascii=False) for episode in self.episodes
        )
        return json.dumps(head, ensure_ascii=False)[:-1] + f', "episodes": [\n{lines}\n]}}\n'


def listing(
    data: Loaded,
    splitting: str,
    split: str,
    episodes: Episodes,
    *,
    dataset: str,
    ways: int | str,
    shots: int | str,
    queries: int,
) -> EpisodeList:
    """Episodes as a list.

    Args:
        data: what they were drawn from.
        splitting, split: of ``data``; ``episodes`` are rows of it.
        dataset: its kind.
        ways, shots, queries: as they were asked for.
    """
    images, names = data.split(splitting, split), data.split_classes(splitting, split)
    rank = _ranks(images)

    def of(rows: np.ndarray, labels: np.ndarray, count: int) -> list[list[int]]:
        return [rank[rows[labels == way]].tolist() for way in range(count)]

    listed = []
    for i in range(len(episodes)):
        classes = [names[label] for label in episodes.classes[i] if label != PAD]
        listed.append(
            Listed(
                classes=classes,
                support=of(episodes.support[i], episodes.support_labels[i], len(classes)),
                query=of(episodes.query[i], episodes.query_labels[i], len(classes)),
            )
        )
    return EpisodeList(
        dataset=dataset,
        splitting=splitting,
        split=split,
        content=data.content_hash(),
        ways=ways,
        shots=shots,
        queries=queries,
        episodes=listed,
    )


def _ranks(images: Images) -> np.ndarray:
    """Each image's number among those of its class, (N,)."""
    count = np.bincount(images.labels, minlength=images.n_classes)
    rank = np.empty(len(images), np.int64)
    rank[np.argsort(images.labels, kind="stable")] = np.concatenate([np.arange(n) for n in count])
    return rank


def read(path: str | Path) -> EpisodeList:
    """A list.

    Raises:
        DataError: the file cannot be read, is no such list, or an episode is not what the list says
            of itself.
    """
    try:
        if Path(path).stat().st_size > MOST_BYTES:
            raise DataError(
                f"larger than {MOST_BYTES >> 20} MiB", where=str(path), hint="split it up"
            )
        found = EpisodeList.model_validate_json(Path(path).read_bytes())
        ways, shots = Span.of(found.ways), Span.of(found.shots)
    except OSError as error:
        raise DataError(
            f"cannot be read: {error.strerror}",
            where=str(path),
            hint="`harness episodes SUITE.yaml --out FOLDER` writes such lists",
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise DataError(
            f"is no list of episodes: {place}: {first['msg']}",
            where=str(path),
            hint="`harness episodes SUITE.yaml --out FOLDER` writes such lists",
        ) from None
    except ValueError as error:
        raise DataError(f"ways or shots: {error}", where=str(path)) from None
    for place, episode in enumerate(found.episodes):
        if wrong := _wrong(episode, ways, shots, found.queries):
            raise DataError(f"episode {place}: {wrong}", where=str(path))
    return found


def _wrong(episode: Listed, ways: Span, shots: Span, queries: int) -> str:
    """What is wrong with an episode; empty where nothing is."""
    count = len(episode.classes)
    if not ways.low <= count <= ways.high:
        return f"{count} classes, and the list says {ways.value} ways"
    if len(set(episode.classes)) < count:
        return "a class stands twice"
    if not len(episode.support) == len(episode.query) == count:
        return f"{count} classes, support images of {len(episode.support)} and query images of {len(episode.query)}"
    for name, support, query in zip(episode.classes, episode.support, episode.query, strict=True):
        if not shots.low <= len(support) <= shots.high:
            return (
                f"{len(support)} support images of {name!r}, and the list says {shots.value} shots"
            )
        if len(query) != queries:
            return f"{len(query)} query images of {name!r}, and the list says {queries} queries"
        if both := set(support) & set(query):
            return f"image {min(both)} of {name!r} is in support and query"
        if len({*support, *query}) < len(support) + queries:
            return f"an image of {name!r} stands twice"
    return ""
