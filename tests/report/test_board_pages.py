"""Pages of a board: what each one says, and that it can be read by anyone, without a browser."""

from __future__ import annotations

import html.parser
import re
from dataclasses import replace
from importlib.resources import files
from itertools import pairwise

import numpy as np
import pytest
from board_kit import HOSTILE, SUITE, broad, division

from harness.cells.results import Results
from harness.records import TrustCheck
from harness.registry import learners
from harness.report import compare
from harness.report.board.kinds import kind_of, sources
from harness.report.board.model import Refusal
from harness.report.board.per_image import per_image
from harness.report.board.ranking import Ranking
from harness.report.board.site import write_site
from harness.report.board.sketches import curve, histogram
from harness.report.board.views import view
from harness.report.reference import of_results
from harness.report.styles import COLOURS
from harness.suite.specs.tables import TableSpec

NAMES = ("alpha", "beta", "gamma", "delta")
VOID = {"meta", "link", "img", "br", "wbr", "input", "path"}


class Outline(html.parser.HTMLParser):
    """Elements of a page: tag, attributes, and the tags that they are in."""

    def __init__(self, text: str):
        super().__init__()
        self.elements, self.text, self._open = [], {}, []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), tuple(self._open)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), tuple(self._open)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open:
            self.text.setdefault(self._open[-1], []).append(data)

    def all(self, *tags):
        return [(attrs, inside) for tag, attrs, inside in self.elements if tag in tags]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    boards = [division(*NAMES, seeds=2), division(HOSTILE, "last", suite="other")]
    write_site(boards, [Refusal("theirs", "omega", "robust", "other data")], folder)
    return folder


@pytest.fixture(scope="module")
def outlines(site):
    return {
        path.relative_to(site).as_posix(): Outline(path.read_text())
        for path in sorted(site.rglob("*.html"))
    }


# ----------------------------------------------------------------------------------- for anyone


def test_every_page_names_its_language_its_title_and_its_landmarks(outlines):
    titles = set()
    for name, page in outlines.items():
        assert page.all("html")[0][0]["lang"] == "en"
        assert len(page.all("main")) == 1 and len(page.all("h1")) == 1
        titles.add("".join(page.text["title"]))
        if "/embed/" not in name:
            assert page.all("header") and page.all("footer")
            labels = [attrs["aria-label"] for attrs, _ in page.all("nav")]
            assert labels and len(labels) == len(set(labels))
    assert len(titles) == len(outlines)


def test_headings_skip_no_level(outlines):
    for name, page in outlines.items():
        levels = [int(tag[1]) for tag, _, _ in page.elements if re.fullmatch("h[1-6]", tag)]
        assert levels[0] == 1, name
        assert all(below - above <= 1 for above, below in pairwise(levels)), name


def test_every_control_has_a_label_and_every_picture_a_text(outlines):
    for name, page in outlines.items():
        for attrs, inside in page.all("input", "select"):
            assert "label" in inside or "aria-label" in attrs, name
        assert all(attrs["alt"] for attrs, _ in page.all("img"))
        assert all(attrs["aria-label"] for attrs, _ in page.all("svg"))


def test_every_table_has_a_caption_and_headings_with_a_scope(outlines):
    for name, page in outlines.items():
        assert len(page.all("table")) == len(page.all("caption")), name
        assert all(attrs.get("scope") for attrs, _ in page.all("th")), name


def test_every_heading_of_a_column_can_be_seen(tmp_path):
    board = division("a", "b")
    swept = [r for r in board.results.records if r.setting.get("attack") == "fgsm"]
    records = [r if r.setting["eps"] else replace(r, setting={}) for r in swept]
    tables = [TableSpec(protocol="robust", columns=["eps"])]
    board = replace(board, results=replace(board.results, records=records), tables=tables)
    write_site([board], [], tmp_path)
    for name in (SUITE, "suites/suite/embed/robust.html"):
        text = (tmp_path / name).read_text()
        heads = re.findall(r'<th [^>]*scope="col"[^>]*>(.*?)</th>', text)
        assert len(heads) > 3 and all(re.sub("<.*?>", "", head).strip() for head in heads)


def test_what_is_named_by_reference_is_there(outlines):
    for page in outlines.values():
        ids = {attrs["id"] for _, attrs, _ in page.elements if "id" in attrs}
        for _, attrs, _ in page.elements:
            for key in ("aria-labelledby", "aria-describedby", "aria-controls"):
                assert set(attrs.get(key, "").split()) <= ids


def test_wide_tables_scroll_in_a_region_with_a_name_of_its_own(outlines):
    for page in outlines.values():
        regions = [a for _, a, _ in page.elements if a.get("role") == "region"]
        assert all(a["tabindex"] == "0" and a["class"].startswith("scroll") for a in regions)
        names = [a["aria-label"] for a in regions]
        assert len(names) == len(set(names))


ROLES = {
    "table": {"table"},
    "thead": {"rowgroup"},
    "tbody": {"rowgroup"},
    "tr": {"row"},
    "th": {"columnheader", "rowheader"},
    "td": {"cell"},
}


def test_every_cell_of_a_card_names_its_column_and_keeps_its_role(site):
    for path in sorted(site.rglob("*.html")):
        for region in re.findall('<div class="scroll stack".*?</table>', path.read_text(), re.S):
            for tag, attrs in re.findall(r"<(table|thead|tbody|tr|th|td)\b([^>]*)>", region):
                assert set(re.findall('role="([a-z]+)"', attrs)) <= ROLES[tag] and "role=" in attrs
            _, _, body = region.partition("<tbody")
            cells = re.findall("<td[^>]*>", body)
            assert cells and all("data-label=" in cell for cell in cells), path


def test_a_card_names_columns_with_their_groups(site):
    text = (site / SUITE).read_text()
    assert text.count('data-label="pgd, eps 0.2"') == len(NAMES)


def test_a_table_of_many_columns_says_how_many_and_marks_the_sorted_one(tmp_path):
    write_site([broad()], [], tmp_path)
    text = (tmp_path / SUITE).read_text()
    assert 'class="scroll broad"' in text and 'class="scroll stack"' not in text
    assert "14 columns" in text
    assert len(re.findall(r'<td [^>]*class="[^"]*sorted"', text)) == 2


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_every_colour_of_text_has_enough_contrast():
    style = (files("harness.report.board") / "templates/board.css").read_text()
    pairs = dict(re.findall(r"--(\w+): light-dark\((#\w{6}, #\w{6})\)", style))
    colours = {name: pair.split(", ") for name, pair in pairs.items()}
    for scheme in (0, 1):
        for text in ("ink", "soft", "link", "pass", "warn", "fail"):
            for ground in ("paper", "panel", "raised", "best"):
                light, dark = sorted(
                    (luminance(colours[name][scheme]) for name in (text, ground)), reverse=True
                )
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ground, scheme)


def test_colours_of_learners_are_those_of_the_figures():
    style = (files("harness.report.board") / "templates/board.css").read_text()
    pairs = re.findall(r"--c(\d): light-dark\((#\w{6}), (#\w{6})\)", style)
    assert [light for _, light, _ in pairs] == list(COLOURS)
    paper = luminance("#12161b")
    assert all((luminance(dark) + 0.05) / (paper + 0.05) >= 3 for _, _, dark in pairs)


def test_the_style_shows_focus_prints_and_keeps_still_where_asked():
    style = (files("harness.report.board") / "templates/board.css").read_text()
    assert ":focus-visible { outline: 3px solid" in style and "@media print" in style
    moving = re.sub(r"@media \(prefers-reduced-motion: no-preference\) \{.*\}", "", style)
    assert "transition" not in moving and "animation" not in moving


# ------------------------------------------------------------------------------- what they say


def test_the_front_page_has_the_best_of_each_suite_with_intervals_and_ties():
    headline = view(division(*NAMES)).headline
    assert headline.column.name == "worst, eps 0.2" and headline.tab.protocol == "robust"
    assert all(each.shown.rank <= 3 and each.shown.low is not None for each in headline.best)
    assert [(each.shown.rank, each.shown.tied) for each in headline.best] == [
        (1, True),
        (1, True),
        (3, False),
    ]


def test_learners_that_share_a_rank_are_shown_as_ties(site):
    front = (site / "index.html").read_text()
    card = front[front.index("Sorted by worst, eps 0.2") : front.index("</article>")]
    assert re.findall(r"<tr><td>(.*?)</td>", card) == ["1=", "1=", "1="]


def test_the_front_page_says_date_commit_and_command(tmp_path):
    board = division(*NAMES)
    records = [
        replace(r, git_commit="0123abc", created=f"2026-01-0{1 + i % 2}T00")
        for i, r in enumerate(board.results.records)
    ]
    results = replace(board.results, records=records)
    commands = dict.fromkeys(NAMES, "harness run <mine>.yaml")
    write_site([replace(board, results=results, commands=commands)], [], tmp_path)
    text = (tmp_path / "index.html").read_text()
    assert "Measured 2026-01-01 to 2026-01-02, commit 0123abc" in text
    assert "<code>harness run &lt;mine&gt;.yaml</code>" in text


def test_rows_carry_what_the_filters_ask_for(outlines):
    rows = [attrs for attrs, _ in outlines["index.html"].all("tr") if "data-family" in attrs]
    assert {(a["data-family"], a["data-dataset"], a["data-threat"]) for a in rows} == {
        ("backprop", "digits", "Linf"),
        ("backprop", "digits", "none"),
    }
    options = "".join(outlines["index.html"].text["option"])
    assert all(word in options for word in ("backprop", "digits", "Linf", "none"))


def test_a_card_says_what_a_learner_is_where_it_comes_from_and_what_it_cost(site):
    text = (site / "suites/suite/learners/beta.html").read_text()
    for words in (
        "Backpropagation on a ReLU perceptron",
        "Madry et al. 2018",
        "baselines/mlp.py",
        "Training cost",
        "1,000",
        "Receptive fields",
        "Sizes of live weights",
        "loss, training on digits/standard",
        "warned: unbounded",
        "Usable, with the remarks below",
    ):
        assert words in text


def test_commands_in_trust_words_are_shown_as_code_and_escaped(tmp_path):
    board = division("a", "b")
    checks = [TrustCheck("scale", "WARN", f"try `{HOSTILE}` and `pgd`, not `this")]
    trust = {cell: checks for cell in board.results.trust}
    write_site([replace(board, results=replace(board.results, trust=trust))], [], tmp_path)
    for name in (SUITE, "suites/suite/learners/b.html"):
        text = re.sub(r"<script\b.*?</script>", "", (tmp_path / name).read_text(), flags=re.S)
        assert f"<code>{html.escape(HOSTILE)}</code> and <code>pgd</code>, not `this<" in text
        assert text.count("`") == text.count("not `this")
    assert "<code>loss: margin</code>" in text


def test_a_card_has_every_number_of_its_learner(site):
    each = view(division(*NAMES, seeds=2))
    text = (site / "suites/suite/learners/beta.html").read_text()
    numbers = each.profiles[1].numbers
    assert len(numbers) == sum(len(t.columns) for tab in each.tabs for t in tab.tables)
    assert text.count('<th role="rowheader" scope="row">') >= len(numbers)


def test_a_card_shows_the_images_under_attack_that_were_kept():
    board = division("a", "b")
    cell = next(r.cell for r in board.results.records if r.setting.get("attack") == "pgd")
    kept = {
        "label": np.array([3, 5]),
        "clean": np.zeros((2, 1, 8, 8), np.uint8),
        "adversarial/eps=0.1": np.full((2, 1, 8, 8), 0.1, np.float32),
        "answered/eps=0.1": np.array([3, 8]),
        "correct/eps=0.1": np.array([1, 0]),
    }
    saved = {cell: {str(digit): str(digit) for digit in range(10)}}
    for arrays, shown in ((kept, 1), ({**kept, "label": np.array([3])}, 0)):
        results = replace(board.results, saved=saved, saved_images=lambda _, arrays=arrays: arrays)
        first, second = view(replace(board, results=results)).profiles
        assert (len(first.examples), len(second.examples)) == (shown, 0)
        assert all("pgd" in picture.caption for picture in first.examples)


def test_learners_of_a_suite_without_ranks_are_listed_too(tmp_path):
    board = division("a", "b")
    records = [r for r in board.results.records if r.protocol == "audit"]
    tables = [table for table in board.tables if table.protocol == "audit"]
    board = replace(board, results=replace(board.results, records=records), tables=tables)
    write_site([board], [], tmp_path)
    text = (tmp_path / "index.html").read_text()
    assert "Nothing here is ranked: audit." in text and text.count(">not ranked</td>") == 2


def test_every_learner_but_controls_names_a_source():
    own = ("controls", "trained elsewhere")
    missing = [n for n in learners if learners.family(n) not in own and not kind_of(n).sources]
    assert missing == []
    assert sources("by Lillicrap et al.\n   2016; ICLR 2023") == ("Lillicrap et al. 2016",)


def test_a_kind_that_is_not_installed_is_named_and_not_imported():
    kind = kind_of("module_of_a_stranger:Mine")
    assert (kind.family, kind.about, kind.code) == ("other", "", "")


def test_sketches_stay_in_their_frame():
    for chart in (
        curve("loss", "epoch", [(1.0, 3.0), (2.0, -1.0), (9.0, 0.5)]),
        curve("flat", "epoch", [(1.0, 2.0), (2.0, 2.0)]),
        histogram("weights", "log w", [-3.0, 0.0, 1.0], [0.2, 0.7]),
    ):
        places = np.array(re.findall(r"([\d.-]+) ([\d.-]+)", chart.path), float)
        assert (places >= (8, 6)).all() and (places <= (312, 114)).all()


# --------------------------------------------------------------------------------- per image


class Units:
    """Rivals with these units."""

    unit = "sample"

    def __init__(self, *units):
        self.units = [[np.array(seed, float) for seed in seeds] for seeds in units]


def images_of(*units, index=None):
    def verdicts(cell, name):
        if index is None:
            raise KeyError(name)
        return np.array(index)

    record = division("a", "b").results.records[0]
    records = [replace(record, n=len(units[0][0]))]
    results = Results("s", [], {}, {}, records, verdicts, {}, [])
    return per_image(results, "robust", Ranking([*range(len(units))], Units(*units), {}))


def test_images_are_sorted_by_whom_they_break():
    found = images_of([[1, 0, 0, 1]], [[1, 1, 0, 1]], [[0, 1, 0, 1]], index=[40, 10, 30, 20])
    assert found.counts == [(0, 1), (1, 2), (2, 0), (3, 1)]
    by_row = {each.row: each for each in found.learners}
    assert [by_row[i].wrong for i in range(3)] == [2, 1, 2]
    assert (by_row[0].only_wrong, by_row[2].only_wrong) == ((1, [10]), (1, [40]))
    assert by_row[1].only_right == (0, [])
    assert [(each.number, each.breaks) for each in found.hardest] == [(30, 3), (40, 1), (10, 1)]
    assert found.hardest[1].right == [0, 1]


def test_an_image_breaks_a_learner_that_is_wrong_in_most_seeds():
    found = images_of([[1, 0], [1, 0], [0, 1]], [[1, 1], [0, 0], [0, 1]])
    assert {each.row: each.wrong for each in found.learners} == {0: 1, 1: 1}
    assert found.seeds == 3


def test_numbers_that_are_no_images_have_no_per_image_view():
    tabs = {tab.protocol: tab for tab in view(division(*NAMES)).tabs}
    assert tabs["robust"].tables[0].images.images == 120
    assert tabs["few"].tables[0].images is None and tabs["audit"].tables[0].images is None


# ------------------------------------------------------------------------------------ compare


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_comparison_of_two_learners_is_that_of_the_command(seeds):
    board = division(*NAMES, seeds=seeds)
    table = view(board).tabs[0].tables[0]
    lines = compare.learners(of_results(board.results), "beta", "alpha")
    told = {line.where: line for line in lines}
    shown = dict(zip(table.compared, table.pairs["0,1"], strict=True))
    attacked = [j for j in shown if table.columns[j].name.startswith(("fgsm", "pgd"))]
    assert len(attacked) == 4
    for j in attacked:
        line = told[f"robust, {table.columns[j].name}"]
        ends = [100 * line.difference, 100 * line.low, 100 * line.high]
        assert shown[j][:3] == pytest.approx(ends, abs=2e-3)
