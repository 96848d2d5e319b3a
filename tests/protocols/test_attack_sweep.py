"""The attack sweep as a protocol: what validates, what a cell is, and what it measures."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import binomtest
from torch import nn

import harness
from harness.data.base import Facts, Images, Loaded, SplitFacts
from harness.learning.learner import silent
from harness.protocols.attack_sweep import AttackSweep, AttackSweepSetting
from harness.protocols.base import Context, Measurement, TrustContext
from harness.protocols.subset import subset
from harness.registry import attacks, learners, protocols
from harness.rng import Rng

FACTS = Facts(
    (1, 4, 4),
    {
        "standard": {"train": SplitFacts(3, 40, 120), "test": SplitFacts(3, 20, 60)},
        "by class": {"train": SplitFacts(3, 40, 120), "test": SplitFacts(3, 40, 120)},
    },
    class_disjoint=frozenset({"by class"}),
)
FGSM = {"attack": "fgsm", "eps": [0, 0.05, 0.1]}
PGD = {"attack": "pgd", "eps": [0.05, 0.1], "steps": 4, "restarts": 2, "loss": ["ce", "margin"]}


def config(*attacks, **keys):
    return AttackSweep.Config.model_validate({"dataset": "any", "attacks": list(attacks), **keys})


def protocol(*attacks, **keys) -> AttackSweep:
    return AttackSweep(config(*attacks, **keys), FACTS)


@pytest.fixture(scope="module")
def data() -> Loaded:
    """Three classes of noisy 4 x 4 images."""
    rng = np.random.default_rng(0)
    labels = np.arange(180) % 3
    centres = rng.integers(60, 190, (3, 1, 4, 4))
    pixels = np.clip(centres[labels] + rng.normal(0, 30, (180, 1, 4, 4)), 0, 255).astype(np.uint8)
    splits = {"train": np.arange(120), "test": np.arange(120, 180)}
    return Loaded(pixels, labels.astype(np.int64), ("a", "b", "c"), None, {"standard": splits})


class Fixed:
    """A learner that is its classifier: nearest class mean, as a linear network."""

    plastic, fitted, device = False, True, torch.device("cpu")
    config, image_shape, n_classes, rng = None, (1, 4, 4), 3, Rng(0)

    def __init__(self, *arguments):
        """Made of data, or empty as a learner is before its state is loaded."""
        self.network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval()
        if len(arguments) == 1:
            self.learn(*arguments)

    def learn(self, data: Loaded) -> None:
        train = data.split("standard", "train")
        means = torch.stack(
            [
                train.tensor()[torch.from_numpy(train.labels == k)].mean(0).flatten()
                for k in range(3)
            ]
        )
        with torch.no_grad():
            self.network[1].weight.copy_(8 * means)
            self.network[1].bias.copy_(-4 * (means**2).sum(1))

    def classifier(self) -> nn.Module:
        return self.network

    def state_dict(self) -> dict:
        return self.network.state_dict()

    def load_state_dict(self, state: dict) -> None:
        self.network.load_state_dict(state)

    def to(self, device) -> Fixed:
        return self


def measure(
    sweep: AttackSweep, data: Loaded, setting: AttackSweepSetting, batch_size: int = 64
) -> Measurement:
    """Measure, then make the trust checks that the protocol asks for."""
    context = TrustContext(Rng(4), "cpu", batch_size, silent)
    measured = sweep.measure(Fixed(data), data, setting, context)
    if not sweep.checked:
        return measured
    return replace(measured, trust=sweep.trust(Fixed(data), data, setting, context, measured))


@pytest.mark.parametrize(
    "second, path",
    [
        ({**FGSM, "eps": [0, 0.1, 0.2, 1.2]}, ("eps", 3)),
        ({"attack": "fgms", "eps": [0.1]}, ("attack",)),
        ({"eps": [0.1]}, ("attack",)),
        ({"attack": 3, "eps": [0.1]}, ("attack",)),
        ({"attack": "no.such:Thing", "eps": [0.1]}, ("attack",)),
        ({"attack": "collections:OrderedDict", "eps": [0.1]}, ("attack",)),
        ({**PGD, "setps": 3}, ("setps",)),
        ({"attack": "torchattacks", "name": "Sqare", "eps": [0.1]}, ("name",)),
        ({"attack": "torchattacks.Sqare", "eps": [0.1]}, ("attack",)),
        ({"attack": "torchattacks.", "eps": [0.1]}, ("attack",)),
        ({"attack": "torchattacks.MultiAttack", "eps": [0.1]}, ("attack",)),
        ({"attack": "torchattacks.Square", "name": "Square", "eps": [0.1]}, ("name",)),
        (
            {"attack": "torchattacks.Square", "eps": [0.1], "params": {"quries": 3}},
            ("params", "quries"),
        ),
        ({"attack": "fgsm.FGSM", "eps": [0.1]}, ("attack",)),
        (["fgsm"], ()),
        ("fgsm", ()),
        (None, ()),
    ],
    ids=str,
)
def test_an_error_names_the_element_and_the_place_in_it(second, path):
    with pytest.raises(ValidationError) as caught:
        config(FGSM, second)
    assert [error["loc"] for error in caught.value.errors()] == [("attacks", 1, *path)]


def test_every_error_of_every_element_is_reported_at_once():
    with pytest.raises(ValidationError) as caught:
        config({**FGSM, "eps": [2]}, {**PGD, "steps": 0}, images=0)
    assert {error["loc"] for error in caught.value.errors()} == {
        ("attacks", 0, "eps", 0),
        ("attacks", 1, "steps"),
        ("images", "number"),
    }
    with pytest.raises(ValidationError) as caught:
        config({**FGSM, "label": "x"}, {**PGD, "label": "x"})
    assert [error["loc"] for error in caught.value.errors()] == [("attacks", 1, "label")]
    assert "did you mean 'fgsm'" in str(
        pytest.raises(ValidationError, config, {"attack": "fgms", "eps": [0]}).value
    )


def test_settings_are_json_tell_attacks_apart_and_hold_all_their_keys():
    sweep = protocol(
        FGSM,
        PGD,
        {**PGD, "restarts": 1},
        {**PGD, "norm": "l2"},
        {**PGD, "label": "mine"},
        {"attack": "torchattacks", "name": "APGD", "eps": [0.1]},
        images=30,
    )
    laid_out = list(sweep.settings())
    cells = [setting.to_identity() for setting in laid_out]
    assert json.loads(json.dumps(cells)) == cells
    assert [AttackSweepSetting.from_identity(cell) for cell in cells] == laid_out
    assert [cell["attack"] for cell in cells] == [
        "fgsm",
        "pgd-4",
        "pgd-4 (2)",
        "pgd-4-l2",
        "mine",
        "torchattacks:APGD",
    ]
    assert cells[1]["config"]["steps"] == 4 and cells[1]["config"]["loss"] == ["ce", "margin"]
    assert all(
        cell["images"] == 30 and cell["split"] == "test" and cell["splitting"] == "standard"
        for cell in cells
    )
    assert {cell["norm"] for cell in cells} == {"linf", "l2"}


def test_a_member_in_one_word_is_the_same_cell():
    keys = {"eps": [0.5, 2.0], "params": {"steps": 20}}
    short, long = (
        {"attack": "torchattacks.DeepFool", **keys},
        {"attack": "torchattacks", "name": "DeepFool", **keys},
    )
    assert config(short) == config(long) and list(protocol(short).settings()) == list(
        protocol(long).settings()
    )
    with pytest.raises(ValidationError, match="did you mean 'DeepFool'"):
        config({**short, "attack": "torchattacks.DepFool"})


def test_config_survives_json_with_every_key():
    given_ = config(FGSM, PGD, {"attack": "torchattacks", "name": "PGDL2", "eps": [1.5]})
    assert AttackSweep.Config.model_validate(json.loads(given_.model_dump_json())) == given_


def test_schema_lists_every_attack_with_its_keys():
    options = AttackSweep.Config.model_json_schema()["properties"]["attacks"]["items"]["oneOf"]
    named = [option["properties"]["attack"] for option in options]
    assert {option.get("const") for option in named} >= {"fgsm", "pgd", "noise", "torchattacks"}
    assert "torchattacks.DeepFool" in named[-1]["enum"]
    assert all(option["additionalProperties"] is False for option in options)
    json.dumps(options)


@pytest.mark.parametrize(
    "keys, path",
    [
        ({"splitting": "by class"}, ("splitting",)),
        ({"splitting": "nowhere"}, ("splitting",)),
        ({"split": "val"}, ("split",)),
        ({"images": 61}, ("images",)),
        ({"attacks": [FGSM, {**PGD, "targets": 3}]}, ("attacks", 1, "targets")),
        (
            {"attacks": [{"attack": "torchattacks", "name": "TIFGSM", "eps": [0.1]}]},
            ("attacks", 0, "name"),
        ),
    ],
)
def test_impossible_combinations_are_faults(keys, path):
    keys = {"attacks": [FGSM], **keys}
    faults = list(protocol(*keys.pop("attacks"), **keys).faults())
    assert [fault.path for fault in faults] == [path] and faults[0].message
    assert list(protocol(FGSM, PGD, images=60).faults()) == []


def test_a_class_disjoint_default_is_the_datasets_fault():
    facts = Facts(
        FACTS.image_shape, {"by class": FACTS.splittings["by class"]}, FACTS.class_disjoint
    )
    assert [fault.path for fault in AttackSweep(config(FGSM), facts).faults()] == [("dataset",)]


def test_values_are_the_means_of_their_verdicts_with_wilsons_interval(data):
    sweep = protocol(FGSM, PGD)
    for cell in sweep.settings():
        found = measure(sweep, data, cell)
        assert [value.setting for value in found.values] == [
            {"eps": float(eps)} for eps in cell.entry.config.eps
        ]
        for value in found.values:
            stood = found.arrays[value.verdicts]
            assert (
                stood.dtype == np.uint8
                and stood.shape == (60,)
                and value.n == 60
                and value.unit == "sample"
            )
            assert value.metric == "accuracy" and value.value == stood.mean()
            interval = binomtest(int(stood.sum()), 60).proportion_ci(method="wilson")
            assert (value.low, value.high) == pytest.approx((interval.low, interval.high), abs=1e-9)
        accuracies = [value.value for value in found.values]
        assert accuracies == sorted(accuracies, reverse=True) and accuracies[-1] < accuracies[0]
        assert {check.level for check in found.trust} <= {"PASS", "WARN"} and len(found.trust) > 5


def test_raw_arrays_and_the_index_of_each_image_are_stored(data):
    sweep = protocol(PGD, images=21)
    found = measure(sweep, data, next(sweep.settings())).arrays
    assert {
        "correct/eps=0.05",
        "correct/eps=0.1",
        "attack/correct",
        "attack/margin",
        "attack/norm",
        "index",
    } <= set(found)
    assert (
        found["attack/correct"].shape == (2, 2, 2, 21)
        and found["attack/margin"].dtype == np.float32
    )
    chosen = data.labels[found["index"]]
    assert (np.bincount(chosen) == 7).all() and found["index"].min() >= 120
    with torch.no_grad():
        images = torch.from_numpy(data.pixels[found["index"]]).float() / 255
        clean = Fixed(data).network(images).argmax(1).numpy() == chosen
    np.testing.assert_array_equal(found["clean/correct"], clean)


def test_measurements_do_not_depend_on_the_batch_size_or_on_other_attacks(data):
    alone, among = protocol(PGD), protocol(FGSM, {"attack": "noise", "eps": [0.1]}, PGD)
    cell = next(alone.settings())
    assert cell in list(among.settings())
    one, other = measure(alone, data, cell, 16), measure(among, data, cell, 512)
    assert one.values == other.values and one.trust == other.trust
    for name, array in one.arrays.items():
        np.testing.assert_array_equal(array, other.arrays[name])


def test_trust_can_be_left_out(data):
    sweep = protocol(FGSM, trust=False)
    assert measure(sweep, data, next(sweep.settings())).trust == []


def test_the_block_says_how_each_attack_was_run():
    block = protocol(FGSM, {**PGD, "sweep": "independent"}, images=30).block()
    assert all(isinstance(value, str) for value in block.values())
    assert (
        "nested" in block["fgsm"] and "[0, 1]" in block["threat model"] and "30" in block["images"]
    )
    for word in (
        "independent",
        "ce + margin",
        "4 steps of 0.625 eps",
        "2 restarts",
        "random start",
        "best iterate",
    ):
        assert word in block["pgd-4"]
    assert protocols["attack_sweep"] is AttackSweep


def test_the_threat_model_says_what_each_attack_knows():
    square, noise = (
        {"attack": "torchattacks", "name": "Square", "eps": [0.1]},
        {"attack": "noise", "eps": [0.1]},
    )

    def words(*attacks):
        return protocol(*attacks).block()["threat model"].split(";")[0]

    assert words(FGSM, PGD) == "white box"
    assert words(square, noise) == "black box"
    assert words(noise, FGSM) == "white box (fgsm), black box (noise)"


@given(st.integers(1, 90), st.integers(2, 6), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_a_subset_is_as_balanced_as_can_be_and_always_the_same(number, n_classes, seed):
    labels = np.random.default_rng(seed).integers(0, n_classes, 90)
    images = Images(np.zeros((90, 1, 1, 1), np.uint8), labels, np.arange(90) * 3 + 1, n_classes)
    chosen = subset(images, number)
    assert len(chosen) == number and (np.diff(chosen.index) > 0).all()
    np.testing.assert_array_equal(chosen.index, subset(images, number).index)
    np.testing.assert_array_equal(chosen.labels, labels[(chosen.index - 1) // 3])
    taken, there = (
        np.bincount(chosen.labels, minlength=n_classes),
        np.bincount(labels, minlength=n_classes),
    )
    short = taken < there  # a class that has images left was given as many as any other
    assert not short.any() or taken[short].min() >= taken.max() - 1


TRANSFER = {
    "attack": "transfer",
    "eps": [0, 0.1],
    "steps": 5,
    "surrogate": {"kind": "mlp", "hidden": 8, "epochs": 2},
}


@pytest.mark.parametrize(
    "surrogate, path, words",
    [
        ({"kind": "mpl"}, ("surrogate",), "mpl"),
        ({"kind": "mlp", "hiden": 3}, ("surrogate", "hiden"), "Extra inputs"),
        ({}, ("surrogate",), "unknown learner"),
    ],
)
def test_a_faulty_surrogate_is_found_before_the_run(surrogate, path, words):
    (fault,) = protocol(FGSM, {**TRANSFER, "surrogate": surrogate}).faults()
    assert fault.path == ("attacks", 1, *path) and words in fault.message


def test_transfer_attacks_what_another_network_was_trained_to_see(data):
    sweep = protocol(TRANSFER, PGD)
    transfer, white = (measure(sweep, data, s) for s in sweep.settings())
    accuracy = {v.setting["eps"]: v.value for v in transfer.values}
    assert (
        accuracy[0.1] < accuracy[0]
        and {v.setting["eps"]: v.value for v in white.values}[0.1] <= accuracy[0.1]
    )
    assert {c.level for c in transfer.trust} <= {"PASS", "WARN"}
    again = measure(sweep, data, next(sweep.settings()), batch_size=7)
    assert np.array_equal(transfer.arrays["attack/correct"], again.arrays["attack/correct"])


def test_the_code_of_the_surrogate_is_part_of_the_cell():
    sweep = protocol(TRANSFER)
    assert set(sweep.code(next(sweep.settings()))) == {attacks["transfer"], learners["mlp"]}


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda logits: logits * float("nan"), FloatingPointError),
        (lambda logits: logits[:, :2], ValueError),
    ],
)
def test_logits_that_are_no_class_scores_fail_the_cell_without_trust_checks_too(
    data, change, error
):
    learner = Fixed(data)
    learner.kind, inner = "fixed", learner.network
    learner.network = nn.Module().eval()
    learner.network.forward = lambda images: change(inner(images))
    sweep = protocol(FGSM, trust=False)
    with pytest.raises(error, match="fixed: "):
        sweep.measure(
            learner, data, next(iter(sweep.settings())), Context(Rng(4), "cpu", 64, silent)
        )


@pytest.mark.parametrize("trust", [True, False])
def test_a_network_in_train_mode_is_refused_with_and_without_trust_checks(data, trust):
    class Training(Fixed):
        kind = "training"

        def classifier(self) -> nn.Module:
            return super().classifier().train()

    sweep = protocol(FGSM, trust=trust)
    context = Context(Rng(4), "cpu", 64, silent)
    with pytest.raises(ValueError, match=r"training: classifier\(\) gave a module in train mode"):
        sweep.measure(Training(data), data, next(sweep.settings()), context)


def test_every_protocol_gets_classifiers_where_the_mode_is_checked():
    rooms = Path(harness.__file__).parent
    asking = [
        path.name
        for room in ("protocols", "cells")
        for path in (rooms / room).glob("*.py")
        if re.search(r"[.]classifier\(\)[^`]", path.read_text())
    ]
    assert asking == ["requirements.py"]


@pytest.mark.parametrize(
    "kind, keys",
    [
        ("classification", {}),
        ("corruption", {}),
        ("low_data", {"per_class": [1]}),
        ("attack_sweep", {"attacks": [FGSM]}),
    ],
)
def test_a_dataset_of_one_class_is_refused(kind, keys):
    facts = Facts(
        (1, 4, 4), {"standard": {"train": SplitFacts(1, 40, 40), "test": SplitFacts(1, 20, 20)}}
    )
    cls = protocols[kind]
    (fault,) = cls(cls.Config.model_validate({"dataset": "any", **keys}), facts).faults()
    assert fault.path == ("dataset",) and "one class" in fault.message


def test_what_the_parts_of_autoattack_broke_adds_up_to_the_lost_accuracy(data):
    keys = {"attack": "autoattack", "eps": [0, 0.05, 0.1], "steps": 4, "queries": 10}
    swept = protocol(keys, trust=False)
    (setting,) = swept.settings()
    values = measure(swept, data, setting).values
    accuracy = {v.setting["eps"]: v.value for v in values if v.metric == "accuracy"}
    broken = {}
    for value in values:
        if value.metric == "broken":
            broken.setdefault(value.setting["eps"], {})[value.setting["part"]] = value.value
    assert set(broken) == {0.05, 0.1}
    for eps, parts in broken.items():
        assert list(parts) == ["apgd-ce", "apgd-t", "fab-t", "square"]
        assert sum(parts.values()) == pytest.approx(accuracy[0] - accuracy[eps])
    assert broken[0.1]["apgd-ce"] > 0
