"""Episode lists: what is written is read again, and what is wrong with a list is said."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest

from harness.data.base import Loaded
from harness.data.episode_lists import listing, read
from harness.data.sampler import sample
from harness.errors import DataError
from harness.rng import Rng


@pytest.fixture(scope="module")
def data() -> Loaded:
    """Eight classes of twelve images in mixed order, the last four of them the test split."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(8), 12))
    splits = {"train": np.flatnonzero(labels < 4), "test": np.flatnonzero(labels >= 4)}
    pixels = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1)
    return Loaded(pixels, labels, tuple("abcdefgh"), None, {"classes": splits})


def listed(data, ways=3, shots=2, count=5):
    episodes = sample(
        data.split("classes", "test"), ways=ways, shots=shots, queries=2, episodes=count, rng=Rng(1)
    )
    return episodes, listing(
        data, "classes", "test", episodes, dataset="letters", ways=ways, shots=shots, queries=2
    )


def written(path, found, **changes):
    tree = json.loads(found.to_json())
    path.write_text(json.dumps({**tree, **changes}))
    return path


@pytest.mark.parametrize(("ways", "shots"), [(3, 2), ("2-4", "1-3"), (2, "1-4")])
def test_a_list_gives_the_very_episodes_that_it_was_made_from(data, tmp_path, ways, shots):
    episodes, found = listed(data, ways, shots, count=40)
    (tmp_path / "list.json").write_text(found.to_json())
    again = read(tmp_path / "list.json")
    assert again == found and again.sha256 == found.sha256
    back = again.episodes_of(data)
    for (_, one), (_, other) in zip(episodes.by_shape(), back.by_shape(), strict=True):
        assert all(np.array_equal(getattr(one, name), getattr(other, name)) for name in vars(one))


def test_names_and_numbers_are_of_the_split(data):
    episodes, found = listed(data)
    images, first = data.split("classes", "test"), found.episodes[0]
    for way, name in enumerate(first.classes):
        own = np.flatnonzero(data.labels == data.class_names.index(name))
        shown = images.pixels[episodes.support[0][episodes.support_labels[0] == way]]
        assert np.array_equal(data.pixels[own[first.support[way]]], shown)


def broken(change):
    def apply(episodes):
        change(episodes[1])
        return {"episodes": episodes}

    return apply


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (broken(lambda e: e["classes"].pop()), "episode 1: 2 classes, but the list says 3 ways"),
        (broken(lambda e: e["support"].pop()), "support images of 2 and query images of 3"),
        (
            broken(lambda e: e["support"][0].pop()),
            "1 support images of .*, but the list says 2 shots",
        ),
        (
            broken(lambda e: e["query"][2].append(e["query"][2][0])),
            "3 query images of .*, but the list says 2 queries",
        ),
        (
            broken(lambda e: e["query"].__setitem__(0, [e["support"][0][0], e["query"][0][0]])),
            "is in support and query",
        ),
        (broken(lambda e: e["support"].__setitem__(0, [e["support"][0][0]] * 2)), "used twice"),
        (broken(lambda e: e["classes"].__setitem__(0, e["classes"][1])), "duplicate class"),
        (broken(lambda e: e["support"][0].__setitem__(0, -1)), r"episodes\.1\.support\.0\.0"),
        (lambda _: {"ways": "many"}, "neither a number nor a range"),
        (lambda _: {"shots": "4-1"}, "does not run from"),
        (lambda _: {"episodes": []}, "at least 2"),
        (lambda _: {"colour": "red"}, "colour"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_faulty_list_is_refused_when_it_is_read(data, tmp_path, change, words):
    found = listed(data)[1]
    path = written(tmp_path / "list.json", found, **change(json.loads(found.to_json())["episodes"]))
    with pytest.raises(DataError, match=words) as caught:
        read(path)
    assert caught.value.where == str(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            broken(lambda e: e["classes"].__setitem__(0, "z")),
            "episode 1: classes/test has no class 'z'",
        ),
        (broken(lambda e: e["query"][0].__setitem__(0, 12)), "there is no image 12 of"),
        (lambda _: {"content": "0" * 64}, "the list is for other data"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_list_that_does_not_fit_the_data_is_refused(data, tmp_path, change, words):
    found = listed(data)[1]
    path = written(tmp_path / "list.json", found, **change(json.loads(found.to_json())["episodes"]))
    with pytest.raises(DataError, match=words):
        read(path).episodes_of(data, str(path))


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{", b"\xff\xfe", b"[" * 100_000],
    ids=["empty", "list", "half", "binary", "deep"],
)
def test_a_file_that_is_no_list_is_refused(tmp_path, content):
    (tmp_path / "list.json").write_bytes(content)
    with pytest.raises(DataError, match="not a list of episodes"):
        read(tmp_path / "list.json")
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path / "none.json")


@pytest.mark.parametrize("form", ["device", "pipe", "folder"])
def test_what_is_no_file_is_refused_without_reading_it(tmp_path, form):
    path = {"device": Path("/dev/zero"), "pipe": tmp_path / "pipe", "folder": tmp_path}[form]
    if form == "pipe":
        os.mkfifo(path)
    with pytest.raises(DataError, match="not a file"):
        read(path)


def test_a_list_names_each_image_by_the_hash_of_its_pixels(data, tmp_path):
    _, found = listed(data)
    images = data.split("classes", "test")
    assert found.counts is not None and found.images is not None
    for name, hashes in found.images.items():
        own = data.pixels[data.labels == data.class_names.index(name)]
        expected = [hashlib.sha256(image.tobytes()).hexdigest()[:16] for image in own]
        assert hashes == expected and len(images) > len(hashes)
    assert {name for episode in found.episodes for name in episode.classes} == set(found.images)


def test_a_list_without_content_is_refused_for_images_in_another_order(data, tmp_path):
    _, found = listed(data)
    tree = json.loads(found.to_json())
    (name, hashes), *_ = tree["images"].items()
    tree["images"][name] = hashes[1:] + hashes[:1]
    del tree["content"]
    (tmp_path / "list.json").write_text(json.dumps(tree))
    with pytest.raises(DataError, match=f"for other images: image 0 of '{name}'"):
        read(tmp_path / "list.json").episodes_of(data)


def test_lists_of_earlier_releases_keep_their_hash(data):
    _, found = listed(data)
    before = found.model_copy(update={"counts": None, "images": None})
    assert not {"counts", "images"} & json.loads(before.to_json()).keys()
