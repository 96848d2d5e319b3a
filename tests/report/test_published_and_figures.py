"""Published numbers beside ours, trade-off figures, and the figures of the biology audit."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from results_kit import plain, record, results_of

from harness.data import recordings
from harness.errors import HarnessError
from harness.metrics.catalogue import METRICS
from harness.metrics.cortex import CONDITION
from harness.registry import datasets, protocols
from harness.report import biology_figures, figures
from harness.report.published import difference
from harness.report.render import render
from harness.report.table import Cell
from harness.report.tables import build_all
from harness.report.tradeoff import tradeoff
from harness.suite import load as suite
from harness.suite import published as shelf
from harness.suite.specs.figures import FigureSpec, NumberSpec
from harness.suite.specs.published import PublishedSpec
from harness.suite.specs.tables import TableSpec

ROOT = Path(__file__).parents[2]

PUBLISHED = PublishedSpec(
    learner="bio",
    protocol="few",
    setting={"ways": 5, "shots": 1},
    value=0.987,
    source="a paper, table 2",
)


def few(*learners: str):
    return plain(
        *(
            record(name, {"ways": 5, "shots": shots}, 0.5 + 0.1 * shots, protocol="few")
            for name in learners
            for shots in (1, 2)
        )
    )


def test_published_numbers_are_beside_ours_and_never_bold():
    (table,) = build_all(
        results_of(few("bio", "bp")), [TableSpec(protocol="few", columns=["shots"])], [PUBLISHED]
    )
    shown = dict(zip(table.columns, table.cells[0], strict=True))
    assert table.columns == ((1, None), (1, "published"), (1, "difference"), (2, None))
    assert (
        shown[1, "difference"].value == pytest.approx(0.6 - 0.987)
        and not shown[1, "difference"].bold
    )
    assert shown[1, "published"].value == 0.987 and not shown[1, "published"].bold
    assert table.cells[1][1] is None and any("a paper, table 2" in note for note in table.notes)
    for form in ("markdown", "csv", "latex", "json"):
        assert "98.7" in render(table, form) or "0.987" in render(table, form)


def test_a_single_number_is_named_if_one_was_published():
    spec = PublishedSpec(learner="bio", protocol="few", value=0.9, source="s")
    (table,) = build_all(
        results_of(plain(record("bio", {}, 0.8, protocol="few"))),
        [TableSpec(protocol="few")],
        [spec],
    )
    assert table.columns == (
        ("accuracy", None),
        ("accuracy", "published"),
        ("accuracy", "difference"),
    )


def test_a_difference_has_the_interval_of_ours():
    results = results_of(plain(record("bio", {}, 0.8, low=0.7, high=0.85, protocol="few")))
    spec = PublishedSpec(learner="bio", protocol="few", value=0.9, source="s")
    (table,) = build_all(results, [TableSpec(protocol="few")], [spec])
    gap = table.cells[0][2]
    assert (gap.value, gap.low, gap.high) == pytest.approx((-0.1, -0.2, -0.05))


def test_a_setting_may_omit_keys_with_a_single_value():
    spec = PublishedSpec(learner="bio", protocol="few", setting={"shots": 2}, value=0.9, source="s")
    (table,) = build_all(
        results_of(few("bio")), [TableSpec(protocol="few", columns=["ways", "shots"])], [spec]
    )
    assert [column for column in table.columns if column[-1] == "published"] == [
        (5, 2, "published")
    ]


def test_numbers_of_no_learner_have_their_own_row():
    people = PublishedSpec(
        row="people", protocol="few", setting={"ways": 5, "shots": 1}, value=0.955, source="a paper"
    )
    (table,) = build_all(
        results_of(few("bio", "bp")), [TableSpec(protocol="few", columns=["shots"])], [people]
    )
    assert table.rows == (("bio",), ("bp",), ("people",)) and table.columns == (
        (1, None),
        (1, "published"),
        (2, None),
    )
    assert [cell and cell.value for cell in table.cells[2]] == [None, 0.955, None] and table.cells[
        0
    ][0].value == 0.6
    (both,) = build_all(
        results_of(few("bio", "bp")),
        [TableSpec(protocol="few", columns=["shots"])],
        [PUBLISHED, people],
    )
    assert (
        both.columns == ((1, None), (1, "published"), (1, "difference"), (2, None))
        and both.cells[2][2] is None
    )
    for form in ("markdown", "csv", "latex", "json"):
        assert "people" in render(both, form)


@pytest.mark.parametrize("who", [{}, {"learner": "bio", "row": "people"}])
def test_a_published_number_is_of_a_learner_or_has_a_row(who):
    with pytest.raises(ValidationError, match="one of the two"):
        PublishedSpec(**who, protocol="few", value=0.5, source="s")


def test_a_difference_combines_both_intervals():
    """Symmetric intervals of two independent means: their half widths add in squares."""
    results = results_of(plain(record("bio", {}, 0.8, low=0.77, high=0.83, protocol="few")))
    spec = PublishedSpec(
        learner="bio", protocol="few", value=0.9, interval=(0.86, 0.94), source="s"
    )
    (table,) = build_all(results, [TableSpec(protocol="few")], [spec])
    _, theirs, gap = table.cells[0]
    assert (theirs.low, theirs.high) == (0.86, 0.94)
    assert (gap.value, gap.low, gap.high) == pytest.approx((-0.1, -0.15, -0.05))
    assert any("an interval from both" in note for note in table.notes)


@given(st.floats(0, 1), st.floats(0, 0.3), st.floats(0, 0.3))
def test_a_difference_from_an_exact_number_has_our_interval_moved(value, below, above):
    ours = Cell("accuracy", value, value - below, value + above, 9, "sample", (0,))
    gap = difference(ours, PublishedSpec(learner="bio", protocol="few", value=0.5, source="s"))
    assert (gap.low, gap.high) == pytest.approx((ours.low - 0.5, ours.high - 0.5))


@pytest.mark.parametrize(
    "value, low, high, said",
    [
        (0.98, 0.97, 0.99, "inside"),
        (0.95, 0.94, 0.96, "below ≈"),
        (0.9, 0.89, 0.91, "below"),
        (0.99, 0.984, 0.995, "above ≈"),
        (0.999, 0.998, 1.0, "above"),
        (0.9, None, None, "below"),
    ],
)
def test_position_relative_to_the_band(value, low, high, said):
    results = results_of(plain(record("bio", {}, value, low=low, high=high, protocol="few")))
    spec = PublishedSpec(
        learner="bio",
        protocol="few",
        value=0.97,
        band=(0.955, 0.985),
        band_source="hearsay",
        source="s",
    )
    (table,) = build_all(results, [TableSpec(protocol="few")], [spec])
    assert table.columns[-1] == ("accuracy", "band") and f"| {said} |" in render(table, "markdown")
    assert "suite: few (%)" in render(
        table, "markdown"
    )  # the title still says what the numbers are
    assert any(
        note.startswith("Band:") and "(hearsay): bio 95.5 to 98.5" in note for note in table.notes
    )


@pytest.mark.parametrize(
    "given, said",
    [
        ({"cite": "a/b", "value": 0.5}, "has its own value"),
        ({"learner": "bio", "value": 0.5}, "a `value` with its `source`"),
        ({"learner": "bio", "source": "s"}, "a `value` with its `source`"),
        ({"cite": "a/b", "learner": "x", "row": "y"}, "one of the two"),
        (
            {"learner": "bio", "value": 0.5, "source": "s", "band": (0.6, 0.5)},
            "lower end of `band`",
        ),
    ],
)
def test_an_incomplete_published_number_is_refused(given, said):
    with pytest.raises(ValidationError, match=said):
        PublishedSpec.model_validate({"protocol": "few", **given})


def test_every_number_on_the_shelf_is_complete_and_has_a_source():
    for name, lines in shelf.shelf().items():
        kinds = {line["protocol"] for line in lines}
        assert kinds <= {*protocols} and all(
            None not in line and line["second_hand"] in ("", "yes") for line in lines
        ), name
        for line in lines:
            assert line["dataset"].partition(" ")[0] in {*datasets, recordings.DEFAULT}, name
            assert line["run_by"] and line["source"], name
        for kind in kinds:
            for spec in shelf.cited(PublishedSpec(cite=name, protocol="p"), kind):
                low, high = spec.interval or (spec.value, spec.value)
                assert (
                    low <= spec.value <= high and spec.source.strip() and spec.metric in METRICS
                ), name
                assert (spec.band is None) == (
                    spec.band_source is None
                ) and spec.row == name.partition("/")[2]
        settings = [(line["protocol"], line["setting"], line["metric"]) for line in lines]
        assert len(settings) == len(set(settings)), name


def test_a_citation_selects_numbers_by_kind_and_setting():
    spec = PublishedSpec(cite="omniglot/MAML", learner="mine", protocol="few", setting={"shots": 1})
    found = shelf.cited(spec, "few_shot")
    assert [each.setting for each in found] == [{"ways": 5, "shots": 1}, {"ways": 20, "shots": 1}]
    assert all(
        each.learner == "mine" and each.row is None and each.source.endswith("second-hand")
        for each in found
    )
    assert found[0].interval == (0.983, 0.991) and found[0].band == (0.97, 0.99)
    with pytest.raises(HarnessError, match="no such number for classification"):
        shelf.cited(spec, "classification")
    with pytest.raises(HarnessError, match="did you mean 'omniglot/MAML'"):
        shelf.cited(PublishedSpec(cite="omniglot/MAMML", protocol="few"), "few_shot")


CITING = """
name: citing
learners: {pixels: {kind: nearest-mean}}
protocols:
  few: {kind: few_shot, dataset: DATA, ways: [5], shots: [1, 5], queries: 5, episodes: 10}
published:
  - {cite: CITED, protocol: few}
""".replace("DATA", "{kind: omniglot, rotations: true}")


def test_an_empty_row_name_is_refused():
    spec = PublishedSpec(cite="omniglot/MAML", learner="", protocol="few", setting={"shots": 1})
    assert {(found.learner, found.row) for found in shelf.cited(spec, "few_shot")} == {("", None)}


def test_a_suite_cites_what_its_protocol_measures(write_suite):
    loaded = suite.load(write_suite(CITING.replace("CITED", "omniglot/ProtoNet")))
    assert [(each.row, each.setting, each.value) for each in loaded.published] == [
        ("ProtoNet", {"ways": 5, "shots": 1}, 0.988),
        ("ProtoNet", {"ways": 5, "shots": 5}, 0.997),
    ]


@pytest.mark.parametrize(
    "cite, where",
    [
        ("mini-imagenet/ProtoNet", "mini-imagenet size=84, but 'few' measures omniglot"),
        ("cifar-fs/MAML", "cifar-fs train_images=600, but 'few' measures omniglot"),
    ],
)
def test_a_citation_of_other_data_is_refused_or_shown_as_what_it_is(write_suite, cite, where):
    text = CITING.replace("CITED", cite)
    with pytest.raises(HarnessError, match=f"was measured on {where}") as caught:
        suite.load(write_suite(text))
    assert "differs: true" in caught.value.hint
    shown = suite.load(write_suite(text.replace("protocol: few}", "protocol: few, differs: true}")))
    for spec in shown.published:
        assert f"measured on {where.partition(',')[0]}, not on omniglot" in spec.source


def test_a_citation_of_the_same_data_with_other_switches_is_refused(write_suite):
    text = CITING.replace("CITED", "omniglot/ProtoNet").replace(
        "rotations: true", "rotations: false"
    )
    with pytest.raises(HarnessError, match="omniglot rotations=true, but 'few' measures omniglot"):
        suite.load(write_suite(text))


def test_a_citation_of_settings_that_are_not_measured_is_refused(write_suite):
    text = CITING.replace("CITED", "omniglot/ProtoNet").replace("ways: [5]", "ways: [7]")
    with pytest.raises(HarnessError, match="'few' measures no setting of .*") as caught:
        suite.load(write_suite(text))
    assert "ways 5 shots 1, ways 5 shots 5, ways 20 shots 1" in caught.value.hint


def test_every_shipped_suite_cites_what_it_measures():
    for path in sorted((ROOT / "suites").glob("**/*.yaml")):
        loaded = suite.load(path)
        assert all(spec.value is not None for spec in loaded.published), path


def test_a_re_run_of_another_variant_is_not_credited_to_the_original_paper():
    spec = PublishedSpec(cite="mini-imagenet/MatchingNet", protocol="few", setting={"shots": 5})
    (plain,) = shelf.cited(spec, "few_shot")
    assert plain.value == 0.5109
    assert "without full context embeddings; run by Ravi & Larochelle" in plain.source
    spec = PublishedSpec(cite="mini-imagenet/MatchingNet, FCE", protocol="few")
    assert [each.value for each in shelf.cited(spec, "few_shot")] == [0.4356, 0.5531]


def test_a_doubtful_number_says_why():
    spec = PublishedSpec(cite="mnist-126/ancestor-10", protocol="p")
    assert all("doubtful: " in each.source for each in shelf.cited(spec, "biology"))


def test_an_unknown_citation_is_an_error_with_its_position(write_suite):
    with pytest.raises(
        HarnessError, match=r"yaml:7:12: no published numbers .*\n  did you mean 'omniglot/ProtoN"
    ):
        suite.load(write_suite(CITING.replace("CITED", "omniglot/ProtoNut")))


def test_a_table_without_published_numbers_is_unchanged():
    specs = [TableSpec(protocol="few", columns=["shots"])]
    other = PUBLISHED.model_copy(update={"setting": {"shots": 20}})
    assert build_all(results_of(few("bio")), specs, [other]) == build_all(
        results_of(few("bio")), specs
    )


def test_published_metrics_find_their_column():
    results = results_of(
        plain(
            record("bio", {}, 3.0, metric="live_synapses", protocol="audit"),
            record("bio", {}, 0.2, metric="live_share", protocol="audit"),
        )
    )
    spec = PublishedSpec(
        learner="bio", protocol="audit", metric="live_synapses", value=784, source="s"
    )
    (table,) = build_all(results, [TableSpec(protocol="audit", columns=["metric"])], [spec])
    assert [column for column in table.columns if column[-1] == "published"] == [
        ("live_synapses", "published")
    ]


@pytest.mark.parametrize("axis", [{}, {"protocol": "few", "config": "noise"}])
def test_an_axis_has_one_source(axis):
    with pytest.raises(ValidationError, match="an axis is"):
        NumberSpec.model_validate(axis)


def test_tradeoff_points_are_the_records(tmp_path):
    records = [
        record(name, {}, y + 0.01 * seed, seed=seed, protocol="few", cell=f"{name}{seed}")
        for name, y in (("a", 0.5), ("b", 0.7))
        for seed in range(3)
    ]
    results = dataclasses.replace(
        results_of(plain(*records)), configs={"a": {"noise": 0.1}, "b": {"noise": 0.2}, "c": {}}
    )
    spec = FigureSpec.model_validate(
        {
            "name": "t",
            "x": {"config": "noise"},
            "y": {"protocol": "few"},
            "lines": {"l": ["a", "b", "c"]},
        }
    )
    axis = tradeoff(results, spec).axes[0]
    line = next(one for one in axis.lines if one.get_label() == "l")
    assert np.allclose(line.get_xdata(), [0.1, 0.2]) and np.allclose(line.get_ydata(), [51, 71])
    written = figures.write_figures(results, tmp_path, [spec])
    assert {path.name for path in written} >= {"t.png", "t.pdf"}


def test_names_of_crowded_points_do_not_cover_each_other():
    noise = [0.1, 0.1, 0.1, 0.101, 0.5]
    names = [f"learner-{place}" for place in range(len(noise))]
    records = [record(name, {}, 0.5, seed=0, protocol="few", cell=name) for name in names]
    configs = {name: {"noise": value} for name, value in zip(names, noise, strict=True)}
    results = dataclasses.replace(results_of(plain(*records)), configs=configs)
    spec = {"name": "t", "x": {"config": "noise"}, "y": {"protocol": "few"}, "lines": {"l": names}}
    axis = tradeoff(results, FigureSpec.model_validate(spec)).axes[0]
    boxes = {text.get_text(): text.get_window_extent() for text in axis.texts}
    assert "learner-4" in boxes and len(boxes) >= 2
    for name, box in boxes.items():
        assert not box.count_overlaps([each for other, each in boxes.items() if other != name])


def audited():
    generator = np.random.default_rng(0)
    arrays = {
        "log_weight_quantiles": np.sort(generator.normal(size=1001)),
        "selectivity": generator.random(40),
        "live_per_neuron": generator.integers(0, 50, 40),
        "receptive_fields": generator.normal(size=(30, 1, 8, 8)),
        "spectrum": np.arange(1, 60) ** -1.5,
        "spectrum_pixels": np.arange(1, 80) ** -2.0,
    }
    records = [
        record("bio", setting, value, metric=metric, protocol="audit", cell="c")
        for metric in (
            "dead_units",
            "live_share",
            "cka_labels",
            "cka_pixels",
            "task_alignment",
            "spectrum_exponent",
        )
        for setting, value in (({}, 0.5), ({"images_seen": 0}, 0.1), ({"images_seen": 100}, 0.3))
    ]
    return dataclasses.replace(
        results_of(plain(*records)),
        verdicts=lambda cell, name: arrays[name],
        blocks={"audit": {CONDITION: "ranges"}},
    )


def test_the_audit_has_all_its_figures(tmp_path):
    names = {path.stem for path in figures.write_figures(audited(), tmp_path)}
    assert names == {f"audit{ending}" for ending in biology_figures.MAKERS}
    panel = next(
        axis
        for axis in biology_figures.over_time(audited(), "audit").axes
        if "live" in axis.get_title(loc="left")
    )
    assert list(panel.lines[0].get_xdata()) == [0, 100] and np.allclose(
        panel.lines[0].get_ydata(), [10, 30]
    )


def test_dots_inside_the_range_of_cortex_are_filled():
    figure = biology_figures.MAKERS["-cortex"](audited(), "audit")
    live = figure.axes[0]
    assert "live" in live.get_title(loc="left")
    assert live.lines[-1].get_markerfacecolor() == "white"  # 50 % is denser than cortex
    inside = dataclasses.replace(
        audited(), records=[dataclasses.replace(r, value=0.1) for r in audited().records]
    )
    live = biology_figures.MAKERS["-cortex"](inside, "audit").axes[0]
    assert live.lines[-1].get_markerfacecolor() != "white"


def test_the_spread_of_weights_is_marked():
    title = biology_figures.weights(audited(), "audit").axes[0].get_title(loc="left")
    assert title.startswith("● bio, σ 1") or title.startswith("● bio, σ 0.9")


def test_older_measurements_have_no_cortex_beside_them():
    older = dataclasses.replace(audited(), blocks={})
    assert biology_figures.weights(older, "audit").axes[0].get_title(loc="left") == "bio"
    assert biology_figures.MAKERS["-cortex"](older, "audit") is None


def test_no_figure_without_content():
    results = results_of(plain(record("bio", {}, 0.5, metric="live_share", protocol="audit")))
    assert all(make(results, "audit") is None for make in biology_figures.MAKERS.values())
