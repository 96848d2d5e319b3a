"""Names at the ends of curves: where there is room, and a legend otherwise."""

from __future__ import annotations

import itertools

import matplotlib
from hypothesis import given
from hypothesis import strategies as st
from results_kit import results_of, sweep

from harness.report.curves import curve_figure
from harness.report.end_labels import FURTHEST, spread
from harness.report.styles import STYLE, style_of

ENDS = st.dictionaries(st.text("abc", min_size=1, max_size=3), st.floats(0, 100), min_size=1)


@given(ENDS)
def test_names_are_apart_near_their_lines_and_in_their_order(ends):
    places = spread(ends, 5.0, -2.0)
    if places is None:
        return
    order = sorted(ends, key=lambda name: ends[name])
    assert list(places) == order
    for lower, upper in itertools.pairwise(places.values()):
        assert upper - lower >= 5.0 - 1e-9
    assert all(abs(places[name] - ends[name]) <= FURTHEST * 5.0 + 1e-9 for name in ends)
    assert min(places.values()) >= -2.0


def curves(*shares: float):
    """The figure of learners that keep these shares of 100 images at an eps of 0.1."""
    cells = [
        sweep(f"rule-{place}", "fgsm", {0.0: [1] * 100, 0.1: [1] * right + [0] * (100 - right)})
        for place, right in enumerate(shares)
    ]
    results = results_of(*cells)
    with matplotlib.rc_context(STYLE):
        figure = curve_figure(results, "robust")
        figure.canvas.draw()
    return figure, results


def test_lines_that_end_apart_are_named_in_their_colours_without_a_legend():
    figure, results = curves(80, 50, 46, 5)
    assert not figure.legends
    (axis,) = figure.axes
    named = {text.get_text(): text.get_color() for text in axis.texts}
    assert named == {name: style_of(name, results)["color"] for name in results.learners}


def test_names_and_tick_labels_do_not_overlap_and_stay_inside():
    figure, _ = curves(97, 90, 50, 46, 3, 0)
    (axis,) = figure.axes
    ticks = zip(axis.get_xticks(), axis.get_xticklabels(), strict=True)
    low, high = axis.get_xlim()
    shown = [text for place, text in ticks if low <= place <= high]
    boxes = [text.get_window_extent() for text in [*axis.texts, *shown]]
    assert len(axis.texts) == 6
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)
    width, height = figure.get_size_inches() * figure.dpi
    for box in boxes:
        assert box.x1 <= width and box.y0 >= 0 and box.y1 <= height, (box, width, height)


def test_lines_that_end_together_have_a_legend():
    figure, results = curves(0, 0, 1, 1)
    assert not figure.axes[0].texts
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == results.learners
