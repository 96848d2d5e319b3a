"""Streams: which images each task has, as data that can be written and read."""

from __future__ import annotations

import json

import numpy as np
import pytest

from harness.data import stream_files
from harness.data.base import Images, Loaded
from harness.data.streams import (
    Halves,
    Parts,
    by_classes,
    by_groups,
    by_sessions,
    permuted,
    rotated,
)
from harness.data.views import View
from harness.errors import DataError

SHAPE = (1, 4, 4)


def images(per_class: int = 3, classes: int = 6) -> Images:
    generator = np.random.default_rng(0)
    labels = np.tile(np.arange(classes), per_class)
    pixels = generator.integers(0, 256, (len(labels), *SHAPE)).astype(np.uint8)
    return Images(pixels, labels, np.arange(len(labels)) + 100, classes)


def loaded(classes: int = 6) -> Loaded:
    both = [images(), images(2)]
    pixels = np.concatenate([each.pixels for each in both])
    labels = np.concatenate([each.labels for each in both])
    splits = {"train": np.arange(18), "test": np.arange(18, 30)}
    names = tuple(f"class {label}" for label in range(classes))
    return Loaded(pixels, labels, names, None, {"standard": splits})


def test_every_image_of_a_class_is_in_the_one_task_of_its_class():
    stream = by_classes(6, 2, "class", 3)
    parts = [stream.part(images(), number) for number in range(3)]
    assert sorted(np.concatenate([part.index for part in parts])) == list(range(100, 118))
    assert [sorted({*part.labels.tolist()}) for part in parts] == [[0, 1], [2, 3], [4, 5]]


def test_the_output_unit_of_a_class_is_its_place_in_the_order():
    stream = by_classes(6, 2, "class", 3)
    every = images()
    for number, task in enumerate(stream.tasks):
        part = stream.part(every, number)
        classes = every.labels[part.index - 100]
        assert dict(zip(classes.tolist(), part.labels.tolist(), strict=True)) == dict(
            zip(task.classes, task.outputs, strict=True)
        )


def test_tasks_share_their_outputs_in_scenario_domain_only():
    assert [task.outputs for task in by_classes(6, 2, "domain", 0).tasks] == [(0, 1)] * 3
    assert by_classes(6, 2, "task", 0).outputs == 6
    assert permuted(6, 3, SHAPE, "domain", 1).outputs == 6
    assert permuted(6, 3, SHAPE, "class", 1).outputs == 18


def test_an_order_is_the_same_everywhere_and_order_0_is_the_datasets_own():
    assert by_classes(10, 2, "class", 4) == by_classes(10, 2, "class", 4)
    assert by_classes(10, 2, "class", 4).sha256 != by_classes(10, 2, "class", 5).sha256
    assert by_classes(10, 2, "class", 0).tasks[0].classes == (0, 1)


def test_groups_of_unequal_size_make_unequal_tasks():
    stream = by_groups([0, 1, 0, 0, 1, 0], ["a", "b"], "class", 0)
    assert [task.classes for task in stream.tasks] == [(0, 2, 3, 5), (1, 4)]
    with pytest.raises(DataError, match="cannot share"):
        by_groups([0, 1, 0], ["a", "b"], "domain", 0)


@pytest.mark.parametrize(("classes", "per_task", "says"), [(10, 3, "divide"), (4, 4, "two tasks")])
def test_impossible_splits_are_refused(classes, per_task, says):
    with pytest.raises(DataError, match=says):
        by_classes(classes, per_task, "class", 1)


def test_a_permutation_moves_pixels_alike_and_leaves_the_first_task():
    stream = permuted(6, 3, SHAPE, "domain", 2)
    every = images()
    plain, moved = (stream.part(every, number).pixels for number in (0, 1))
    assert (plain == every.pixels).all()
    assert (moved != plain).any()
    places = np.array(stream.tasks[1].view.pixels)
    assert (moved.reshape(-1, 16) == plain.reshape(-1, 16)[:, places]).all()


def test_a_rotation_by_right_angles_is_exact():
    pixels = images().pixels
    for degrees, turns in ((90.0, 1), (180.0, 2), (-90.0, 3)):
        expected = np.rot90(pixels, turns, (2, 3))
        assert (View("rotate", degrees=degrees)(pixels) == expected).all()
    assert {task.view.degrees for task in rotated(6, [0, 80, 160], "domain", 1).tasks} == {
        0,
        80,
        160,
    }


def test_later_parts_cannot_be_reached():
    parts = Parts(by_classes(6, 2, "class", 1), images(), 2)
    assert len(parts) == 2
    assert (parts[-1].index == parts[1].index).all()
    for number in (2, -3):
        with pytest.raises(IndexError):
            parts[number]


@pytest.mark.parametrize(
    "stream",
    [
        by_classes(6, 2, "class", 3),
        permuted(6, 2, SHAPE, "domain", 1),
        rotated(6, [0, 45], "task", 1),
        by_sessions(6, 2, 2, 1, "class", 3),
    ],
    ids=["classes", "permuted", "rotated", "sessions"],
)
def test_a_stream_comes_back_from_its_file(stream, tmp_path):
    data = loaded()
    content = stream_files.described(stream, data, Halves("standard", "test"), "d")
    path = tmp_path / "stream.json"
    path.write_text(json.dumps(content))
    given = stream_files.read(path)
    given.check(data, str(path))
    assert given.stream(6, 16, str(path)).sha256 == stream.sha256


def test_held_out_images_are_as_many_of_each_class_and_the_others_are_learned():
    data = loaded()
    train, test = Halves("standard", "train", held_out=1).images(data)
    assert np.bincount(test.labels).tolist() == [1] * 6
    assert sorted([*train.index, *test.index]) == list(range(18))
    again = Halves("standard", "train", held_out=1).images(data)[1]
    assert (again.index == test.index).all()


def test_a_stream_with_held_out_images_comes_back_from_its_file(tmp_path):
    data, tested = loaded(), Halves("standard", "train", held_out=1)
    content = stream_files.described(by_classes(6, 2, "class", 3), data, tested, "d")
    assert content["tasks"][0]["train"]["n"] == 4 and content["tasks"][0]["test"]["n"] == 2
    path = tmp_path / "stream.json"
    path.write_text(json.dumps(content))
    given = stream_files.read(path)
    given.check(data, str(path))
    assert given.tested == tested


def test_a_session_learns_a_few_images_of_each_new_class_the_same_for_everyone():
    stream = by_sessions(6, 2, 2, 1, "class", 4)
    parts = Parts(stream, images(), 3)
    assert [np.bincount(part.labels)[-2:].tolist() for part in parts] == [[3, 3], [1, 1], [1, 1]]
    again = Parts(by_sessions(6, 2, 2, 1, "class", 4), images(), 3)
    assert (parts[1].index == again[1].index).all()
    assert len(stream.part(images(), 1)) == 6, "all test images are tested"
    other = by_sessions(6, 2, 2, 1, "class", 5)
    assert other.sha256 != stream.sha256 != by_sessions(6, 2, 2, 2, "class", 4).sha256
    with pytest.raises(DataError, match="do not divide into sessions"):
        by_sessions(6, 1, 2, 1, "class", 4)


def edited(tmp_path, **changes) -> stream_files.StreamFile:
    content = stream_files.described(
        by_classes(6, 2, "class", 3), loaded(), Halves("standard", "test"), "d"
    )
    for place, value in changes.items():
        content["tasks"][0][place] = value
    path = tmp_path / "stream.json"
    path.write_text(json.dumps(content))
    return stream_files.read(path)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"classes": [0, 17]}, "no class 17"),
        ({"classes": [1, 1]}, "duplicate class"),
        ({"outputs": [0]}, "as many different outputs"),
        ({"outputs": [0, 3]}, "outputs leave out|same output"),
        ({"view": {"kind": "permute"}}, "pixels"),
        ({"view": {"kind": "permute", "pixels": [0] * 16}}, "no permutation"),
        ({"classes": [0, 1]}, "same class|hash to"),
    ],
)
def test_impossible_tasks_of_a_file_are_named(changes, says, tmp_path):
    with pytest.raises(DataError, match=says):
        edited(tmp_path, **changes).stream(6, 16, "f")


def test_a_file_of_other_images_is_refused(tmp_path):
    other = loaded()
    other.labels[0] = 1
    with pytest.raises(DataError, match="other data"):
        edited(tmp_path).check(other, "f")


def test_a_file_that_is_no_stream_is_named_in_one_line(tmp_path):
    path = tmp_path / "x.json"
    path.write_text('{"schema": 1, "tasks": []}')
    with pytest.raises(DataError, match="not a stream"):
        stream_files.read(path)
