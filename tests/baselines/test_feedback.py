"""Rules that carry errors down by other weights: feedback alignment, target propagation."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from baselines.feedback_alignment import Alignment
from baselines.target_propagation import DirectTargets
from harness.learning.nets import init_perceptron, perceptron
from harness.learning.perceptron import in_turn, named
from harness.registry import learners
from harness.rng import Rng


def made(kind: str, train, **switches):
    cls = learners[kind]
    return cls(cls.Config(**switches), train.shape, train.n_classes, Rng(0))


def accuracy(learner, test) -> float:
    with torch.no_grad():
        return (learner.classifier()(test.tensor()).argmax(1).numpy() == test.labels).mean()


def network(*sizes: int) -> dict[str, torch.Tensor]:
    return named(init_perceptron(sizes, torch.Generator().manual_seed(0)))


def batch(pixels: int = 12, count: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(
        count, 1, 1, pixels, generator=torch.Generator().manual_seed(1)
    ), torch.arange(count) % 5


class Recorded:
    """An optimiser that only notes the gradients."""

    def step(self, gradients, rate):
        self.gradients = gradients


def gradients_of(rule, x, y) -> list[torch.Tensor]:
    rule.optimiser = Recorded()
    rule.step(x, y, 0.5)
    return rule.optimiser.gradients


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_with_the_forward_weights_fed_back_it_is_backpropagation(activation):
    tensors, (x, y) = network(12, 9, 7, 5), batch()
    config = learners["feedback-alignment"].Config()
    rule = Alignment(
        tensors,
        config,
        feedback="layered",
        fixed=[tensors["weight1"].T, tensors["weight2"].T],
        activation=activation,
        adapting=False,
    )
    leaves = [p.clone().requires_grad_() for p in in_turn(tensors)]
    expected = torch.autograd.grad(
        F.cross_entropy(perceptron(x.flatten(1), leaves, activation=activation), y), leaves
    )
    for ours, theirs in zip(gradients_of(rule, x, y), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_direct_feedback_skips_the_layers_between():
    tensors, (x, y) = network(12, 9, 7, 5), batch()
    config, fixed = learners["feedback-alignment"].Config(), [torch.randn(5, 9), torch.randn(5, 7)]
    rule = Alignment(tensors, config, feedback="direct", fixed=fixed, adapting=False)
    h = F.relu(x.flatten(1) @ tensors["weight0"])
    error = (perceptron(x.flatten(1), in_turn(tensors)).softmax(1) - F.one_hot(y, 5)) / 16
    torch.testing.assert_close(
        gradients_of(rule, x, y)[0], x.flatten(1).T @ (error @ fixed[0] * (h > 0))
    )


def test_sign_symmetric_feedback_has_the_signs_of_the_weights_and_one_magnitude():
    tensors = network(12, 9, 5)
    rule = Alignment(
        tensors, learners["feedback-alignment"].Config(), feedback="sign", fixed=[], adapting=False
    )
    assert (
        torch.equal(rule.weights_down(1).sign(), tensors["weight1"].T.sign())
        and rule.weights_down(1).abs().unique().numel() == 1
    )


@pytest.mark.parametrize(
    "switches",
    [
        {},
        {"feedback": "direct", "hidden": [100, 100]},
        {"feedback": "sign"},
        {"activation": "tanh"},
        {"optimiser": "sgd", "lr": 0.05},
    ],
)
def test_it_learns_and_its_feedback_aligns(digits, switches):
    learner = made("feedback-alignment", digits[0], **{"hidden": 200, **switches})

    def alignment() -> float:
        return F.cosine_similarity(
            learner.feedback()[0].flatten(), learner.tensors["weight1"].T.flatten(), 0
        ).item()

    before = alignment() if learner.config.feedback == "layered" else None
    learner.fit(digits[0])
    assert accuracy(learner, digits[1]) > 0.9
    assert before is None or alignment() > before + 0.1


def test_an_attack_through_the_feedback_weights_is_too_weak(digits):
    path = Path(__file__).parent.parent / "benchmarks" / "feedback_path.py"
    spec = importlib.util.spec_from_file_location("feedback_path", path)
    lesson = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lesson)
    learner = made("feedback-alignment", digits[0], hidden=[100, 100], epochs=15)
    learner.fit(digits[0])
    images, labels = digits[1].tensor(), torch.from_numpy(digits[1].labels)
    true, false = (
        learner.classifier(),
        lesson.FeedbackPath(in_turn(learner.tensors), learner.feedback()),
    )
    torch.testing.assert_close(false(images), true(images), rtol=1e-4, atol=1e-4)
    rosy, honest = (lesson.under_attack(true, way, images, labels, 0.1) for way in (false, true))
    assert rosy > honest + 0.05


def test_targets_come_straight_from_the_output():
    tensors, (x, y) = network(12, 9, 7, 5), batch()
    rule = DirectTargets(
        tensors,
        learners["target-propagation"].Config(),
        torch.Generator().manual_seed(0),
        adapting=False,
    )
    back = [q.clone() for q in rule.feedback]
    h = torch.tanh(x.flatten(1) @ tensors["weight0"])
    activities, logits = rule.run(x.flatten(1))
    error = (logits.softmax(1) - F.one_hot(y, 5)) / 16
    torch.testing.assert_close(rule.errors(activities, error)[0], error @ back[0] * (1 - h**2))


def test_feedback_learns_the_damped_pseudo_inverse_of_what_is_above_it():
    """For a linear network above the hidden layer, Q = W^T (W W^T + decay)^-1."""
    tensors, (x, _) = network(12, 6, 3), batch()
    config = learners["target-propagation"].Config(feedback_decay=0.1, feedback_lr=1e-2)
    rule = DirectTargets(
        tensors,
        config,
        torch.Generator().manual_seed(0),
        adapting=False,
    )
    activities, _ = rule.run(x.flatten(1).repeat(16, 1))
    for step in range(900):
        rule.feedback_optimiser.lr = 1e-2 * (1 - step / 900)
        rule.learn_feedback(activities)
    weight = tensors["weight1"]  # (6, 3): logits = h W
    expected = torch.linalg.solve(weight.T @ weight + 0.1 * torch.eye(3), weight.T)
    assert F.cosine_similarity(rule.feedback[0].flatten(), expected.flatten(), 0) > 0.99
    torch.testing.assert_close(rule.feedback[0], expected, atol=0.06, rtol=0.1)


def test_target_propagation_learns(digits):
    learner = made("target-propagation", digits[0], hidden=[64, 64, 64], epochs=30, batch_size=50)
    learner.fit(digits[0])
    assert accuracy(learner, digits[1]) > 0.9
