"""The published corruptions as a protocol: what is counted, files of others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from harness.data.base import Facts, Loaded, SplitFacts
from harness.data.corrupted.sets import SETS, corrupted
from harness.errors import DataError
from harness.learning.learner import silent
from harness.protocols.base import Context
from harness.protocols.corruption import CLEAN, MEAN
from harness.protocols.corruption_benchmark import CorruptionBenchmark
from harness.rng import Rng

N = 40
FACTS = Facts(
    (1, 28, 28), {"standard": {"train": SplitFacts(2, 20, 40), "test": SplitFacts(2, 20, 40)}}
)
COLOUR = replace(FACTS, image_shape=(3, 32, 32))


class Halves(torch.nn.Module):
    """Says class 1 where the lower half is brighter than the upper one."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        half = images.shape[2] // 2
        darker = images[:, :, :half].mean((1, 2, 3)) - images[:, :, half:].mean((1, 2, 3))
        return torch.stack([darker, -darker], 1)


class Learner:
    kind = "halves"
    transductive = False

    def classifier(self) -> torch.nn.Module:
        return Halves().eval()


def data(shape: tuple[int, int, int]) -> Loaded:
    """Classes by which half is bright; the test images are the last N."""
    channels, height, width = shape
    labels = np.arange(2 * N) % 2
    pixels = Rng(0).numpy("pixels").integers(0, 90, (2 * N, *shape)).astype(np.uint8)
    pixels[labels == 0, :, : height // 2] += 120
    pixels[labels == 1, :, height // 2 :] += 120
    rows = np.arange(2 * N)
    splits = {"standard": {"train": rows[:N], "test": rows[N:]}}
    return Loaded(pixels, labels, ("upper", "lower"), None, splits)


def protocol(facts: Facts = FACTS, **keys: object) -> CorruptionBenchmark:
    every = {"dataset": "x", "corruption_set": "mnist-c", **keys}
    return CorruptionBenchmark(CorruptionBenchmark.Config.model_validate(every), facts)


def measured(made: CorruptionBenchmark, loaded: Loaded):
    (setting,) = made.settings()
    context = Context(Rng(5), "cpu", 16, silent, made.files())
    return CorruptionBenchmark.measure(Learner(), loaded, setting, context)


def test_every_number_is_the_mean_of_its_verdicts_and_kinds_weigh_equally():
    got = measured(protocol(kinds=["stripe", "impulse_noise", "translate"]), data((1, 28, 28)))
    for value in got.values:
        if value.metric == "accuracy":
            assert value.value == pytest.approx(got.arrays[value.verdicts].mean())
    places = {tuple(v.setting.values()) for v in got.values if v.metric == "accuracy"}
    assert {(CLEAN,), (MEAN,), ("stripe",), ("translate", 5), (MEAN, 1)} <= places
    assert ("stripe", 1) not in places  # it has one severity
    kinds = [got.arrays[kind].mean() for kind in ("stripe", "impulse_noise", "translate")]
    assert got.arrays[MEAN].mean() == pytest.approx(np.mean(kinds))


def test_published_severities_are_one_of_each_kind():
    got = measured(protocol(kinds=["rotate", "scale"], severities="published"), data((1, 28, 28)))
    accuracies = [v.setting for v in got.values if v.metric == "accuracy"]
    assert accuracies == [{"corruption": k} for k in (CLEAN, "rotate", "scale", MEAN)]
    five = measured(protocol(kinds=["rotate"]), data((1, 28, 28)))
    assert np.array_equal(got.arrays["rotate"], five.arrays["rotate/2"])


def test_published_files_give_what_is_drawn_here(tmp_path):
    """Files of both layouts, written from images that were corrupted here."""
    for name, shape in (("mnist-c", (1, 28, 28)), ("cifar-10-c", (3, 32, 32))):
        loaded, folder = data(shape), tmp_path / name
        test = loaded.split("standard", "test")
        kinds = ["brightness", "fog"]
        rng = Rng(5).child("corruption benchmark")
        for kind in kinds:
            published = SETS[name].kinds[kind].published
            levels = [published] if published else [1, 2, 3, 4, 5]
            drawn = [corrupted(test.pixels, name, kind, s, test.index, rng) for s in levels]
            pixels = np.concatenate(drawn).transpose(0, 2, 3, 1)
            where = folder / kind if name == "mnist-c" else folder
            where.mkdir(parents=True, exist_ok=True)
            stem = "test_images" if name == "mnist-c" else kind
            np.save(where / f"{stem}.npy", pixels)
            labels = "test_labels" if name == "mnist-c" else "labels"
            np.save(where / f"{labels}.npy", np.tile(test.labels, len(levels)).astype(np.uint8))
        facts = FACTS if name == "mnist-c" else COLOUR
        keys = {"corruption_set": name, "kinds": kinds, "severities": "published"}
        read = measured(protocol(facts, **keys, files=str(folder)), loaded)
        here = measured(protocol(facts, **keys), loaded)
        assert not list(protocol(facts, **keys, files=str(folder)).faults())
        assert {k: v.tolist() for k, v in read.arrays.items()} == {
            k: v.tolist() for k, v in here.arrays.items()
        }


def test_files_of_other_images_are_refused(tmp_path):
    (tmp_path / "fog").mkdir()
    np.save(tmp_path / "fog" / "test_images.npy", np.zeros((N, 28, 28), np.uint8))
    np.save(tmp_path / "fog" / "test_labels.npy", np.zeros(N, np.uint8))
    keys = {"kinds": ["fog"], "severities": "published", "files": str(tmp_path)}
    with pytest.raises(DataError, match="its labels are not those"):
        measured(protocol(**keys), data((1, 28, 28)))
    np.save(tmp_path / "fog" / "test_labels.npy", (np.arange(N) % 2).astype(np.uint8))
    np.save(tmp_path / "fog" / "test_images.npy", np.zeros((N, 14, 14), np.uint8))
    with pytest.raises(DataError, match="where uint8"):
        measured(protocol(**keys), data((1, 28, 28)))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"kinds": ["mist"]}, "has no 'mist'"),
        ({"corruption_set": "cifar-10-c"}, "is defined for images of 3x32x32"),
        ({"files": "nowhere"}, "have one severity"),
        ({"files": "nowhere", "severities": "published"}, "no file nowhere"),
    ],
)
def test_impossible_combinations_are_named(keys, message):
    assert any(message in fault.message for fault in protocol(**keys).faults())
