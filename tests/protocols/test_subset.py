"""Which images are measured: a balanced sample, or the first ones as published numbers use."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from harness.data.base import Images
from harness.protocols.subset import Several, Some, of_config, subset, words
from harness.suite.load import load
from harness.suite.schema import suite_schema

SUITE = """\
name: first
learners: {pixels: {kind: nearest-mean}}
protocols:
  robust: {kind: attack_sweep, dataset: digits, images: IMAGES, attacks: [{attack: fgsm, eps: 0.1}]}
  corrupted: {kind: corruption, dataset: digits, images: IMAGES}
  audit: {kind: biology, dataset: digits, images: IMAGES}
"""


def images(n: int = 40) -> Images:
    labels = np.arange(n) // 10
    return Images(np.zeros((n, 1, 2, 2), np.uint8), labels, np.arange(100, 100 + n), 4)


def test_first_takes_the_first_images_of_the_dataset_in_its_order():
    assert subset(images(), "first 7").index.tolist() == list(range(100, 107))
    assert subset(images(), None).index.tolist() == list(range(100, 140))
    assert sorted(subset(images(), 8).labels.tolist()) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_every_protocol_with_images_takes_the_first_ones(tmp_path):
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE.replace("IMAGES", "{first: 30}"))
    for entry in load(path).protocols:
        (setting,) = entry.protocol.settings()
        identity = json.loads(json.dumps(setting.to_identity()))
        assert identity["images"] == "first 30"
        assert type(setting).from_identity(identity) == setting
        assert "first 30" in json.dumps(entry.protocol.block())


def test_a_number_of_images_keeps_its_place_in_the_key(tmp_path):
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE.replace("IMAGES", "30"))
    for entry in load(path).protocols:
        (setting,) = entry.protocol.settings()
        assert setting.to_identity()["images"] == 30


def test_more_first_images_than_there_are_is_a_fault_at_their_place(tmp_path):
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE.replace("IMAGES", "{first: 10000}"))
    with pytest.raises(Exception, match=r"10000 images of \d+"):
        load(path)


@pytest.mark.parametrize("wrong", [0, "first 3", {"first": 0}, {"frist": 3}, {"first": "3"}, 1.5])
def test_what_names_no_images_is_refused(wrong):
    with pytest.raises(ValidationError):
        TypeAdapter(Some).validate_python(wrong, strict=True)


def test_a_protocol_that_compares_images_needs_two():
    with pytest.raises(ValidationError, match="at least 2"):
        TypeAdapter(Several).validate_python({"first": 1}, strict=True)


def test_the_schema_knows_both_forms():
    keys = suite_schema()["$defs"]["protocol attack_sweep"]["properties"]["images"]
    assert "First" in json.dumps(keys)
    assert "integer" in json.dumps(keys)


def test_the_words_say_which_images():
    assert words(of_config(1000)) == "1000, classes balanced"
    assert words("first 1000") == "the first 1000 in the dataset's order"
