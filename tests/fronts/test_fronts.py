"""What fronts compute, against closed forms and published facts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.fronts.v1 import FREQUENCY_EDGES, V1, Gabor, draw, quantiles
from harness.learning.nets import LinearHead
from harness.registry import fronts
from harness.rng import Rng

SHAPE = (1, 12, 12)


def made(kind: str, shape=SHAPE, **keys):
    return fronts[kind](fronts[kind].Config(**keys), shape, Rng(0))


def noise(count: int = 6, shape=SHAPE) -> torch.Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", [*fronts])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 15, 12)])
def test_every_front_gives_the_shape_that_it_states(kind, shape):
    front = made(kind, shape)
    images = noise(4, shape).requires_grad_()
    seen = front.module()(images)
    assert seen.shape == (4, *front.shape) and seen.dtype == torch.float32
    (slope,) = torch.autograd.grad(seen.square().sum(), images)
    assert slope.isfinite().all() and slope.abs().sum() > 0
    blank = torch.zeros(1, *shape, requires_grad=True)
    (slope,) = torch.autograd.grad(front.module()(blank).sum(), blank)
    assert slope.isfinite().all()


@pytest.mark.parametrize("kind", [*fronts])
def test_every_front_is_described(kind):
    assert fronts.describe(kind).endswith((".", ":"))
    assert all(info.description for info in fronts[kind].Config.model_fields.values())


def test_the_sigmoid_acts_on_each_pixel():
    images = noise()
    seen = made("pixel-sigmoid", slope=10.0, threshold=0.4).module()(images)
    expected = 1 / (1 + np.exp(-10 * (images.double().numpy() - 0.4)))
    np.testing.assert_allclose(seen.numpy(), expected, rtol=1e-5)


def test_behind_the_sigmoid_a_linear_read_out_is_attacked_in_closed_form():
    """Each pixel moves to the end of its interval that hurts: no attack can do more, or does."""
    front = made("pixel-sigmoid")
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(144, 2, generator=generator)
    module = torch.nn.Sequential(
        front.module(), torch.nn.Flatten(), LinearHead(torch.nn.Identity(), weight, torch.zeros(2))
    )
    images = noise(3)
    difference = (weight[:, 0] - weight[:, 1]).reshape(SHAPE)
    worst = (images - 0.1 * difference.sign()).clamp(0, 1)
    exact = (torch.sigmoid(14 * (worst - 0.5)) * difference).flatten(1).sum(1)
    logits = module(worst)
    torch.testing.assert_close(logits[:, 0] - logits[:, 1], exact)
    for _ in range(20):
        step = 0.1 * (2 * torch.rand(images.shape, generator=generator) - 1)
        logits = module((images + step).clamp(0, 1))
        assert (logits[:, 0] - logits[:, 1] >= exact - 1e-4).all()


def test_division_makes_contrast_far_above_sigma_irrelevant():
    front = made("divisive", sigma=1e-3, size=5)
    images = 0.2 + 0.3 * noise()
    torch.testing.assert_close(
        front.module()(2 * images), front.module()(images), rtol=0.01, atol=0
    )


def test_division_is_by_the_root_mean_square_of_a_square_over_channels():
    shape = (2, 7, 7)
    images = noise(1, shape)
    seen = made("divisive", shape, sigma=0.1, size=3).module()(images)[0]
    x = images[0].double().numpy()
    for row, column in ((3, 3), (0, 0)):
        near = x[:, max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
        expected = x[:, row, column] / (0.1 + np.sqrt((near**2).mean()))
        np.testing.assert_allclose(seen[:, row, column].numpy(), expected, rtol=1e-3)


def test_whitened_images_are_uncorrelated():
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(16, 16, generator=generator)
    images = (torch.randn(5000, 16, generator=generator) @ mixing).reshape(-1, 1, 4, 4)
    front = made("whitening", (1, 4, 4), eps=1e-6)
    front.fit(images)
    seen = front.module()(images).flatten(1).double()
    assert seen.mean(0).abs().max() < 1e-3
    torch.testing.assert_close(
        torch.from_numpy(np.cov(seen.numpy().T)), torch.eye(16).double(), rtol=0, atol=2e-3
    )
    whitener = front.tensors["whitener"]
    torch.testing.assert_close(whitener, whitener.T, rtol=1e-3, atol=1e-3)  # zero phase


def test_split_channels_are_the_parts_of_either_sign():
    images = noise()
    signed = made("whitening").module()(images)
    split = made("whitening", channels="split").module()(images)
    assert split.min() >= 0
    torch.testing.assert_close(split[:, :1] - split[:, 1:], signed)


def test_gabors_have_zero_mean_unit_length_and_their_frequency():
    gabor = Gabor(np.pi / 6, 0.15, 0.4, 0.5, 0.4)
    kernel = gabor.kernel(25)
    assert abs(kernel.sum()) < 1e-10 and np.linalg.norm(kernel) == pytest.approx(1)
    spectrum = np.abs(np.fft.fftshift(np.fft.fft2(kernel, (256, 256))))
    row, column = np.unravel_index(spectrum.argmax(), spectrum.shape)
    v, u = (row - 128) / 256, (column - 128) / 256
    assert np.hypot(u, v) == pytest.approx(0.15, abs=0.02)
    angle = np.degrees(np.arctan2(v, u)) % 180
    assert angle == pytest.approx(30, abs=4)


def test_complex_cells_do_not_see_the_phase_of_a_grating():
    front = made("v1", (1, 31, 31), size=15, pool=1, stride=1, filters=64)
    y, x = np.mgrid[:31, :31]
    gabors = draw(front.config, Rng(0).numpy("filters"))
    checked = 0
    for i in range(32, 64):
        gabor = gabors[i]
        if not (0.12 < gabor.frequency < 0.3 and gabor.n_x > 0.35):
            continue
        u = x * np.cos(gabor.orientation) + y * np.sin(gabor.orientation)
        phases = np.linspace(0, 2 * np.pi, 9)[:-1, None, None]
        gratings = 0.5 + 0.5 * np.cos(2 * np.pi * gabor.frequency * u + phases)
        images = torch.from_numpy(gratings[:, None]).float()
        middle = front.module()(images)[:, :, 15, 15].numpy()
        assert np.ptp(middle[:, i]) < 0.05 * middle[:, i].mean()
        checked += 1
    assert checked >= 3


def test_filters_follow_the_published_histograms():
    config = V1.Config(filters=4000, pixels_per_degree=40.0, lowest=0.5)
    gabors = draw(config, np.random.default_rng(0))
    degrees = np.degrees([gabor.orientation for gabor in gabors])
    shares = np.histogram(degrees, [-22.5, 22.5, 67.5, 112.5, 157.5])[0] / 4000
    np.testing.assert_allclose(shares, np.array([66, 49, 77, 54]) / 246, atol=0.03)
    cycles = 40 * np.array([gabor.frequency for gabor in gabors])
    shares = np.histogram(cycles, FREQUENCY_EDGES)[0] / 4000
    np.testing.assert_allclose(shares, np.array([4, 4, 8, 25, 32, 26, 28, 12]) / 139, atol=0.03)
    widths = np.array([gabor.n_x for gabor in gabors])
    assert np.corrcoef(np.log(cycles), np.log(widths))[0, 1] > 0.5


def test_quantiles_leave_out_what_is_outside():
    values = quantiles(np.linspace(0.001, 0.999, 50), FREQUENCY_EDGES, np.ones(8), 1.0, 4.0)
    assert values.min() == pytest.approx(1, rel=0.02) and values.max() == pytest.approx(4, rel=0.02)
    assert (np.diff(values) > 0).all()


@pytest.mark.parametrize("keys", [{"size": 8}, {"lowest": 9.0}])
def test_impossible_banks_are_refused(keys):
    with pytest.raises(ValueError, match="size|frequency"):
        V1.Config(**keys)
