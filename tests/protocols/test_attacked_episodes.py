"""Attacked episodes: paired with clean ones, and exact where a closed form is known."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.stats import t
from torch import nn

from harness.attacks.engine.poisoning import poison
from harness.data.base import Facts, Loaded, SplitFacts
from harness.learning import heads
from harness.learning.feature_learner import FeatureLearner
from harness.learning.learner import Learner, silent
from harness.protocols.attacked_episodes import AttackedEpisodes, merged
from harness.protocols.attacked_settings import AttackedEpisodesSetting
from harness.protocols.base import Context
from harness.protocols.episode_verdicts import drawn
from harness.protocols.few_shot import FewShot
from harness.protocols.support_attack import KNOWN, attackers_images
from harness.records import TrustCheck
from harness.registry import Config, learners
from harness.rng import Rng

CLASSES, EACH, SHAPE = 6, 10, (1, 4, 4)
FACTS = Facts(
    SHAPE,
    {
        "standard": {"train": SplitFacts(CLASSES, EACH, 60), "test": SplitFacts(CLASSES, EACH, 60)},
        "classes": {"train": SplitFacts(CLASSES, EACH, 60), "test": SplitFacts(CLASSES, EACH, 60)},
    },
    class_disjoint=frozenset({"classes"}),
)
EPISODES = {"dataset": "any", "ways": 3, "shots": 2, "queries": 3, "episodes": 8}
GRID = [0, 0.02, 0.05, 0.1]
FGSM = {"attack": "fgsm", "eps": GRID}
PGD = {"attack": "pgd", "eps": GRID, "steps": 5, "loss": ["margin"]}
LEARNERS = {
    "pixels": ("nearest-mean", {}, "class_transfer"),
    "protonet": ("protonet", {"backbone": "conv4", "width": 4, "episodes": 5}, "class_transfer"),
    "maml": ("maml", {"width": 8, "iterations": 2}, "class_transfer"),
    "random features": ("random-features", {"width": 20}, "semi_supervised"),
    "backprop from scratch": ("mlp", {"hidden": 10, "adapt_steps": 5}, "from_scratch"),
    "bio from scratch": ("ech", {"hidden": 20, "adapt_steps": 3}, "from_scratch"),
}


def protocol(*attacks: dict, **keys) -> AttackedEpisodes:
    config = {**EPISODES, "attacks": list(attacks or [PGD]), "trust": False, **keys}
    return AttackedEpisodes(AttackedEpisodes.Config.model_validate(config), FACTS)


@pytest.fixture(scope="module")
def data() -> Loaded:
    """Twelve classes of noisy grey 4 x 4 images inside the box; the last six are for testing."""
    rng = np.random.default_rng(0)
    labels = np.arange(2 * CLASSES * EACH) % (2 * CLASSES)
    centres = rng.integers(105, 150, (2 * CLASSES, *SHAPE))
    pixels = np.clip(centres[labels] + rng.normal(0, 12, (len(labels), *SHAPE)), 30, 225).astype(
        np.uint8
    )
    splits = {"train": np.flatnonzero(labels < CLASSES), "test": np.flatnonzero(labels >= CLASSES)}
    return Loaded(
        pixels,
        labels.astype(np.int64),
        tuple("abcdefghijkl"),
        None,
        {"classes": splits, "standard": splits},
    )


def context(batch_size: int = 64) -> Context:
    return Context(Rng(3), "cpu", batch_size, silent)


def trained(name: str, data: Loaded) -> tuple[Learner, str]:
    kind, switches, regime = LEARNERS[name]
    scratch = regime == "from_scratch"
    learner = learners[kind](
        learners[kind].Config(**switches), SHAPE, 3 if scratch else CLASSES, Rng(0)
    )
    if not scratch:
        train = data.split("classes", "train")
        learner.fit(train.unlabelled() if regime == "semi_supervised" else train)
    return learner, regime


def measure(learner: Learner, data: Loaded, *attacks: dict, batch_size: int = 64, **keys):
    asked = protocol(*attacks, **keys)
    assert not list(asked.faults())
    setting = next(asked.settings())
    measured = asked.measure(learner, data, setting, context(batch_size))
    if not asked.checked:
        return measured
    checks = asked.trust(learner, data, setting, context(batch_size), measured)
    return replace(measured, trust=[*measured.trust, *checks])


def pixels() -> Learner:
    return learners["nearest-mean"](learners["nearest-mean"].Config(), SHAPE, CLASSES, Rng(0))


# ------------------------------------------------------------------------------------ what is asked


def test_one_setting_for_each_episode_shape_attack_and_budget_of_the_support_set():
    asked = protocol(FGSM, PGD, ways=[2, 3], shots=[1, 2], support={"eps": [0, 0.1]})
    settings = list(asked.settings())
    cells = [setting.to_identity() for setting in settings]
    assert json.loads(json.dumps(cells)) == cells and len(cells) == 16
    assert [AttackedEpisodesSetting.from_identity(cell) for cell in cells] == settings
    assert {(c["ways"], c["shots"], c["attack"], c["support_eps"]) for c in cells} == {
        (ways, shots, attack, eps)
        for ways in (2, 3)
        for shots in (1, 2)
        for attack in ("fgsm", "pgd-5")
        for eps in (0, 0.1)
    }
    clean = protocol(FGSM, PGD).settings()
    assert all("support" not in setting.to_identity() for setting in clean)


def test_a_setting_holds_all_that_few_shot_draws_its_episodes_by():
    plain = next(FewShot(FewShot.Config(**EPISODES), FACTS).settings())
    assert next(protocol().settings()).episodes == plain


@pytest.mark.parametrize(
    ("keys", "path"),
    [
        ({"ways": [2, 7]}, ("ways", 1)),
        ({"shots": 8}, ("shots",)),
        ({"splitting": "standard"}, ("splitting",)),
        ({"split": "val"}, ("split",)),
        ({"attacks": [FGSM, {**PGD, "targets": 3}]}, ("attacks", 1, "targets")),
        ({"ways": [2, 3], "attacks": [{**PGD, "targets": 2}]}, ("attacks", 0, "targets")),
        ({"attacks": [{"attack": "transfer", "eps": [0.1]}]}, ("attacks", 0, "attack")),
        ({"support": {"eps": [0.1, 1.5]}}, ("support", "eps", 1)),
    ],
    ids=str,
)
def test_what_cannot_be_is_a_fault_at_its_key(keys, path):
    (fault,) = protocol(**keys).faults()
    assert fault.path == path and fault.message


def test_nothing_is_wrong_with_what_can_be():
    assert not list(
        protocol(
            FGSM, {**PGD, "targets": 2}, support={"eps": [0.1], "norm": "l2", "steps": 3}
        ).faults()
    )
    assert not list(protocol(support={"eps": [0, 7.5], "norm": "l2"}).faults())


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        ({"attacks": [FGSM, {**PGD, "eps": [0.1, 2]}]}, ("attacks", 1, "eps", 1)),
        ({"attacks": [FGSM, {"attack": "fgms", "eps": [0]}]}, ("attacks", 1, "attack")),
        ({"attacks": [{**FGSM, "label": "x"}, {**PGD, "label": "x"}]}, ("attacks", 1, "label")),
        ({"attacks": []}, ("attacks",)),
        ({"support": {"eps": [0.1, 0.1]}}, ("support", "eps")),
        ({"support": {"eps": []}}, ("support", "eps")),
        ({"support": {"eps": [0.1], "loss": "ce"}}, ("support", "loss")),
        ({"images": 10}, ("images",)),
    ],
    ids=str,
)
def test_a_faulty_key_is_named_with_its_place(keys, place):
    with pytest.raises(ValidationError) as caught:
        protocol(**keys)
    assert [error["loc"] for error in caught.value.errors()] == [place]


def test_the_block_says_what_is_attacked_and_what_the_attacker_knows():
    block = protocol(FGSM, PGD).block()
    assert "white box" in block["threat model"] and "adapted once" in block["threat model"]
    assert (
        block["support set"].startswith("clean")
        and "8 a seed" in block["episodes"]
        and "5 steps" in block["pgd-5"]
    )
    words = protocol(support={"eps": [0.1]}).block()["support set"]
    assert (
        "linf, eps 0.1" in words
        and "with unchanged labels" in words
        and "3 images a class that are in no part" in words
    )
    assert (
        "measured queries themselves"
        in protocol(shots=7, support={"eps": [0.1]}).block()["support set"]
    )


# --------------------------------------------------------------------------------- what is measured


@pytest.mark.parametrize("name", LEARNERS)
def test_unattacked_verdicts_are_exactly_those_of_few_shot(data, name):
    learner, regime = trained(name, data)
    keys = {"regime": regime, "splitting": "classes", "within_group": False}
    asked = protocol({**FGSM, "eps": [0, 0.05]}, **keys)
    few = FewShot(FewShot.Config(**EPISODES, **keys), FACTS)
    attacked = asked.measure(learner, data, next(asked.settings()), context())
    plain = few.measure(learner, data, next(few.settings()), context())
    np.testing.assert_array_equal(attacked.arrays["correct/eps=0"], plain.arrays["correct"])
    np.testing.assert_array_equal(attacked.arrays["accuracy/eps=0"], plain.arrays["accuracy"])
    np.testing.assert_array_equal(attacked.arrays["classes"], plain.arrays["classes"])
    first, second = attacked.values[0], plain.values[0]
    assert (first.value, first.low, first.high, first.n, first.unit) == (
        second.value,
        second.low,
        second.high,
        second.n,
        second.unit,
    )


def test_accuracy_is_the_mean_over_episodes_and_never_rises_with_eps(data):
    found = measure(pixels(), data, PGD)
    assert [value.setting for value in found.values] == [{"eps": eps} for eps in GRID]
    for value in found.values:
        correct, accuracy = (
            found.arrays[f"{what}/eps={value.setting['eps']:g}"] for what in ("correct", "accuracy")
        )
        assert (
            correct.shape == (8, 9)
            and correct.dtype == np.uint8
            and found.arrays[value.verdicts] is accuracy
        )
        np.testing.assert_array_equal(accuracy, correct.mean(1))
        half = t.ppf(0.975, 7) * accuracy.std(ddof=1) / np.sqrt(8)
        mean = accuracy.mean()
        assert value.value == pytest.approx(mean)
        if half > 0:
            for bound in (value.low, value.high):  # Wilson's equation with this half width
                assert (mean - bound) ** 2 * mean * (1 - mean) == pytest.approx(
                    half**2 * bound * (1 - bound)
                )
        assert (value.n, value.unit, value.metric) == (8, "episode", "accuracy")
    stood = np.stack([found.arrays[f"correct/eps={eps:g}"] for eps in GRID]).astype(int)
    assert (np.diff(stood, axis=0) <= 0).all() and stood[-1].mean() < stood[0].mean() > 0.6


@pytest.mark.parametrize(
    "attack",
    [FGSM, {**PGD, "steps": 20}, {**PGD, "steps": 20, "loss": ["ce"], "sweep": "independent"}],
    ids=["fgsm", "pgd margin", "pgd ce independent"],
)
def test_two_ways_of_pixels_are_a_linear_classifier_whose_robustness_is_known(data, attack):
    """Robust to Linf attacks iff the margin exceeds eps times an L1 norm of weights."""
    asked = protocol(attack, ways=2, episodes=20)
    setting = next(asked.settings())
    found = asked.measure(pixels(), data, setting, context()).arrays
    images, episodes = drawn(data, setting.episodes, context())
    x = images.pixels.reshape(len(images), -1) / 255.0
    decided = 0
    for number in range(20):
        means = np.stack(
            [
                x[episodes.support[number][episodes.support_labels[number] == way]].mean(0)
                for way in (0, 1)
            ]
        )
        queries, labels = x[episodes.query[number]], episodes.query_labels[number]
        distance = ((queries[:, None] - means) ** 2).sum(2)
        margin = (
            distance[np.arange(len(labels)), 1 - labels] - distance[np.arange(len(labels)), labels]
        )
        for eps in GRID:
            assert (
                eps <= queries.min() and queries.max() <= 1 - eps
            )  # else the box would help the classifier
            room = margin - eps * 2 * np.abs(means[0] - means[1]).sum()
            clear = np.abs(room) > 1e-5
            np.testing.assert_array_equal(
                found[f"correct/eps={eps:g}"][number][clear], (room > 0)[clear]
            )
            decided += clear.sum()
    assert decided > 0.99 * 20 * 6 * len(GRID)
    assert 0.05 < found["correct/eps=0.05"].mean() < found["correct/eps=0"].mean() - 0.05


@pytest.mark.parametrize("name", ["protonet", "backprop from scratch"])
def test_no_bit_depends_on_the_batch_size_or_on_what_else_is_measured(data, name):
    learner, regime = trained(name, data)
    keys, attack = {"regime": regime, "splitting": "classes"}, {**PGD, "restarts": 2}
    alone, among = protocol(attack, **keys), protocol(FGSM, attack, **keys)
    cell = next(alone.settings())
    assert cell in list(among.settings())
    one, other = (
        p.measure(learner, data, cell, context(size)) for p, size in ((alone, 16), (among, 512))
    )
    assert one.values == other.values and one.arrays.keys() == other.arrays.keys()
    for key, array in one.arrays.items():
        np.testing.assert_array_equal(array, other.arrays[key])


@pytest.mark.parametrize(
    "support", [None, {"eps": [0.1], "steps": 3}], ids=["clean support", "poisoned"]
)
def test_an_episode_does_not_depend_on_how_many_follow_it(data, support):
    learner, _ = trained("protonet", data)
    few, many = (measure(learner, data, PGD, episodes=n, support=support).arrays for n in (3, 8))
    for key, array in few.items():
        axis = -2 if array.ndim > 1 else 0
        np.testing.assert_array_equal(array, np.take(many[key], range(3), axis=axis), err_msg=key)


def test_queries_of_different_episodes_have_different_starts(data):
    """Noise that every episode shared would tie their verdicts together."""
    one_shape = {"mode": "replacement", "episodes": 2}
    noise = {"attack": "noise", "eps": [0.1], "draws": 1}
    norms = measure(pixels(), data, noise, **one_shape).arrays["attack/norm"]
    assert (
        norms.shape == (1, 1, 1, 2, 9)
        and len(np.unique(norms[np.isfinite(norms)])) == np.isfinite(norms).sum()
    )


# ---------------------------------------------------------------------------------- the support set


class Through(Learner):
    """Class means of pixels; the adaptation may pass gradients to its support set or not."""

    kind = "through"

    class Config(Config):
        """Where gradients end, and other faults."""

        detached: bool = False
        training: bool = False
        broken: bool = False

    fit = classifier = connectome = None

    def embed(self, images):
        return images.detach().flatten(1)

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass

    def adapt(self, support_images, support_labels, n_way):
        config, images = (
            self.config,
            support_images.detach() if self.config.detached else support_images,
        )
        head = heads.from_means(
            heads.class_means(images.flatten(1)[None], support_labels[None], n_way)
        )

        class Linear(nn.Module):
            def forward(self, x):
                out = (x.detach() if config.detached else x).flatten(1) @ head.weight[
                    0
                ] + head.bias[0]
                return out * float("nan") if config.broken else out

        return Linear().train(config.training)


Through.__abstractmethods__ = frozenset()


def through(**keys) -> Through:
    return Through(Through.Config(**keys), SHAPE, CLASSES, Rng(0))


def test_a_budget_of_nothing_leaves_the_support_set_as_it_is(data):
    clean, poisoned = (
        measure(pixels(), data, PGD, support=support) for support in (None, {"eps": [0]})
    )
    assert clean.values == poisoned.values
    np.testing.assert_array_equal(
        clean.arrays["correct/eps=0.05"], poisoned.arrays["correct/eps=0.05"]
    )


def test_a_poisoned_support_set_costs_accuracy_on_images_that_the_attacker_never_saw(data):
    accuracy = [
        measure(pixels(), data, FGSM, episodes=30, support={"eps": [eps]}).values[0].value
        for eps in (0, 0.05, 0.2)
    ]
    assert accuracy[0] > accuracy[1] + 0.05 > accuracy[2] + 0.1


@pytest.mark.parametrize(
    ("make", "level", "words"),
    [
        (through, "PASS", "through the adaptation:"),
        (pixels, "PASS", "its embedding, which is how it adapts"),
        ("maml", "WARN", "its embedding (transfer)"),
        ("bio from scratch", "WARN", "its clean logits (transfer)"),
    ],
    ids=["through", "pixels", "maml", "bio"],
)
def test_it_is_said_by_what_means_the_support_set_was_attacked(data, make, level, words):
    learner, regime = trained(make, data) if isinstance(make, str) else (make(), "class_transfer")
    found = measure(
        learner,
        data,
        {**FGSM, "eps": [0]},
        regime=regime,
        splitting="classes",
        support={"eps": [0.1], "steps": 2},
    )
    (check,) = found.trust
    assert (check.name, check.level) == (KNOWN, level) and words in check.detail


def test_an_adaptation_that_passes_gradients_and_its_twin_by_class_means_are_attacked_alike(data):
    first, second = (
        measure(learner, data, FGSM, support={"eps": [0.1]}) for learner in (through(), pixels())
    )
    for eps in GRID:
        np.testing.assert_array_equal(
            first.arrays[f"correct/eps={eps:g}"], second.arrays[f"correct/eps={eps:g}"]
        )


def test_a_support_set_that_no_gradient_reaches_fails_the_cell(data):
    with pytest.raises(ValueError, match="through: no gradient reaches its support set"):
        measure(through(detached=True), data, FGSM, support={"eps": [0.1]})


def test_classifiers_in_train_mode_and_logits_that_are_no_numbers_fail_the_cell(data):
    with pytest.raises(ValueError, match=r"through: adapt\(\) gave a module in train mode"):
        measure(through(training=True), data, FGSM)
    with pytest.raises(FloatingPointError, match="through: 27 of 27 logits"):
        measure(through(broken=True), data, FGSM)


@pytest.mark.parametrize("others", [0, 1, 5])
def test_the_attacker_climbs_on_images_of_the_same_classes_in_no_part_of_the_episode(data, others):
    setting = next(protocol().settings())
    images, episodes = drawn(data, setting.episodes, context())
    for number in range(len(episodes)):
        rows, labels = attackers_images(images, episodes, number, others, context())
        np.testing.assert_array_equal(images.labels[rows], episodes.classes[number][labels])
        if others:
            assert len(set(rows)) == len(rows) == 3 * others
            assert not set(rows) & {*episodes.support[number], *episodes.query[number]}
        else:
            np.testing.assert_array_equal(rows, episodes.query[number])


@given(
    st.integers(0, 10**6),
    st.sampled_from([("linf", 0.07), ("l2", 0.3), ("l1", 1.0)]),
    st.integers(1, 12),
)
@settings(max_examples=30, deadline=None)
def test_poison_stays_within_budget_and_box_and_never_helps(seed, ball, steps):
    generator, (norm, eps) = torch.Generator().manual_seed(seed), ball
    support, others = (
        torch.rand(6, *SHAPE, generator=generator),
        torch.rand(9, *SHAPE, generator=generator),
    )
    labels, right = torch.arange(3).repeat_interleave(2), torch.arange(3).repeat(3)

    def classify(images):
        return heads.from_means(heads.class_means(images.flatten(1)[None], labels[None], 3))(
            others.flatten(1)[None]
        )[0]

    done = poison(classify, support, right, norm=norm, eps=eps, steps=steps)
    order = {"linf": float("inf"), "l2": 2, "l1": 1}[norm]
    assert (
        torch.linalg.vector_norm((done.images - support).flatten(1).double(), order, dim=1)
        <= eps + 1e-6
    ).all()
    assert done.images.min() >= 0 and done.images.max() <= 1 and done.after >= done.before
    assert done.after == pytest.approx(
        float(nn.functional.cross_entropy(classify(done.images), right)), abs=1e-6
    )


def test_poison_finds_the_corner_where_the_loss_only_rises():
    """Logits linear in the support set: at the optimum every pixel is at an end of its range."""
    generator = torch.Generator().manual_seed(0)
    support, slope = (
        torch.rand(4, *SHAPE, generator=generator),
        torch.randn(4, *SHAPE, generator=generator),
    )

    def classify(images):
        return torch.stack([torch.zeros(()), (slope * images).sum() / 10])[None]

    done = poison(classify, support, torch.tensor([0]), norm="linf", eps=0.2, steps=10)
    torch.testing.assert_close(done.images, (support + 0.2 * slope.sign()).clamp(0, 1))


# -------------------------------------------------------------------------------------------- trust


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        (["PASS"] * 4, "PASS"),
        (["PASS"] * 3 + ["WARN"], "WARN"),
        (["PASS"] * 3 + ["FAIL"], "WARN"),
        (["FAIL", "PASS"] * 2, "WARN"),
        (["WARN"] * 4, "WARN"),
        (["FAIL"] * 3, "FAIL"),
        (["FAIL"] * 3 + ["PASS"], "FAIL"),
        (["FAIL"], "WARN"),
    ],
    ids=str,
)
def test_a_check_fails_where_it_does_in_most_of_the_episodes_and_warns_where_any_does_not_pass(
    levels, expected
):
    (one,) = merged([TrustCheck("x", level, f"{level} here") for level in levels], 4)
    assert one.level == expected
    assert one.detail.startswith(
        f"{levels.count('FAIL')} of 4 episodes fail, {levels.count('WARN')} warn; "
    )
    if expected != "PASS":
        assert ("FAIL here" if "FAIL" in levels else "WARN here") in one.detail


def test_the_first_episodes_of_an_honest_sweep_pass_the_checks_of_every_sweep(data):
    found = measure(pixels(), data, {**PGD, "steps": 10}, trust=True, episodes=5)
    names = [check.name for check in found.trust]
    assert len(set(names)) == len(names) > 5 and {
        "eps 0 equals clean",
        "model left as found",
    } <= set(names)
    assert {check.level for check in found.trust} <= {
        "PASS",
        "WARN",
    } and "of 4 episodes" in found.trust[0].detail


class Masked(FeatureLearner):
    """Class means of pixels rounded to eight values: zero slopes nearly everywhere."""

    kind = "masked"

    class Config(Config):
        """As a nearest mean has."""

        head: str = "nearest-mean"

    fit = classifier = connectome = None

    def body(self):
        class Rounded(nn.Module):
            def forward(self, x):
                return ((8 * x).round() / 8 + 0 * x).flatten(1)

        return Rounded()


Masked.__abstractmethods__ = frozenset()


def test_masked_gradients_fail_in_episodes_too(data):
    learner = Masked(Masked.Config(), SHAPE, CLASSES, Rng(0))
    found = measure(learner, data, PGD, trust=True, episodes=4)
    assert next(check for check in found.trust if check.name == "gradients exist").level == "FAIL"
