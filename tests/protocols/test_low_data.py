"""Training on few labelled images: which are drawn, what is counted, faulty configs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from harness import api
from harness.data.base import Facts, Images, Loaded, SplitFacts
from harness.learning.learner import TrainingLog, silent
from harness.protocols.base import Context
from harness.protocols.low_data import LowData, LowDataSetting
from harness.registry import learners
from harness.report.printed import lay_out
from harness.report.tables import build_all
from harness.rng import Rng

FACTS = Facts(
    (1, 4, 4),
    {
        "standard": {"train": SplitFacts(3, 20, 66), "test": SplitFacts(3, 30, 90)},
        "by class": {"train": SplitFacts(3, 20, 66), "test": SplitFacts(3, 30, 90)},
    },
    class_disjoint=frozenset({"by class"}),
)


def protocol(**keys) -> LowData:
    return LowData(
        LowData.Config.model_validate({"dataset": "any", "per_class": [1, 2, 5, "all"], **keys}),
        FACTS,
    )


@pytest.fixture(scope="module")
def data() -> Loaded:
    """Three classes of noisy images, 20, 22 and 24 of them for training, 30 each for testing."""
    generator = np.random.default_rng(0)
    labels = np.concatenate([np.repeat([0, 1, 2], [20, 22, 24]), np.arange(90) % 3])
    centres = generator.integers(60, 190, (3, 1, 4, 4))
    pixels = np.clip(centres[labels] + generator.normal(0, 90, (156, 1, 4, 4)), 0, 255).astype(
        np.uint8
    )
    return Loaded(
        pixels,
        labels,
        ("a", "b", "c"),
        None,
        {"standard": {"train": np.arange(66), "test": np.arange(66, 156)}},
    )


class Noting(learners["nearest-mean"]):
    """A nearest mean that notes what it was trained on."""

    def fit(self, train: Images, **more) -> TrainingLog:
        self.seen = train
        return super().fit(train, **more)


def measure(
    data: Loaded, setting: dict, *, cls=Noting, config=None, seed: int = 0, batch_size: int = 64
):
    learner = cls(config or cls.Config(), (1, 4, 4), 3, Rng(seed).child("learner"))
    return learner, LowData.measure(
        learner, data, setting, Context(Rng(seed).child("measure"), "cpu", batch_size, silent)
    )


def _noting(kind: str) -> type:
    """A learner of some kind that notes what it was trained on."""

    class Noted(learners[kind]):
        def fit(self, train: Images, **more) -> TrainingLog:
            self.seen = train
            return super().fit(train, **more)

    return Noted


TINY = {
    "backbone": "mlp",
    "width": 8,
    "hidden": 8,
    "hypercolumns": 4,
    "filters": 4,
    "units": 8,
    "epochs": 3,
    "readout_epochs": 2,
    "readout_steps": 3,
    "batch": 7,
    "batch_size": 7,
    "images": 30,
    "episodes": 4,
    "iterations": 4,
    "train_ways": 3,
    "train_queries": 1,
    "adapt_steps": 2,
    "inner_steps": 1,
}
"""Values of keys, for learners that have them; a batch is larger than the smallest draw."""


def blobs() -> Loaded:
    """Three classes of noisy 8 x 8 images, 10 each for training and 4 each for testing."""
    generator = np.random.default_rng(1)
    labels = np.arange(42) % 3
    pixels = (60 * labels[:, None, None, None] + generator.integers(0, 90, (42, 1, 8, 8))).astype(
        np.uint8
    )
    splits = {"train": np.arange(30), "test": np.arange(30, 42)}
    return Loaded(pixels, labels, ("a", "b", "c"), None, {"standard": splits})


@pytest.mark.parametrize("kind", sorted({*learners} - {"network"}))
def test_every_learner_gets_as_many_updates_from_few_images_as_from_all(kind):
    steps, logs = [], []
    for per_class in (2, "all"):
        cls = learners[kind]
        keys = {key: TINY[key] for key in TINY if key in cls.Config.model_fields}
        learner = cls(cls.Config(**keys), (1, 8, 8), 3, Rng(0).child("learner"))
        moments: list[int] = []
        learner.watch = lambda _, images_seen, moments=moments: moments.append(images_seen)
        labelled = 30 if per_class == "all" else 6
        setting = LowDataSetting(per_class, labelled, 30, 3, "standard", "test")
        measured = LowData.measure(learner, blobs(), setting, Context(Rng(0), "cpu", 64, silent))
        steps.append(moments)
        logs.append(measured.log["training"])
    few, everything = steps
    assert len(few) == len(everything)
    if cls.mini_batches:
        assert few == everything and logs[0]["images_seen"] == logs[1]["images_seen"] > 0


def test_repeats_are_as_even_as_they_can_be(data):
    for setting in protocol(per_class=[1, 2, 5]).settings():
        seen = measure(data, setting, cls=_noting("mlp"), config=learners["mlp"].Config(epochs=1))
        index, counts = np.unique(seen[0].seen.index, return_counts=True)
        assert len(index) == setting.labelled and counts.sum() == 66
        assert counts.max() - counts.min() <= 1
        np.testing.assert_array_equal(index, drawn(data, setting).index)


def drawn(data: Loaded, setting: dict, seed: int = 0) -> Images:
    return measure(data, setting, seed=seed)[0].seen


@given(seed=st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_a_draw_has_as_many_of_each_class_and_contains_the_smaller_ones(data, seed):
    one, two, five, everything = (drawn(data, setting, seed) for setting in protocol().settings())
    for images, count in ((one, 1), (two, 2), (five, 5)):
        assert np.bincount(images.labels).tolist() == [count] * 3
        assert len(set(images.index)) == 3 * count
    assert (
        set(one.index) < set(two.index) < set(five.index) < set(everything.index) == set(range(66))
    )


def test_seeds_are_different_draws(data):
    setting = next(protocol().settings())
    assert len({tuple(drawn(data, setting, seed).index) for seed in range(20)}) > 15


def test_learners_get_the_same_draw_whatever_their_kind_and_config(data):
    class Other(learners["mlp"]):
        def fit(self, train: Images, **more) -> TrainingLog:
            self.seen = train
            return super().fit(train, **more)

    setting = list(protocol().settings())[1]
    ours = drawn(data, setting, seed=4)
    for hidden in (3, 8):
        learner, _ = measure(
            data, setting, cls=Other, config=Other.Config(hidden=hidden, epochs=1), seed=4
        )
        np.testing.assert_array_equal(np.unique(learner.seen.index), ours.index)
        assert np.bincount(learner.seen.labels).tolist() == [22] * 3


@pytest.mark.parametrize("kind", ["mlp", "prototypes"])
def test_verdicts_are_those_of_the_learner_trained_on_the_draw_in_batches_of_any_size(data, kind):
    setting, config = list(protocol().settings())[2], learners[kind].Config(hidden=8)
    (learner, one), (_, other) = (
        measure(data, setting, cls=learners[kind], config=config, batch_size=size)
        for size in (1, 100)
    )
    test = data.split("standard", "test")
    alone = learners[kind](config, (1, 4, 4), 3, Rng(0).child("learner"))
    seen = drawn(data, setting)
    if learner.mini_batches:  # 66 images of 15, nested draws of which come once more
        seen = measure(data, setting, cls=_noting(kind), config=config)[0].seen
        assert (
            len(seen) == 66
            and np.bincount(np.unique(seen.index, return_inverse=True)[1]).min() == 4
        )
    alone.fit(seen)
    np.testing.assert_array_equal(
        one.arrays["correct"], alone.classifier()(test.tensor()).argmax(1).numpy() == test.labels
    )
    for name, array in one.arrays.items():
        np.testing.assert_array_equal(array, other.arrays[name])
    assert one.values[0].value == one.arrays["correct"].mean() and one.values[0].n == 90


def test_more_images_make_fewer_errors(data):
    few, _, _, everything = (
        np.mean([measure(data, setting, seed=seed)[1].values[0].value for seed in range(10)])
        for setting in protocol().settings()
    )
    assert few + 0.1 < everything


def test_settings_count_what_is_labelled(data):
    found = [(s.per_class, s.labelled, s.ways) for s in protocol().settings()]
    assert found == [(1, 3, 3), (2, 6, 3), (5, 15, 3), ("all", 66, 3)]
    assert protocol().training() is None


@pytest.mark.parametrize(
    ("keys", "path", "words"),
    [
        (
            {"per_class": [5, 21]},
            ("per_class", 1),
            "21 images a class, but a class of standard/train may have only 20",
        ),
        ({"splitting": "none"}, ("splitting",), "no splitting 'none'"),
        ({"split": "val"}, ("split",), "no split 'val'"),
        ({"splitting": "by class"}, ("splitting",), "learners are not trained on the classes"),
    ],
    ids=str,
)
def test_what_cannot_be_drawn_is_a_fault_at_its_key(keys, path, words):
    (fault,) = protocol(**keys).faults()
    assert fault.path == path and words in fault.message
    assert not list(protocol().faults())


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([], "at least 1 item"),
        ([0], "greater than or equal to 1"),
        ([2, 2], "duplicate value"),
        (["most"], "'all'"),
        (["all", "all"], "duplicate value"),
        ([1.5], "valid integer"),
    ],
    ids=str,
)
def test_numbers_of_images_are_positive_and_distinct_or_all(value, words):
    with pytest.raises(ValidationError, match=words) as caught:
        protocol(per_class=value)
    assert len(caught.value.errors()) == 1


SUITE = """
name: few-labels
seeds: [0, 1]
learners: {pixels: {kind: nearest-mean}}
protocols: {few: {kind: low_data, dataset: digits, per_class: [2, 9, all]}}
"""


def test_a_suite_trains_each_cell_alone_and_tabulates_by_images(write_suite, tmp_path):
    run = api.run(write_suite(SUITE), store=tmp_path / "store", workers=1)
    assert len(run.plan.unique) == len(run.results.records) == 2 * 3 and not run.outcome.failed
    assert all(cell.needs is None for cell in run.plan.unique)
    assert not run.results.remarks  # it was trained here, though no cell is a training
    (table,) = build_all(run.results, [])
    assert lay_out(table).headings == (("2 a class",), ("9 a class",), ("all",))
    assert [cell.seeds for cell in table.cells[0]] == [(0, 1)] * 3
