"""APGD, FMN, momentum and the ratio of logits, against closed forms, torchattacks and foolbox."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from harness.attacks.apgd import checkpoints
from harness.attacks.engine.geometry import norms
from harness.attacks.engine.losses import LOSSES
from harness.attacks.engine.sweep import sweep
from harness.rng import Rng


def run(model, digits, attack, n: int = 320, **keys):
    return sweep(model, digits.images[:n], digits.labels[:n], np.arange(n), attack, Rng(0), **keys)


@pytest.mark.parametrize("eps", [0.05, 0.1, 0.15])
def test_apgd_is_as_strong_as_that_of_torchattacks(attack, network, digits, eps):
    import torchattacks

    theirs = torchattacks.APGD(network, eps=eps, steps=50, loss="ce", seed=0)(
        digits.images, digits.labels
    )
    stands = float((network(theirs).argmax(1) == digits.labels).float().mean())
    ours = run(network, digits, attack("apgd", eps=[eps], steps=50)).accuracy()[0]
    assert ours <= stands + 0.01  # another random start: 3 of 320 images


def test_apgd_thinks_its_steps_over_where_the_paper_says():
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert all(0 < step < n for n in range(2, 60) for step in checkpoints(n))


@pytest.mark.parametrize(
    "kind, keys",
    [
        ("apgd", {"steps": 12, "loss": ["ce", "dlr"], "restarts": 2}),
        ("fmn", {"steps": 12}),
        ("apgd", {"steps": 12, "norm": "l2", "eps": [0.3, 0.9]}),
        ("pgd", {"steps": 12, "momentum": 0.9, "targets": 2}),
        ("fab", {"steps": 6, "targets": 2}),
        ("square", {"queries": 20, "norm": "l2", "eps": [0.3, 0.9]}),
        ("autoattack", {"steps": 3, "queries": 9, "eps": [0.08]}),
        ("autoattack", {"steps": 4, "queries": 9, "norm": "l1", "eps": [1.0]}),
    ],
    ids=str,
)
def test_every_bit_is_the_same_whatever_the_batch_size(attack, network, digits, kind, keys):
    found = [
        run(network, digits, attack(kind, **{"eps": [0.05, 0.12], **keys}), 90, batch_size=size)
        for size in (1, 16, 200)
    ]
    for other in found[1:]:
        assert np.array_equal(found[0].correct, other.correct) and np.array_equal(
            found[0].worst, other.worst
        )
        assert np.array_equal(found[0].margin, other.margin, equal_nan=True)


@pytest.mark.parametrize("norm, dual", [("linf", 1), ("l2", 2), ("l1", float("inf"))])
def test_fmn_finds_the_distance_to_the_boundary_of_a_linear_network(attack, norm, dual):
    generator = Rng(3).torch("linear")
    linear = nn.Linear(36, 2)
    with torch.no_grad():
        linear.weight.copy_(torch.randn(2, 36, generator=generator))
        linear.bias.copy_(-linear.weight.sum(1) / 2)
    images = 0.5 + 0.02 * torch.randn(64, 1, 6, 6, generator=generator)
    model = nn.Sequential(nn.Flatten(), linear).eval()
    logits = model(images).detach()
    labels = logits.argmax(1)
    between = (linear.weight[0] - linear.weight[1]).detach()
    exact = (logits[:, 0] - logits[:, 1]).abs() / torch.linalg.vector_norm(between, dual)
    found = sweep(
        model, images, labels, np.arange(64), attack("fmn", norm=norm, eps=[0.1], steps=300), Rng(0)
    ).norm[0, 0, 0]
    rounding = 1e-5 / float(
        torch.linalg.vector_norm(between, dual)
    )  # of float32 logits of size ten, as a distance
    assert (found >= exact.numpy() * (1 - 1e-4) - rounding).all()
    assert np.median(found / exact.numpy()) < 1.02


@pytest.mark.parametrize(
    "norm, cls", [("linf", "LInfFMNAttack"), ("l2", "L2FMNAttack"), ("l1", "L1FMNAttack")]
)
def test_fmn_finds_perturbations_as_small_as_those_of_foolbox(attack, network, digits, norm, cls):
    import foolbox

    images, labels = digits.images[:160], digits.labels[:160]
    _, adversarial, misled = getattr(foolbox.attacks, cls)(steps=100)(
        foolbox.PyTorchModel(network, bounds=(0, 1)), images, labels, epsilons=None
    )
    theirs = np.where(misled.numpy(), norms(adversarial - images, norm).numpy(), np.inf)
    result = run(
        network,
        digits,
        attack("fmn", norm=norm, eps=[100.0 if norm != "linf" else 1.0], steps=100),
        160,
    )
    ours = np.where(result.correct[0, 0, 0] == 0, result.norm[0, 0, 0], np.inf)
    assert np.median(ours[result.clean]) <= 1.02 * np.median(theirs[result.clean])
    assert np.isfinite(ours[result.clean]).mean() > 0.95


def test_one_run_of_fmn_is_a_curve(attack, mlp, digits):
    grid = [0.0, 0.05, 0.1, 0.15, 0.2]
    curve = run(mlp, digits, attack("fmn", eps=grid, steps=100)).accuracy()
    by_pgd = run(mlp, digits, attack("pgd", eps=grid, steps=50)).accuracy()
    assert (np.diff(curve) <= 0).all() and np.abs(curve - by_pgd).max() < 0.03


def test_momentum_sees_past_a_gradient_that_flips(attack, mlp, digits):
    plain, swung = (
        run(mlp, digits, attack("pgd", eps=[0.1], steps=10, momentum=mu)) for mu in (0.0, 0.9)
    )
    assert not np.array_equal(plain.margin, swung.margin, equal_nan=True)
    assert abs(plain.accuracy()[0] - swung.accuracy()[0]) < 0.05


def test_the_ratio_of_logits_is_that_of_torchattacks_and_sees_no_scale():
    from torchattacks.attacks.apgd import APGD

    generator = Rng(0).torch("logits")
    logits, labels = (
        torch.randn(50, 6, generator=generator),
        torch.randint(6, (50,), generator=generator),
    )
    ours = LOSSES["dlr"](logits, labels, None)
    assert torch.allclose(ours, APGD.dlr_loss(None, logits, labels), atol=1e-5)
    assert torch.allclose(ours, LOSSES["dlr"](100 * logits - 7, labels, None), atol=1e-4)


@pytest.mark.parametrize(
    "kind, keys, classes, path",
    [
        ("pgd", {"loss": ["ce", "dlr"]}, 2, ("loss", 1)),
        ("pgd", {"loss": ["dlr"], "targets": 1}, 3, ("loss", 0)),
        ("apgd", {"targets": 3}, 3, ("targets",)),
        ("fgsm", {"loss": ["dlr"]}, 2, ("loss", 0)),
        ("apgd", {"loss": ["dlr"]}, 3, None),
    ],
)
def test_too_few_classes_are_a_fault(attack, kind, keys, classes, path):
    found = [fault[0] for fault in attack(kind, eps=[0.1], **keys).faults((1, 8, 8), classes)]
    assert found == ([] if path is None else [path])


def certified(
    mlp: nn.Sequential, images: torch.Tensor, labels: torch.Tensor, eps: float
) -> np.ndarray:
    """Which images are proven robust in Linf, by interval bounds (Gowal et al. 2019)."""
    first, last = (mlp[at].weight.double().detach() for at in (1, 3))
    low, high = ((images + sign * eps).clamp(0, 1).flatten(1).double() for sign in (-1, 1))
    middle, radius = (low + high) / 2, (high - low) / 2
    hidden, reach = middle @ first.T + mlp[1].bias.double().detach(), radius @ first.abs().T
    low, high = (hidden - reach).relu(), (hidden + reach).relu()
    middle, radius = (low + high) / 2, (high - low) / 2
    against = (
        last[labels][:, None] - last[None]
    )  # right logit minus each other one, as a linear function of the layer
    bias, span = mlp[3].bias.double().detach(), (against.abs() @ radius[:, :, None]).squeeze(2)
    least = (against @ middle[:, :, None]).squeeze(2) - span + bias[labels][:, None] - bias
    return (least.scatter(1, labels[:, None], float("inf")) > 0).all(1).numpy()


@pytest.mark.parametrize(
    "kind, keys",
    [
        ("pgd", {"steps": 40, "loss": ["ce", "margin"], "restarts": 2}),
        ("fmn", {"steps": 100}),
        ("apgd", {"steps": 40, "loss": ["ce", "dlr"]}),
        ("square", {"queries": 300}),
        ("fab", {"steps": 20, "targets": 3}),
        ("autoattack", {"steps": 8, "queries": 40}),
    ],
    ids=str,
)
def test_nothing_that_is_proven_robust_is_ever_broken(attack, mlp, digits, kind, keys):
    grid = [0.005, 0.01, 0.02, 0.03]
    worst = run(mlp, digits, attack(kind, eps=grid, **keys)).worst
    shares = []
    for eps, stood in zip(grid, worst, strict=True):
        proven = certified(mlp, digits.images, digits.labels, eps)
        assert stood[proven].all()
        shares.append(proven.mean())
    assert shares[0] > 0.5  # the bound says something
