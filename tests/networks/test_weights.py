"""Weights as people save them, and files that are something else."""

from __future__ import annotations

import argparse
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from harness.errors import HarnessError
from harness.networks import weights


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))


STATE = network().state_dict()


def prefixed(prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: value for name, value in STATE.items()}


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        {"state_dict": STATE, "epoch": 3},
        {"model": STATE, "optimizer": {"state": {}, "param_groups": []}},
        {"state_dict": {**prefixed("model."), "loss.weight": torch.ones(2)}},
        prefixed("module."),
        prefixed("_orig_mod.module."),
    ],
    ids=["plain", "checkpoint", "model", "lightning", "parallel", "compiled"],
)
def test_checkpoints_in_their_usual_forms_load(content, tmp_path):
    path = tmp_path / "net.pt"
    torch.save(content, path)
    made = network()
    nn.init.zeros_(made[0].weight)
    weights.load_into(made, weights.read(path), path)
    assert all(torch.equal(value, STATE[name]) for name, value in made.state_dict().items())


def test_safetensors_load(tmp_path):
    save_file(STATE, tmp_path / "net.safetensors")
    read = weights.read(tmp_path / "net.safetensors")
    assert read.keys() == STATE.keys() and torch.equal(read["2.bias"], STATE["2.bias"])


def test_a_named_key_of_a_checkpoint_is_taken(tmp_path):
    path = tmp_path / "net.pt"
    torch.save({"ema": STATE, "model": prefixed("x.")}, path)
    assert weights.read(path, key="ema").keys() == STATE.keys()
    with pytest.raises(HarnessError, match="it has no 'swa'") as raised:
        weights.read(path, key="swa")
    assert "'ema', 'model'" in raised.value.hint


class Payload:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


def test_code_in_a_file_runs_only_if_it_is_trusted(tmp_path):
    path = tmp_path / "net.pt"
    trace = tmp_path / "trace"
    torch.save({"state_dict": STATE, "payload": Payload(trace)}, path)
    with pytest.raises(HarnessError, match="Python objects besides weights") as raised:
        weights.read(path)
    assert "trust_pickle" in raised.value.hint and not trace.exists()
    assert weights.read(path, trust_pickle=True).keys() == STATE.keys()
    assert trace.exists()


def test_hyperparameters_beside_weights_need_trust(tmp_path):
    path = tmp_path / "net.ckpt"
    torch.save({"state_dict": STATE, "hparams": argparse.Namespace(lr=0.1)}, path)
    with pytest.raises(HarnessError, match="Python objects"):
        weights.read(path)
    assert weights.read(path, trust_pickle=True).keys() == STATE.keys()


def test_a_whole_pickled_network_is_given_as_it_is(tmp_path):
    path = tmp_path / "net.pt"
    torch.save(network(), path)
    assert isinstance(weights.read(path, trust_pickle=True), nn.Sequential)


@pytest.mark.parametrize("name", ["net.pt", "net.safetensors", "net.ckpt"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "text"])
def test_a_damaged_file_gets_one_line(name, damage, tmp_path):
    path = tmp_path / name
    if name.endswith("safetensors"):
        save_file(STATE, path)
    else:
        torch.save(STATE, path)
    whole = path.read_bytes()
    damaged = {"truncated": whole[: len(whole) // 2], "empty": b"", "text": b"hello"}
    path.write_bytes(damaged[damage])
    with pytest.raises(HarnessError) as raised:
        weights.read(path)
    assert raised.value.where == str(path) and "\n" not in raised.value.message


def test_a_file_without_weights_says_what_it_holds(tmp_path):
    path = tmp_path / "net.pt"
    torch.save([1, 2], path)
    with pytest.raises(HarnessError, match="a list"):
        weights.read(path)
    torch.save({"epoch": 3}, path)
    with pytest.raises(HarnessError, match="'epoch'"):
        weights.read(path)
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(HarnessError):
        weights.read(path)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (
            {**STATE, "0.weight": torch.zeros(3, 5)},
            r"0.weight is \(3, 5\) in the file and \(3, 4\)",
        ),
        ({**STATE, "0.bias": torch.full((3,), torch.nan)}, "0.bias is not finite"),
        ({"0.weight": STATE["0.weight"]}, "8 missing"),
        ({**STATE, "3.weight": torch.zeros(2)}, r"1 unknown \(3.weight\)"),
    ],
    ids=["shape", "nan", "missing", "unknown"],
)
def test_weights_of_another_network_are_refused(changed, says):
    with pytest.raises(HarnessError, match=says) as raised:
        weights.load_into(network(), changed, Path("net.pt"))
    assert raised.value.where == "net.pt" and raised.value.hint
