"""The contract of bodies, for every registered one: a new one is covered without an edit here."""

from __future__ import annotations

import copy
import random

import numpy as np
import pytest
import safetensors.torch
import torch
from pydantic import TypeAdapter, ValidationError

from harness.errors import HarnessError
from harness.learning.bodies import connections, frozen_body, without_batch_statistics
from harness.learning.body import ChosenBody, bodies_in, seeded
from harness.learning.dropping import DropBlock
from harness.registry import bodies, without_plugins

SHAPE = (3, 16, 16)

SMALL = {
    "lenet": {"units": 16},
    "resnet12": {"widths": [4, 4, 8, 8]},
    "resnet18": {"width": 4},
    "vit-tiny": {"depth": 1},
}
"""Keys that make large bodies small enough for tests."""

every_body = pytest.mark.parametrize("name", bodies)


def chosen(value) -> ChosenBody:
    return TypeAdapter(ChosenBody).validate_python(value)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small(name: str, seed: int = 0) -> torch.nn.Module:
    return chosen({"name": name, **SMALL.get(name, {})}).untrained(SHAPE, generator(seed))


def images(count: int = 4) -> torch.Tensor:
    return torch.rand(count, *SHAPE, generator=generator(1))


@pytest.fixture(autouse=True)
def global_state_is_unchanged():
    def state():
        numpy_state = np.random.get_state()[1].tobytes()
        return random.getstate(), numpy_state, torch.get_rng_state().numpy().tobytes()

    before = state()
    yield
    assert state() == before


@every_body
def test_a_body_gives_one_embedding_an_image_and_is_described(name):
    body = small(name)
    assert body.training
    out = body.eval()(images())
    assert out.ndim == 2 and len(out) == 4 and out.dtype == torch.float32
    assert out.isfinite().all() and out.std(0).max() > 0
    assert bodies.describe(name).endswith((".", ":"))
    assert all(info.description for info in bodies[name].Config.model_fields.values())


@every_body
def test_gradients_reach_the_image_and_every_weight(name):
    body, x = small(name), images(8).requires_grad_()
    with seeded(0):
        body(x).square().sum().backward()
    assert (x.grad.flatten(1).norm(dim=1) > 0).all()
    without = [key for key, p in body.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


@every_body
def test_the_seed_alone_decides_the_initial_weights(name):
    state, again, other = (small(name, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(state[key], again[key]) for key in state)
    assert any(not torch.equal(state[key], other[key]) for key in state)


@every_body
def test_state_travels_through_safetensors(name):
    body, other = small(name).eval(), small(name, 1).eval()
    state = {key: value.contiguous() for key, value in body.state_dict().items()}
    other.load_state_dict(safetensors.torch.load(safetensors.torch.save(state)))
    assert torch.equal(body(images()), other(images()))


@every_body
def test_a_frozen_body_is_the_same_function_and_lists_its_layers(name):
    body = small(name)
    with seeded(0):
        body(images(8))  # running statistics that are not the initial ones
    frozen = frozen_body(body.eval())
    torch.testing.assert_close(frozen(images()), body(images()), rtol=1e-4, atol=1e-5)
    assert not any(p.requires_grad for p in frozen.parameters())
    assert not any(part.training for part in frozen.modules())
    layers = connections(body)
    assert layers and all(weight.ndim == 2 for weight, _ in layers.values())


@every_body
def test_without_batch_statistics_an_image_does_not_depend_on_the_others(name):
    body = without_batch_statistics(small(name)).eval()
    torch.testing.assert_close(body(images())[:1], body(images()[:1]), rtol=1e-4, atol=1e-5)
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in body.modules())


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("conv4", 112_832),  # Vinyals et al. (2016), 3 channels
        ("resnet8", 74_640),
        ("resnet12", 12_424_320),  # Lee et al. (2019): 12.4 M
        ("resnet18", 11_168_832),  # 11.17 M with ten outputs: 11,173,962
        ("resnet20", 269_072),  # He et al. (2016): 0.27 M with ten outputs: 269,722
        ("vit-tiny", 5_360_832),
        ("wrn-28-2", 1_466_320),  # Zagoruyko & Komodakis (2016): 1.5 M
    ],
)
def test_bodies_have_the_published_number_of_weights(name, weights):
    body = chosen(name).untrained((3, 32, 32), generator())
    assert sum(p.numel() for p in body.parameters()) == weights


def test_drop_block_keeps_the_mean_and_drops_squares():
    x = torch.ones(64, 8, 10, 10)
    with seeded(0):
        out = DropBlock(0.1, side=3)(x)
    assert out.mean().item() == pytest.approx(1, abs=1e-5)
    share = (out == 0).float().mean().item()
    assert 0.07 < share < 0.11
    dropped = torch.nn.functional.pad((out == 0).float(), (1,) * 4)
    # Every dropped value belongs to a square that is dropped as a whole.
    full = torch.nn.functional.avg_pool2d(dropped, 3, stride=1) > 0.999
    covered = torch.nn.functional.max_pool2d(full.float(), 3, stride=1, padding=1)
    assert torch.equal(covered > 0, out == 0)
    assert torch.equal(DropBlock(0.5).eval()(x), x)


# ------------------------------------------------------------------------------- names in configs


def test_a_registered_body_is_written_with_every_key_and_read_back():
    body = chosen({"name": "wrn-28-2", "dropout": 0.1})
    assert body.to_json() == {"name": "body:wrn-28-2", "dropout": 0.1}
    assert chosen("wrn-28-2").to_json() == {"name": "body:wrn-28-2", "dropout": 0.0}
    assert chosen(body.to_json()) == body
    assert list(bodies_in({"body": body.to_json()})) == ["wrn-28-2"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("resnet13", "unknown body 'resnet13'; did you mean 'resnet1"),
        ({"name": "wrn-28-2", "drop": 0.1}, "no key 'drop'; did you mean 'dropout'"),
        ({"name": "wrn-28-2", "dropout": 2}, "dropout of the body wrn-28-2"),
        ({"dropout": 0.1}, "a body is a name"),
        (3, "a body is a name"),
        ("my_bodies:", "write package.module:name"),
    ],
)
def test_a_wrong_body_is_explained(value, words):
    with pytest.raises(ValidationError, match=words):
        chosen(value)


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("resnet12", (1, 8, 8), "at least 16 x 16 pixels, and these are 8 x 8"),
        ("lenet", (1, 3, 28), "at least 4 x 4 pixels"),
        ("vit-tiny", (1, 30, 30), "patches of 4 x 4 do not tile images of 30 x 30"),
    ],
)
def test_images_that_a_body_cannot_take_are_named(name, shape, words):
    with pytest.raises(HarnessError, match=words):
        chosen(name).untrained(shape, generator())


# -------------------------------------------------------------------------------- code of a user

CODE = """
import torch
from torch import nn


class Good(nn.Sequential):
    def __init__(self, image_shape, width=8):
        super().__init__(nn.Conv2d(image_shape[0], width, 3), nn.BatchNorm2d(width), nn.ReLU(),
                         nn.Dropout(0.2), nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Maps(nn.Conv2d):
    def __init__(self):
        super().__init__(3, 8, 3)


class Colours(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Pixels(nn.Flatten):
    pass


SHARED = Good((3, 16, 16))


def no_network():
    return 3
"""


@pytest.fixture
def my_bodies(tmp_path, monkeypatch):
    (tmp_path / "my_test_bodies.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    with seeded(0):  # the module has a network of its own, which draws its weights
        import my_test_bodies

    return my_test_bodies


def test_code_of_a_user_is_a_body(my_bodies):
    body = chosen({"name": "my_test_bodies:Good", "width": 6})
    assert body.to_json() == {"name": "code:my_test_bodies:Good", "width": 6}
    assert chosen(body.to_json()).keys == body.keys
    first, again = (body.untrained(SHAPE, generator()) for _ in range(2))
    assert first.eval()(images()).shape == (4, 6)
    assert torch.equal(first(images()), again.eval()(images()))


def test_a_network_that_code_shares_is_copied(my_bodies):
    before = copy.deepcopy(my_bodies.SHARED.state_dict())
    body = chosen("my_test_bodies:SHARED").untrained(SHAPE, generator())
    with torch.no_grad(), seeded(0):
        body(images())
        next(body.parameters()).zero_()
    after = my_bodies.SHARED.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        (
            "Maps",
            SHAPE,
            r"must turn two images into embeddings \(2, D\), and gives \(2, 8, 14, 14\)",
        ),
        ("Colours", (1, 28, 28), "does not take images of 1x28x28"),
        ("Pixels", SHAPE, "no weights that could be trained"),
        ("no_network", SHAPE, "gives a int, not a network"),
        ("Missing", SHAPE, "cannot build the network"),
    ],
)
def test_code_that_is_no_body_gets_one_line(my_bodies, name, shape, words):
    with pytest.raises(HarnessError, match=words):
        chosen(f"my_test_bodies:{name}").untrained(shape, generator())


def test_code_is_not_imported_without_plugins():
    with without_plugins(), pytest.raises(ValidationError, match="is a plugin"):
        chosen("my_test_bodies:Good")
