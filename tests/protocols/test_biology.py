"""The audit of a learner whose numbers are all known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from harness.data.base import Facts, Images, Loaded, SplitFacts
from harness.learning.learner import Learner, Synapses, TrainingLog, silent
from harness.protocols.base import Context
from harness.protocols.biology import Biology
from harness.registry import Config
from harness.rng import Rng

FACTS = Facts((1, 1, 4), {"standard": {"train": SplitFacts(2, 4, 8), "test": SplitFacts(2, 4, 8)}})


class Known(Learner):
    """Starts all positive; training makes one synapse negative and another zero."""

    kind = "known"

    class Config(Config):
        """Switches of the test."""

        bundles: int = 2

    def __init__(self, config, image_shape, n_classes, rng):
        super().__init__(config, image_shape, n_classes, rng)
        self.first = torch.exp(torch.randn(4, 50, generator=rng.torch("w")))

    def fit(self, train: Images, *, budget=None, progress=silent) -> TrainingLog:
        self.first[0, 0] *= -1
        self.first[1, 1] = 0
        self.fitted = True
        return TrainingLog(sign_changes=7)

    def classifier(self):
        raise AssertionError("the audit needs no classifier")

    def embed(self, images):
        return images.flatten(1)

    def connectome(self):
        second = Synapses(
            "b", torch.ones(50, 2), torch.ones(50, 2, dtype=torch.bool), enforced=True
        )
        return [Synapses("a", self.first), second][: self.config.bundles]

    def adapt(self, support_images, support_labels, n_way):
        raise AssertionError("the audit adapts nothing")

    def state_dict(self):
        return {"w": self.first}

    def load_state_dict(self, state):
        self.first = state["w"]


@pytest.fixture
def data() -> Loaded:
    pixels = np.zeros((16, 1, 1, 4), np.uint8)
    pixels[np.arange(16), 0, 0, np.arange(16) % 3] = (
        255  # unit 3 never responds; each stimulus drives one unit
    )
    split = {"train": np.arange(8), "test": np.arange(8, 16)}
    return Loaded(pixels, np.arange(16) % 2, ("x", "y"), None, {"standard": split})


def measure(
    data: Loaded, batch_size: int = 4, *, bundles: int = 2, log: bool = True
) -> dict[tuple, float]:
    protocol = Biology(Biology.Config(dataset="digits"), FACTS)
    learner = Known(Known.Config(bundles=bundles), (1, 1, 4), 2, Rng(0))
    trained = learner.fit(data.split("standard", "train"))
    if log:
        learner.training_log = trained
    context = Context(Rng(1), "cpu", batch_size, silent)
    measured = Biology.measure(learner, data, next(protocol.settings()), context)
    return {(v.metric, (v.setting or {}).get("bundle")): v.value for v in measured.values}


def test_synapses(data):
    found = measure(data)
    assert found["live_share", "a"] == pytest.approx(199 / 200)
    assert found["live_share", None] == pytest.approx(299 / 300)
    assert found["live_per_input", None] == pytest.approx(199 / 4)
    assert found["dale_purity", "a"] == pytest.approx((49 / 50 + 3) / 4)
    assert found["dale_purity", None] == pytest.approx((49 / 50 + 53) / 54)
    assert (found["enforced", None], found["enforced", "a"], found["enforced", "b"]) == (1, 0, 1)


def test_signs_from_the_log_and_against_the_start(data):
    found = measure(data)
    assert (found["sign_changes", None], found["sign_flips", None]) == (7, 1)
    assert ("sign_changes", None) not in measure(data, log=False)


def test_signs_that_nobody_counted_have_no_number(data, monkeypatch):
    monkeypatch.setattr(Known, "fit", lambda self, train, **more: TrainingLog())
    assert ("sign_changes", None) not in measure(data)


def test_distribution_before_and_after(data):
    found = measure(data)
    start = np.log(Known(Known.Config(), (1, 1, 4), 2, Rng(0)).first.double().numpy())
    assert found["sigma_log_w_init", "a"] == pytest.approx(start.std())
    after = np.delete(start.ravel(), 51)  # the silenced synapse is row 1, column 1
    assert found["sigma_log_w", "a"] == pytest.approx(after.std())
    assert found["sigma_log_w", None] == pytest.approx(
        after.std() * 199 / 299
    )  # the other bundle has sigma 0
    assert found["best_family", "a"] == 0 and found["aic_lead", "a"] > 0


def test_responses(data):
    found = measure(data)
    assert found["dead_units", None] == 1
    assert found["treves_rolls_stimulus", None] == pytest.approx(1)
    shares = (
        np.array([2, 3, 3]) / 8
    )  # of the stimuli that drive each unit: a = share, S = (1 - share) / (1 - 1/8)
    assert found["treves_rolls_unit", None] == pytest.approx(((1 - shares) / (7 / 8)).mean())


def test_batch_size_changes_nothing(data):
    assert measure(data, 1) == measure(data, 100)


def test_a_learner_without_synapses_has_responses_only(data):
    metrics = {metric for metric, _ in measure(data, bundles=0)}
    assert {
        "treves_rolls_unit",
        "hoyer_stimulus",
        "dead_units",
        "cka_labels",
        "eta2_class",
    } <= metrics
    assert not metrics & {"live_share", "ks_log_w", "dale_purity", "capacity_bits"}


def test_one_bundle_is_not_listed_twice(data):
    assert {bundle for _, bundle in measure(data, bundles=1)} == {None}


@pytest.mark.parametrize(
    ("change", "path"), [({"splitting": "lake"}, "splitting"), ({"split": "val"}, "split")]
)
def test_faults(change, path):
    protocol = Biology(Biology.Config(dataset="digits", **change), FACTS)
    assert [fault.path[0] for fault in protocol.faults()] == [path]


def test_one_class_has_no_selectivity(data):
    one = replace(data, labels=np.zeros_like(data.labels))
    assert not {"eta2_class", "cka_labels", "units_per_class"} & {name for name, _ in measure(one)}
