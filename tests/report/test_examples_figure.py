"""The figure of images under attack, as learners saw them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from harness.report.examples_figure import Examples, Seen, chosen, draw

RESULTS = SimpleNamespace(learners=["one", "two"])


def seen(clean, withstood, answered) -> Seen:
    adversarial = np.full((len(clean), 1, 4, 4), 0.6, np.float32)
    return Seen(np.array(clean), adversarial, np.array(answered), np.array(withstood))


@pytest.fixture
def four() -> Examples:
    """Four images: both withstand, one does, none does, and one is wrong anyway."""
    names = {"0": "cat", "1": "a dog with quite a long name"}
    learners = {
        "one": seen([True] * 4, [True, True, False, True], [0, 0, 1, 1]),
        "two": seen([True, True, True, False], [True, False, False, False], [0, 1, 1, 0]),
    }
    pixels = np.full((4, 1, 4, 4), 0.5, np.float32)
    return Examples("fgsm, eps 0.1 (linf)", "it", pixels, np.array([0, 0, 0, 1]), names, learners)


def words(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_images_on_which_learners_differ_come_first_and_classes_alternate(four):
    assert chosen(four, 4) == [1, 3, 0, 2]


def test_each_answer_is_said_right_or_wrong(four):
    shown = words(draw(four, 4, RESULTS))
    assert shown.count("cat ✓") == 3  # images 1 and 0 of one, 0 of two
    assert "a dog with quit… ✗" in shown
    assert "cat ✗, clean too" in shown, "what was wrong before the attack is no success of it"
    assert "right on 3 of 4" in shown and "right on 1 of 4" in shown


def test_the_largest_perturbation_is_white_and_named(four):
    figure = draw(four, 1, RESULTS)
    assert any("±0.1" in text for text in words(figure))
    tiles = [np.asarray(image.get_array()) for image in figure.axes[0].images]
    clean, perturbation, adversarial = (tile.mean() for tile in tiles[:3])
    assert (clean, perturbation, adversarial) == pytest.approx((0.5, 1.0, 0.6))


def test_images_and_text_stay_inside_the_figure(four):
    figure = draw(four, 2, SimpleNamespace(learners=[]))
    figure.canvas.draw()
    width, height = figure.get_size_inches() * figure.dpi
    for artist in [*figure.axes[0].texts[:-1], *figure.axes[0].images]:
        box = artist.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= width + 1 and box.y0 >= 0 and box.y1 <= height + 1
