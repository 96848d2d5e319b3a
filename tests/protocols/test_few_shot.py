"""The few-shot protocol: faulty configs, what is counted, and refused classifiers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from harness.data.base import Facts, Loaded, SplitFacts
from harness.data.sampler import sample
from harness.learning import heads
from harness.learning.feature_learner import FeatureLearner
from harness.learning.learner import Learner, TrainingLog, silent
from harness.metrics.statistics import share_interval
from harness.protocols.base import Context
from harness.protocols.episode_verdicts import NOTHING, episode_verdicts, list_of
from harness.protocols.few_shot import FewShot
from harness.registry import Config, learners
from harness.rng import Rng

CLASSES, EACH = 6, 10
FACTS = Facts(
    (1, 4, 4),
    {
        "standard": {"train": SplitFacts(CLASSES, EACH, 60), "test": SplitFacts(CLASSES, EACH, 60)},
        "classes": {"train": SplitFacts(CLASSES, EACH, 60), "test": SplitFacts(CLASSES, EACH, 60)},
    },
    class_disjoint=frozenset({"classes"}),
)


def protocol(**keys) -> FewShot:
    return FewShot(
        FewShot.Config(
            **{"dataset": "any", "ways": 3, "shots": 2, "queries": 2, "episodes": 20, **keys}
        ),
        FACTS,
    )


@pytest.fixture(scope="module")
def data() -> Loaded:
    """Twelve separable classes of noisy 4 x 4 images; the last six are for testing."""
    rng = np.random.default_rng(0)
    labels = np.arange(2 * CLASSES * EACH) % (2 * CLASSES)
    centres = rng.integers(40, 210, (2 * CLASSES, 1, 4, 4))
    pixels = np.clip(centres[labels] + rng.normal(0, 10, (len(labels), 1, 4, 4)), 0, 255).astype(
        np.uint8
    )
    splits = {"train": np.flatnonzero(labels < CLASSES), "test": np.flatnonzero(labels >= CLASSES)}
    return Loaded(
        pixels,
        labels.astype(np.int64),
        tuple("abcdefghijkl"),
        None,
        {"classes": splits, "standard": splits},
    )


class Bent(nn.Module):
    """Nearest mean, except that the first ``broken`` logits of every batch are ``value``."""

    def __init__(self, head: nn.Module, broken: int, value: float):
        super().__init__()
        self.head, self.broken, self.value = head, broken, value

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = self.head(images)
        logits.view(-1)[: self.broken] = self.value
        return logits


class Adapting(Learner):
    """A nearest mean of pixels for each episode; its modules can be made faulty."""

    kind = "adapting"

    class Config(Config):
        """Faults."""

        broken: int = 0
        value: float = 0.0
        training: bool = False

    def fit(self, train, *, budget=None, progress=silent) -> TrainingLog:
        raise AssertionError("a protocol trains nothing")

    def classifier(self):
        raise AssertionError("few-shot episodes have classifiers of their own")

    def embed(self, images):
        raise AssertionError("its features are not frozen")

    def connectome(self):
        return []

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass

    def adapt(self, support_images, support_labels, n_way):
        body, config = nn.Flatten(), self.config
        head = heads.fit(
            "nearest-mean", body(support_images)[None], support_labels[None], n_way
        ).on(body)
        module = Bent(head, config.broken, config.value).eval()
        head.body.train(config.training)  # a part of it only
        return module


class Dropping(FeatureLearner):
    """Nearest mean of pixels behind a dropout layer that nobody put in eval mode."""

    kind = "dropping"

    class Config(Config):
        """As a nearest mean has."""

        head: str = "nearest-mean"

    fit = Adapting.fit
    classifier = Adapting.classifier
    connectome = Adapting.connectome

    def body(self) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Dropout(0.5)).train()


def measure(learner: Learner, data: Loaded, batch_size: int = 64, **keys):
    setting = next(protocol(**keys).settings())
    return FewShot.measure(learner, data, setting, Context(Rng(3), "cpu", batch_size, silent))


def adapting(**faults) -> Adapting:
    return Adapting(
        Adapting.Config.model_construct(**{"broken": 0, "value": 0.0, "training": False, **faults}),
        (1, 4, 4),
        CLASSES,
        Rng(0),
    )


@pytest.mark.parametrize("key", ["ways", "shots"])
@pytest.mark.parametrize(
    ("value", "type_", "below"),
    [
        ("five", "value_error", ()),
        ([1, "3-2"], "value_error", (1,)),
        ([], "too_short", ()),
        ([2, 3, 2], "value_error", ()),
        ([2, 0], "greater_than_equal", (1,)),
        (0, "greater_than_equal", ()),
    ],
    ids=str,
)
def test_ways_and_shots_are_positive_distinct_and_at_least_one(key, value, type_, below):
    with pytest.raises(ValidationError) as caught:
        protocol(**{key: value})
    (error,) = caught.value.errors()
    # A union also names its branch in a location.
    assert (
        error["type"],
        error["loc"][0],
        tuple(s for s in error["loc"] if isinstance(s, int)),
    ) == (type_, key, below)


def test_the_schema_asks_the_same_of_ways_and_shots():
    properties = FewShot.Config.model_json_schema()["properties"]
    for key in ("ways", "shots"):
        listed = next(branch for branch in properties[key]["oneOf"] if branch["type"] == "array")
        assert listed["minItems"] == 1 and listed["uniqueItems"]
        assert (
            listed["items"]["oneOf"][0]["minimum"] == 1
            and listed["items"]["oneOf"][1]["pattern"] == "^[0-9]+-[0-9]+$"
        )


@pytest.mark.parametrize(
    "keys",
    [
        {"ways": [2, 3], "shots": [1, 5]},
        {"ways": 4, "shots": [3]},
        {"ways": [4, "2-5"], "shots": [1, "1-3"]},
    ],
    ids=str,
)
def test_one_setting_for_each_ways_and_shots(keys):
    found = [(s.ways, s.shots) for s in protocol(**keys).settings()]
    wide = keys["ways"] if isinstance(keys["ways"], list) else [keys["ways"]]
    assert found == [(ways, shots) for ways in wide for shots in keys["shots"]]


@pytest.mark.parametrize(
    ("keys", "path"),
    [
        ({"ways": [2, 7]}, ("ways", 1)),
        ({"ways": 1}, ("ways",)),
        ({"shots": [1, 9]}, ("shots", 1)),
        ({"splitting": "none"}, ("splitting",)),
        ({"split": "val"}, ("split",)),
        ({"splitting": "standard"}, ("splitting",)),
        ({"mode": "image_disjoint"}, ("episodes",)),
        ({"ways": "2-7"}, ("ways",)),
        ({"ways": "1-3"}, ("ways",)),
        ({"shots": ["1-3", "1-9"]}, ("shots", 1)),
        ({"episodes_from": "nowhere.json"}, ("episodes_from",)),
    ],
    ids=str,
)
def test_impossible_episodes_are_faults_at_their_key(keys, path):
    assert path in [fault.path for fault in protocol(**keys).faults()]
    assert not list(protocol().faults())


def test_accuracy_is_the_mean_over_episodes_of_their_verdicts(data):
    measured = measure(adapting(), data)
    value, arrays = measured.values[0], measured.arrays
    assert arrays["correct"].shape == (20, 6) and value.n == 20 and value.unit == "episode"
    np.testing.assert_array_equal(arrays["accuracy"], arrays["correct"].mean(1))
    assert value.value == arrays["accuracy"].mean() > 0.9
    assert (value.low, value.high) == share_interval(arrays["accuracy"])


def test_episodes_without_an_error_still_have_an_interval(data):
    measured = measure(adapting(), data)
    value = measured.values[0]
    assert value.value == value.high == 1.0
    t = 2.0930  # 19 degrees of freedom
    assert value.low == pytest.approx(20 / (20 + t**2), abs=1e-4)  # Wilson's bound of 20 of 20


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_logits_that_are_not_finite_fail_the_cell(data, value):
    with pytest.raises(
        FloatingPointError, match=r"adapting: 48 of 288 logits"
    ):  # 3 in each of the first 16 episodes
        measure(adapting(broken=3, value=value), data)


def test_a_classifier_in_train_mode_fails_the_cell(data):
    with pytest.raises(
        ValueError, match=r"adapting: adapt\(\) gave a module in train mode \(Flatten is\)"
    ):
        measure(adapting(training=True), data)


def test_a_body_left_in_train_mode_is_measured_in_eval_mode(data):
    pixels = learners["nearest-mean"]
    learner = Dropping(Dropping.Config(), (1, 4, 4), CLASSES, Rng(0))
    learner.tensors = {}
    found = measure(learner, data).arrays["correct"]
    expected = measure(pixels(pixels.Config(), (1, 4, 4), CLASSES, Rng(0)), data).arrays["correct"]
    np.testing.assert_array_equal(found, expected)
    images = data.split("classes", "test").tensor()
    assert torch.equal(learner.embed(images), images.flatten(1))
    many = learner.adapt_many(images[None, :6], torch.arange(3).repeat(1, 2), 3)(images[None])
    assert torch.equal(
        many, learner.adapt_many(images[None, :6], torch.arange(3).repeat(1, 2), 3)(images[None])
    )


@pytest.mark.parametrize(
    ("kind", "switches"),
    [
        ("protonet", {"backbone": "conv4", "width": 4, "episodes": 2}),
        ("protonet", {"backbone": "mlp", "width": 4, "episodes": 2}),
        ("maml", {"backbone": "conv4", "width": 16, "iterations": 1}),
        ("maml", {"backbone": "mlp", "width": 8, "iterations": 1}),
    ],
    ids=str,
)
def test_inductive_a_query_is_classified_as_if_it_were_alone(data, kind, switches):
    learner = learners[kind](learners[kind].Config(**switches), (1, 4, 4), CLASSES, Rng(0))
    learner.fit(data.split("classes", "train"))
    images = data.split("classes", "test").tensor()
    support, queries, labels = images[:6][None], images[6:], torch.arange(3).repeat(1, 2)
    together = learner.adapt_many(support, labels, 3)(queries[None])[0]
    alone = learner.adapt_many(
        support.repeat(len(queries), 1, 1, 1, 1), labels.repeat(len(queries), 1), 3
    )(queries[:, None])
    torch.testing.assert_close(alone[:, 0], together, rtol=1e-4, atol=1e-4)


def test_the_block_says_so_and_leaves_intervals_to_the_note():
    block = protocol().block()
    assert "inductive unless noted" in block["inference"]
    assert "interval" not in block and "batch norm" not in block


def one_by_one(learner, images, episodes):
    """Which queries of each episode are right, one episode at a time, by adapt() alone."""
    found = []
    for i in range(len(episodes)):
        support, query = (rows[i][rows[i] >= 0] for rows in (episodes.support, episodes.query))
        labels, right = (
            of[i][of[i] >= 0] for of in (episodes.support_labels, episodes.query_labels)
        )
        model = learner.adapt(
            images.take(support).tensor(),
            torch.from_numpy(labels),
            int((episodes.classes[i] >= 0).sum()),
        )
        with torch.no_grad():
            found.append(model(images.take(query).tensor()).argmax(1).numpy() == right)
    return found


@pytest.mark.parametrize(
    ("kind", "switches"),
    [
        ("nearest-mean", {}),
        ("nearest-mean", {"head": "cosine"}),
        ("nearest-mean", {"head": "ridge"}),
        ("nearest-mean", {"head": "logistic"}),
        ("protonet", {"backbone": "mlp", "width": 8, "episodes": 2}),
        ("maml", {"backbone": "mlp", "width": 8, "iterations": 1}),
        ("maml", {"backbone": "conv4", "width": 16, "iterations": 1}),
    ],
    ids=str,
)
@pytest.mark.parametrize(("ways", "shots"), [(3, 2), ("2-4", "1-5")], ids=["equal", "ranges"])
def test_many_episodes_at_once_are_each_as_it_is_alone(data, kind, switches, ways, shots):
    learner = learners[kind](learners[kind].Config(**switches), (1, 4, 4), CLASSES, Rng(0))
    learner.fit(data.split("classes", "train"))
    images = data.split("classes", "test")
    episodes = sample(images, ways=ways, shots=shots, queries=3, episodes=40, rng=Rng(2))
    together = episode_verdicts(learner, images, episodes, Context(Rng(0), "cpu", 64, silent))
    assert together.shape == episodes.query.shape
    for row, alone in zip(together, one_by_one(learner, images, episodes), strict=True):
        np.testing.assert_array_equal(row[: len(alone)], alone)
        assert (row[len(alone) :] == NOTHING).all()


def test_episodes_of_a_list_are_those_that_were_written(data, tmp_path):
    context = Context(Rng(3), "cpu", 64, silent)
    for name, keys in (("equal", {}), ("ranges", {"ways": "2-4", "shots": "1-3"})):
        setting = next(protocol(**keys).settings())
        drawn = FewShot.measure(adapting(), data, setting, context)
        path = tmp_path / f"{name}.json"
        path.write_text(list_of(data, "any", setting, context).to_json())
        again = FewShot(FewShot.Config(dataset="any", episodes_from=str(path)), FACTS)
        assert not list(again.faults()) and len(list(again.settings())) == 1
        again.examine(lambda: data)
        found = FewShot.measure(
            adapting(),
            data,
            next(again.settings()),
            Context(Rng(9), "cpu", 64, silent, again.files()),
        )
        np.testing.assert_array_equal(found.arrays["accuracy"], drawn.arrays["accuracy"])
        assert found.values[0].unit == "listed episode"
        assert f"20 of {name}.json" in again.block()["episodes"]


@pytest.mark.parametrize(
    ("keys", "path"),
    [
        ({"ways": 4}, ("ways",)),
        ({"shots": [1, 2]}, ("shots",)),
        ({"episodes": 10}, ("episodes",)),
        ({"split": "val"}, ("split",)),
        ({"mode": "image_disjoint"}, ("mode",)),
        ({"within_group": True}, ("within_group",)),
        ({"dataset": "other"}, ("dataset",)),
    ],
    ids=str,
)
def test_what_a_list_fixes_cannot_be_chosen_again(data, tmp_path, keys, path):
    text = list_of(
        data, "any", next(protocol().settings()), Context(Rng(3), "cpu", 64, silent)
    ).to_json()
    (tmp_path / "list.json").write_text(text)
    keys = {"dataset": "any", "episodes_from": str(tmp_path / "list.json"), **keys}
    assert path in [fault.path for fault in FewShot(FewShot.Config(**keys), FACTS).faults()]


def test_what_a_list_fixes_may_be_said_again(data, tmp_path):
    setting = next(protocol().settings())
    (tmp_path / "list.json").write_text(
        list_of(data, "any", setting, Context(Rng(3), "cpu", 64, silent)).to_json()
    )
    again = {
        key: getattr(setting, key)
        for key in ("ways", "queries", "episodes", "splitting", "split", "mode")
    } | {"shots": [2]}
    config = FewShot.Config(
        dataset={"kind": "any"}, episodes_from=str(tmp_path / "list.json"), **again
    )
    assert not list(FewShot(config, FACTS).faults())


def test_what_can_be_detected_follows_from_episodes_seeds_and_what_was_measured():
    """(1.96 + 0.84) sd / sqrt(n), by hand."""
    keys = {"dataset": "any", "ways": 3, "queries": 2, "episodes": 100}
    few = FewShot(FewShot.Config(**keys), FACTS)
    assert few.detectable().startswith("2.8 points") and "if their differences" in few.detectable()
    assert few.detectable(4).startswith(
        "1.4 points"
    ) and "400 paired episodes over 4 seeds" in few.detectable(4)
    assert few.detectable(1, 0.2).startswith(
        "5.6 points"
    ) and "in the store spread by 20 points" in few.detectable(1, 0.2)
