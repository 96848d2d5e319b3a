"""Local receptive fields: geometry against torch's own operators, learning, and what stays true of every weight."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data.base import Images
from harness.errors import HarnessError
from harness.registry import learners
from harness.rng import Rng
from harness.rules import stack
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


def test_neurons_of_their_own_with_equal_weights_are_shared_ones():
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


def test_a_code_is_a_competition_by_cosine_and_silent_where_nothing_is():
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


def test_layers_as_drawn_stay_so():
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
    assert torch.equal(single, stack.imprint(codes[:, :4], labels[:, :4], 4))
    many = one.own_head(codes, labels, 4)
    assert not torch.equal(many, stack.imprint(codes, labels, 4)) and (many > 0).all()


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


def test_a_layer_that_is_read_beside_the_last_one_is_there_as_if_it_were_alone():
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
