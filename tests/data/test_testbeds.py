"""Testbeds of easyfsl become lists of episodes, and wrong ones get one line."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from harness.data import testbeds
from harness.data.base import Loaded
from harness.data.episode_lists import listing
from harness.data.sampler import sample
from harness.errors import DataError
from harness.rng import Rng

HEADER = ["", "image_id", "task", "labels", "support"]


@pytest.fixture(scope="module")
def data() -> Loaded:
    """Eight classes of twelve images in mixed order, the last four of them the test split."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(8), 12))
    splits = {"train": np.flatnonzero(labels < 4), "test": np.flatnonzero(labels >= 4)}
    pixels = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1)
    return Loaded(pixels, labels, tuple("abcdefgh"), None, {"classes": splits})


def imported(path, data):
    return testbeds.read(path, data, dataset="letters", splitting="classes", split="test")


def write(path, rows, header=HEADER):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def rows_of(found, names):
    """The rows of a testbed for a list; every class of the split has 12 images."""
    rows = []
    for task, episode in enumerate(found.episodes):
        for way, name in enumerate(episode.classes):
            label = names.index(name)
            for numbers, support in ((episode.support[way], True), (episode.query[way], False)):
                rows += [[0, 12 * label + number, task, label, support] for number in numbers]
    return rows


def by_class(found):
    """Each episode as class -> support and query: a testbed has no order of classes."""
    return [
        {name: (each.support[way], each.query[way]) for way, name in enumerate(each.classes)}
        for each in found.episodes
    ]


@pytest.mark.parametrize(("ways", "shots"), [(3, 2), ("2-4", "1-3")])
def test_a_testbed_gives_the_very_episodes_that_it_was_made_from(data, tmp_path, ways, shots):
    episodes = sample(
        data.split("classes", "test"), ways=ways, shots=shots, queries=2, episodes=40, rng=Rng(1)
    )
    found = listing(
        data, "classes", "test", episodes, dataset="letters", ways=ways, shots=shots, queries=2
    )
    rows = rows_of(found, data.split_classes("classes", "test"))
    again = imported(write(tmp_path / "t.csv", rows), data)
    assert (again.ways, again.shots, again.queries) == (ways, shots, 2)
    assert by_class(again) == by_class(found)


GOOD = [
    [0, 12 * label + n, task, label, n == 0] for task in (0, 1) for label in (0, 1) for n in (0, 1)
]


@pytest.mark.parametrize(
    ("rows", "header", "words"),
    [
        (GOOD, HEADER[:-1] + ["query"], "no column 'support'"),
        ([*GOOD, [0, 48, 0, 0, True]], HEADER, "no image 48"),
        ([*GOOD, [0, 13, 0, 0, True]], HEADER, "image 13 is of class 1, not 0"),
        ([*GOOD, [0, "x", 0, 0, True]], HEADER, "not an image of a task"),
        ([*GOOD, [0, 0, 0, 0, "perhaps"]], HEADER, "not an image of a task"),
        ([*GOOD, [0, 5, 0, 0, False]], HEADER, "classes have 1, 2 query images"),
        ([*GOOD, [0, 0, 0, 0, True]], HEADER, "an image of 'e' is used twice"),
        (GOOD[:4], HEADER, "fewer than 2 tasks"),
    ],
)
def test_wrong_testbeds_get_one_line(data, tmp_path, rows, header, words):
    with pytest.raises(DataError, match=words):
        imported(write(tmp_path / "t.csv", rows, header), data)


def test_a_testbed_that_is_missing_or_no_text_gets_one_line(data, tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        imported(tmp_path / "none.csv", data)
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(DataError, match="not a CSV"):
        imported(tmp_path / "t.csv", data)
