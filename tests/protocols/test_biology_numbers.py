"""Numbers of the biology audit on learners whose answer is planted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness import registry
from harness.data.base import Facts, Loaded, SplitFacts
from harness.learning.learner import Synapses, silent
from harness.protocols.base import Context
from harness.protocols.biology import Biology
from harness.protocols.dimension_numbers import dimension_values
from harness.protocols.tail_numbers import rate_values, weight_tail_values
from harness.rng import Rng

FACTS = Facts(
    (1, 8, 8), {"standard": {"train": SplitFacts(3, 60, 180), "test": SplitFacts(3, 40, 120)}}
)


@pytest.fixture(scope="module")
def patterned() -> Loaded:
    """Three classes, each of three noisy prototypes."""
    generator = np.random.default_rng(0)
    labels = np.arange(300) % 3
    prototypes = generator.random((3, 3, 64))
    pixels = prototypes[labels, generator.integers(0, 3, 300)] + 0.3 * generator.random((300, 64))
    image = (pixels / pixels.max() * 255).astype(np.uint8).reshape(-1, 1, 8, 8)
    split = {"train": np.arange(180), "test": np.arange(180, 300)}
    return Loaded(image, labels, ("a", "b", "c"), None, {"standard": split})


def numbers(values) -> dict[str, float]:
    return {v.metric: v.value for v in values if not v.setting}


def audited(kind: str, data: Loaded, **keys) -> dict[str, float]:
    cls = registry.learners[kind]
    learner = cls(cls.Config(**keys), (1, 8, 8), 3, Rng(0))
    learner.training_log = learner.fit(data.split("standard", "train"))
    protocol = Biology(Biology.Config(dataset="digits", label_effect=True), FACTS)
    context = Context(Rng(1), "cpu", 100, silent)
    return numbers(Biology.measure(learner, data, next(protocol.settings()), context).values)


def test_labels_have_no_effect_on_a_rule_that_sees_none(patterned):
    found = audited("prototypes", patterned, hidden=20, readout_steps=5)
    assert found["label_effect"] == 0
    assert abs(found["task_alignment"]) <= 1


def test_labels_have_an_effect_on_backprop(patterned):
    found = audited("mlp", patterned, hidden=40, epochs=30)
    assert found["label_effect"] > 0.05
    assert found["task_share"] > 0


class Wired:
    """All that the audit of weights reads of a learner: its synapses."""

    config = image_shape = n_classes = rng = None

    def __init__(self, *parts, weight: np.ndarray | None = None) -> None:
        self.weight = weight

    def connectome(self) -> list[Synapses]:
        return [] if self.weight is None else [Synapses("a", torch.from_numpy(self.weight))]


def synaptic(weight: np.ndarray) -> dict[str, float]:
    return numbers(weight_tail_values(Wired(weight=weight)))


def test_a_gaussian_has_the_sigma_of_cortex_and_is_not_lognormal():
    found = synaptic(np.random.default_rng(0).standard_normal((60, 60)))
    assert 0.8 < found["sigma_log_w_cut"] < 1.2
    assert found["lognormal_z_w"] < -1.96


def test_pruned_lognormal_weights_have_their_sigma_back():
    weight = np.exp(0.94 * np.random.default_rng(0).standard_normal((120, 100)))
    weight[weight < np.quantile(weight, 0.2)] = 0
    found = synaptic(weight)
    assert np.log(weight[weight > 0]).std() < 0.75
    assert found["sigma_log_w_cut"] == pytest.approx(0.94, abs=0.06)
    assert found["lognormal_z_w"] > 1.96


def test_planted_rates_are_called_lognormal_and_exponential_ones_are_not():
    generator = np.random.default_rng(0)
    stimuli = 1 + 0.1 * generator.random((20, 1))
    lognormal = numbers(rate_values(stimuli * np.exp(0.94 * generator.standard_normal(600))))
    assert lognormal["lognormal_z_rate"] > 1.96 and lognormal["best_family_rate"] == 0
    assert lognormal["sigma_log_rate"] == pytest.approx(0.94, abs=0.07)
    exponential = numbers(rate_values(stimuli * generator.exponential(size=600)))
    assert exponential["lognormal_z_rate"] < -1.96


def test_silent_units_are_counted_apart_and_few_units_decide_nothing():
    responses = np.ones((5, 10)) * np.arange(1, 11)
    responses[:, :4] = [0, -1, 0, 0]
    found = numbers(rate_values(responses))
    assert found["silent_share"] == pytest.approx(0.4)
    assert found["rate_top_tenth"] == pytest.approx(10 / 45)
    assert "lognormal_z_rate" not in found
    assert numbers(rate_values(np.zeros((5, 3)))) == {"silent_share": 1}


def test_a_planted_power_law_comes_with_its_range_and_that_of_the_pixels():
    generator = np.random.default_rng(0)
    scale = np.arange(1, 301) ** -0.5
    responses = generator.standard_normal((600, 300)) * scale
    values = {v.metric: v for v in dimension_values(responses, responses)}
    exponent = values["spectrum_exponent"]
    assert exponent.value == pytest.approx(1, abs=0.05) and exponent.low < exponent.high
    assert values["spectrum_first"].value == 11 and values["spectrum_last"].value == 150
    assert exponent.value == values["spectrum_exponent_pixels"].value
