"""Lake's twenty runs: what is shipped, and what is measured on it."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from harness.data import acquire, episode_lists
from harness.data.omniglot import shrink
from harness.data.shipped import split_file
from harness.learning.learner import silent
from harness.protocols.base import Context
from harness.protocols.lake_runs import RUNS, LakeRuns
from harness.registry import datasets, learners
from harness.rng import Rng


def omniglot(root=None):
    return datasets["omniglot"](datasets["omniglot"].Config(), root)


def test_the_shipped_runs():
    """20 runs, two an alphabet, each with one drawer of the examples and another of the items."""
    runs = episode_lists.read(split_file(RUNS))
    assert runs.sha256 == "c5d802a1f4764df163013c796962dec4b1141606e5b1e0b3ba2ed0ddb5b44f40"
    alphabets = [{name.partition("/")[0] for name in run.classes} for run in runs.episodes]
    assert len(runs.episodes) == 20 and all(len(names) == 1 for names in alphabets)
    assert alphabets[::2] == alphabets[1::2] and len(set().union(*alphabets)) == 10
    for run in runs.episodes:
        examples, items = (
            {rank for ranks in side for rank in ranks} for side in (run.support, run.query)
        )
        assert len(run.classes) == 20 and len(examples) == len(items) == 1 and examples != items


def test_they_fit_omniglot_alone():
    protocol = LakeRuns(LakeRuns.Config(), omniglot().facts())
    assert not list(protocol.faults()) and [s.ways for s in protocol.settings()] == [20]
    assert protocol.training().splitting == "lake"
    wrong = LakeRuns(
        LakeRuns.Config(dataset="glyphs"), datasets["glyphs"](datasets["glyphs"].Config()).facts()
    )
    assert [fault.path for fault in wrong.faults()] == [("dataset",)]


@pytest.mark.parametrize(("head", "errors"), [("nearest-mean", 316)])
def test_the_error_of_raw_pixels_by_hand(data_root, head, errors):
    """Nearest neighbour in pixels over the listed drawings; the protocol counts the same errors."""
    data, _ = acquire.load(omniglot(data_root))
    images = data.split("lake", "test")
    runs = episode_lists.read(split_file(RUNS)).episodes
    wrong = 0
    for run in runs:
        of = [np.flatnonzero(data.labels == data.class_names.index(name)) for name in run.classes]
        examples, items = (
            np.stack([data.pixels[rows[ranks[0]]] for rows, ranks in zip(of, side, strict=True)])
            .reshape(20, -1)
            .astype(float)
            for side in (run.support, run.query)
        )
        wrong += int((((items[:, None] - examples) ** 2).sum(2).argmin(1) != np.arange(20)).sum())
    protocol, kind = (
        LakeRuns(LakeRuns.Config(), omniglot(data_root).facts()),
        learners["nearest-mean"],
    )
    protocol.examine(lambda: data)
    learner = kind(kind.Config(head=head), images.shape, 1, Rng(0))
    measured = LakeRuns.measure(
        learner,
        data,
        next(protocol.settings()),
        Context(Rng(0), "cpu", 64, silent, protocol.files()),
    )
    (error,) = measured.values
    assert (
        error.metric == "error"
        and error.n == 20
        and error.value == pytest.approx(wrong / 400) == errors / 400
    )
    assert error.low < error.value < error.high


@pytest.mark.parametrize("rotations", [False, True])
def test_they_are_the_published_ones(data_root, rotations):
    """Example and item of every class, pixel for pixel, in the files that Lake published."""
    path = data_root / "omniglot" / "lake_extras" / "all_runs.zip"
    if not path.is_file():
        pytest.skip("the published files are not there")
    cls = datasets["omniglot"]
    data, _ = acquire.load(cls(cls.Config(rotations=rotations), data_root))
    images, runs = (
        data.split("lake", "test"),
        episode_lists.read(split_file(RUNS)).episodes_of(data),
    )
    with zipfile.ZipFile(path) as archive:

        def drawing(name: str) -> bytes:
            ink = ~np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("1"))
            return shrink(ink[None])[0].tobytes()

        for run, (examples, items) in enumerate(zip(runs.support, runs.query, strict=True)):
            lines = archive.read(f"run{run + 1:02d}/class_labels.txt").decode().split("\n")
            published = {
                (drawing(example), drawing(item))
                for item, example in map(str.split, filter(None, lines))
            }
            assert published == {
                tuple(images.pixels[row, 0].tobytes() for row in pair)
                for pair in zip(examples, items, strict=True)
            }
            assert len(published) == 20
