"""What distinguishes the few-shot learners from each other."""

from __future__ import annotations

import copy
import os

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from harness import api
from harness.data.base import Images
from harness.errors import HarnessError
from harness.imports import import_learn2learn
from harness.learning import gradient_heads
from harness.learning.fitting import EpisodeShape, training_episodes
from harness.learning.gradient_heads import GradientDescent
from harness.learning.inner_loop import add_outputs
from harness.learning.relation import Relation
from harness.registry import learners
from harness.rng import Rng

SHAPE, EPISODE = (1, 4, 4), EpisodeShape(3, 2, 2)


def fresh(kind: str, **switches):
    cls = learners[kind]
    return cls(cls.Config(**{"backbone": "mlp", "width": 8, **switches}), SHAPE, 5, Rng(0))


def batch(count: int = 2) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.rand(6, *SHAPE, generator=generator), torch.rand(6, *SHAPE, generator=generator))
        for _ in range(count)
    ]


def meta_gradient(learner) -> list[torch.Tensor]:
    learner.meta_gradient(batch(), EPISODE, 0)
    return [p.grad for p in learner.network.body.parameters()]


LABELS = torch.arange(3).repeat_interleave(2)


def adapted_by_hand(
    network,
    images: torch.Tensor,
    labels: torch.Tensor,
    steps: int,
    lr: float,
    *,
    create_graph: bool,
):
    """Plain gradient descent on a module whose parameters are its own."""
    names = [name for name, _ in network.named_parameters()]
    values = list(network.parameters())
    for _ in range(steps):
        loss = F.cross_entropy(
            torch.func.functional_call(network, dict(zip(names, values, strict=True)), (images,)),
            labels,
        )
        gradients = torch.autograd.grad(loss, values, create_graph=create_graph)
        values = [v - lr * g for v, g in zip(values, gradients, strict=True)]
    return dict(zip(names, values, strict=True))


@pytest.mark.parametrize(("kind", "first_order"), [("maml", False), ("fomaml", True)])
def test_maml_and_fomaml_have_the_gradients_that_define_them(kind, first_order):
    """MAML: through the inner steps. FOMAML: the query loss's gradient at adapted weights."""
    learner = fresh(kind, inner_steps=3, inner_lr=0.3)
    found = meta_gradient(learner)
    expected = [torch.zeros_like(p) for p in learner.network.body.parameters()]
    for support, queries in batch():
        network = copy.deepcopy(learner.network)
        add_outputs(network, 3)
        values = adapted_by_hand(network, support, LABELS, 3, 0.3, create_graph=not first_order)
        loss = F.cross_entropy(torch.func.functional_call(network, values, (queries,)), LABELS)
        body = [name for name in values if name.startswith("body.")]
        by = [values[name] for name in body] if first_order else list(network.body.parameters())
        for total, g in zip(expected, torch.autograd.grad(loss, by), strict=True):
            total += g / 2
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_dropping_second_derivatives_changes_the_gradient():
    switches = {"inner_steps": 3, "inner_lr": 0.3}
    pairs = zip(
        meta_gradient(fresh("maml", **switches)),
        meta_gradient(fresh("fomaml", **switches)),
        strict=True,
    )
    assert any((a - b).abs().max() > 1e-3 * a.abs().max() for a, b in pairs)


def test_anil_is_learn2learns_maml_on_the_head_alone():
    learner = fresh("anil", inner_steps=3, inner_lr=0.3)
    found = meta_gradient(learner)
    body = copy.deepcopy(learner.network.body)
    for support, queries in batch():
        head = torch.nn.Linear(8, 3)
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
        clone = import_learn2learn().algorithms.MAML(head, lr=0.3).clone()
        for _ in range(3):
            clone.adapt(F.cross_entropy(clone(body(support)), LABELS))
        (F.cross_entropy(clone(body(queries)), LABELS) / 2).backward()
    for ours, theirs in zip(found, body.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs.grad, rtol=1e-4, atol=1e-6)


def test_anil_adapts_its_head_alone():
    learner, (support, queries) = fresh("anil"), batch(1)[0]
    module = learner.adapt(support, LABELS, 3)
    assert torch.equal(module.body(queries), learner.embed(queries))
    assert module.weight.abs().max() > 0


def test_meta_sgd_learns_its_rates():
    """Two inner steps: with a head of zero, the first one does not change the body."""
    learner = fresh("meta-sgd", inner_steps=2)
    before = [rate.detach().clone() for rate in learner.rates()]
    optimiser = learner.outer()
    learner.meta_gradient(batch(), EPISODE, 0)
    optimiser.step()
    assert all((rate != old).any() for rate, old in zip(learner.rates(), before, strict=True))


def test_meta_sgd_with_equal_rates_is_maml():
    (support, queries), switches = batch(1)[0], {"adapt_steps": 3, "inner_lr": 0.3}
    logits = [
        fresh(kind, **switches).adapt(support, LABELS, 3)(queries) for kind in ("maml", "meta-sgd")
    ]
    torch.testing.assert_close(*logits, rtol=1e-5, atol=1e-6)


def test_reptile_moves_to_the_mean_of_the_adapted_weights():
    """Two inner steps on all images of a task, by hand: theta <- theta + lr (theta' - theta)."""
    learner = fresh(
        "reptile", inner_steps=2, inner_batch=12, inner_lr=0.3, lr=0.5, train_shots=4, train_ways=3
    )
    (support, queries), shape = batch(1)[0], EPISODE
    images, labels = torch.cat([support, queries]), torch.cat([LABELS, LABELS])
    start, network = (
        [p.detach().clone() for p in learner.network.body.parameters()],
        copy.deepcopy(learner.network),
    )
    add_outputs(network, 3)
    values = adapted_by_hand(network, images, labels, 2, 0.3, create_graph=False)
    optimiser = learner.outer()
    learner.meta_gradient([(support, queries)], shape, 0)
    optimiser.step()
    ends = [value for name, value in values.items() if name.startswith("body.")]
    for now, old, end in zip(learner.network.body.parameters(), start, ends, strict=True):
        torch.testing.assert_close(now, old + 0.5 * (end - old), rtol=1e-4, atol=1e-6)
    assert any((end - old).abs().max() > 1e-4 for old, end in zip(start, ends, strict=True))


@pytest.mark.parametrize("head", ["linear", "cosine"])
def test_gradient_heads_are_torch_sgd(head):
    """Against torch's own layers and optimiser, weight decay on the weights."""
    generator = torch.Generator().manual_seed(0)
    support, labels, scale = (
        torch.randn(2, 7, 10, generator=generator),
        torch.tensor([[0, 1, 2, 0, 1, 2, 1]] * 2),
        4.0,
    )
    descent, queries = GradientDescent(12, 0.3, 0.01), torch.randn(2, 5, 10, generator=generator)
    found = (
        gradient_heads.softmax_regression(support, labels, 3, descent)
        if head == "linear"
        else gradient_heads.cosine_classifier(support, labels, 3, descent, scale)
    )
    for e in range(2):
        unit = F.normalize(support[e], dim=1)
        means = torch.stack([unit[labels[e] == c].mean(0) for c in range(3)])
        weight = (
            torch.zeros(10, 3) if head == "linear" else F.normalize(means, dim=1).T.clone()
        ).requires_grad_()
        bias = torch.zeros(3, requires_grad=True)

        def logits(x, weight=weight, bias=bias):
            return (
                x @ weight + bias
                if head == "linear"
                else scale * F.normalize(x, dim=1) @ F.normalize(weight, dim=0)
            )

        optimiser = torch.optim.SGD(
            [{"params": [weight], "weight_decay": 0.01}, {"params": [bias]}], lr=0.3
        )
        for _ in range(12):
            optimiser.zero_grad()
            F.cross_entropy(logits(support[e]), labels[e]).backward()
            optimiser.step()
        torch.testing.assert_close(
            found(queries)[e], logits(queries[e]).detach(), rtol=1e-4, atol=1e-4
        )


def test_a_cosine_head_does_not_see_the_length_of_an_embedding():
    generator = torch.Generator().manual_seed(0)
    support, labels = torch.randn(1, 6, 10, generator=generator), LABELS[None]
    queries = torch.randn(1, 5, 10, generator=generator)
    logits = [
        gradient_heads.cosine_classifier(s * support, labels, 3, GradientDescent(20, 0.1), 10.0)(
            t * queries
        )
        for s, t in ((1, 1), (7, 0.2))
    ]
    torch.testing.assert_close(*logits, rtol=1e-4, atol=1e-4)


def test_matching_networks_attend_as_the_equation_says():
    learner = fresh("matching-net", sharpness=1.0)
    generator = torch.Generator().manual_seed(0)
    support, queries = (
        torch.randn(1, 6, 8, generator=generator),
        torch.randn(1, 4, 8, generator=generator),
    )
    cosines = F.cosine_similarity(queries[0][:, None], support[0], dim=2)
    weights = cosines.exp() / cosines.exp().sum(1, keepdim=True)
    expected = torch.stack([weights[:, c == LABELS].sum(1) for c in range(3)], 1)
    torch.testing.assert_close(
        learner.head_many(support, LABELS[None], 3)(queries)[0].exp(), expected
    )


def test_a_relation_is_a_convolution_of_the_two_inputs_concatenated():
    relation = Relation(8 * 49, 8, torch.Generator().manual_seed(0), maps=True).eval()
    queries, known = torch.randn(3, 8 * 49), torch.randn(2, 8 * 49)
    pairs = torch.stack(
        [torch.cat([q.view(8, 7, 7), k.view(8, 7, 7)]) for q in queries for k in known]
    )
    x = F.conv2d(pairs, torch.cat([relation.query, relation.known], 1), padding=1)
    x = F.max_pool2d(F.relu(relation.norms[0](x)), 2)
    x = F.max_pool2d(F.relu(relation.norms[1](F.conv2d(x, relation.deep, padding=1))), 2).flatten(1)
    expected = (
        F.relu(x @ relation.hidden + relation.hidden_bias) @ relation.score + relation.score_bias
    )
    torch.testing.assert_close(relation(queries, known), expected.view(3, 2), rtol=1e-4, atol=1e-5)


def test_training_in_bfloat16_stays_near_and_leaves_float32_behind():
    pixels = np.random.default_rng(0).integers(0, 256, (60, *SHAPE), dtype=np.uint8)
    train = Images(pixels, np.tile(np.arange(5), 12).astype(np.int64), np.arange(60), 5)
    found = []
    for precision in ("float32", "bfloat16"):
        learner = fresh("protonet", precision=precision, episodes=5, train_ways=5)
        learner.fit(train)
        found.append(learner.state_dict())
    assert all(tensor.dtype != torch.bfloat16 for tensor in found[1].values())
    same = [
        torch.equal(found[0][name], found[1][name]) for name in found[0] if name.startswith("body")
    ]
    assert not all(same)


PUBLISHED_LEVEL = """
name: published-level
learners:
  protonet:
    {kind: protonet, train_ways: 60, train_shots: 1, train_queries: 5, episodes: 6000,
     precision: bfloat16}
protocols:
  few:
    {kind: few_shot, dataset: {kind: omniglot, rotations: true}, splitting: vinyals,
     ways: [5, 20], shots: [1, 5], queries: 15, episodes: 1000}
"""


@pytest.mark.slow
@pytest.mark.skipif("HARNESS_DATA" not in os.environ, reason="needs the real Omniglot")
def test_prototypical_networks_reach_their_published_level(tmp_path, write_suite):
    """The bands that independent reproductions reach; half an hour of one core."""
    run = api.run(write_suite(PUBLISHED_LEVEL), store=tmp_path / "store", workers=1)
    reached = {
        (r.setting["ways"], r.setting["shots"]): r.value
        for r in run.results.records
        if r.metric == "accuracy"
    }
    bands = {(5, 1): (0.98, 0.995), (5, 5): (0.993, 1), (20, 1): (0.945, 0.975), (20, 5): (0.98, 1)}
    for setting, (least, most) in bands.items():
        assert least <= reached[setting] <= most, (setting, reached)


# --------------------------------------------------------------------------- classes without images


def of_classes(labels: list[int], count: int = 8) -> Images:
    """Images of some of five classes, each brighter in a row of its own."""
    pixels = Rng(0).numpy("pixels").integers(0, 60, (len(labels) * count, *SHAPE), np.uint8)
    every = np.repeat(labels, count)
    pixels[np.arange(len(every)), 0, every % 4] += 190
    return Images(pixels, every.astype(np.int64), np.arange(len(every)), 5)


EPISODIC = ["protonet", "matching-net", "relation-net", "maml", "anil", "reptile"]


def small_steps(kind: str) -> dict[str, int]:
    count = "iterations" if "iterations" in learners[kind].Config.model_fields else "episodes"
    return {count: 10}


@pytest.mark.parametrize("kind", EPISODIC)
def test_some_of_the_classes_are_enough_to_learn(kind):
    """As the first tasks of a stream show them; the others are not predicted."""
    train = of_classes([1, 3])
    learner = fresh(kind, **small_steps(kind))
    learner.fit(train)
    with torch.no_grad():
        answers = learner.classifier()(of_classes([0, 1, 2, 3, 4]).tensor())
    assert answers.shape == (40, 5) and answers.isfinite().all()
    if kind in ("protonet", "matching-net", "relation-net"):
        assert set(answers.argmax(1).tolist()) <= {1, 3}


def test_a_class_of_one_image_takes_no_part_in_episodes():
    train = of_classes([0, 1, 2])
    train = train.take(np.r_[0:16, 16])  # one image of class 2
    assert EpisodeShape.within(train, EpisodeShape(5, 1, 5)) == EpisodeShape(2, 1, 5)
    episodes = list(training_episodes(train, EpisodeShape(2, 1, 5), 20, Rng(0)))
    assert all((train.labels[np.concatenate(rows)] < 2).all() for rows in episodes)


@pytest.mark.parametrize("kind", ["protonet", "anil"])
def test_without_any_image_there_is_no_classifier(kind):
    with pytest.raises(HarnessError, match="has seen no image"):
        fresh(kind).classifier()
