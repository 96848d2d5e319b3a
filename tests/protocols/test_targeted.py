"""Attacks towards a class: success is to be classified as it, and images of it are left out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from harness import api
from harness.attacks.engine.sweep import sweep
from harness.attacks.engine.towards import Towards
from harness.attacks.fgsm import FGSM
from harness.attacks.pgd import PGD
from harness.data.base import Images
from harness.errors import HarnessError
from harness.protocols.targeted import aimed
from harness.records import TrustCheck
from harness.report.derive import with_worst_case
from harness.rng import Rng
from harness.suite import load

SUITE = {
    "name": "towards",
    "learners": {"pixels": {"kind": "nearest-mean"}},
    "protocols": {
        "robust": {
            "kind": "attack_sweep",
            "dataset": "digits",
            "images": 40,
            "trust": False,
            "attacks": [
                {"attack": "fgsm", "eps": [0, 0.2]},
                {"attack": "pgd", "eps": [0, 0.2], "steps": 3},
                {"attack": "pgd", "eps": [0, 0.2], "steps": 3, "target": 3},
                {"attack": "pgd", "eps": [0, 0.2], "steps": 3, "target": "3", "label": "named"},
            ],
        }
    },
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    run = api.run(SUITE, store=tmp_path_factory.mktemp("towards"), workers=1)
    assert not run.outcome.failed
    return run.results


def accuracies(results, attack: str) -> dict[float, float]:
    return {
        record.setting["eps"]: record.value
        for record in results.records
        if record.setting["attack"] == attack
    }


def linear(weights: list[list[float]]) -> nn.Module:
    layer = nn.Linear(2, len(weights), bias=False)
    layer.weight = nn.Parameter(torch.tensor(weights), requires_grad=False)
    return nn.Sequential(nn.Flatten(), layer).eval()


def test_the_exact_distance_to_a_class_of_a_linear_network():
    # Towards class 2 from (0.5, 0.5): (w2 - w0) x + eps |w2 - w0|_1 = -0.6 + 2.8 eps.
    network = linear([[1.0, 0.0], [-5.0, -5.0], [-1.0, 0.8]])
    image = torch.full((1, 1, 1, 2), 0.5)
    exact = 0.6 / 2.8
    for eps, reaches in [(exact - 0.01, False), (exact + 0.01, True)]:
        attack = PGD.of(eps=[eps], steps=50, random_start=False, target=2)
        result = sweep(
            Towards(network, 2),
            image,
            torch.zeros(1, dtype=torch.int64),
            np.arange(1),
            attack,
            Rng(0),
        )
        assert result.worst[-1, 0] == (not reaches)


def test_images_of_the_class_are_left_out_and_counted(results):
    targeted = [r for r in results.records if "target" in r.setting]
    assert {record.n for record in targeted} == {36}  # 4 of 40, classes balanced
    remarks = {text for texts in results.remarks.values() for text in texts}
    assert any("towards class 3" in text and "4 of 40" in text for text in remarks)


def test_a_class_by_name_is_the_class_by_number(results):
    assert accuracies(results, "named") == accuracies(results, "pgd-3 towards class 3")


def test_a_class_is_harder_to_reach_than_any_mistake(results):
    assert accuracies(results, "pgd-3 towards class 3")[0.2] > accuracies(results, "pgd-3")[0.2]


def test_the_worst_case_leaves_attacks_towards_a_class_out(results):
    worst = accuracies(with_worst_case(results), "worst")
    fgsm, pgd = accuracies(results, "fgsm"), accuracies(results, "pgd-3")
    assert worst[0] == pgd[0] and worst[0.2] <= min(fgsm[0.2], pgd[0.2])


def test_results_without_a_target_keep_their_keys():
    (setting, *_) = load.load(SUITE).protocols[0].protocol.settings()
    assert "target" not in setting.to_identity() | setting.to_identity()["config"]


def test_images_that_are_all_of_the_class_are_refused():
    images = Images(np.zeros((2, 1, 1, 2), np.uint8), np.array([1, 1]), np.arange(2), 3)
    with pytest.raises(HarnessError, match="every image is of class 1"):
        aimed(images, FGSM.of(eps=[0.1], target=1), ["a", "b", "c"])
    with pytest.raises(HarnessError, match="no class is called 'd'"):
        aimed(images, FGSM.of(eps=[0.1], target="d"), ["a", "b", "c"])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"target": 10}, "class 10 of 10 classes"),
        ({"target": -1}, "target"),
        ({"target": 3, "certify": True}, "proofs are of the right class"),
        ({"target": 3, "loss": ["dlr"]}, "dlr needs 3 classes"),
    ],
)
def test_impossible_targets_are_refused_before_the_run(changes, says):
    attack = {"attack": "pgd", "eps": [0, 0.1], **changes}
    robust = SUITE["protocols"]["robust"] | {"attacks": [attack]}
    with pytest.raises(HarnessError, match=says):
        load.load(SUITE | {"protocols": {"robust": robust}})


def trust_towards_a_class(store) -> dict[str, TrustCheck]:
    attack = {"attack": "pgd", "eps": [0, 0.2], "steps": 10, "target": 3}
    robust = SUITE["protocols"]["robust"] | {"trust": True, "attacks": [attack]}
    run = api.run(SUITE | {"protocols": {"robust": robust}}, store=store, workers=1)
    assert not run.outcome.failed
    (checks,) = run.results.trust.values()
    return {check.name: check for check in checks}


def test_trust_checks_of_an_attack_towards_a_class_transfer_from_relatives_only(tmp_path):
    checks = trust_towards_a_class(tmp_path)
    assert "FAIL" not in {check.level for check in checks.values()}
    assert checks["relative not stronger"].detail.startswith("from mlp, prototypes: ")
    assert checks["same on a fresh copy"].level == "PASS"
