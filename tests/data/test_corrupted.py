"""Corruptions with published names against scikit-image, SciPy, Pillow and closed forms."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from harness.data.corrupted import cifar_10_c, mnist_c
from harness.data.corrupted.draws import Draws
from harness.data.corrupted.kinds import moved_about
from harness.data.corrupted.lines import REACH, dotted_lines, zigzags
from harness.data.corrupted.plasma import plasma
from harness.data.corrupted.sampling import motion_blur, zoomed
from harness.data.corrupted.sets import SETS, corrupted
from harness.data.mnist5k import MNIST5k
from harness.rng import Rng

EVERY = [(name, kind) for name, of in SETS.items() for kind in of.kinds]
skimage = pytest.importorskip("skimage", reason="scikit-image is in the extra `test`")


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    """uint8 (12, 1, 28, 28)."""
    return MNIST5k(MNIST5k.Config()).build().pixels[:12]


@pytest.fixture(scope="module")
def photographs() -> np.ndarray:
    """uint8 (12, 3, 32, 32), smooth."""
    noise = Rng(0).numpy("photographs").random((12, 3, 32, 32))
    smooth = ndimage.gaussian_filter(noise, (0, 0, 2, 2))
    return np.clip(255 * (4 * (smooth - 0.5) + 0.5), 0, 255).astype(np.uint8)


@pytest.fixture
def images(request, digits, photographs):
    return {"mnist-c": digits, "cifar-10-c": photographs}


def drawn(n: int = 12, seed: int = 3) -> Draws:
    return Draws(np.arange(n) * 7, Rng(seed))


def unit(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float32) / 255


@pytest.mark.parametrize(("name", "kind"), EVERY)
def test_an_image_is_corrupted_alike_in_any_company(images, name, kind):
    pixels, identity = images[name], np.arange(12) + 5
    whole = corrupted(pixels, name, kind, 3, identity, Rng(1))
    few = [7, 2, 9]
    assert whole.dtype == np.uint8 and whole.shape == pixels.shape
    assert np.array_equal(corrupted(pixels[few], name, kind, 3, identity[few], Rng(1)), whole[few])
    assert not np.array_equal(whole, pixels)


NOT_ASCENDING = ("glass_blur", "snow", "spatter", "elastic_transform", "frost", "fog")
"""Their published sizes trade one effect for another: more mixing, but less smoothing."""


@pytest.mark.parametrize(
    ("name", "kind"), [pair for pair in EVERY if SETS[pair[0]].kinds[pair[1]].sizes]
)
def test_a_heavier_severity_is_further_from_the_image(images, name, kind):
    pixels = images[name]

    def far(severity: int) -> float:
        result = corrupted(pixels, name, kind, severity, np.arange(12), Rng(1))
        return float(np.abs(result - pixels.astype(float)).mean())

    distances = [far(severity) for severity in range(1, 6)]
    assert min(distances) > 0
    assert kind in NOT_ASCENDING or distances == sorted(distances)


def test_kinds_without_severities_are_the_same_at_all_of_them(digits):
    for kind in ("stripe", "dotted_line", "zigzag", "canny_edges"):
        one, five = (corrupted(digits, "mnist-c", kind, s, np.arange(12), Rng(1)) for s in (1, 5))
        assert np.array_equal(one, five)


# ------------------------------------------------------------------------------- noise and grey


def test_shot_noise_has_the_mean_and_variance_of_counted_photons():
    grey = np.full((20, 1, 28, 28), 0.4, np.float32)
    noisy = mnist_c.shot_noise(grey, 12, drawn(20))
    assert noisy.mean() == pytest.approx(0.4, abs=0.005)
    assert noisy.var() == pytest.approx(0.4 / 12, rel=0.05)
    assert np.allclose(noisy * 12, np.rint(noisy * 12))


def test_impulse_noise_hits_its_share_half_of_it_white():
    grey = np.full((20, 1, 28, 28), 0.4, np.float32)
    noisy = mnist_c.impulse_noise(grey, 0.17, drawn(20))
    assert (noisy != np.float32(0.4)).mean() == pytest.approx(0.17, abs=0.01)
    assert (noisy == 1).mean() == pytest.approx(0.085, abs=0.008)


def test_gaussian_noise_has_its_deviation():
    noise = cifar_10_c.gaussian_noise(np.zeros((12, 3, 32, 32), np.float32), 0.08, drawn())
    assert noise.std() == pytest.approx(0.08, rel=0.02)


@pytest.mark.parametrize(("name", "size"), [("mnist-c", 0.3), ("cifar-10-c", 0.2)])
def test_brightness_adds_to_the_value_of_hsv(images, name, size):
    pixels = unit(images[name])
    module = mnist_c if name == "mnist-c" else cifar_10_c
    brighter = np.clip(module.brightness(pixels, size, drawn()), 0, 1)
    rgb = np.broadcast_to(pixels, (12, 3, *pixels.shape[2:])).transpose(0, 2, 3, 1)
    hsv = skimage.color.rgb2hsv(rgb)
    hsv[..., 2] = np.clip(hsv[..., 2] + size, 0, 1)
    expected = skimage.color.hsv2rgb(hsv).transpose(0, 3, 1, 2)
    assert np.allclose(brighter, expected[:, : pixels.shape[1]], atol=1e-5)


def test_contrast_keeps_the_mean_and_scales_the_deviation(photographs):
    pixels = unit(photographs)
    flat = cifar_10_c.contrast(pixels, 0.3, drawn())
    assert np.allclose(flat.mean((2, 3)), pixels.mean((2, 3)), atol=1e-5)
    assert np.allclose(flat.std((2, 3)), 0.3 * pixels.std((2, 3)), atol=1e-5)


def test_stripe_inverts_seven_columns_on_each_side(digits):
    striped = corrupted(digits, "mnist-c", "stripe", 1, np.arange(12), Rng(0))
    expected = digits.copy()
    expected[..., :7] = 255 - expected[..., :7]
    expected[..., 21:] = 255 - expected[..., 21:]
    assert np.array_equal(striped, expected)


# ----------------------------------------------------------------------------------------- warps


def test_shear_rotate_and_scale_are_the_warps_of_scikit_image(digits):
    pixels, draws = unit(digits), drawn()
    side = draws.signs("side")
    assert {-1, 1} == set(side.tolist())
    cases = {
        "shear": lambda c: [[1, -math.sin(c)], [0, math.cos(c)]],
        "rotate": lambda c: [[math.cos(c), -math.sin(c)], [math.sin(c), math.cos(c)]],
        "scale": lambda c: [[1 / abs(c), 0], [0, 1 / abs(c)]],
    }
    for kind, matrix in cases.items():
        got = getattr(mnist_c, kind)(pixels, 0.6, draws)
        for image, result, sign in zip(pixels[:, 0], got[:, 0], side, strict=True):
            whole = np.eye(3)
            whole[:2, :2] = matrix(0.6 * sign)
            whole[:2, 2] = 13.5 - whole[:2, :2] @ [13.5, 13.5]
            expected = skimage.transform.warp(image.astype(float), whole, order=1)
            assert np.allclose(result, expected, atol=1e-6), kind


def test_translate_moves_along_a_diagonal_and_black_comes_in(digits):
    moved = corrupted(digits, "mnist-c", "translate", 3, np.arange(12), Rng(0))
    ways = set()
    for image, result in zip(digits[:, 0], moved[:, 0], strict=True):
        for way in ((3, 3), (3, -3), (-3, 3), (-3, -3)):
            expected = ndimage.shift(image, way, order=0, mode="constant", cval=0)
            if np.array_equal(expected, result):
                ways.add(way)
    assert len(ways) > 1  # each image moved one of the four ways, and not all the same


def test_zoom_is_that_of_scipy_on_the_middle(photographs):
    image = unit(photographs)[0, 0]
    for factor in (1.0, 1.01, 1.07, 1.25, 2.25):
        piece = math.ceil(32 / factor)
        first = (32 - piece) // 2
        middle = image[first : first + piece, first : first + piece]
        large = ndimage.zoom(middle.astype(float), factor, order=1)
        trim = (len(large) - 32) // 2
        expected = large[trim : trim + 32, trim : trim + 32]
        assert np.allclose(zoomed(image, factor), expected, atol=1e-6), factor


def test_elastic_transform_moves_three_points_then_every_pixel(photographs):
    pixels, draws = unit(photographs), drawn()
    size = (0.1, 0.04, 0.05)
    got = cifar_10_c.elastic_transform(pixels, size, draws)
    moved = 1.6 * (2 * draws.uniform("points", 3, 2) - 1)
    before = np.array([[26, 26], [26, 6], [6, 6]], float)
    for place in (0, 5):
        affine = skimage.transform.AffineTransform.from_estimate(before + moved[place], before)
        y, x = np.mgrid[:32, :32].astype(float)
        at = affine(np.stack([x.ravel(), y.ravel()], 1))
        channel = pixels[place, 1].astype(float)
        once = ndimage.map_coordinates(channel, at[:, ::-1].T, order=1, mode="mirror")
        across, down = (
            3.2
            * skimage.filters.gaussian(
                2 * draws.uniform(name, 32, 32)[place].astype(float) - 1,
                1.28,
                mode="reflect",
                truncate=3,
            )
            for name in ("across", "down")
        )
        twice = ndimage.map_coordinates(
            once.reshape(32, 32), [y + down, x + across], order=1, mode="reflect"
        )
        assert np.allclose(got[place, 1], twice, atol=1e-5)


# ----------------------------------------------------------------------------------------- blurs


def test_motion_blur_of_a_dot_is_half_a_gaussian_against_the_motion():
    dot = np.zeros((1, 1, 41, 41))
    dot[0, 0, 20, 20] = 1
    weights = np.exp(-np.square(np.arange(13)) / (2 * 3.0**2))
    weights /= weights.sum()
    level = motion_blur(dot, 6, 3.0, np.zeros(1))[0, 0]
    assert np.allclose(level[20, 20 - np.arange(13)], weights)
    steep = motion_blur(dot, 6, 3.0, np.full(1, 45.0))[0, 0]
    assert steep.sum() == pytest.approx(1)
    steps = np.ceil(np.arange(13) * math.sqrt(0.5) - 0.5).astype(int)
    assert steep[20 - steps[4], 20 - steps[4]] == pytest.approx(weights[steps == steps[4]].sum())


@pytest.mark.parametrize("swap", [True, False])
def test_pixels_are_exchanged_one_after_the_other(digits, swap):
    pixels, draws = unit(digits)[:3], drawn(3)
    got = moved_about(pixels, 2, 1, draws, share=0.5, swap=swap)
    chosen = draws.uniform("chosen 0", 28, 28) < 0.5
    steps = draws.integers("partner 0", -2, 2, 28, 28, 2)
    assert steps.min() == -2 and steps.max() == 1
    for place in range(3):
        image = pixels[place, 0].copy()
        for h in range(26, 2, -1):
            for w in range(26, 2, -1):
                if chosen[place, h, w]:
                    dh, dw = steps[place, h, w]
                    mine, theirs = image[h, w], image[h + dh, w + dw]
                    image[h, w] = theirs
                    if swap:
                        image[h + dh, w + dw] = mine
        assert np.array_equal(got[place, 0], image)
    if swap:
        assert np.array_equal(np.sort(got.ravel()), np.sort(pixels.ravel()))


def test_glass_blur_smooths_as_scikit_image_before_and_after(photographs):
    pixels, draws = unit(photographs), drawn()
    got = cifar_10_c.glass_blur(pixels, (0.4, 1, 2), draws)
    smooth = [skimage.filters.gaussian(x, 0.4, channel_axis=0) for x in pixels.astype(float)]
    coarse = np.floor(np.stack(smooth) * 255 + 1e-3) / 255
    mixed = moved_about(coarse, 1, 2, draws, share=1.0, swap=False)
    expected = np.stack([skimage.filters.gaussian(x, 0.4, channel_axis=0) for x in mixed])
    assert np.abs(got - expected).max() < 2 / 255
    assert np.abs(got - expected).mean() < 1e-3


def test_defocus_is_the_mean_over_a_disk(photographs):
    pixels = unit(photographs)[:2]
    got = cifar_10_c.defocus_blur(pixels, (1.5, 0.1), drawn(2))
    kernel = cifar_10_c.disk(1.5, 0.1)
    assert kernel.shape == (5, 5) and kernel[1:4, 1:4] == pytest.approx(np.full((3, 3), 1 / 9))
    for image, result in zip(pixels[0], got[0], strict=True):
        expected = ndimage.correlate(image.astype(float), kernel, mode="mirror")
        assert np.allclose(result, expected, atol=1e-6)
    soft = cifar_10_c.disk(0.4, 0.5)  # a dot, blurred by three values of a Gaussian
    taps = np.exp([-2.0, 0.0, -2.0])
    assert np.allclose(soft, np.outer(taps, taps) / taps.sum() ** 2)


def test_zoom_blur_is_the_mean_of_the_image_and_its_enlargements(photographs):
    pixels = unit(photographs)[:2]
    got = cifar_10_c.zoom_blur(pixels, 1.05, drawn(2))
    zooms = [zoomed(pixels, 1 + i / 100) for i in range(6)]
    assert np.allclose(got, (pixels + sum(zooms)) / 7)


# ------------------------------------------------------------------------- landscapes and layers


def test_plasma_is_the_diamond_square_algorithm_point_by_point():
    draws = drawn(2)
    got = plasma(draws, 8, 2.0, 8)
    noise = 2 * draws.uniform("plasma", 64) - 1
    for place in range(2):
        heights, values = np.zeros((8, 8)), iter(noise[place].tolist())
        step, size = 8, 1.0
        while step > 1:
            half = step // 2
            cross = [(-half, -half), (-half, half), (half, -half), (half, half)]
            plus = [(-half, 0), (half, 0), (0, -half), (0, half)]
            starts = {(half, half): cross, (0, half): plus, (half, 0): plus}
            for (top, left), around in starts.items():
                for y in range(top, 8, step):
                    for x in range(left, 8, step):
                        total = sum(heights[(y + dy) % 8, (x + dx) % 8] for dy, dx in around)
                        heights[y, x] = total / 4 + size * next(values)
            step, size = half, size / 4
        heights -= heights.min()
        assert np.allclose(got[place], heights / heights.max(), atol=1e-5)


def test_fog_whitens_black_and_keeps_the_maximum_of_the_image(digits):
    draws = drawn()
    fogged = mnist_c.fog(unit(digits), (2.5, 1.7), draws)
    landscape = plasma(draws, 256, 1.7, 28)
    assert landscape.min() >= 0 and landscape.max() <= 1
    black = digits[:, 0] == 0
    top = digits.max((1, 2, 3))[:, None, None] / 255
    expected = np.broadcast_to(2.5 * landscape * top / (top + 2.5), black.shape)
    assert np.allclose(fogged[:, 0][black], expected[black], atol=1e-5)


def test_spatter_covers_where_smooth_noise_is_high(digits):
    draws = drawn()
    got = mnist_c.spatter(unit(digits), (0.65, 0.3, 2, 0.68, 0.5), draws)
    noise = 0.65 + 0.3 * draws.normal("liquid", 28, 28)
    for image, result, wet in zip(unit(digits)[:, 0], got[:, 0], noise, strict=True):
        level = skimage.filters.gaussian(wet, 2) > 0.68
        cover = skimage.filters.gaussian(level.astype(float), 0.5)
        cover[cover < 0.8] = 0
        assert np.allclose(result, image * (1 - cover) + 63 / 255 * cover, atol=1e-4)


def test_snow_whitens_and_adds_flakes_and_the_same_ones_turned(photographs):
    pixels, draws = unit(photographs), drawn()
    got = cifar_10_c.snow(pixels, (0.1, 0.2, 1, 0.6, 8, 3, 0.95), draws)
    luma = [np.asarray(Image.fromarray(x).convert("L")) for x in photographs.transpose(0, 2, 3, 1)]
    white = np.maximum(pixels, np.stack(luma)[:, None] / 255 * 1.5 + 0.5)
    flakes = got - (0.95 * pixels + 0.05 * white)
    assert flakes.min() > -1e-3 and flakes.max() > 0.1
    assert np.allclose(flakes, flakes[:, :, ::-1, ::-1], atol=1e-3)


def test_frost_darkens_the_image_and_adds_a_texture(photographs):
    pixels, draws = unit(photographs), drawn()
    texture = cifar_10_c.frost(np.zeros_like(pixels), (0.75, 0.45), draws)
    assert texture.min() >= 0 and texture.max() <= 0.45
    got = cifar_10_c.frost(pixels, (0.75, 0.45), draws)
    assert np.allclose(got, 0.75 * pixels + texture, atol=1e-6)
    assert SETS["cifar-10-c"].kinds["frost"].stands_in


# ------------------------------------------------------------------------------ lines and edges


def test_a_dotted_line_fades_with_the_logarithm_of_the_distance():
    lines = dotted_lines()
    column = lines[4, 4][:, 3]  # a level line in row 4
    expected = [1 + math.log(1 - d / REACH) if d < REACH else 0 for d in (1, 0, 1, 2, 3)]
    assert np.allclose(column[3:8], np.maximum(expected, 0), atol=1e-6)
    drawn_columns = lines[3, 20].any(0)
    # Two columns are left out, two drawn; the last one is beyond the end of the line.
    assert drawn_columns.tolist() == [c // 2 % 2 == 1 and c < 27 for c in range(28)]


def test_a_level_zigzag_has_teeth_of_four_pixels():
    ink = zigzags()[13, 5]  # from row 13, without a rise
    assert ink.shape == (28, 28) and ink.min() >= 0 and ink.max() <= 1
    assert not ink[:, :2].any() and not ink[:, 25:].any()
    peaks = [int(ink[:, column].argmax()) for column in (4, 8, 12, 16, 20)]
    assert peaks == [15, 11, 15, 11, 15]


def test_edges_are_those_of_scikit_image(digits):
    found = corrupted(digits, "mnist-c", "canny_edges", 1, np.arange(12), Rng(0))
    for image, edges in zip(digits[:, 0], found[:, 0], strict=True):
        assert np.array_equal(edges > 0, skimage.feature.canny(image / 255))


# ---------------------------------------------------------------------------------------- Pillow


def test_pixelate_and_jpeg_are_those_of_pillow(photographs):
    for kind, severity in (("pixelate", 4), ("jpeg_compression", 2)):
        got = corrupted(photographs, "cifar-10-c", kind, severity, np.arange(12), Rng(0))
        image = Image.fromarray(photographs[3].transpose(1, 2, 0))
        if kind == "pixelate":
            expected = image.resize((24, 24), Image.BOX).resize((32, 32), Image.BOX)
        else:
            file = io.BytesIO()
            image.save(file, "JPEG", quality=65)
            expected = Image.open(file)
        assert np.array_equal(got[3].transpose(1, 2, 0), np.asarray(expected))
