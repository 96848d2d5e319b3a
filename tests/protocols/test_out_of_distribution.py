"""Out of distribution and calibration: what is measured, on which data, and from which cells."""

from __future__ import annotations

import numpy as np
import pytest

from harness.cells import plan
from harness.cells.collect import collect
from harness.cells.run import Conditions, run
from harness.data import acquire
from harness.data.beside import Beside, beside
from harness.errors import HarnessError
from harness.learning.learner import silent
from harness.registry import datasets
from harness.report.reliability_figure import reliability_diagram
from harness.storage.store import Store
from harness.suite.load import load

SUITE = """
name: shift
learners:
  pixels: {kind: nearest-mean}
protocols:
  clean: {kind: classification, dataset: digits}
  calibrated: {kind: calibration, dataset: digits, images: 100}
  outside: {kind: out_of_distribution, dataset: digits, outside: [digits, noise], images: 100}
"""


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    path = tmp_path_factory.mktemp("suite") / "suite.yaml"
    path.write_text(SUITE)
    return load(path)


@pytest.fixture(scope="module")
def finished(suite, tmp_path_factory):
    """The plan, its results, and their store."""
    store = Store(tmp_path_factory.mktemp("store"))
    made = plan.make(suite)
    for cell in made.cells:
        if not store.done(cell.key):
            run(cell, Conditions(store), silent)
    return made, collect(made, store), store


def cell_of(made, protocol):
    return next(cell for cell in made.cells if cell.protocol == protocol)


def test_a_dataset_with_others_beside_it_keeps_its_own_images_and_splits():
    own = datasets["digits"](datasets["digits"].Config())
    joined = beside(own, ["digits"])
    data, facts = acquire.load(joined)[0], joined.facts()
    plain = acquire.load(own)[0]
    for split in ("train", "val", "test"):
        a, b = data.split("standard", split), plain.split("standard", split)
        assert np.array_equal(a.pixels, b.pixels) and np.array_equal(a.labels, b.labels)
        assert np.array_equal(a.index, b.index)
    others = data.split("standard", "digits")
    assert np.array_equal(others.pixels, plain.split("standard", "test").pixels)
    assert others.index.min() == len(plain.pixels)  # they are further images
    assert facts.splittings["standard"]["digits"].images == len(others)
    assert data.class_names == plain.class_names
    rebuilt = Beside(Beside.Config.model_validate(joined.config.model_dump(mode="json")))
    assert rebuilt.facts() == facts


def test_learners_are_trained_once_on_what_is_inside(finished):
    made, _, _ = finished
    trainings = {cell.training for cell in made.cells if cell.role == "measure"}
    assert len(trainings) == 1
    assert cell_of(made, "outside").identity["dataset"]["kind"] == "beside"
    assert cell_of(made, "clean").identity["dataset"]["kind"] == "digits"


def test_auroc_and_fpr95_are_means_of_stored_verdicts(finished):
    made, results, store = finished
    arrays = store.arrays(cell_of(made, "outside").key)
    records = [record for record in results.records if record.protocol == "outside"]
    assert {(r.setting["outside"], r.setting["score"]) for r in records} == {
        (outside, score) for outside in ("digits", "noise") for score in ("max_logit", "energy")
    }
    for record in records:
        assert record.value == pytest.approx(arrays[record.verdicts].mean())
        assert record.n == len(arrays[record.verdicts]) == 100
        assert record.low <= record.value <= record.high


def test_noise_is_the_same_for_every_learner_and_another_for_every_seed(suite, finished):
    from harness.protocols.base import Context
    from harness.protocols.out_of_distribution import _outside
    from harness.rng import Rng

    (setting,) = suite.protocols[2].protocol.settings()
    images = acquire.load(suite.protocols[2].dataset)[0].split("standard", "test")
    first, again, other = (
        _outside(None, setting, "noise", images, Context(Rng(seed), "cpu", 16, silent)).pixels
        for seed in (0, 0, 1)
    )
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert first.mean() == pytest.approx(127.5, abs=2)


def test_calibration_counts_bins_that_add_up_and_scaling_does_not_hurt_likelihood(finished):
    made, results, store = finished
    records = [record for record in results.records if record.protocol == "calibrated"]
    arrays = store.arrays(cell_of(made, "calibrated").key)
    for logits in ("plain", "scaled"):
        of = [r for r in records if r.setting["logits"] == logits]
        right = {r.setting["bin"]: r for r in of if r.metric == "right_in_bin"}
        sure = {r.setting["bin"]: r for r in of if r.metric == "confidence_in_bin"}
        assert sum(r.n for r in right.values()) == 100
        assert sum(r.n * r.value for r in right.values()) == pytest.approx(arrays["correct"].sum())
        ece = next(r.value for r in of if r.metric == "ece")
        gaps = sum(r.n * abs(r.value - sure[b].value) for b, r in right.items())
        assert ece == pytest.approx(gaps / 100)
    assert len({r.value for r in records if r.metric == "temperature"}) == 1
    assert set(arrays) == {"correct", "nll", "nll_scaled", "index"}


def test_the_reliability_diagram_has_a_panel_with_and_without_a_temperature(finished):
    figure = reliability_diagram(finished[1], "calibrated")
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert titles == ["logits as they are", "after temperature scaling"]
    (_, curve, *_) = figure.axes[0].get_lines()
    right = [r for r in finished[1].records if r.metric == "right_in_bin"]
    plain = sorted(100 * r.value for r in right if r.setting["logits"] == "plain")
    assert sorted(curve.get_ydata()) == pytest.approx(plain)


@pytest.mark.parametrize(
    ("outside", "message"),
    [("[mnsit]", "mnsit"), ("[mnist5k]", "1x28x28"), ("[test]", "is inside"), ("[]", "at least 1")],
)
def test_what_cannot_be_outside_is_named(tmp_path, outside, message):
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE.replace("[digits, noise]", outside))
    with pytest.raises(HarnessError, match=message):
        load(path)


def test_other_classes_are_outside_and_never_trained_on(tmp_path):
    cls = datasets["some-classes"]
    data = acquire.load(cls(cls.Config(of="digits", kept=6)))[0]
    whole = acquire.load(datasets["digits"](datasets["digits"].Config()))[0]
    rows = data.splittings["standard"]
    for split in ("train", "val", "test"):
        assert set(whole.labels[rows[split]]) == set(range(6))
        assert np.array_equal(data.labels[rows[split]], whole.labels[rows[split]])
    assert set(whole.labels[rows["others"]]) == {6, 7, 8, 9}
    both = np.concatenate([rows["test"], rows["others"]])
    assert np.array_equal(np.sort(both), whole.splittings["standard"]["test"])
    assert data.split("standard", "train").n_classes == len(data.class_names) == 6
    path = tmp_path / "suite.yaml"
    text = SUITE.replace("dataset: digits", "dataset: {kind: some-classes, of: digits, kept: 6}")
    path.write_text(text.replace("[digits, noise]", "[others]"))
    store = Store(tmp_path / "store")
    made = plan.make(load(path))
    for cell in made.cells:
        run(cell, Conditions(store), silent)
    results = collect(made, store)
    auroc = [record.value for record in results.records if record.metric == "auroc"]
    assert len(auroc) == 2 and min(auroc) > 0.5  # six digits are known from the other four
