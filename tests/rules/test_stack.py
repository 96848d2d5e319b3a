"""Local receptive fields: geometry against torch's operators, learning, signs of weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from harness.data.base import Images
from harness.errors import HarnessError
from harness.registry import learners
from harness.rng import Rng
from harness.rules import readouts, stack
from harness.rules.modules.local import LocalCode, Stack, draw_patches, lengths, on_off, patches

STACK = learners["ech-stack"]
THREE = {
    "layers": [
        {"neurons": 12, "kernel": 3, "grid": 6},
        {"neurons": 16, "kernel": 3, "grid": None},
        {"neurons": 10, "kernel": None, "grid": None},
    ]
}
PRIVATE = {"layers": [{"shared": False, "neurons": 6, "kernel": 5, "stride": 3, "grid": None}]}


def learner(config: dict, shape=(1, 12, 12), classes: int = 4):
    return STACK(STACK.Config.model_validate({"images": 400} | config), shape, classes, Rng(0))


def bars(n: int = 200) -> Images:
    """A horizontal or vertical bar in the left or right (upper or lower) half: four classes."""
    generator, labels = Rng(0).numpy("bars"), np.arange(n) % 4
    pixels = generator.integers(0, 40, (n, 1, 12, 12)).astype(np.uint8)
    for image, label in zip(pixels, labels, strict=True):
        at = generator.integers(0, 5) + 6 * (label // 2)
        (image[0, at] if label % 2 else image[0, :, at])[:] = 220
    return Images(pixels, labels, np.arange(n), 4)


def maps(networks: int = 2, channels: int = 3) -> torch.Tensor:
    return torch.rand(networks, 4, channels, 9, 9, generator=Rng(0).torch("maps"))


def test_drawn_patches_are_some_of_all_patches():
    x, generator = maps(), Rng(0).torch("draw")
    drawn = torch.randint(4 * 16, (50,), generator=Rng(0).torch("draw"))
    assert torch.equal(
        draw_patches(x, 3, 2, 50, generator), patches(x, 3, 2).flatten(1, 2)[:, drawn]
    )


def test_lengths_are_those_of_the_patches():
    x = maps()
    assert torch.allclose(lengths(x, 4, 1).flatten(2), patches(x, 4, 1).norm(dim=3), atol=1e-5)


def test_private_neurons_with_equal_weights_equal_shared_ones():
    x = maps()
    weight, threshold, sigma = torch.rand(2, 5, 3 * 9), torch.rand(2, 5), torch.tensor([0.1, 0.3])
    shared = LocalCode(weight, threshold, sigma, kernel=3, stride=2, temperature=9.0)
    places = 16
    private = LocalCode(
        weight.repeat_interleave(places, 0),
        threshold.repeat_interleave(places, 0),
        sigma,
        kernel=3,
        stride=2,
        temperature=9.0,
    )
    assert torch.allclose(shared(x), private(x), atol=1e-5)


def test_a_code_is_a_competition_by_cosine_and_silent_on_empty_patches():
    x = torch.zeros(1, 1, 1, 3, 3)
    weight = torch.rand(1, 4, 9)
    code = LocalCode(
        weight, torch.zeros(1, 4), torch.tensor([0.2]), kernel=3, stride=1, temperature=7.0
    )
    assert code(x).sum() < 1e-4
    x = torch.rand(1, 1, 1, 3, 3)
    cosine = F.cosine_similarity(weight[0], x.flatten().expand(4, 9), dim=1)
    gate = x.norm() / (x.norm() + 0.2)
    assert torch.allclose(code(x).flatten(), gate * torch.softmax(7.0 * cosine, 0), atol=1e-5)


def test_gradients_are_finite_on_an_empty_image():
    module = learner({})
    module.fit(bars())
    image = torch.zeros(1, 1, 12, 12, requires_grad=True)
    module.classifier()(image).sum().backward()
    assert image.grad.isfinite().all()


@settings(deadline=None, max_examples=20)
@given(st.sampled_from([1, 2, 3]), st.floats(0.5, 3.0), st.integers(0, 50))
def test_on_off_channels_are_excitatory_and_even_light_is_silent(channels, sigma, seed):
    x = torch.rand(2, channels, 10, 10, generator=Rng(seed).torch("x"))
    seen = on_off(x, sigma)
    assert seen.shape == (2, 2 * channels, 10, 10) and (seen >= 0).all()
    assert on_off(torch.full_like(x, 0.7), sigma).abs().max() < 1e-5
    assert (
        seen[:, :channels] * seen[:, channels:]
    ).abs().max() == 0  # a place is brighter or darker, never both


@pytest.mark.parametrize(
    "config",
    [{}, THREE, PRIVATE, THREE | {"surround": 1.5, "noise": 0.05, "maintenance": 0.01}],
    ids=["one", "three", "private", "three with noise"],
)
def test_every_weight_stays_excitatory_and_learning_helps(config):
    one = learner(config)
    log = one.fit(bars())
    assert log.sign_changes == 0
    for synapses in one.connectome():
        assert (synapses.weight > 0).all() and synapses.weight.isfinite().all()
    images = bars()
    with torch.no_grad():
        right = (one.classifier()(images.tensor()).argmax(1).numpy() == images.labels).mean()
    assert right > 0.8


def test_without_images_layers_keep_their_random_weights():
    one = learner({"images": 0})
    before = [layer.weight.clone() for layer in one.layers]
    one.fit(bars())
    assert all(torch.equal(a, layer.weight) for a, layer in zip(before, one.layers, strict=True))


def test_one_shot_heads_are_imprinted_and_more_shots_are_consolidated():
    one = learner({"head": "consolidate"})
    one.fit(bars())
    codes = one.embed(bars().tensor())[None]
    labels = torch.arange(200)[None] % 4
    single = one.own_head(codes[:, :4], labels[:, :4], 4)
    assert torch.equal(single, readouts.imprint(codes[:, :4], labels[:, :4], 4))
    many = one.own_head(codes, labels, 4)
    assert not torch.equal(many, readouts.imprint(codes, labels, 4)) and (many > 0).all()


def test_a_kernel_that_does_not_fit_is_one_clear_error():
    with pytest.raises(
        HarnessError, match="layer 2 of ech-stack has kernel 7, but its input is only 4 x 4"
    ):
        learner({"layers": [{"kernel": 5, "grid": 4}, {"kernel": 7}]})


def test_an_episodes_network_does_not_depend_on_its_neighbours():
    one, images = learner(THREE), bars().tensor()
    support, labels = images[:24].view(3, 8, 1, 12, 12), torch.arange(8).remainder(4).repeat(3, 1)
    queries = images[24:54].view(3, 10, 1, 12, 12)
    together = one.adapt_many(support, labels, 4)(queries)
    for place in range(3):
        alone = one.adapt_many(support[place : place + 1], labels[place : place + 1], 4)(
            queries[place : place + 1]
        )
        assert torch.allclose(alone[0], together[place], atol=1e-4)


def test_a_stack_takes_images_with_and_without_a_network_axis():
    one, images = learner({}), bars().tensor()[:16]
    module = one._stack(one.layers, one.sigma)
    assert isinstance(module, Stack) and torch.equal(module(images), module(images[None])[0])


def test_a_lower_layer_that_is_read_gives_the_code_it_has_alone():
    low, top = (
        {"neurons": 12, "kernel": 3, "grid": None},
        {"neurons": 16, "kernel": 3, "grid": None},
    )
    both = learner({"layers": [low | {"read": 2}, top]})
    last, first = learner({"layers": [low, top]}), learner({"layers": [low | {"grid": 2}]})
    for one in (both, last, first):
        one.fit(bars())
    images = bars(20).tensor("cpu")
    code = both.embed(images)
    assert code.shape == (20, both.width) and both.width == first.width + last.width
    assert torch.allclose(code.norm(dim=1), torch.ones(20), atol=1e-4)
    assert torch.allclose(code[:, : first.width] * 2**0.5, first.embed(images), atol=1e-5)
    assert torch.allclose(code[:, first.width :] * 2**0.5, last.embed(images), atol=1e-5)


def test_on_off_channels_are_differences_with_a_gaussian_surround():
    """Against scipy's filter: mirrored borders, two sigma to each side."""
    x = torch.rand(2, 1, 11, 9, generator=Rng(0).torch("x"), dtype=torch.float64)
    blurred = np.stack(
        [gaussian_filter(image, 1.5, mode="mirror", radius=3) for image in x[:, 0].numpy()]
    )
    difference = x[:, 0].numpy() - blurred
    seen = on_off(x, 1.5).numpy()
    np.testing.assert_allclose(seen[:, 0], difference.clip(0), atol=1e-12)
    np.testing.assert_allclose(seen[:, 1], (-difference).clip(0), atol=1e-12)


def test_colours_are_opponent_pairs():
    rgb = torch.rand(1, 3, 8, 8, generator=Rng(0).torch("x"))
    red, green, blue = rgb[0]
    pairs = torch.stack(
        [(red + green + blue) / 3, (red - green) / 2, blue / 2 - (red + green) / 4]
    )[None]
    # Single channels skip the colour conversion.
    alone = [on_off(pairs[:, i : i + 1], 1.0) for i in range(3)]
    on, off = (torch.cat([each[:, i : i + 1] for each in alone], 1) for i in (0, 1))
    torch.testing.assert_close(on_off(rgb, 1.0), torch.cat([on, off], 1))


def test_the_embedding_is_compressed_and_of_length_one():
    """sqrt(h + rest) - sqrt(rest) at length one."""
    one = learner({})
    one.fit(bars())
    module, x = one._stack(one.layers, one.sigma), bars(6).tensor()
    activity = module.maps(x[None])[0].flatten(1).double().numpy()
    code = np.sqrt(activity + 1e-4) - 1e-2
    expected = code / np.linalg.norm(code, axis=1, keepdims=True)
    np.testing.assert_allclose(one.embed(x).numpy(), expected, rtol=1e-3, atol=1e-5)


def test_classes_are_imprinted_at_length_one_with_a_trace():
    codes, labels = torch.rand(1, 9, 5, generator=Rng(0).torch("h")), torch.arange(9)[None] % 3
    got = readouts.imprint(codes, labels, 3)[0].numpy()
    for c in range(3):
        mean = codes[0, labels[0] == c].mean(0).double().numpy()
        np.testing.assert_allclose(got[:, c], mean / np.linalg.norm(mean) + 0.001, rtol=1e-5)


@pytest.mark.parametrize("shared", [True, False])
def test_a_plastic_step_sees_unit_patches_gated_by_their_length(shared, monkeypatch):
    """x / |x|, gate |x| / (|x| + sigma) over its mean; T rises geometrically and the rate falls."""
    one = learner(
        {"layers": [{"shared": shared, "kernel": 4, "stride": 2, "neurons": 5}], "patches": 30}
    )
    given = {}

    def learn(layer, inputs, temperature, fade, rates, noise, gate):
        if fade == 0.75:
            given.update(inputs=inputs, temperature=temperature, gate=gate)
        return torch.zeros(len(inputs))

    monkeypatch.setattr(stack.plasticity, "learn", learn)
    maps, sigma = torch.rand(2, 4, 1, 12, 12, generator=Rng(0).torch("m")), torch.tensor([0.3, 2.0])
    layer = one._initial_layer(0, 2)
    one._learn_layer(layer, one._shown(0, lambda _: maps, sigma, 4))
    if shared:
        seen = draw_patches(maps, 4, 2, 30, one.rng.torch("patches", 0, 1))
        half = sigma
    else:
        seen = patches(maps, 4, 2).transpose(1, 2).flatten(0, 1)
        half = sigma.repeat_interleave(25)
    length = seen.norm(dim=2)
    torch.testing.assert_close(given["inputs"], seen / length[..., None], rtol=1e-4, atol=1e-5)
    gate = length / (length + half[:, None])
    torch.testing.assert_close(given["gate"], gate / gate.mean(1, keepdim=True))
    assert given["temperature"] == pytest.approx(20 * 20**0.25)


def test_the_semi_saturation_is_a_share_of_the_usual_length_of_a_patch():
    one, x = learner({"semi_saturation": 0.4}), maps(2, 1)
    rms = patches(x, 7, 1).square().sum(3).mean((1, 2)).sqrt()
    torch.testing.assert_close(one._semi_saturation(x, 0), 0.4 * rms)


def test_replays_grow_with_the_number_of_examples(monkeypatch):
    one = learner({"head_steps": 40})
    asked = []
    monkeypatch.setattr(readouts, "descend", lambda *_, steps, **__: asked.append(steps))
    for shots in (1, 2, 10):
        one.own_head(torch.rand(1, 4 * shots, 6), torch.arange(4).repeat(shots)[None], 4)
    assert asked == [0, 20, 36]


@pytest.mark.parametrize("shared", [True, False])
def test_thresholds_are_subtracted_from_the_drives_of_their_neurons(shared):
    x, places = maps(2, 1)[..., :5, :5], 9
    weight = torch.rand(2, 4, 9, generator=Rng(1).torch("w"))
    threshold = torch.rand(2, 4, generator=Rng(1).torch("b"))
    sigma = torch.tensor([0.1, 0.3])
    code = LocalCode(
        weight if shared else weight.repeat_interleave(places, 0),
        threshold if shared else threshold.repeat_interleave(places, 0),
        sigma,
        kernel=3,
        stride=1,
        temperature=9.0,
    )
    seen = patches(x, 3, 1)
    length = seen.norm(dim=3, keepdim=True)
    u = torch.einsum("ebln,ekn->eblk", seen / length, F.normalize(weight, dim=2))
    q = torch.softmax(9.0 * (u - threshold[:, None, None]), 3)
    expected = q * length / (length + sigma[:, None, None, None])
    torch.testing.assert_close(code(x).flatten(3).transpose(2, 3), expected, rtol=1e-4, atol=1e-5)
