"""Lists of episodes as JSON: the same episodes in other code, or episodes of other code here.

An example::

    {"dataset": "omniglot", "splitting": "vinyals", "split": "test", "content": "fc94fb...",
     "ways": 2, "shots": 1, "queries": 2,
     "counts": "images of a class in the split, in the order of the dataset, from 0",
     "images": {"Greek/character01": ["3f2a9c...", ...], "Latin/character07": [...]},
     "episodes": [{"classes": ["Greek/character01", "Latin/character07"],
                   "support": [[3], [0]], "query": [[5, 9], [1, 2]]}]}

A class is given by its name. An image is given by its number among the images of its class in the
split, from 0; for Omniglot that is the drawer. ``ways`` and ``shots`` are numbers or ranges such as
``"1-10"``, and every episode must agree with them. ``content``, the content hash of the dataset,
may be left out; if it is given, it must be that of the data. ``images`` may be left out too. It has
a hash of each image of the classes that are used, by its number: the first 16 digits of the sha256
of its pixels, uint8 (C, H, W). Other code finds an image by it; here it must be that of the data.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from pathlib import Path
from typing import Annotated, Literal, get_args

import numpy as np
from pydantic import Field

from harness.data import json_files
from harness.data.base import Images, Loaded
from harness.data.episodes import PAD, Episodes, Span
from harness.errors import DataError, did_you_mean
from harness.registry import Config

HOW_TO_WRITE = "`harness episodes SUITE.yaml --out FOLDER` writes such lists"
Counts = Literal["images of a class in the split, in the order of the dataset, from 0"]
(COUNTS,) = get_args(Counts)
"""What the numbers of images in a list count."""
Ranks = list[list[Annotated[int, Field(ge=0)]]]
"""Numbers of the images of each class."""


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
    counts: Counts | None = None
    images: dict[str, list[str]] | None = None
    episodes: list[Listed] = Field(min_length=2)

    @property
    def sha256(self) -> str:
        """Hash of the list."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def episodes_of(self, data: Loaded, where: str | None = None) -> Episodes:
        """Find the rows of the episodes in their split.

        Args:
            data: the dataset.
            where: the file of the list, for errors.

        Raises:
            DataError: If a class or an image does not exist, or the list was made for other data.
        """
        self._check_content(data, where)
        index = _ClassIndex.of(data, self.splitting, self.split)
        self._check_images(index, where)
        count = len(self.episodes)
        ways = Span.of(self.ways).high
        shots = Span.of(self.shots).high
        classes = np.full((count, ways), PAD)
        support = np.full((count, ways, shots), PAD)
        query = np.full((count, ways, self.queries), PAD)
        for place, episode in enumerate(self.episodes):
            try:
                for way, name in enumerate(episode.classes):
                    label = index.label(name)
                    classes[place, way] = label
                    for rows, ranks in (
                        (support, episode.support[way]),
                        (query, episode.query[way]),
                    ):
                        rows[place, way, : len(ranks)] = index.rows(label, ranks)
            except DataError as error:
                raise DataError(
                    f"episode {place}: {error.message}", where=where, hint=error.hint
                ) from None
        way_of = np.arange(ways)[:, None]
        return Episodes(
            support=support.reshape(count, -1),
            support_labels=np.where(support < 0, PAD, way_of).reshape(count, -1),
            query=query.reshape(count, -1),
            query_labels=np.where(query < 0, PAD, way_of).reshape(count, -1),
            classes=classes,
        )

    def _check_content(self, data: Loaded, where: str | None) -> None:
        if self.content is None:
            return
        actual = data.content_hash()
        if self.content != actual:
            raise DataError(
                f"the list is for other data: content {self.content[:16]}..., "
                f"but that of this dataset is {actual[:16]}...",
                where=where,
                hint="use the release of the dataset that it was made with, or remove `content`",
            )

    def _check_images(self, index: _ClassIndex, where: str | None) -> None:
        """Compare the hashes of images with those of the data."""
        for name, hashes in (self.images or {}).items():
            for number, (given, actual) in enumerate(
                itertools.zip_longest(hashes, index.hashes(name))
            ):
                if given != actual:
                    raise DataError(
                        f"the list is for other images: image {number} of {name!r} is "
                        f"{given or 'not listed'}, but here {actual or 'there is none'}",
                        where=where,
                        hint="use the images that it was made with, or remove `images`",
                    )

    def to_json(self) -> str:
        """Write the list as text, one episode a line."""
        head = self.model_dump(mode="json", exclude={"episodes"}, exclude_none=True)
        lines = [json.dumps(episode.model_dump(), ensure_ascii=False) for episode in self.episodes]
        opening = json.dumps(head, ensure_ascii=False).removesuffix("}")
        return opening + ', "episodes": [\n' + ",\n".join(lines) + "\n]}\n"


class _ClassIndex:
    """Finds the images of a split by class and number.

    Args:
        images: the images of the split.
        names: the name of each class.
        split: name of the split, for errors.
    """

    def __init__(self, images: Images, names: tuple[str, ...], split: str) -> None:
        labels = images.known_labels
        self._names = names
        self._pixels = images.pixels
        self._split = split
        self._labels = {name: label for label, name in enumerate(names)}
        self._order = np.argsort(labels, kind="stable")
        self._count = np.bincount(labels, minlength=len(names))
        self._start = np.cumsum(self._count) - self._count

    @classmethod
    def of(cls, data: Loaded, splitting: str, split: str) -> _ClassIndex:
        images = data.split(splitting, split)
        return cls(images, data.split_classes(splitting, split), f"{splitting}/{split}")

    def label(self, name: str) -> int:
        if name not in self._labels:
            raise DataError(
                f"{self._split} has no class {name!r}", hint=did_you_mean(name, self._names)
            )
        return self._labels[name]

    def hashes(self, name: str) -> list[str]:
        """The hash of each image of a class, by its number."""
        label = self.label(name)
        rows = self.rows(label, list(range(self._count[label])))
        return [image_hash(pixels) for pixels in self._pixels[rows]]

    def rows(self, label: int, ranks: list[int]) -> np.ndarray:
        count = self._count[label]
        if max(ranks) >= count:
            raise DataError(
                f"there is no image {max(ranks)} of {self._names[label]!r}",
                hint=f"its images are 0 to {count - 1}",
            )
        return self._order[self._start[label] + np.array(ranks)]


def image_hash(pixels: np.ndarray) -> str:
    """The hash by which a list names an image: 16 hexadecimal digits.

    Args:
        pixels: uint8 (C, H, W).

    >>> image_hash(np.zeros((1, 2, 2), np.uint8))
    'df3f619804a92fdb'
    """
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()[:16]


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
    """List episodes.

    Args:
        data: the dataset that they were drawn from.
        splitting: name of the splitting.
        split: name of the split; the episodes are rows of it.
        episodes: the episodes.
        dataset: name of the dataset.
        ways: as requested, a number or a range.
        shots: as requested, a number or a range.
        queries: query images per class.
    """
    names = data.split_classes(splitting, split)
    index = _ClassIndex.of(data, splitting, split)
    used = [names[label] for label in np.unique(episodes.classes) if label != PAD]
    rank = _ranks(data.split(splitting, split))

    def ranks_of(rows: np.ndarray, labels: np.ndarray, ways: int) -> list[list[int]]:
        return [rank[rows[labels == way]].tolist() for way in range(ways)]

    listed = []
    for i in range(len(episodes)):
        classes = [names[label] for label in episodes.classes[i] if label != PAD]
        support = ranks_of(episodes.support[i], episodes.support_labels[i], len(classes))
        query = ranks_of(episodes.query[i], episodes.query_labels[i], len(classes))
        listed.append(Listed(classes=classes, support=support, query=query))
    return EpisodeList(
        dataset=dataset,
        splitting=splitting,
        split=split,
        content=data.content_hash(),
        ways=ways,
        shots=shots,
        queries=queries,
        counts=COUNTS,
        images={name: index.hashes(name) for name in used},
        episodes=listed,
    )


def _ranks(images: Images) -> np.ndarray:
    """The number of each image among those of its class, (N,)."""
    labels = images.known_labels
    counts = np.bincount(labels, minlength=images.n_classes)
    rank = np.empty(len(images), np.int64)
    by_class = np.argsort(labels, kind="stable")
    rank[by_class] = np.concatenate([np.arange(count) for count in counts])
    return rank


def read(path: str | Path) -> EpisodeList:
    """Read a list.

    Raises:
        DataError: If the file cannot be read, is not a list of episodes, or an episode does not
            agree with the list's ways, shots and queries.
    """
    listed = json_files.read(path, EpisodeList, "a list of episodes", HOW_TO_WRITE)
    check(listed, str(path))
    return listed


def check(listed: EpisodeList, where: str) -> None:
    """Check that every episode agrees with the list's ways, shots and queries.

    Raises:
        DataError: One does not, or the ways or shots are impossible.
    """
    try:
        ways, shots = Span.of(listed.ways), Span.of(listed.shots)
    except ValueError as error:
        raise DataError(f"ways or shots: {error}", where=where) from None
    for number, episode in enumerate(listed.episodes):
        fault = _fault(episode, ways, shots, listed.queries)
        if fault:
            raise DataError(f"episode {number}: {fault}", where=where)


def _fault(episode: Listed, ways: Span, shots: Span, queries: int) -> str:
    """The first fault of an episode; "" if there is none."""
    count = len(episode.classes)
    if not ways.low <= count <= ways.high:
        return f"{count} classes, but the list says {ways.value} ways"
    if len(set(episode.classes)) < count:
        return "duplicate class"
    if not len(episode.support) == len(episode.query) == count:
        return (
            f"{count} classes, support images of {len(episode.support)} "
            f"and query images of {len(episode.query)}"
        )
    for name, support, query in zip(episode.classes, episode.support, episode.query, strict=True):
        fault = _class_fault(name, support, query, shots, queries)
        if fault:
            return fault
    return ""


def _class_fault(name: str, support: list[int], query: list[int], shots: Span, queries: int) -> str:
    """The first fault of one class of an episode; "" if there is none."""
    if not shots.low <= len(support) <= shots.high:
        return f"{len(support)} support images of {name!r}, but the list says {shots.value} shots"
    if len(query) != queries:
        return f"{len(query)} query images of {name!r}, but the list says {queries} queries"
    shared = set(support) & set(query)
    if shared:
        return f"image {min(shared)} of {name!r} is in support and query"
    if len({*support, *query}) < len(support) + len(query):
        return f"an image of {name!r} is used twice"
    return ""
