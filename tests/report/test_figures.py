"""Figures: which files, the same bytes twice, one colour a learner, and what was drawn."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from results_kit import episodes, plain, record, results_of, sweep

from harness.report import figures
from harness.report.curves import curve_figure
from harness.report.derive import with_worst_case
from harness.report.episode_figure import bin_edges, episode_accuracies
from harness.report.styles import style_of


@pytest.fixture(scope="module")
def results():
    draw = np.random.default_rng(0)
    cells = [
        sweep(
            name,
            attack,
            {eps: (draw.random(60) > eps * 3).astype(int).tolist() for eps in (0.0, 0.1, 0.2)},
        )
        for name in ("a", "b")
        for attack in ("fgsm", "pgd")
    ]
    few = [
        episodes(name, draw.integers(10, 26, 40) / 25, shots=shots)
        for name in ("a", "b")
        for shots in (1, 5)
    ]
    return results_of(*cells, *few)


def test_writing_twice_gives_the_same_bytes_and_keeps_settings(results, tmp_path):
    before = dict(matplotlib.rcParams)
    first = figures.write_figures(results, tmp_path / "one")
    second = figures.write_figures(results, tmp_path / "two")
    assert [path.name for path in first] == ["robust.pdf", "robust.png", "few.pdf", "few.png"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert dict(matplotlib.rcParams) == before


def test_curves_show_the_records(results):
    figure = curve_figure(with_worst_case(results), "robust")
    assert [axis.get_title("left") for axis in figure.axes] == [
        "fgsm (linf)",
        "pgd (linf)",
        "worst (linf)",
    ]
    for line in figure.axes[1].get_lines():
        expected = {
            r.setting["eps"]: 100 * r.value
            for r in results.records
            if r.learner == line.get_label() and r.setting.get("attack") == "pgd"
        }
        assert dict(zip(line.get_xdata(), line.get_ydata(), strict=True)) == pytest.approx(expected)


def test_severities_begin_with_clean_images():
    def cell(learner, value, **setting):
        return record(learner, setting, value, protocol="corrupted")

    cells = [
        cell(name, value - 0.1 * s, corruption=kind, **({"severity": s} if s else {}))
        for name, value in (("a", 0.9), ("b", 0.8))
        for kind in ("blur", "mean")
        for s in (0, 1, 5)
    ]
    cells += [cell("a", 0.95, corruption="clean"), cell("b", 0.85, corruption="clean")]
    found = results_of(plain(*cells), protocols={"corrupted": "corruption"})
    figure = curve_figure(found, "corrupted")
    assert [axis.get_title("left") for axis in figure.axes] == ["blur", "mean"]
    line = figure.axes[0].get_lines()[1]
    assert dict(zip(line.get_xdata(), line.get_ydata(), strict=True)) == pytest.approx(
        {0: 85, 1: 70, 5: 30}
    )


def test_a_learning_curve_is_over_images_per_class(tmp_path):
    cells = [
        record(
            "a", {"per_class": count, "labelled": labelled, "ways": 4}, value, protocol="few labels"
        )
        for count, labelled, value in ((1, 4, 0.3), (5, 20, 0.6), ("all", 82, 0.9))
    ]
    found = results_of(plain(*cells), protocols={"few labels": "low_data"})
    axis = curve_figure(found, "few labels").axes[0]
    (line,) = axis.get_lines()
    assert dict(zip(line.get_xdata(), line.get_ydata(), strict=True)) == pytest.approx(
        {1: 30, 5: 60, 20.5: 90}
    )
    assert axis.get_xscale() == "log" and [text.get_text() for text in axis.get_xticklabels()] == [
        "1",
        "5",
        "20.5",
    ]
    assert len(figures.write_figures(found, tmp_path)) == 2


def test_episodes_have_a_panel_per_setting_and_printed_means(results):
    figure = episode_accuracies(results, "few")
    assert [axis.get_title("left") for axis in figure.axes] == ["5-way 1-shot", "5-way 5-shot"]
    shown = {text.get_text().split()[0] for text in figure.axes[0].texts}
    assert shown == {f"{100 * r.value:.1f}" for r in results.records if r.setting.get("shots") == 1}


def test_fonts_are_embedded_and_files_have_no_dates(results, tmp_path):
    drawn = {path.name: path.read_bytes() for path in figures.write_figures(results, tmp_path)}
    for name in ("robust.pdf", "few.pdf"):
        assert (
            b"/FontFile2" in drawn[name] and b"/Type3" not in drawn[name]
        )  # TrueType inside, no bitmap-like Type 3
        assert b"CreationDate" not in drawn[name] and b"Producer" not in drawn[name]
    assert all(
        b"tEXt" not in data and b"tIME" not in data
        for name, data in drawn.items()
        if name.endswith(".png")
    )


def test_every_learner_has_its_own_style():
    many = results_of(plain(*(record(f"learner {i}", {}, 0.5) for i in range(24))))
    styles = [style_of(name, many) for name in many.learners]
    assert len({tuple(style.values()) for style in styles}) == 24


def test_lines_are_distinguishable_without_colour():
    many = results_of(plain(*(record(f"learner {i}", {}, 0.5) for i in range(32))))
    grey = [
        (style["marker"], style["linestyle"])
        for style in (style_of(name, many) for name in many.learners)
    ]
    assert len(set(grey)) == 32 and all(
        a[0] != b[0] and a[1] != b[1] for a, b in zip(grey[:8], grey[1:8], strict=False)
    )


def test_no_figure_without_measurements(tmp_path):
    assert figures.write_figures(results_of(), tmp_path) == []


@given(st.integers(2, 20), st.integers(1, 15), st.data())
def test_bins_hold_equally_many_possible_accuracies(ways, queries, data):
    total = ways * queries
    drawn = data.draw(st.lists(st.integers(0, total), min_size=1, max_size=30))
    edges = bin_edges([np.array([*drawn, 0, 1, total]) / total])
    assert edges[0] < 0 and edges[-1] > 1
    held = np.histogram(np.arange(total + 1) / total, edges)[0]
    assert (
        len(set(held[1:])) <= 1 or len(set(held[2:])) <= 1
    )  # the lowest bins may reach below zero
    assert held.sum() == total + 1
