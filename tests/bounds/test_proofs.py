"""What a proof may not depend on, how bounds order, and what rounding in float32 may change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import oracles
import pytest
import small
import torch
from torch import nn

from harness.bounds import crown
from harness.bounds import trace as recording
from harness.bounds.domain import Domain
from harness.bounds.prove import Prover, prove

NETWORKS = {
    "mlp": lambda: small.mlp([9, 12, 8, 4]),
    "tanh": lambda: small.mlp([9, 8, 8, 4], activation=nn.Tanh),
    "conv": lambda: small.conv(1, side=7),
    "code": lambda: small.competitive(9, 14, 4, 20.0),
    "prototypes": lambda: small.NearestPrototype(
        torch.rand(12, 9, generator=small.seeded(2)), 4
    ).eval(),
}


def case(name: str):
    network = NETWORKS[name]()
    points = small.images(11, 1, 7, 7) if name == "conv" else small.images(11, 1, 3, 3)
    return network, points, network(points).argmax(1)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_bound_does_not_depend_on_the_other_images_of_its_batch(name, norm):
    network, points, labels = case(name)
    prover = Prover.of(network, points)
    together = replace(prover, chunk=11).prove(points, labels, 0.05, norm)
    for chunk in (1, 4):
        apart = replace(prover, chunk=chunk).prove(points, labels, 0.05, norm)
        torch.testing.assert_close(apart.margins, together.margins, rtol=0, atol=1e-10)
        assert torch.equal(apart.proven, together.proven)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("name", NETWORKS)
def test_bounds_of_a_grid_never_rise_with_the_budget(name, norm):
    network, points, labels = case(name)
    prover = Prover.of(network, points)
    grid = [0.0, 0.01, 0.02, 0.05, 0.1, 0.3]
    proofs = prover.prove_grid(points, labels, grid, norm)
    for smaller, larger, eps in zip(proofs[:-1], proofs[1:], grid[1:], strict=True):
        assert larger.eps == eps
        assert (larger.margins <= smaller.margins).all()
        assert (larger.margins >= prover.prove(points, labels, eps, norm).margins).all()
    assert proofs[0].proven.all()
    others = proofs[0].margins.isfinite()
    assert (proofs[-1].margins < proofs[0].margins)[others].all()


@pytest.mark.parametrize("name", ["mlp", "tanh", "conv"])
def test_crown_is_at_least_as_tight_as_interval_bounds(name):
    network, points, labels = case(name)
    graph = recording.trace(network, points)
    for eps in (0.01, 0.1):
        domain = Domain(points.double(), eps, "linf")
        interval = crown.interval_margins(graph, domain, labels)
        found = crown.margins(graph, domain, labels)
        assert (found >= interval - 1e-12).all()
        assert (found > interval + 1e-3).any()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_smaller_norm_ball_proves_at_least_as_much(name):
    """An L1 ball is inside the L2 ball of its radius, and that inside the Linf ball."""
    network, points, labels = case(name)
    prover = Prover.of(network, points)
    shares = [
        float(prover.prove(points, labels, 0.1, norm).proven.double().mean())
        for norm in ("l1", "l2", "linf")
    ]
    assert shares == sorted(shares, reverse=True)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_wrong_image_is_never_proven(name):
    network, points, labels = case(name)
    wrong = (labels + 1) % network(points).shape[1]
    assert not prove(network, points, wrong, 0.001).proven.any()
    assert not prove(network, points, wrong, 0.0).proven.any()


def test_a_tie_is_not_proven():
    network = nn.Sequential(nn.Flatten(), nn.Linear(9, 3)).eval().requires_grad_(False)
    network[1].weight.zero_()
    network[1].bias.zero_()
    proof = prove(network, small.images(4, 1, 3, 3), torch.zeros(4).long(), 0.0)
    assert not proof.proven.any()


def test_a_network_that_gives_nan_is_not_proven():
    network = small.mlp([9, 5, 3])
    network[1].weight[0, 0] = torch.inf
    graph = recording.trace(small.mlp([9, 5, 3]), small.images(3, 1, 3, 3))
    broken = replace(graph.steps[2], op=replace(graph.op(2), weight=network[1].weight.double().T))
    graph = replace(graph, steps=(*graph.steps[:2], broken, *graph.steps[3:]))
    from harness.bounds.prove import _of_graph

    prover = Prover(_of_graph(graph), "CROWN", 3)
    proof = prover.prove(small.images(3, 1, 3, 3), torch.zeros(3).long(), 0.1)
    assert not proof.proven.any()


@pytest.mark.parametrize("change", ["permute units", "scale layers", "add a constant", "times ten"])
def test_rewriting_a_network_changes_no_verdict(change):
    network, points, labels = case("mlp")
    first, second, third = network[1], network[3], network[5]
    before = prove(network, points, labels, 0.1)
    if change == "permute units":
        order = torch.randperm(12, generator=small.seeded(0))
        first.weight.copy_(first.weight[order])
        first.bias.copy_(first.bias[order])
        second.weight.copy_(second.weight[:, order])
    elif change == "scale layers":
        first.weight.mul_(2)
        first.bias.mul_(2)
        second.weight.div_(2)
    elif change == "add a constant":
        third.bias.add_(0.25)
    else:
        third.weight.mul_(10)
        third.bias.mul_(10)
    after = prove(network, points, labels, 0.1)
    assert 0 < before.proven.sum() < len(points)
    assert torch.equal(before.proven, after.proven)


# ------------------------------------------------------------------------------------- rounding


@pytest.mark.parametrize("name", ["mlp", "tanh", "conv"])
def test_rounding_in_float32_stays_within_its_slack(name):
    network, points, labels = case(name)
    graph = recording.trace(network, points)
    domain = Domain(points.double(), 0.1, "linf")
    slack = crown.rounding(graph, crown.boxes(graph, domain))
    generator = small.seeded(1)
    largest = torch.zeros(len(points), slack.shape[1], dtype=torch.float64)
    for _ in range(30):
        noise = torch.rand(points.shape, generator=generator) * 0.2 - 0.1
        near = (points + noise).clamp(0, 1)
        difference = (network(near).double() - graph.values(near.double())[-1]).abs()
        largest = torch.maximum(largest, difference)
    assert (largest <= slack).all()
    assert slack.max() < 1e-3  # it decides next to nothing


def test_rounding_counts_a_mean_and_a_bias_that_cancel():
    network = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(9), nn.Linear(9, 3))
    network = small.randomised(network, 0)
    norm = network[1]
    norm.weight.fill_(1.0)
    norm.running_mean.fill_(1e4)
    norm.bias.copy_(norm.running_mean * torch.rsqrt(norm.running_var + norm.eps))
    points = small.images(5, 1, 3, 3)
    graph = trace_unchecked(network, points)
    slack = crown.rounding(graph, crown.boxes(graph, Domain(points.double(), 0.0, "linf")))
    error = (network(points).double() - graph.values(points.double())[-1]).abs()
    assert error.max() > 1e-4  # of logits of about one
    assert (error <= slack).all()


def trace_unchecked(network: nn.Module, points: torch.Tensor):
    """A graph of a network whose rounding alone makes it fail the comparison of logits."""
    with torch.no_grad():
        return recording._convert(recording._record(network, points), points)


@pytest.mark.parametrize("temperature", [5.0, 40.0, 400.0])
def test_rounding_of_a_competitive_code_stays_within_its_slack(temperature):
    network = small.competitive(60, 50, 5, temperature)
    points = small.images(40, 1, 6, 10)
    labels = network(points).argmax(1)
    graph = recording.trace(network, points)
    exact = graph.values(points.double())[-1]
    exact = exact.gather(1, labels[:, None]) - exact
    found = prove(network, points, labels, 0.0).margins
    float32 = torch.stack(
        [
            oracles.margins_at(network, x[None], int(y))[0]
            for x, y in zip(points, labels, strict=True)
        ]
    )
    others = found.isfinite()
    slack = (exact - found)[others]
    assert (slack >= (float32 - exact)[others].abs()).all()
    assert slack.median() < 2e-4 * (10 + temperature) * exact.abs().max()


# ------------------------------------------------------------------------------------- deep nets


def test_units_are_bounded_one_by_one_only_where_their_sign_is_open():
    network = small.mlp([9, 12, 8, 4])
    points = small.images(5, 1, 3, 3)
    graph = recording.trace(network, points)
    domain = Domain(points.double(), 0.02, "linf")
    by_intervals = crown.intervals(graph, domain)
    tightened = crown.boxes(graph, domain)
    assert len(tightened) == len(graph.steps)
    for loose, tight in zip(by_intervals, tightened, strict=True):
        assert (tight.low >= loose.low - 1e-12).all()
        assert (tight.high <= loose.high + 1e-12).all()
    values = [value.numpy() for value in graph.values(points.double())]
    for value, box in zip(values, tightened, strict=True):
        assert np.all(value >= box.low.numpy() - 1e-9)
        assert np.all(value <= box.high.numpy() + 1e-9)
