"""STDP: cells that leak, compete, rest and adapt; weights beside a loop; and the vote."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from baselines.stdp import Layer, classes_of, normalised, vote
from harness.registry import learners
from harness.rng import Rng


def made(shape=(1, 8, 8), **keys):
    cls = learners["stdp"]
    keys = {"hidden": 40, "readout_epochs": 10, **keys}
    return cls(cls.Config(**keys), shape, 10, Rng(0))


def layer(weight: torch.Tensor, theta: float = 0.0, images: int = 1) -> Layer:
    return Layer.at_rest(weight, torch.full((weight.shape[1],), theta), 1.0, images)


def test_a_potential_below_the_threshold_rises_to_input_times_time_constant():
    one = layer(torch.tensor([[0.12, 0.05]]))
    spikes = [one.step(torch.ones(1, 1)) for _ in range(1000)]
    assert torch.stack(spikes).sum() == 0
    torch.testing.assert_close(one.potential, torch.tensor([[12.0, 5.0]]), rtol=1e-4, atol=1e-2)


def test_the_most_driven_cell_alone_spikes_rests_and_inhibits():
    one = layer(torch.tensor([[16.0, 15.0]]))
    assert one.step(torch.ones(1, 1)).tolist() == [[1, 0]]
    assert one.potential.tolist() == [[0, -5]]
    after = [one.step(torch.ones(1, 1)).tolist()[0] for _ in range(9)]
    # 15 * (1 + 0.99 + ...) - 5 passes 13 two steps later; the first cell rests for 5 steps.
    assert after[0] == [0, 0]
    assert after[1] == [0, 1]
    assert all(first == 0 for first, _ in after[:5])
    assert any(first == 1 for first, _ in after[5:])


def test_a_threshold_that_has_grown_asks_for_more():
    spikes = torch.ones(1, 1)
    assert layer(torch.tensor([[16.0]]), theta=2.0).step(spikes).sum() == 1
    assert layer(torch.tensor([[16.0]]), theta=4.0).step(spikes).sum() == 0


def test_a_trace_is_one_at_a_spike_and_decays():
    one = layer(torch.zeros(2, 1))
    one.step(torch.tensor([[1.0, 0.0]]))
    one.step(torch.tensor([[0.0, 1.0]]))
    one.step(torch.tensor([[0.0, 1.0]]))
    torch.testing.assert_close(one.trace, torch.tensor([[0.95**2, 1.0]]))


def test_images_of_a_batch_do_not_touch_each_other():
    weight = 3 * torch.rand(5, 4, generator=torch.Generator().manual_seed(0))
    trains = torch.rand(30, 3, 5, generator=torch.Generator().manual_seed(1)).round()
    together = layer(weight, images=3)
    spikes = torch.stack([together.step(each) for each in trains])
    for i in range(3):
        alone = layer(weight)
        each = torch.stack([alone.step(train[i : i + 1]) for train in trains])
        assert torch.equal(spikes[:, i : i + 1], each)


def test_a_step_is_that_of_a_loop():
    learner = made(shape=(1, 3, 4), hidden=6, steps=40, rate=800.0)
    learner._growth = 0.1
    x = torch.rand(5, 12, generator=torch.Generator().manual_seed(2))
    weight = learner.tensors["weight"].clone()
    trains = list(made(shape=(1, 3, 4), hidden=6, steps=40, rate=800.0)._spikes(x))
    change = torch.zeros_like(weight)
    theta = torch.zeros(6)
    state = Layer.at_rest(weight, theta, 0.3 * 784 / 12, 5)
    fired = 0
    for train in trains:
        z = state.step(train)
        for b in range(5):
            for j in range(6):
                if z[b, j]:
                    fired += 1
                    theta[j] += 0.1
                    change[:, j] += state.trace[b] - 0.4
    learner.learn(learner.tensors["weight"], x, 0.5)
    expected = normalised((weight + 0.05 * change / 5).clamp(0, 1))
    assert fired > 10
    torch.testing.assert_close(learner.tensors["weight"], expected)
    torch.testing.assert_close(learner.tensors["theta"], theta)


def test_incoming_weights_keep_their_sum_and_sign(digits):
    learner = made(epochs=1)
    learner.fit(digits[0].take(np.arange(200)))
    weight = learner.tensors["weight"]
    torch.testing.assert_close(weight.sum(0), torch.full((40,), 6.4))
    assert float(weight.min()) >= 0
    assert learner.connectome()[0].enforced


def test_cells_vote_for_the_class_they_fire_most_for():
    counts = torch.tensor([[5.0, 0, 1], [4, 1, 0], [0, 3, 0], [1, 2, 0]])
    classes = classes_of(counts, torch.tensor([0, 0, 1, 1]), 2)
    assert classes.tolist() == [0, 1, 0]
    # Class 0 has two cells: means of (2, 0) and (0, 3), then of (4, 2) and of one cell.
    votes = vote(torch.tensor([[2.0, 3, 0], [4, 2, 2]]), classes, 2)
    assert votes.tolist() == [1, 0]


def test_digits_are_learned_better_than_without_plasticity(digits):
    train = digits[0].take(np.arange(800))
    accuracies, votes = [], []
    for epochs in (0, 1):
        learner = made(epochs=epochs, steps=40, target=0.6, adaptation=0.01, lr=0.3)
        log = learner.fit(train)
        with torch.no_grad():
            answers = learner.classifier()(digits[1].tensor()).argmax(1).numpy()
        accuracies.append((answers == digits[1].labels).mean())
        votes.append(log.rows[-1]["vote"])
    assert accuracies[1] > accuracies[0] + 0.01
    assert votes[1] > votes[0] + 0.15


def test_the_gradient_is_that_of_the_rate_code(digits):
    learner = made(epochs=1)
    learner.fit(digits[0].take(np.arange(100)))
    images = digits[1].tensor()[:4].double().requires_grad_()
    classifier = learner.classifier().double()
    assert torch.autograd.gradcheck(classifier, images, atol=1e-4)
    assert pytest.approx(1, abs=1e-5) == float(learner.embed(digits[1].tensor()[:1]).sum())
