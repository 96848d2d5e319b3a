"""The contact sheet and the statistics of splits."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from harness.data import sheet
from harness.data.base import Loaded
from harness.errors import HarnessError


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.sampled_from([1, 3]))
def test_moments_are_numpys(seed, n, channels):
    pixels = np.random.default_rng(seed).integers(0, 256, (n, channels, 5, 4), np.uint8)
    mean, std = sheet.channel_moments(pixels)
    assert np.allclose(mean, (pixels / 255).mean((0, 2, 3))) and np.allclose(
        std, (pixels / 255).std((0, 2, 3)), atol=1e-12
    )


def loaded():
    """Three classes, each of one colour: red in train, green and blue in test."""
    pixels = np.zeros((7, 3, 20, 20), np.uint8)
    labels = np.array([0, 0, 0, 1, 1, 2, 2])
    pixels[np.arange(7), labels] = 200
    splits = {"train": np.arange(3), "test": np.arange(3, 7)}
    return Loaded(pixels, labels, ("red", "grün 緑", "blue " * 40), None, {"classes": splits})


def test_the_sheet_shows_the_classes_of_each_split(tmp_path):
    picture = np.asarray(Image.open(sheet.write(loaded(), tmp_path / "sheet.png"))).astype(int)
    colours = [tuple(picture[y, sheet.MARGIN + 10]) for y in range(len(picture))]
    shown = [
        colour
        for colour, before in zip(colours[1:], colours, strict=False)
        if colour != before and max(colour) == 200
    ]
    assert shown == [(200, 0, 0), (0, 200, 0), (0, 0, 200)]


def test_a_sheet_by_another_ending_is_refused(tmp_path):
    with pytest.raises(HarnessError, match=r"PNG[\s\S]*sheet\.png"):
        sheet.write(loaded(), tmp_path / "sheet.jpg")
    assert list(tmp_path.iterdir()) == []


def test_statistics_of_each_split():
    train, test = sheet.statistics(loaded())
    assert (train["split"], train["classes"], train["images"], train["images a class"]) == (
        "classes/train",
        1,
        3,
        "3",
    )
    assert test["images a class"] == "2" and test["size"] == "3x20x20"
    assert np.allclose(test["mean"], [0, 100 / 255, 100 / 255]) and np.allclose(
        test["std"], [0, 100 / 255, 100 / 255]
    )


def command(*words, cwd):
    whole = [sys.executable, "-m", "harness", "data", *map(str, words)]
    return subprocess.run(whole, capture_output=True, text=True, cwd=cwd)


def test_the_command_writes_and_prints(tmp_path):
    done = command("show", "digits", "--json", cwd=tmp_path)
    assert (
        json.loads(done.stdout)["splits"][0]["images"] == 1257
        and (tmp_path / "digits.png").is_file()
    )
    assert "standard/test" in command("show", "digits", "--out", "x.png", cwd=tmp_path).stdout
    assert "a class" in command("show", "digits", "--splitting", "classes", cwd=tmp_path).stdout


@pytest.mark.parametrize(
    "words, word",
    [
        (["show", "omniglot"], "harness data import omniglot"),
        (["show", "digits", "--splitting", "x"], "no splitting"),
        (["show", "omniglot", "--set", "rotation=true"], "did you mean 'rotations'"),
        (["path", "omniglot", "--set", "rotations=7"], "should be"),
        (["get", "mini-imagenet"], "harness data import mini-imagenet"),
        (["get", "nothing"], "unknown dataset"),
        (["import", "mnist", "no/where"], "no such file"),
        (["verify", "--set", "a=b"], "one dataset"),
    ],
)
def test_faults_of_the_commands_are_one_clear_error(tmp_path, words, word):
    done = command(*words, "--data-root", tmp_path, cwd=tmp_path)
    assert done.returncode == 2 and word in done.stderr and "Traceback" not in done.stderr
