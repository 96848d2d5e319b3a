"""Corruptions against independent references, and the protocol that counts what withstands them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from harness.data.base import Facts, Loaded, SplitFacts
from harness.data.corruptions import SEVERITIES, corrupt, words
from harness.learning.learner import silent
from harness.protocols.base import Context
from harness.protocols.corruption import Corruption, _values, relative_drop
from harness.rng import Rng

FACTS = Facts(
    (1, 8, 8),
    {
        "standard": {"train": SplitFacts(2, 20, 40), "test": SplitFacts(2, 30, 60)},
        "by class": {"train": SplitFacts(2, 40, 80), "test": SplitFacts(2, 40, 80)},
    },
    class_disjoint=frozenset({"by class"}),
)
KINDS = list(SEVERITIES)


def photographs(n: int = 6, channels: int = 3, side: int = 20) -> torch.Tensor:
    """Smooth random images."""
    noise = Rng(0).numpy("images").random((n, channels, side, side))
    return (
        torch.from_numpy(ndimage.gaussian_filter(noise, (0, 0, 1.5, 1.5)).astype(np.float32))
        .mul(2)
        .sub(0.5)
        .clamp(0, 1)
    )


@given(kind=st.sampled_from(KINDS), severity=st.integers(1, 5), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_an_image_is_corrupted_alike_in_any_company_and_stays_in_the_box(kind, severity, seed):
    images, identity = photographs(), np.array([3, 8, 1, 0, 77, 5])
    whole = corrupt(images, kind, severity, identity, Rng(seed))
    assert whole.shape == images.shape and whole.min() >= 0 and whole.max() <= 1
    for order in ([4, 0, 2], [3], [5, 4, 3, 2, 1, 0, 5]):
        assert torch.equal(
            corrupt(images[order], kind, severity, identity[order], Rng(seed)), whole[order]
        )


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ("shift", "rotation", "occlusion")])
def test_a_heavier_one_is_further_from_the_image(kind):
    images = photographs()
    far = [
        float((corrupt(images, kind, s, np.arange(6), Rng(1)) - images).norm()) for s in range(1, 6)
    ]
    assert far == sorted(far) and far[0] > 0


def test_a_heavier_occlusion_covers_a_lighter_one():
    grey = [
        corrupt(torch.zeros(30, 1, 20, 20), "occlusion", s, np.arange(30), Rng(2)) == 0.5
        for s in range(1, 6)
    ]
    assert all((heavier | ~lighter).all() for lighter, heavier in zip(grey, grey[1:], strict=False))


def test_a_heavier_shift_goes_further_the_same_way():
    dots = torch.zeros(30, 1, 21, 21)
    dots[:, :, 10, 10] = 1
    places = torch.stack(
        [corrupt(dots, "shift", s, np.arange(30), Rng(2)).flatten(1).argmax(1) for s in range(1, 6)]
    )
    steps = torch.stack([places // 21 - 10, places % 21 - 10])
    assert (steps.abs().amax(0) == torch.tensor([1, 2, 2, 3, 4])[:, None]).all()
    assert (steps.sign() == steps.sign()[:, :1]).all()


def test_a_rotation_by_nothing_changes_nothing(monkeypatch):
    monkeypatch.setitem(SEVERITIES, "rotation", (0.0,) * 5)
    images = photographs()
    assert torch.allclose(corrupt(images, "rotation", 1, np.arange(6), Rng(0)), images, atol=1e-5)


def test_blur_is_scipys():
    images, sigma = photographs(), SEVERITIES["blur"][2] * 20
    theirs = ndimage.gaussian_filter(
        images.numpy(), (0, 0, sigma, sigma), mode="mirror", truncate=np.ceil(4 * sigma) / sigma
    )
    assert np.allclose(corrupt(images, "blur", 3, np.arange(6), Rng(0)), theirs, atol=1e-5)


@pytest.mark.parametrize("shape", [(20, 20), (24, 16)])
def test_rotation_is_scipys_to_the_left_or_to_the_right(shape):
    images = photographs(n=8)[:, :1, :16, :16]
    images = torch.nn.functional.interpolate(images, shape, mode="bilinear")
    ours = corrupt(images, "rotation", 3, np.arange(8), Rng(0)).numpy()
    turned = {
        sign: ndimage.rotate(
            images.numpy(), sign * 30, axes=(3, 2), reshape=False, order=1, mode="grid-constant"
        )
        for sign in (1, -1)
    }
    signs = [
        next((s for s in turned if np.abs(image - turned[s][i]).max() < 0.02), 0)
        for i, image in enumerate(ours)
    ]
    assert set(signs) == {1, -1}


def test_contrast_keeps_the_mean_and_a_tenth_of_the_spread():
    images = photographs()
    faint = corrupt(images, "contrast", 4, np.arange(6), Rng(0))
    assert torch.allclose(faint.mean((2, 3)), images.mean((2, 3)), atol=1e-5)
    assert torch.allclose(faint.std((2, 3)), 0.1 * images.std((2, 3)), atol=1e-5)


def test_occlusion_greys_one_square_inside():
    images = torch.zeros(50, 1, 20, 20)
    grey = corrupt(images, "occlusion", 2, np.arange(50), Rng(0)) == 0.5
    assert (
        (grey.sum((1, 2, 3)) == 36).all()
        and (grey.any(3).sum(2) == 6).all()
        and (grey.any(2).sum(2) == 6).all()
    )
    assert len({tuple(g.flatten().tolist()) for g in grey}) > 20


def test_a_shift_moves_the_image_by_as_much_in_eight_directions():
    images = photographs(64, 1)
    moved = corrupt(images, "shift", 3, np.arange(64), Rng(0))
    found = set()
    for image, shifted in zip(images[:, 0].numpy(), moved[:, 0].numpy(), strict=True):
        steps = [
            (y, x)
            for y in (-2, 0, 2)
            for x in (-2, 0, 2)
            if np.allclose(
                ndimage.shift(image, (y, x), order=0, mode="constant"), shifted, atol=1e-6
            )
        ]
        found.update(steps)
    assert found == {(y, x) for y in (-2, 0, 2) for x in (-2, 0, 2)} - {(0, 0)}


def test_noise_has_its_spread_and_salt_and_pepper_its_share():
    grey = torch.full((20, 1, 30, 30), 0.5)
    assert corrupt(grey, "gaussian-noise", 1, np.arange(20), Rng(0)).std() == pytest.approx(
        0.08, rel=0.03
    )
    hit = corrupt(grey, "salt-and-pepper", 5, np.arange(20), Rng(0))
    assert float((hit != 0.5).float().mean()) == pytest.approx(0.27, abs=0.01)
    assert float((hit == 1).float().mean()) == pytest.approx(0.135, abs=0.01)
    assert all(str(SEVERITIES[kind][0]).rstrip("0").rstrip(".") in words(kind) for kind in KINDS)


class Bright:
    """Tells white images from black ones by their mean."""

    kind = "bright"

    def classifier(self):
        linear = torch.nn.Linear(64, 2)
        with torch.no_grad():
            linear.weight.copy_(torch.stack([-torch.ones(64), torch.ones(64)]))
            linear.bias.copy_(torch.tensor([32.0, -32.0]))
        return torch.nn.Sequential(torch.nn.Flatten(), linear).eval()


def data() -> Loaded:
    labels = np.arange(100) % 2
    noise = Rng(0).numpy("data").integers(0, 90, (100, 1, 8, 8))
    pixels = np.where(labels[:, None, None, None] == 1, 255 - noise, noise).astype(np.uint8)
    return Loaded(
        pixels,
        labels.astype(np.int64),
        ("dark", "bright"),
        None,
        {"standard": {"train": np.arange(40), "test": np.arange(40, 100)}},
    )


def protocol(**keys) -> Corruption:
    return Corruption(Corruption.Config.model_validate({"dataset": "any", **keys}), FACTS)


def measure(batch_size: int = 64, **keys):
    one = protocol(**keys)
    return one.measure(
        Bright(), data(), next(one.settings()), Context(Rng(3), "cpu", batch_size, silent)
    )


def test_means_are_those_of_the_stored_verdicts():
    found = measure(images=40)
    accuracies = [value for value in found.values if value.metric == "accuracy"]
    by = {(v.setting["corruption"], v.setting.get("severity")): v for v in accuracies}
    assert len(by) == 1 + 7 * 6 + 5 + 1
    assert {at for at, value in by.items() if value.unit == "image"} == {
        at for at in by if "mean" in at or at[1] is None
    } - {("clean", None)}
    for value in accuracies:
        assert (
            value.value == pytest.approx(found.arrays[value.verdicts].mean())
            and value.low <= value.value <= value.high
        )
    parts = [by[kind, s].value for kind in KINDS for s in range(1, 6)]
    assert by["mean", None].value == pytest.approx(np.mean(parts))
    assert by["blur", None].value == pytest.approx(
        np.mean([by["blur", s].value for s in range(1, 6)])
    )
    assert by["mean", 2].value == pytest.approx(np.mean([by[kind, 2].value for kind in KINDS]))
    assert (
        by["clean", None].value == by["contrast", None].value == 1 > by["contrast", None].low
    )  # certain is nothing


def test_the_relative_drop_is_the_share_of_clean_accuracy_lost():
    draw = np.random.default_rng(0)
    clean = (draw.random(400) < 0.8).astype(np.uint8)
    corrupted = np.clip(clean - 0.25 * draw.integers(0, 4, 400), 0, 1)
    drop, low, high = relative_drop(clean, corrupted)
    assert drop == pytest.approx(1 - corrupted.mean() / clean.mean())
    again = draw.integers(0, 400, (4000, 400))
    drawn = np.quantile(1 - corrupted[again].mean(1) / clean[again].mean(1), [0.025, 0.975])
    assert (low, high) == pytest.approx(drawn, abs=0.004)
    assert relative_drop(clean, clean) == (
        0,
        None,
        None,
    )  # nothing was lost; how certain that is, nobody can say


def test_every_summary_has_its_relative_drop_and_a_network_that_is_never_right_has_none():
    found = {
        v.setting["corruption"]: v for v in measure(images=40).values if v.metric == "relative_drop"
    }
    assert found.keys() == {*KINDS, "mean"}
    values, _ = _values(np.zeros(3, np.uint8), np.zeros((1, 2, 3), np.uint8), ["blur"], [1, 2])
    assert {value.metric for value in values} == {"accuracy"}


def test_nothing_depends_on_the_batch_size():
    one, other = measure(batch_size=1, images=20), measure(batch_size=64, images=20)
    assert all(np.array_equal(one.arrays[name], other.arrays[name]) for name in one.arrays)


@pytest.mark.parametrize(
    "keys, path",
    [
        ({"images": 61}, ("images",)),
        ({"split": "val"}, ("split",)),
        ({"splitting": "by class"}, ("splitting",)),
        ({"splitting": "no"}, ("splitting",)),
    ],
)
def test_impossible_combinations_are_faults(keys, path):
    assert [fault.path for fault in protocol(**keys).faults()] == [path]


def test_a_severity_stands_once():
    with pytest.raises(ValueError, match="duplicate value"):
        protocol(severities=[1, 1])
