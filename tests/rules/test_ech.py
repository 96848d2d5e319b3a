"""The ECH learner: what it promises as a learner, on small problems."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data.base import Images
from harness.errors import HarnessError
from harness.learning import heads
from harness.learning.heads import viewed
from harness.learning.learner import Budget
from harness.registry import learners
from harness.rng import Rng
from harness.rules import plasticity, structural
from harness.rules.ech import ECH
from harness.rules.modules.competitive import CompetitiveCode
from harness.rules.training_plan import TrainingPlan, plan_training

SHAPE, CLASSES = (1, 8, 8), 4


def blobs(n: int = 240, seed: int = 0) -> Images:
    """Noisy images of four bars."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(CLASSES, size=n)
    pixels = rng.integers(0, 60, size=(n, *SHAPE))
    for image, label in zip(pixels, labels, strict=True):
        image[0, 2 * label : 2 * label + 2] += 150
    return Images(pixels.astype(np.uint8), labels.astype(np.int64), np.arange(n), CLASSES)


def learner(seed: int = 0, **config) -> ECH:
    return ECH(
        ECH.Config(**{"hidden": 32, "epochs": 4, "batch": 20, **config}), SHAPE, CLASSES, Rng(seed)
    )


def fitted(**config) -> ECH:
    made = learner(**config)
    made.fit(blobs())
    return made


def episodes(count: int = 6, shots: int = 3, queries: int = 5):
    """Supports (E, S, ...), their labels, and queries with theirs."""
    images = blobs(400, seed=1)
    pools = [np.flatnonzero(images.labels == c) for c in range(CLASSES)]
    rng = np.random.default_rng(2)
    rows = np.array(
        [[rng.choice(pool, shots + queries, replace=False) for pool in pools] for _ in range(count)]
    )
    x = images.tensor()
    support, query = rows[:, :, :shots].reshape(count, -1), rows[:, :, shots:].reshape(count, -1)
    ys, yq = (
        torch.arange(CLASSES).repeat_interleave(k).expand(count, -1) for k in (shots, queries)
    )
    return x[support], ys, x[query], yq


def accuracy(logits: torch.Tensor, labels: torch.Tensor) -> float:
    return (logits.argmax(-1) == labels).float().mean().item()


def test_it_is_registered_and_refuses_unknown_keys():
    assert learners["ech"].__qualname__ == "ECH"
    with pytest.raises(ValueError, match="hiden"):
        ECH.Config(hiden=3)


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"readout": "perturbation"},
        {"third_factor": 0.02, "third_factor_epochs": 1},
        {"noise": 0.04, "maintenance": 0.003},
    ],
)
def test_it_learns_a_task_with_excitatory_weights_alone(extra):
    made, test = learner(**extra), blobs(200, seed=5)
    log = made.fit(blobs())
    with torch.no_grad():
        assert accuracy(made.classifier()(test.tensor()), torch.from_numpy(test.labels)) > 0.95
    assert log.sign_changes == 0 and log.rows[-1]["train_accuracy"] > 0.95
    for bundle in made.connectome():
        live = bundle.weight if bundle.mask is None else bundle.weight[bundle.mask]
        assert (
            (live > 0).all()
            and live.isfinite().all()
            and not bundle.enforced
            and bundle.presynaptic_sign
        )


@given(
    eta=st.floats(0, 1),
    offset=st.floats(1e-4, 1),
    clip=st.floats(0.01, 1),
    noise=st.floats(0, 0.5),
    maintenance=st.floats(0, 0.5),
    prune=st.floats(0, 0.9),
    readout_eta=st.floats(0.01, 10),
    third=st.floats(0, 0.1),
    temperature=st.floats(0.1, 500),
)
@settings(max_examples=15, deadline=None)
def test_no_configuration_changes_a_sign(
    eta, offset, clip, noise, maintenance, prune, readout_eta, third, temperature
):
    made = learner(
        epochs=3,
        readout_steps=30,
        eta=eta,
        offset=offset,
        clip=clip,
        noise=noise,
        maintenance=maintenance,
        prune=prune,
        readout_eta=readout_eta,
        third_factor=third,
        temperature_end=temperature,
    )
    log = made.fit(blobs(100))
    assert log.sign_changes == 0
    for bundle in made.connectome():
        assert bundle.weight.isfinite().all() and (bundle.weight >= 0).all()
        assert bundle.mask is None or torch.equal(bundle.weight > 0, bundle.mask)


def test_the_classifier_is_the_readout_of_the_embedding_and_is_differentiable():
    made, x = fitted(), blobs(30, seed=3).tensor().requires_grad_()
    logits = made.classifier()(x)
    torch.testing.assert_close(made.embed(x.detach()).sum(1), torch.ones(30))
    drive = made.embed(x.detach()) @ made.output
    torch.testing.assert_close(logits.detach(), 3.2 * (drive - drive.mean(1, keepdim=True)))
    logits.logsumexp(1).sum().backward()
    assert x.grad.isfinite().all() and (x.grad.flatten(1).norm(dim=1) > 0).all()


def test_a_black_image_gives_finite_logits_and_gradients():
    black = torch.zeros(2, *SHAPE, requires_grad=True)
    logits = fitted().classifier()(black)
    logits.square().sum().backward()
    assert logits.isfinite().all() and black.grad.isfinite().all()


def test_embedding_does_not_depend_on_the_batch():
    made, x = fitted(), blobs(77, seed=3).tensor()
    assert torch.equal(made.embed(x), torch.cat([made.embed(part) for part in x.split(10)]))


def test_training_twice_gives_the_same_bytes_and_another_seed_other_ones():
    config = {"noise": 0.04, "maintenance": 0.003, "third_factor": 0.01}
    first, again, other = (
        fitted(**config).state_dict(),
        fitted(**config).state_dict(),
        learner(1, **config),
    )
    other.fit(blobs())
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["W"], other.state_dict()["W"])


def test_a_loaded_state_is_complete():
    made, x = fitted(), blobs(20, seed=3).tensor()
    other = learner(seed=9)
    other.load_state_dict(made.state_dict())
    assert other.fitted and torch.equal(other.classifier()(x), made.classifier()(x))
    assert torch.equal(other.connectome()[0].mask, made.connectome()[0].mask)


def test_without_labels_only_the_hidden_layer_learns():
    made, labelled = learner(), fitted()
    made.fit(blobs().unlabelled())
    assert torch.equal(made.state_dict()["W"], labelled.state_dict()["W"]) and made.frozen_features
    assert [bundle.name for bundle in made.connectome()] == ["input->hidden"]
    with pytest.raises(HarnessError, match="without labels"):
        made.classifier()
    other = learner()
    other.load_state_dict(made.state_dict())
    with pytest.raises(HarnessError):
        other.classifier()


@pytest.mark.parametrize("images", [3, 50, 999, 10**6, 10**9])
@pytest.mark.parametrize("third_factor", [0.0, 0.01])
def test_a_budget_is_never_overdrawn(images, third_factor):
    made = learner(third_factor=third_factor)
    log = made.fit(blobs(), budget=Budget(images))
    assert 0 < log.images_seen <= images
    assert made.classifier()(blobs(4).tensor()).isfinite().all()


@pytest.mark.parametrize(
    ("extra", "passes"), [({}, 4 + 1), ({"third_factor": 0.01}, 4 + 1 + 2 + 1)]
)
def test_steps_of_the_readout_do_not_count_against_the_budget(extra, passes):
    """Hidden epochs, codes of a read-out, third-factor epochs, codes of the last read-out."""
    log = learner(readout_steps=50, **extra).fit(blobs())
    assert log.images_seen == passes * 240
    again = learner(readout_steps=100, **extra).fit(blobs())
    assert again.images_seen == log.images_seen


def test_a_sufficient_budget_changes_nothing():
    free, enough, short = learner(), learner(), learner()
    free.fit(blobs())
    enough.fit(blobs(), budget=Budget(5 * 240))
    short.fit(blobs(), budget=Budget(5 * 240 - 20))
    assert all(
        torch.equal(value, enough.state_dict()[key]) for key, value in free.state_dict().items()
    )
    assert not torch.equal(free.state_dict()["W"], short.state_dict()["W"])


def test_the_hidden_layer_gives_way_to_the_labels_only_as_far_as_needed():
    log = learner().fit(blobs(), budget=Budget(3 * 240))
    assert log.rows[-2]["epoch"] == 2 and log.images_seen == 3 * 240


@pytest.mark.parametrize(
    ("head", "view"),
    [
        ("nearest-mean", lambda h: h),
        ("cosine", lambda h: h),
        ("ridge", lambda h: h),
        ("log-ridge", torch.log),
    ],
)
def test_shared_heads_are_those_of_all_learners(head, view):
    made = fitted(head=head)
    xs, ys, xq, _ = episodes(1)
    expected = heads.fit(head.removeprefix("log-"), view(made.embed(xs[0]))[None], ys, CLASSES)(
        view(made.embed(xq[0]))[None]
    )
    torch.testing.assert_close(
        made.adapt(xs[0], ys[0], CLASSES)(xq[0]), expected[0], rtol=1e-4, atol=1e-4
    )


def test_the_logarithm_of_a_code_is_its_drives_less_what_they_share():
    drives = torch.randn(5, 40, generator=torch.Generator().manual_seed(0)) * 4
    torch.testing.assert_close(
        viewed(torch.softmax(drives, 1), "log"), torch.log_softmax(drives, 1)
    )


@pytest.mark.parametrize("temperature", [15.0, 1e4])
def test_few_shot_classifiers_on_the_log_code_have_finite_gradients(temperature):
    made = fitted(code_temperature=temperature)
    xs, ys, xq, _ = episodes(1)
    x = xq[0].clone().requires_grad_()
    logits = made.adapt(xs[0], ys[0], CLASSES)(x)
    logits.logsumexp(1).sum().backward()
    assert logits.isfinite().all() and x.grad.isfinite().all()


def test_progress_rises_to_one_and_the_log_tells_of_sparsity():
    seen = []
    log = learner(prune=0.5).fit(blobs(), progress=lambda fraction, note="": seen.append(fraction))
    assert seen == sorted(seen) and seen[-1] == 1.0
    assert [row.get("epoch") for row in log.rows] == [1, 2, 3, 4, None]
    assert log.rows[0]["live"] == 1.0 > log.rows[3]["live"]
    assert log.rows[3]["explained"] > log.rows[0]["explained"]


@pytest.mark.parametrize(
    "head", ["imprint", "delta", "nearest-mean", "cosine", "ridge", "log-ridge"]
)
@pytest.mark.parametrize("regime", ["from_scratch", "class_transfer"])
def test_episodes_one_by_one_and_together_agree(head, regime):
    made = learner(scratch_head=head) if regime == "from_scratch" else fitted(head=head)
    xs, ys, xq, yq = episodes()
    together = made.adapt_many(xs, ys, CLASSES)(xq)
    alone = torch.stack([made.adapt(x, y, CLASSES)(q) for x, y, q in zip(xs, ys, xq, strict=True)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert accuracy(together, yq) > 0.9
    if made.frozen_features:
        embedded = [made.embed(x.flatten(0, 1)).view(*x.shape[:2], -1) for x in (xs, xq)]
        by_head = made.head_many(embedded[0], ys, CLASSES)(embedded[1])
        torch.testing.assert_close(by_head, together, rtol=1e-4, atol=1e-5)


def test_an_episode_from_scratch_does_not_know_its_neighbours():
    xs, ys, xq, _ = episodes()
    full = learner().adapt_many(xs, ys, CLASSES)(xq)
    assert torch.equal(
        full[2:5], learner(episodes_at_once=2).adapt_many(xs[2:5], ys[2:5], CLASSES)(xq[2:5])
    )


def test_adapting_leaves_the_learner_as_it_was():
    made = learner()
    before = made.state_dict()
    xs, ys, _, _ = episodes(2)
    made.adapt_many(xs, ys, CLASSES)
    made.adapt(xs[0], ys[0], CLASSES)
    assert (
        all(torch.equal(before[key], value) for key, value in made.state_dict().items())
        and not made.fitted
    )


@pytest.mark.parametrize(
    "switch",
    [
        {"divisive_inhibition": False},
        {"synaptic_scaling": False},
        {"homeostasis": 0.0},
        {"prune": 0.0},
        {"eta": 0.0},
        {"regrow": 0.0},
        {"noise": 0.1},
        {"maintenance": 0.1},
    ],
)
def test_every_switch_changes_what_is_learned(switch):
    x, base = blobs(20).tensor(), {"prune": 0.5, "prune_until": 1.0}
    assert not torch.equal(fitted(**base).embed(x), fitted(**{**base, **switch}).embed(x))


def test_global_random_state_is_left_alone():
    before = torch.get_rng_state().clone(), np.random.get_state()[1].copy()
    fitted(noise=0.04)
    assert (
        torch.equal(before[0], torch.get_rng_state())
        and (before[1] == np.random.get_state()[1]).all()
    )


def test_the_temperature_rises_geometrically():
    config = ECH.Config(temperature_start=10.0, temperature_end=160.0)
    assert [config.temperature(done) for done in (0.0, 0.5, 1.0)] == pytest.approx([10, 40, 160])


def test_synapses_are_pruned_and_regrown_within_their_window_alone(monkeypatch):
    calls = []
    monkeypatch.setattr(structural, "prune", lambda layer, theta: calls.append(theta) or 50)
    monkeypatch.setattr(structural, "regrow", lambda layer, count, _: calls.append(count))
    learner(epochs=5, prune=0.2, regrow=0.5, prune_from=2, prune_until=0.8).fit(
        blobs().unlabelled()
    )
    assert calls == [0.0, 0.2, 25, 0.2, 25, 0.2, 25, 0.0]


@pytest.mark.parametrize("feedback", ["v", "random"])
def test_the_third_factor_gets_the_output_error_through_the_feedback(feedback, monkeypatch):
    """e = (t - p) B^T, with B the centred read-out or fixed random weights."""
    made, calls = learner(third_factor=0.05, third_factor_epochs=1, feedback=feedback), []
    monkeypatch.setattr(
        plasticity,
        "third_factor",
        lambda layer, x, error, rate, *rest: calls.append((x[0], error[0], rate, rest)),
    )
    made.fit(blobs())
    x, error, _, rest = calls[0]
    h = torch.softmax(
        15.0 * (x @ F.normalize(made.layer.weight[0], dim=1).T - made.layer.threshold[0]), 1
    )
    back = made.output - made.output.mean(1, keepdim=True)
    if feedback == "random":
        back = torch.randn(32, CLASSES, generator=Rng(0).torch("feedback"))
    drive = h @ made.output
    p = torch.softmax(3.2 * (drive - drive.mean(1, keepdim=True)), 1)
    # The hidden layer never changes here, so that both read-outs are alike but for their batches.
    order = torch.randperm(240, generator=Rng(0).torch("gated order", 1))
    t = F.one_hot(torch.from_numpy(blobs().labels)[order[:20]], CLASSES)
    assert F.cosine_similarity(error.flatten(), ((t - p) @ back.T).flatten(), 0) > 0.98
    assert error.norm() == pytest.approx(((t - p) @ back.T).norm().item(), rel=0.1)
    assert [rate for _, _, rate, _ in calls] == pytest.approx(
        [0.05 * (1 - i / 12) for i in range(12)]
    )
    assert rest == (30.0, 0.02, True)


@pytest.mark.parametrize(
    ("budget", "labelled", "expected"),
    [
        (None, True, TrainingPlan(20, 10, 10, 50)),
        (None, False, TrainingPlan(20, 0, 10, 50)),
        (400, True, TrainingPlan(20, 10, 10, 50)),
        (200, True, TrainingPlan(5, 5, 10, 50)),
        (100, True, TrainingPlan(3, 2, 10, 25)),
        (60, False, TrainingPlan(6, 0, 10, 50)),
        (4, True, TrainingPlan(1, 0, 2, 1)),
    ],
)
def test_a_budget_is_divided_between_the_stages(budget, labelled, expected):
    plan = plan_training(50, 10, epochs=4, gated_epochs=2, labelled=labelled, budget=Budget(budget))
    assert plan == expected


def test_training_of_the_hidden_layer_heats_up_and_fades_out(monkeypatch):
    """Step i of n has the share i / n behind it; from scratch likewise."""
    made, calls = learner(temperature_start=10.0, temperature_end=160.0, adapt_steps=2), []

    def learn(layer, inputs, temperature, fade, *_):
        calls.append((temperature, fade))
        return torch.zeros(1)

    monkeypatch.setattr(plasticity, "learn", learn)
    made.fit(blobs().unlabelled())
    done = np.arange(48) / 48
    np.testing.assert_allclose(calls, np.stack([10 * 16**done, 1 - done], 1))
    calls.clear()
    made.episode_codes(blobs(8).tensor().view(2, 4, *SHAPE))
    np.testing.assert_allclose(calls, [(10, 1), (40, 0.5)])


@pytest.mark.parametrize("divisive", [True, False])
@pytest.mark.parametrize("scaling", [True, False])
def test_the_code_is_its_equation(divisive, scaling):
    """softmax(T (u - b)), u = w . x over |w| with scaling and over |x| with divisive inhibition."""
    generator = Rng(0).torch("code")
    weight, threshold = torch.rand(5, 12, generator=generator), torch.rand(5, generator=generator)
    images = torch.rand(7, 1, 3, 4, generator=generator)
    code = CompetitiveCode(weight, threshold, 6.0, divisive, scaling)
    x, w = images.flatten(1), weight
    if divisive:
        x = F.normalize(x, dim=1)
    if scaling:
        w = F.normalize(w, dim=1)
    expected = torch.softmax(6.0 * (x @ w.T - threshold), 1)
    torch.testing.assert_close(code(images), expected, rtol=1e-4, atol=1e-5)
