"""Suites written as Python mappings: the same checks and keys as YAML, and objects at hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from baselines.mlp import Mlp
from baselines.nearest_mean import NearestMean
from baselines.network import Network
from harness.cells.plan import make
from harness.errors import SuiteError
from harness.learning import at_hand
from harness.registry import learners
from harness.suite import from_python
from harness.suite.load import load

YAML = """
name: small
seeds: [0, 1]
learners: {mlp: {kind: mlp, hidden: 8}}
protocols:
  robust: {kind: attack_sweep, dataset: digits, attacks: [{attack: fgsm, eps: [0, 0.1]}]}
"""

SMALL = {
    "name": "small",
    "seeds": range(2),
    "learners": {"mlp": {"kind": Mlp, "hidden": np.int64(8)}},
    "protocols": {
        "robust": {
            "kind": "attack_sweep",
            "dataset": "digits",
            "attacks": ({"attack": "fgsm", "eps": torch.tensor([0, 0.1], dtype=torch.float64)},),
        }
    },
}


def cells(suite) -> list:
    return make(load(suite), content_hash=lambda _: "hash").cells


def measuring(**learners) -> dict:
    plain = {"clean": {"kind": "classification", "dataset": "digits"}}
    return {"name": "mine", "learners": learners, "protocols": plain}


def test_a_mapping_gives_the_keys_of_the_same_yaml(write_suite):
    assert [cell.key for cell in cells(SMALL)] == [cell.key for cell in cells(write_suite(YAML))]


@pytest.mark.parametrize(
    ("change", "where", "message"),
    [
        ({"seed": [0]}, "suite['seed']", "unknown key 'seed'"),
        ({"learners": {"a": {"kind": "mpl"}}}, "suite['learners']['a']['kind']", "unknown learner"),
        ({"learners": {"a": {"kind": "mlp", "hidden": -1}}}, "['hidden']", "hidden should be"),
        ({"learners": {"a": print}}, "suite['learners']['a']", "a mapping"),
        (
            {"learners": {"a": object()}},
            "suite['learners']['a']",
            "object cannot be part of a suite",
        ),
        ({"learners": {"a": int}}, "suite['learners']['a']", "not a valid learner"),
        ({"learners": {1: {}}}, "suite['learners']", "a key must be a word, not 1"),
        ({"seeds": [10**30]}, "suite['seeds'][0]", "a number too large"),
        ({"seeds": range(10**9)}, "suite", "over 100 values"),
        ({"extends": "no.yaml"}, "suite['extends']", "no file 'no.yaml' to extend"),
    ],
)
def test_a_fault_in_a_mapping_is_one_line_with_its_place(change, where, message, monkeypatch):
    monkeypatch.setattr(from_python, "MAX_NODES", 100)
    with pytest.raises(SuiteError, match=message.replace("(", r"\(")) as caught:
        load({**SMALL, **change})
    assert caught.value.where.endswith(where)


def test_a_mapping_that_contains_itself_is_refused():
    suite = dict(SMALL)
    suite["protocols"] = suite
    with pytest.raises(SuiteError, match="nested too deeply"):
        load(suite)


def test_overrides_and_extends_work_on_a_mapping(write_suite, monkeypatch):
    monkeypatch.chdir(write_suite(YAML).parent)
    loaded = load({"extends": "suite.yaml", "name": "more"}, sets=["learners.mlp.hidden=9"])
    assert loaded.name == "more"
    assert loaded.learners[0].config.hidden == 9


def test_the_content_of_a_class_of_a_notebook_is_in_the_key():
    def key(factor: int) -> str:
        class Mine(NearestMean):
            def fit(self, train, **kwargs):
                return super().fit(train, **kwargs) or factor

        (train, _) = cells(measuring(mine=Mine))
        assert train.identity["learner"]["kind"].startswith(f"{__name__}:")
        assert train.identity["learner"]["code"] == ["code:baselines.nearest_mean:NearestMean"]
        json.dumps(train.identity)
        return train.key

    assert key(1) == key(1)
    assert key(1) != key(2)


def test_a_class_of_a_notebook_reaches_workers_as_it_is():
    class Mine(NearestMean):
        """Tells what it is."""

        answer = 42

    entry = load(measuring(mine=Mine)).learners[0]
    (kind,) = pickled = at_hand.pickles(entry.config, entry.cls)
    learners.at_hand.pop(kind)
    at_hand.receive(pickled)
    assert learners[kind].answer == 42


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Dropout())


def test_a_network_at_hand_is_known_by_its_state():
    network = small()
    (measure,) = cells(measuring(mine=network))
    assert measure.training is None
    assert [cell.key for cell in cells(measuring(mine=small().eval()))] == [measure.key]
    network[1].bias.data += 1
    assert [cell.key for cell in cells(measuring(mine=network))] != [measure.key]


def test_the_identity_of_a_network_at_hand_is_json_and_can_be_read_again():
    entry = load(measuring(mine={"kind": "network", "module": small()})).learners[0]
    identity = json.loads(json.dumps(entry.settled))
    assert identity["module"]["network"] == "Sequential"
    with pytest.raises(SuiteError, match="write package.module:name"):  # nobody has its weights
        load(measuring(mine={"kind": "network", "module": identity["module"]}))
    again = Network.Config.model_validate(identity)
    assert again.module == entry.config.module
    with pytest.raises(Exception, match="is not at hand"):
        again.module.open()


def test_a_network_at_hand_is_copied_and_left_as_it_is():
    network = small()
    network[1].weight.grad = torch.ones(10, 64)
    config = load(measuring(mine=network)).learners[0].config
    opened = config.module.open()
    opened[1].weight.data.zero_()
    assert network[1].weight.any() and network[1].weight.grad.all() and network.training


def test_a_network_that_cannot_be_pickled_is_refused_with_a_reason():
    network = nn.utils.parametrizations.weight_norm(nn.Linear(64, 10))
    with pytest.raises(SuiteError, match="cannot send the network ParametrizedLinear to a worker"):
        load(measuring(mine=nn.Sequential(nn.Flatten(), network)[1]))


def test_a_class_that_workers_cannot_import_is_only_allowed_as_a_learner():
    class Mine(NearestMean):
        pass

    protocols = {"clean": {"kind": Mine, "dataset": "digits"}}
    with pytest.raises(SuiteError, match="workers cannot import"):
        load({**SMALL, "protocols": protocols})
