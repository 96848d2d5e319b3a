"""A stream of tasks: what a learner may see, what is kept, what is counted, and resuming."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from harness.data.base import Facts, Images, Loaded, SplitFacts
from harness.data.streams import Stream, Task, by_classes
from harness.learning.learner import silent
from harness.metrics.continual import accuracy_matrix
from harness.protocols.base import Context
from harness.protocols.continual import ANEW, Continual
from harness.protocols.continual_run import Walk
from harness.protocols.continual_settings import STRATEGY_NAMES, ContinualSetting
from harness.protocols.memories import Balanced, Reservoir
from harness.protocols.strategies import STRATEGIES
from harness.registry import learners
from harness.rng import Rng

CLASSES, TASKS, SHAPE = 6, 3, (1, 4, 4)
FACTS = Facts(
    SHAPE,
    {"standard": {"train": SplitFacts(6, 12, 72), "test": SplitFacts(6, 5, 30)}},
)


def protocol(facts: Facts = FACTS, **keys) -> Continual:
    config = {"dataset": "any", "orders": [3], "passes": 2, "strategies": ["naive"], **keys}
    return Continual(Continual.Config.model_validate(config), facts)


@pytest.fixture(scope="module")
def data() -> Loaded:
    """Six classes of noisy images, 12 of each for training and 5 for testing."""
    generator = np.random.default_rng(0)
    labels = np.tile(np.arange(CLASSES), 17)
    centres = generator.integers(40, 210, (CLASSES, *SHAPE))
    noisy = centres[labels] + generator.normal(0, 25, (len(labels), *SHAPE))
    pixels = noisy.clip(0, 255).astype(np.uint8)
    splits = {"train": np.arange(72), "test": np.arange(72, 102)}
    return Loaded(
        pixels, labels, tuple("abcdef"), ("x", "x", "y", "y", "y", "z"), {"standard": splits}
    )


def untrained(kind: str = "mlp", outputs: int = CLASSES, **keys):
    if kind == "mlp":
        keys = {"hidden": [12], "batch_size": 8, "lr": 0.01, "epochs": 4, **keys}
    return learners[kind](learners[kind].Config(**keys), SHAPE, outputs, Rng(5))


@dataclass
class Kept:
    """A checkpoint in memory that stops the run after some saves."""

    stop_after: int = 99
    arrays: dict = field(default_factory=dict)
    saves: int = 0

    def load(self):
        return {name: array.copy() for name, array in self.arrays.items()}

    def save(self, arrays):
        self.arrays = {name: np.array(array) for name, array in arrays.items()}
        self.saves += 1
        if self.saves == self.stop_after:
            raise KeyboardInterrupt


def context(checkpoint=None) -> Context:
    made = Context(Rng(0).child("measure"), "cpu", 64, silent)
    return made if checkpoint is None else replace(made, checkpoint=checkpoint)


def measured(data, learner=None, checkpoint=None, **keys):
    (setting,) = protocol(**keys).settings()
    learner = learner or untrained(outputs=setting.ways)
    return Continual.measure(learner, data, setting, context(checkpoint))


def matrix(measurement, place: int = 0) -> np.ndarray:
    return accuracy_matrix(
        measurement.arrays[f"correct/{place}"], measurement.arrays[f"task/{place}"]
    )


def value(measurement, metric: str) -> float:
    return next(each.value for each in measurement.values if each.metric == metric)


every_strategy = pytest.mark.parametrize(
    "strategy", [f"{name}-9" if name in ("replay", "gdumb") else name for name in STRATEGY_NAMES]
)


def test_every_strategy_has_a_place_in_tables():
    assert {*STRATEGY_NAMES} == {*STRATEGIES}


# ------------------------------------------------------------------------------ what is counted


def test_without_a_method_the_last_task_alone_is_known(data):
    naive = matrix(measured(data, passes=15))
    assert naive[-1, -1] > 0.8 and naive[-1, :-1].max() < 0.4
    joint = matrix(measured(data, passes=15, strategies=["joint"]))
    assert joint[-1].mean() > naive[-1].mean() + 0.3


def test_telling_the_task_never_makes_an_answer_wrong(data):
    told, asked = (
        measured(data, scenario=scenario, rivals="part", strategies=["naive"])
        for scenario in ("task", "class")
    )
    assert (told.arrays["correct/0"] >= asked.arrays["correct/0"]).all()
    assert value(told, "accuracy") > value(asked, "accuracy")


@pytest.mark.parametrize("kind", ["nearest-mean"])
def test_class_means_do_not_depend_on_the_order(data, kind):
    found = measured(data, untrained(kind), orders=4)
    assert np.ptp(found.arrays["accuracy"]) < 1e-6
    accuracy = next(each for each in found.values if each.metric == "accuracy")
    assert accuracy.low == accuracy.value == accuracy.high and accuracy.n == 4


def test_forward_transfer_is_given_only_where_outputs_are_shared(data):
    metrics = {
        scenario: {each.metric for each in measured(data, scenario=scenario).values}
        for scenario in ("class", "task", "domain")
    }
    assert "forward_transfer" in metrics["domain"]
    assert "forward_transfer" not in metrics["class"] | metrics["task"]


def test_replayed_images_and_kept_bytes_are_counted(data):
    found = measured(data, strategies=["replay-9"])
    part, passes, image = 24, 2, 16 + 8
    # The first task has no memory yet; later calls show as many remembered images as new ones.
    assert value(found, "images_trained") == passes * part * (1 + 2 * (TASKS - 1))
    assert value(found, "images_replayed") == passes * part * (TASKS - 1)
    assert value(found, "kept_bytes") == 9 * image
    assert value(measured(data), "kept_bytes") == 0
    assert value(measured(data, strategies=["joint"]), "kept_bytes") == 72 * image


def test_the_stability_gap_is_measured_within_training(data):
    found = measured(data, watch_every=2, passes=10)
    curve, during = found.arrays["curve/0"], found.arrays["during/0"]
    assert len(curve) == len(during) == TASKS * (10 * 3 // 2 + 1)
    assert np.isnan(curve[during == 0][:, 1:]).all() and not np.isnan(curve[during == 2]).any()
    assert value(found, "min_accuracy") <= matrix(found)[-1, :-1].mean() + 1e-9


def test_a_learner_that_cannot_go_on_is_trained_anew_and_says_so(data):
    learner = untrained("random-features")
    assert not learner.goes_on
    found = measured(data, learner, strategies=["gdumb-18"])
    assert found.remarks == [ANEW]
    assert value(found, "accuracy") > 0.5


def test_the_frozen_strategy_leaves_the_features_of_the_first_task(data):
    walk = walk_of(data, strategy="frozen")
    strategy = walk._strategy(untrained())
    walk._learn(strategy, course := walk_course(walk), 0)
    before = {name: tensor.clone() for name, tensor in strategy.learner.state_dict().items()}
    walk._learn(strategy, course, 1)
    after = strategy.learner.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert strategy.members.sum() == 48


def test_an_attack_follows_each_task_on_the_tasks_so_far(data):
    found = measured(data, robust={"eps": 0.05, "images": 4, "steps": 3}, passes=10)
    robust, task = found.arrays["robust/0"], found.arrays["robust_task/0"]
    assert robust.shape == (TASKS + 1, 4 * TASKS) and np.bincount(task).tolist() == [4] * TASKS
    for after in range(TASKS + 1):
        assert not robust[after, task >= after].any(), "tasks to come are not attacked"
    assert 0 < value(found, "robust_learning_accuracy") <= value(found, "learning_accuracy") + 0.1
    assert value(found, "robust_accuracy") == pytest.approx(robust[-1].mean())


def test_a_larger_budget_breaks_more_and_a_told_task_withstands_more(data):
    def robust(eps: float, scenario: str) -> float:
        keys = {"eps": eps, "images": 5, "steps": 5}
        found = measured(data, robust=keys, passes=10, scenario=scenario, rivals="part")
        return value(found, "robust_accuracy")

    assert robust(0.3, "task") < robust(0.02, "task")
    assert robust(0.02, "class") < robust(0.02, "task")


def test_the_attack_is_part_of_the_setting_and_of_the_code(data):
    (plain,), (attacked,) = protocol().settings(), protocol(robust={"eps": "8/255"}).settings()
    assert "robust" not in plain.to_identity() and not Continual.code(plain)
    again = type(attacked).from_identity(attacked.to_identity())
    assert again.robust == attacked.robust == ("linf", 8 / 255, 20, 60)
    assert Continual.code(again)
    assert "8/255" in protocol(robust={"eps": "8/255"}).block()["attack"]


# ------------------------------------------------------------------------------------- no leaks


def walk_of(data, stream: Stream | None = None, **keys) -> Walk:
    keys = {"strategies": [keys.pop("strategy", "naive")], **keys}
    (setting,) = protocol(**keys).settings()
    splits = (data.split("standard", "train"), data.split("standard", "test"))
    return Walk(stream or setting.sources[0], *splits, setting, context())


def walk_course(walk):
    from harness.protocols.continual_run import Course

    return Course(task=walk._test_tasks())


def poisoned(data: Loaded, stream: Stream) -> Loaded:
    """The data with noise for training images of the last task, and its two labels swapped."""
    first, second = stream.tasks[-1].classes
    pixels, labels = data.pixels.copy(), data.labels.copy()
    rows = np.flatnonzero(np.isin(labels, (first, second))[:72])
    noise = np.random.default_rng(1).integers(-40, 40, (len(rows), *SHAPE))
    pixels[rows] = (pixels[rows] + noise).clip(0, 255)
    labels[rows] = first + second - labels[rows]
    return replace(data, pixels=pixels, labels=labels)


@every_strategy
@pytest.mark.parametrize("scenario", ["class", "task"])
def test_nothing_of_a_later_task_reaches_a_learner(data, strategy, scenario):
    keys = {"strategies": [strategy], "scenario": scenario, "orders": [2], "rivals": "seen"}
    keys["passes"] = 8
    (setting,) = protocol(**keys).settings()
    clean = measured(data, **keys).arrays["correct/0"]
    other = measured(poisoned(data, setting.sources[0]), **keys).arrays["correct/0"]
    assert (clean[:-1] == other[:-1]).all()
    assert (clean[-1] != other[-1]).any(), "the poison had no effect on anything"


def test_the_order_of_later_tasks_changes_no_earlier_row(data):
    stream = by_classes(CLASSES, 2, "class", 0)
    first, second, third = stream.tasks
    swapped = Stream(
        "class",
        0,
        (first, Task("", third.classes, second.outputs), Task("", second.classes, third.outputs)),
    )
    rows = []
    for each in (stream, swapped):
        course = walk_of(data, each, strategy="replay-9").walk(untrained(), {}, lambda _: None)
        rows.append([row[course.task == 0] for row in course.correct[:2]])
    assert np.array_equal(rows[0], rows[1])


def test_test_images_may_change_their_task_without_a_change_of_verdict(data):
    walk = walk_of(data, strategy="replay-9")
    strategy = walk._strategy(untrained())
    walk._learn(strategy, walk_course(walk), 0)
    model = strategy.model()
    verdicts = []
    for purpose in range(2):
        order = np.random.default_rng(purpose).permutation(CLASSES)
        tasks = tuple(
            Task("", tuple(order[i : i + 2].tolist()), tuple(order[i : i + 2].tolist()))
            for i in (0, 2, 4)
        )
        walk.stream = Stream("class", 0, tasks)
        parts = [walk.stream.part(walk.test, number) for number in range(TASKS)]
        index = np.concatenate([part.index for part in parts])
        verdicts.append(walk._judged(model, strategy.learner)[np.argsort(index)])
    assert np.array_equal(*verdicts)


def test_a_learner_settles_once_a_task_however_many_calls_it_took(data, monkeypatch):
    learner = untrained(consolidate="ewc")
    settled = []
    monkeypatch.setattr(
        type(learner), "settle", lambda self, part, *, rivals=None: settled.append(part.labels)
    )
    measured(data, learner, chunk=5)
    assert [len({*labels}) for labels in settled] == [2, 2, 2]
    assert [len(labels) for labels in settled] == [24, 24, 24], "the whole task"


def test_an_untold_task_reaches_no_learner(data):
    class Spy(learners["mlp"]):
        rivals = []

        def go_on(self, part, *, rivals=None, progress=silent):
            self.rivals.append(rivals)
            return super().go_on(part, rivals=rivals, progress=progress)

    keys = {"hidden": [4], "batch_size": 8}
    measured(data, Spy(Spy.Config(**keys), SHAPE, CLASSES, Rng(0)), strategies=["replay-9"])
    assert Spy.rivals and all(each is None for each in Spy.rivals)


# --------------------------------------------------------------------------------------- units


def test_responses_of_units_are_those_of_the_network_after_each_task(data):
    found = measured(data, units=True)
    units = found.arrays["units/0"]
    assert units.shape[:2] == (TASKS, TASKS)
    assert 1 <= value(found, "tasks_per_unit") <= TASKS
    assert 0 <= value(found, "units_kept") <= 1
    assert not np.array_equal(units[0], units[-1])


def test_units_of_strategies_with_new_learners_are_not_compared(data):
    found = measured(data, units=True, strategies=["joint"])
    assert not any("units" in name for name in found.arrays)


def test_without_units_the_setting_is_as_before():
    (plain,), (looked,) = protocol().settings(), protocol(units=True).settings()
    assert "units" not in plain.to_identity()
    assert looked.to_identity()["units"] is True
    assert ContinualSetting.from_identity(plain.to_identity()).units is False


# ------------------------------------------------------------------------------------ resuming


@every_strategy
@pytest.mark.parametrize("stop_after", [1, 4])
def test_a_stopped_stream_goes_on_to_the_same_bytes(data, strategy, stop_after):
    keys = {"strategies": [strategy], "orders": [1, 2], "watch_every": 2}
    keys |= {"robust": {"images": 2, "steps": 2}, "units": True}
    through = measured(data, **keys)
    kept = Kept(stop_after)
    with pytest.raises(KeyboardInterrupt):
        measured(data, checkpoint=kept, **keys)
    resumed = measured(data, checkpoint=kept, **keys)
    assert kept.saves == 2 * TASKS, "no task was learned twice"
    assert resumed.values == through.values
    assert resumed.arrays.keys() == through.arrays.keys()
    for name, array in through.arrays.items():
        assert array.tobytes() == resumed.arrays[name].tobytes(), name


# ------------------------------------------------------------------------------------- memories


def numbered(count: int, labels=None) -> Images:
    labels = np.zeros(count, np.int64) if labels is None else np.asarray(labels)
    return Images(np.zeros((count, 1, 1, 1), np.uint8), labels, np.arange(count), 10)


def test_every_image_is_as_likely_to_be_in_a_reservoir():
    from scipy.stats import chi2

    runs, seen, size = 2000, 12, 4
    kept = np.zeros(seen)
    for run in range(runs):
        memory = Reservoir(size, Rng(run))
        for first, last in ((0, 5), (5, seen)):
            memory.add(numbered(seen).take(np.arange(first, last)))
        kept[memory.images.index] += 1
    expected = runs * size / seen
    # The images of one reservoir are drawn without replacement, which makes counts more even.
    statistic = ((kept - expected) ** 2 / expected).sum() * (seen - 1) / (seen - size)
    assert chi2.sf(statistic, seen - 1) > 0.01


def test_a_greedy_memory_is_balanced_within_one_image():
    memory = Balanced(10, Rng(0))
    for task in range(3):
        labels = np.tile([2 * task, 2 * task + 1], 30)
        memory.add(numbered(60, labels))
        counts = np.bincount(memory.images.labels)
        assert len(memory) == 10 and np.ptp(counts) <= 1, counts


def test_a_memory_comes_back_from_its_arrays():
    memory, again = Reservoir(4, Rng(0)), Reservoir(4, Rng(0))
    memory.add(numbered(9))
    again.load(memory.state(), 10)
    for each in (memory, again):
        each.add(numbered(20))
    assert memory.images.index.tolist() == again.images.index.tolist()


# ---------------------------------------------------------------------------------- bad configs


@pytest.mark.parametrize(
    ("keys", "path", "says"),
    [
        ({"classes_per_task": 4}, ("classes_per_task",), "divide"),
        ({"classes_per_task": 6}, ("classes_per_task",), "two tasks"),
        ({"tasks_by": "groups", "scenario": "domain"}, ("scenario",), "differ in size"),
        ({"splitting": "other"}, ("splitting",), "no splitting"),
        ({"split": "train"}, ("split",), "not tested on"),
        ({"split": "train", "held_out": 12}, ("held_out",), "may have only 12 images"),
        ({"streams_from": ["missing.json"]}, ("streams_from",), "cannot be read"),
    ],
)
def test_impossible_streams_are_named_at_their_key(keys, path, says):
    (fault,) = protocol(**keys).faults()
    assert fault.path == path and says in fault.message


def test_a_class_without_test_images_is_a_fault():
    splits = {"train": SplitFacts(6, 12, 72), "test": SplitFacts(5, 5, 25)}
    (fault,) = protocol(Facts(SHAPE, {"standard": splits})).faults()
    assert "no test images" in fault.message


@pytest.mark.parametrize("name", ["replay", "replay-0", "naive-5", "ewc", "gdumb-x", "replay-5-5"])
def test_unknown_strategies_are_refused(name):
    with pytest.raises(ValidationError, match="strategy"):
        protocol(strategies=[name])


def test_chunks_need_a_learner_that_goes_on():
    assert "go on" in protocol(chunk=5).refuses(learners["protonet"])
    assert protocol(chunk=5).refuses(learners["mlp"]) is None
    assert protocol().refuses(learners["protonet"]) is None


def test_a_stream_from_a_file_has_the_key_of_the_one_it_was_written_from(data, tmp_path):
    import json

    from harness.data import stream_files

    (drawn,) = protocol().settings()
    content = stream_files.described(drawn.sources[0], data, drawn.tested, "any")
    path = tmp_path / "stream.json"
    path.write_text(json.dumps(content))
    read = protocol(streams_from=[str(path)])
    assert not list(read.faults())
    read.examine(lambda: data)
    (listed,) = read.settings()
    assert listed.to_identity() == drawn.to_identity()


def test_classes_of_one_split_may_be_learned_where_splits_have_different_ones(data):
    disjoint = replace(FACTS, class_disjoint=frozenset({"standard"}))
    (fault,) = protocol(disjoint).faults()
    assert "held_out" in fault.hint
    assert not list(protocol(disjoint, split="train", held_out=4).faults())
    found = measured(data, split="train", held_out=4)
    assert len(found.arrays["task/0"]) == 4 * CLASSES


def test_few_shot_sessions_follow_a_base_of_many_images(data):
    keys = {"tasks_by": "sessions", "base_classes": 2, "session_ways": 2, "session_shots": 3}
    found = measured(data, untrained("nearest-mean"), passes=1, **keys)
    assert value(found, "images_trained") == 24 + 2 * 6
    rows, task = found.arrays["correct/0"], found.arrays["task/0"]
    drop = rows[1][task == 0].mean() - rows[-1].mean()
    assert value(found, "performance_drop") == pytest.approx(drop)
    base, new = rows[-1][task == 0].mean(), rows[-1][task > 0].mean()
    assert value(found, "harmonic_accuracy") == pytest.approx(2 * base * new / (base + new))
    (fault,) = protocol(**{**keys, "base_classes": 1}).faults()
    assert fault.path == ("base_classes",)
    assert protocol(tasks_by="sessions").sources[0].tasks[0].classes != ()


def test_unequal_groups_are_tasks(data):
    found = measured(data, tasks_by="groups", orders=[0])
    assert np.bincount(found.arrays["task/0"]).tolist() == [10, 15, 5]
    assert value(found, "pooled_accuracy") != value(found, "accuracy")
