"""Certified sweeps: proofs beside attacks, and what is not attacked because of them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from harness.attacks.engine.decided import attacked_anyway, sweep_undecided
from harness.attacks.engine.sweep import SKIPPED, sweep
from harness.attacks.pgd import PGD
from harness.cells.entries import code_definitions
from harness.data.base import Facts, Images, Loaded, SplitFacts
from harness.errors import ProofError
from harness.learning.learner import silent
from harness.metrics.statistics import wilson
from harness.protocols.attack_settings import AttackEntry
from harness.protocols.attack_sweep import AttackSweep
from harness.protocols.base import Context
from harness.protocols.certificates import Certificates
from harness.rng import Rng

GRID = [0, 0.02, 0.05, 0.15]
CERTIFICATES = "harness.protocols.certificates"
ATTACK = {"attack": "pgd", "eps": GRID, "steps": 5, "loss": ["margin"]}
FACTS = Facts(
    (1, 4, 4), {"standard": {"train": SplitFacts(3, 1, 3), "test": SplitFacts(3, 60, 60)}}
)


class Largest(nn.Module):
    """A network without a bound: its logits are the three largest pixels, in turn."""

    def forward(self, x):
        return x.flatten(1).topk(3)[0]


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))
    layers.eval().requires_grad_(False)
    layers[3].bias -= layers(torch.rand(500, 1, 4, 4)).mean(0)  # so that it gives every class
    return layers


@pytest.fixture(scope="module")
def data(network) -> Loaded:
    """Images that the network gets right, except the last five."""
    pixels = np.random.default_rng(0).integers(0, 256, (63, 1, 4, 4)).astype(np.uint8)
    images = torch.from_numpy(pixels).float() / 255
    labels = network(images).argmax(1).numpy()
    labels[-5:] = (labels[-5:] + 1) % 3
    splits = {"train": np.arange(3), "test": np.arange(3, 63)}
    return Loaded(pixels, labels.astype(np.int64), ("a", "b", "c"), None, {"standard": splits})


class Fixed:
    """A learner that is its classifier."""

    kind = "fixed"
    plastic = False

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def classifier(self) -> nn.Module:
        return self.network


def protocol(**keys) -> AttackSweep:
    config = {"dataset": "any", "trust": False, "attacks": [{**ATTACK, **keys}]}
    return AttackSweep(AttackSweep.Config.model_validate(config), FACTS)


def measured(network: nn.Module, data: Loaded, **keys):
    (setting,) = protocol(**keys).settings()
    return AttackSweep.measure(Fixed(network), data, setting, Context(Rng(4), "cpu", 64, silent))


def tensors(data: Loaded) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    images: Images = data.split("standard", "test")
    return images.tensor(), torch.from_numpy(images.labels), images.index


def test_a_certified_sweep_stores_verdicts_margins_and_the_proven_share(network, data):
    found = measured(network, data, certify=True)
    proven = {value.setting["eps"]: value for value in found.values if value.metric == "proven"}
    assert list(proven) == GRID
    shares = []
    for eps, value in proven.items():
        verdicts = found.arrays[value.verdicts]
        assert value.verdicts == f"certified/eps={eps:g}" and verdicts.dtype == np.uint8
        margin = found.arrays[f"certified_margin/eps={eps:g}"]
        assert margin.dtype == np.float32
        assert np.array_equal(verdicts == 1, margin > 0)
        assert value.value == verdicts.mean()
        assert (value.low, value.high) == wilson(int(verdicts.sum()), 60)
        assert (verdicts <= found.arrays[f"correct/eps={eps:g}"]).all()
        shares.append(value.value)
    assert shares == sorted(shares, reverse=True) and shares[0] == 55 / 60 and 0.1 < shares[2] < 0.9
    assert found.remarks == ["proven by: CROWN"]


def test_a_network_without_a_bound_says_why_and_has_no_number(data):
    found = measured(Largest().eval(), data, certify=True)
    assert {value.metric for value in found.values} == {"accuracy"}
    assert not [name for name in found.arrays if "certified" in name]
    (remark,) = found.remarks
    assert remark.startswith("no bound: topk")
    plain = measured(Largest().eval(), data)
    assert all(
        np.array_equal(found.arrays[name], plain.arrays[name]) for name in ("attack/correct",)
    )


@pytest.mark.parametrize("mode", ["independent", "nested", "bisect"])
def test_leaving_out_what_is_proven_changes_no_robust_number(network, data, mode):
    converged = {"steps": 30, "targets": 2, "sweep": mode}
    certified = measured(network, data, certify=True, **converged)
    plain = measured(network, data, **converged)
    accuracy = [value.value for value in certified.values if value.metric == "accuracy"]
    assert accuracy == [value.value for value in plain.values]
    runs = certified.arrays["attack/correct"]
    ran = runs != SKIPPED
    assert ran.sum() < (plain.arrays["attack/correct"] != SKIPPED).sum()
    if mode == "independent":
        assert np.array_equal(runs[ran], plain.arrays["attack/correct"][ran])


def test_a_sample_that_is_not_proven_is_attacked_as_if_alone(network, data):
    images, labels, identity = tensors(data)
    attack = PGD.of(**{key: value for key, value in ATTACK.items() if key != "attack"})
    proofs = Certificates.of(network, images, labels, attack)
    together = sweep_undecided(network, images, labels, identity, attack, Rng(0), proofs.proven)
    for row in (0, 17, 59):
        one = slice(row, row + 1)
        alone = sweep_undecided(
            network,
            images[one],
            labels[one],
            identity[one],
            attack,
            Rng(0),
            proofs.proven[:, one],
        )
        assert np.array_equal(alone.correct[..., 0], together.correct[..., row])
        assert np.array_equal(alone.margin[..., 0], together.margin[..., row], equal_nan=True)
    assert not (together.correct[proofs.proven[:, None, None]] == 0).any()


def test_one_in_twenty_of_the_proven_is_attacked_anyway_and_always_the_same():
    decided = np.stack([np.arange(300) % 3 > 0, np.zeros(300, bool)])
    identity = np.arange(300) * 7
    chosen = attacked_anyway(decided, identity, Rng(1))
    assert chosen.sum() == 10 and not (chosen & ~decided[0]).any()
    order = np.random.default_rng(0).permutation(300)
    assert np.array_equal(
        attacked_anyway(decided[:, order], identity[order], Rng(1)), chosen[order]
    )
    assert attacked_anyway(decided[:, :3], identity[:3], Rng(1)).sum() == 1
    assert not attacked_anyway(np.zeros((2, 5), bool), identity[:5], Rng(1)).any()


def test_a_sample_that_is_proven_and_broken_is_an_error_that_names_it(network, data, monkeypatch):
    proofs = Certificates.of

    def too_much(*args):
        found = proofs(*args)
        return replace(found, proven=np.ones_like(found.proven))

    monkeypatch.setattr(Certificates, "of", too_much)
    with pytest.raises(ProofError, match=r"image \d+ is proven robust at linf eps .* pgd-5 breaks"):
        measured(network, data, certify=True)


def test_a_refuted_proof_at_a_larger_budget_counts_too(network, data):
    images, labels, identity = tensors(data)
    attack = PGD.of(eps=[0.05, 0.15], steps=5)
    result = sweep(network, images, labels, identity, attack, Rng(0))
    row = int(np.flatnonzero(~result.worst[0] & result.clean)[0])
    proven = np.zeros_like(result.worst)
    proven[1, row] = True  # broken at 0.05, "proven" at 0.15 alone
    proofs = Certificates((0.05, 0.15), proven, np.zeros(proven.shape, np.float32), "CROWN")
    with pytest.raises(ProofError, match=f"image {identity[row]} "):
        proofs.check(result, identity, attack)


def identity_of(**keys) -> dict:
    (setting,) = protocol(**keys).settings()
    return setting.to_identity()


def test_only_certified_sweeps_have_the_switch_in_their_identity():
    plain = identity_of()
    assert plain == identity_of(certify=False) and "certify" not in plain["config"]
    certified = identity_of(certify=True)
    assert certified["config"].pop("certify") is True
    assert certified == plain
    assert AttackEntry.from_identity(plain).config.certify is False


@pytest.mark.parametrize("certify", [False, True])
def test_only_certified_sweeps_have_the_code_of_bounds_in_their_key(certify):
    identity = {
        "role": "measure",
        "learner": {"kind": "mlp", "config": {}},
        "protocol": {"kind": "attack_sweep"},
        "setting": identity_of(certify=certify),
    }
    reached = code_definitions(identity)
    proofs = [name for name in reached if name.startswith(("harness.bounds", CERTIFICATES))]
    assert bool(proofs) == certify
    if certify:
        assert {"harness.bounds.prove:Prover", "harness.bounds.competitive:margins"} <= {*proofs}


def test_certificates_in_a_norm_without_bounds_are_a_fault():
    keys = {"attack": "torchattacks.Pixle", "norm": "l0", "eps": [1], "certify": True}
    config = AttackSweep.Config.model_validate({"dataset": "any", "attacks": [ATTACK, keys]})
    faults = [fault for fault in AttackSweep(config, FACTS).faults() if "certify" in fault.path]
    assert [fault.path for fault in faults] == [("attacks", 1, "certify")]
    assert "norm l0" in faults[0].message


def test_proofs_are_imported_only_where_they_are_asked_for():
    code = (
        "import sys, harness.protocols.attack_sweep as s; from harness.registry import protocols; "
        "protocols['attack_sweep']; "
        "print([m for m in sys.modules if m.startswith(('harness.bounds', 'torch.fx'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
