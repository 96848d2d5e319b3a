"""Representational similarity on synthetic recordings, and on the real ones where they are."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness import registry
from harness.data import recordings
from harness.data.base import Facts, Loaded, SplitFacts
from harness.errors import DataError
from harness.learning.learner import silent
from harness.metrics.representations import (
    count_of_stimuli,
    dissimilarities,
    mean_correlation,
    partial_correlation,
    standard_error,
)
from harness.protocols.base import Context
from harness.protocols.rsa import Rsa
from harness.rng import Rng
from harness.suite import published as shelf

S = 14
SHAPE = (3, 8, 8)
FACTS = Facts(SHAPE, {"standard": {"train": SplitFacts(2, 4, 8), "test": SplitFacts(2, 4, 8)}})


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A brain that sees pixels, two people who nearly do, and a model."""
    root = tmp_path_factory.mktemp("recordings")
    (root / "stimuli").mkdir()
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (S, 8, 8, 3), dtype=np.uint8)
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(root / "stimuli" / f"{i:02d}.png")
    own = dissimilarities(pixels.transpose(0, 3, 1, 2).reshape(S, -1).astype(float))
    noisy = own + 0.3 * own.std() * generator.standard_normal((4, len(own)))
    rows = [("IT", "brain", "", ""), ("mean", "brain", "", ""), ("model", "model", "", "")]
    rows[1] = ("people-mean", "brain", "", "")
    rows += [(f"people-{s}-{n}", "brain", s, str(n)) for s in ("s1", "s2") for n in (1, 2)]
    np.save(root / "rdms.npy", np.vstack([own, noisy.mean(0), -own, noisy]).astype(np.float32))
    with (root / "rdms.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "name", "kind", "subject", "session"])
        writer.writerows([(i, *row) for i, row in enumerate(rows)])
    return root


def measured(folder: Path, kind: str = "head", **keys) -> dict[tuple[str, str], float]:
    protocol = Rsa(Rsa.Config(dataset="digits", recordings=str(folder), draws=20), FACTS)
    assert not list(protocol.faults())
    cls = registry.learners[kind]
    learner = cls(cls.Config(**keys), SHAPE, 2, Rng(0))
    images = np.random.default_rng(1).integers(0, 256, (16, *SHAPE), dtype=np.uint8)
    split = {"train": np.arange(8), "test": np.arange(8, 16)}
    data = Loaded(images, np.arange(16) % 2, ("x", "y"), None, {"standard": split})
    learner.fit(data.split("standard", "train"))
    context = Context(Rng(1), "cpu", 5, silent, protocol.files())
    values = Rsa.measure(learner, data, next(protocol.settings()), context).values
    return {(v.metric, v.setting["brain"]): v.value for v in values}


def test_a_learner_of_pixels_is_a_brain_of_pixels(folder):
    found = measured(folder)
    assert found["rsa_spearman", "IT"] == pytest.approx(1, abs=1e-4)
    assert found["rsa_pixels", "IT"] == pytest.approx(found["rsa_spearman", "IT"])
    assert ("rsa_given_pixels", "IT") not in found  # nothing is left of it
    assert found["rsa_p", "IT"] == pytest.approx(1 / 21)


def test_subjects_are_means_of_sessions_and_have_a_ceiling(folder):
    found = measured(folder)
    low, value = found["rsa_ceiling_low", "people"], found["rsa_spearman", "people"]
    assert low < value <= found["rsa_ceiling_high", "people"] + 0.05 < 1.05
    assert ("rsa_ceiling_low", "IT") not in found
    assert {target for _, target in found} == {"IT", "people"}  # no mean of them, no model


def test_damaged_and_missing_recordings_are_refused(folder, tmp_path):
    with pytest.raises(DataError, match=r"14 rows|finite"):
        recordings.read(folder / "rdms.npy", folder / "rdms.csv", S + 1)
    protocol = Rsa(Rsa.Config(dataset="digits", recordings=str(tmp_path)), FACTS)
    (fault,) = protocol.faults()
    assert fault.path == ("recordings",) and "rdms.npy" in fault.message


def test_what_pixels_explain_is_removed():
    generator = np.random.default_rng(0)
    given, own = generator.standard_normal((2, 600))
    model, subject = given + own, given + own
    assert partial_correlation(model, subject[None], given) == pytest.approx(1, abs=0.02)
    unrelated = given + generator.standard_normal(600)
    assert abs(partial_correlation(model, unrelated[None], given)) < 0.1
    assert mean_correlation(model, unrelated[None]) > 0.3


def test_the_error_over_subjects_is_added_to_that_over_stimuli():
    generator = np.random.default_rng(0)
    model = dissimilarities(generator.standard_normal((20, 8)))
    assert count_of_stimuli(model) == 20
    alike = np.stack([model + 0.5 * generator.standard_normal(len(model)) for _ in range(3)])
    unlike = np.stack([alike[0], -alike[1], alike[2]])
    one, other = (standard_error(model, subjects, 40, 0) for subjects in (alike, unlike))
    each = [mean_correlation(model, subject[None]) for subject in unlike]
    assert other > 3 * one and other >= np.std(each) / np.sqrt(3) - 1e-9


DATA = Path(os.environ.get("HARNESS_DATA", "/nowhere")) / "brain-92"


@pytest.mark.skipif(not DATA.is_dir(), reason="no brain-92 in HARNESS_DATA")
def test_models_of_the_92_images_have_their_known_correlations():
    """Computed once and independently, from the matrices of the source."""
    matrices, rows, *stimuli = recordings.files_of(DATA)
    known = recordings.read(matrices, rows, len(stimuli))
    expected = {
        "V1-model": (0.027, 0.074, 0.069),
        "HMAX-a": (0.160, 0.245, 0.161),
        "HMAX-natural-patches": (0.073, 0.090, 0.108),
        "silhouette": (0.097, 0.247, 0.100),
        "animacy": (0.386, 0.453, 0.378),
    }
    targets = [known.targets[name] for name in ("human-IT", "monkey-IT", "judgement")]
    for name, numbers in expected.items():
        got = [mean_correlation(known.models[name], target) for target in targets]
        assert got == pytest.approx(numbers, abs=6e-4), name
    assert [len(target) for target in targets] == [4, 1, 16]
    for name, lines in shelf.shelf().items():
        for line in lines if name.startswith("brain-92/") else []:
            target = known.targets[line["setting"].split('"')[1]]
            row = known.models.get(line["learner"])
            row = known.targets[line["learner"]][0] if row is None else row
            assert float(line["value"]) == pytest.approx(mean_correlation(row, target), abs=6e-4)
    gray = recordings.images(stimuli, (1, 64, 64)).reshape(92, -1).astype(float)
    of_pixels = [mean_correlation(dissimilarities(gray), target) for target in targets]
    assert of_pixels == pytest.approx((0.020, 0.081, 0.058), abs=4e-3)
