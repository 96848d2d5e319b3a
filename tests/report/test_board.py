"""The page and the files beside it, without a browser."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import json
import math
import re
from dataclasses import replace
from importlib.resources import files

import pytest
from board_kit import HOSTILE, beside_published, division

from harness.cells.results import Results
from harness.errors import HarnessError
from harness.report.board.model import Division, Refusal
from harness.report.board.site import write_site
from harness.report.board.tabs import tabs
from harness.report.render import render
from harness.report.tables import build_all
from harness.suite.specs.published import PublishedSpec
from harness.suite.specs.tables import TableSpec

FRONT = "index.html"
SUITE = "suites/suite/index.html"
LEARNER = "suites/suite/learners/beta.html"
EMBED = "suites/suite/embed/robust.html"


class Page(html.parser.HTMLParser):
    """The parts of a parsed page that these tests check."""

    def __init__(self, text: str):
        super().__init__()
        self.scripts, self.links, self.ids, self.handlers, self.texts, self._inside = (
            [],
            [],
            [],
            [],
            [],
            [],
        )
        self.tags, self.routes = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.add(tag)
        self.routes += [given["data-tab"]] if "data-tab" in given else []
        self._inside = [tag, given] if tag == "script" else self._inside
        self.links += [value for key, value in given.items() if key in ("href", "src")]
        self.handlers += [key for key in given if key.startswith("on")]
        self.ids += [given["id"]] if "id" in given else []

    def handle_data(self, data):
        if self._inside:
            self.scripts.append((self._inside[1], data))
        else:
            self.texts.append(data)

    def handle_endtag(self, tag):
        self._inside = [] if tag == "script" else self._inside


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    write_site(
        [division("alpha", "beta", "gamma", "delta")],
        [Refusal("theirs", "omega", "robust", "other data")],
        folder,
    )
    return folder


def test_downloads_are_the_tables_of_the_suite(site):
    whole = division("alpha", "beta", "gamma", "delta")
    for table in build_all(whole.results, whole.tables):
        for form, ending in (
            ("markdown", ".md"),
            ("csv", ".csv"),
            ("latex", ".tex"),
            ("json", ".json"),
        ):
            assert (site / "tables" / "suite" / f"{table.name}{ending}").read_text() == render(
                table, form
            )


def test_every_link_is_in_the_site(site):
    seen = set()
    for path in site.rglob("*.html"):
        page = Page(path.read_text())
        outward = [link for link in page.links if not link.startswith(("#", "data:"))]
        seen |= {(path.parent / link.partition("#")[0]).resolve() for link in outward}
        assert len(page.ids) == len(set(page.ids)) and not page.handlers
        targets = {*page.ids, *page.routes}
        assert all(link[1:] in targets for link in page.links if re.fullmatch("#[a-z]+", link))
    # Every file can be reached, and no link leads nowhere.
    assert seen == {path.resolve() for path in site.rglob("*.*") if path.is_file()}


@pytest.mark.parametrize(("name", "count"), [(FRONT, 2), (SUITE, 4), (LEARNER, 1), (EMBED, 0)])
def test_only_the_pages_own_scripts_may_run(site, name, count):
    text = (site / name).read_text()
    policy = (
        re.search(r'Content-Security-Policy" content="([^"]*)"', text)
        .group(1)
        .replace("&#39;", "'")
    )
    allowed = re.findall(r"'sha256-([^']+)'", policy)
    scripts = [
        body for given, body in Page(text).scripts if given.get("type") != "application/json"
    ]
    assert [
        base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts
    ] == allowed and len(allowed) == count
    assert (
        policy.startswith("default-src 'none'")
        and "unsafe-eval" not in policy
        and "http" not in policy
    )


def test_suite_content_is_escaped(tmp_path):
    hostile = division(
        HOSTILE, "</template><img src=x onerror=alert(2)>", "plain", "last", suite="suite"
    )
    results = hostile.results
    results.configs["plain"] |= {"note": "</script><script>alert(3)</script>"}
    results.blocks["few"]["episodes"] = "<b onclick=alert(4)>40</b>"
    write_site(
        [Division(results, hostile.tables, [], "<i>description</i>", hostile.origins)],
        [Refusal("<u>x</u>", HOSTILE, "robust", "<u>why</u>")],
        tmp_path,
    )
    scripts = {}
    for path in tmp_path.rglob("*.html"):
        page = Page(path.read_text())
        scripts[path.relative_to(tmp_path).as_posix()] = len(page.scripts)
        assert not page.handlers and "x" not in page.links and "u" not in page.tags
    assert (scripts[FRONT], scripts[SUITE], scripts[EMBED]) == (2, 5, 0)
    assert all(count == 1 for name, count in scripts.items() if "/learners/" in name)
    assert "<i>description</i>" in "".join(Page((tmp_path / FRONT).read_text()).texts)
    page = Page((tmp_path / SUITE).read_text())
    assert HOSTILE in page.texts
    assert json.loads(page.scripts[0][1])["learners"][0] == HOSTILE


def test_a_frame_to_paste_cannot_carry_a_script(tmp_path):
    board = division("a", "b", "c")
    title = 'x" onload="alert(1)'
    write_site([replace(board, tables=[replace_title(board.tables[0], title)])], [], tmp_path)
    texts = "".join(Page((tmp_path / SUITE).read_text()).texts)
    (snippet,) = (each for each in re.findall("<iframe.*?</iframe>", texts) if "robust" in each)
    pasted = Page(snippet)
    assert not pasted.handlers and pasted.tags == {"iframe"}


def replace_title(spec: TableSpec, title: str) -> TableSpec:
    return spec.model_copy(update={"title": title})


def test_same_results_same_bytes(tmp_path):
    for name in ("one", "other"):
        write_site([division("a", "b", "c", "d")], [], tmp_path / name)
    names = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*"))
    # A front page; of the suite its page, four learners, images and three tables; the downloads.
    assert len(names) == 1 + (1 + 4 + 1 + 3) + 12
    assert all(
        (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()
        for name in names
    )


def test_a_row_with_failed_checks_has_no_rank_and_lists_them():
    table = tabs(division("a", "b", "c", "d"))[0].tables[0]
    assert all(cell.rank is None and not cell.bold for cell in table.rows[3].cells)
    assert [remark.level for remark in table.rows[3].remarks] == ["FAIL", "FAIL"]
    assert {cell.rank for cell in table.rows[0].cells} == {1}
    assert [cell.bold for row in table.rows for cell in row.cells] == [
        cell.rank == 1 for row in table.rows for cell in row.cells
    ]


def test_pairs_cover_all_ranked_learners_and_agree_with_the_table():
    table = tabs(division("a", "b", "c", "d"))[0].tables[0]
    assert sorted(table.pairs) == ["0,1", "0,2", "1,2"] and table.all_pairs
    for key, pair in table.pairs.items():
        i, j = map(int, key.split(","))
        for column, found in zip(table.compared, pair, strict=True):
            assert found[0] == pytest.approx(
                table.rows[i].cells[column].value - table.rows[j].cells[column].value, abs=2e-3
            )


def test_many_learners_are_compared_with_the_best_only():
    table = tabs(division(*[f"l{i}" for i in range(70)]))[0].tables[0]
    best = {row.learner for row in table.rows if row.cells[table.first].rank == 1}
    assert len(table.pairs) <= 1500 and not table.all_pairs
    assert {i for key in table.pairs for i in map(int, key.split(","))} >= set(range(1, 69)) | best


def test_the_pareto_front_excludes_distrusted_and_dominated_learners():
    chart = next(c for c in tabs(division("a", "b", "c", "d"))[0].charts if c["type"] == "scatter")
    for choice in chart["choices"]:
        front = {p["learner"]: (p["x"][0], p["y"][0]) for p in choice["points"] if p["front"]}
        assert front and 3 not in front
        for p in (p for p in choice["points"] if p["learner"] not in front and p["trusted"]):
            assert any(x >= p["x"][0] and y >= p["y"][0] for x, y in front.values())


def test_vendored_libraries_match_their_checksums():
    vendor = files("harness.report.board") / "vendor"
    for line in vendor.joinpath("SHA256SUMS").read_text().splitlines():
        digest, name = line.split()
        assert hashlib.sha256(vendor.joinpath(name).read_bytes()).hexdigest() == digest
        assert (
            "Permission to use, copy, modify"
            in vendor.joinpath(f"{name.partition('-')[0]}.LICENSE").read_text()
        )


def test_headings_of_columns_with_published_numbers():
    table = next(
        tab for tab in tabs(beside_published(division("a", "b", "c"))) if tab.protocol == "few"
    ).tables[0]
    assert table.heads == [
        [("5-way", 6)],
        [("1-shot", 3), ("5-shot", 3)],
        [(text, 1) for text in ("ours", "published", "difference") * 2],
    ]
    assert [(column.beside, column.unit) for column in table.columns[:3]] == [
        ("", "%"),
        ("published", "%"),
        ("difference", "points"),
    ]
    assert [column.name for column in table.columns[:2]] == [
        "5-way, 1-shot",
        "5-way, 1-shot, published",
    ]


def test_every_column_has_a_name_if_only_some_have_a_level():
    whole = division("a", "b", "c")
    spec = PublishedSpec(
        learner="a",
        protocol="robust",
        setting={"attack": "pgd", "eps": 0.2},
        value=0.5,
        source="a paper",
    )
    table = tabs(replace(whole, published=[spec]))[0].tables[0]
    assert table.heads[0] == [("", 1), ("fgsm", 2), ("pgd", 4), ("worst", 2)]
    assert table.heads[1] == [("", 1), ("", 2), ("", 1), ("eps 0.2", 3), ("", 2)]
    assert [text for text, _ in table.heads[2]] == [
        "clean",
        "eps 0.1",
        "eps 0.2",
        "eps 0.1",
        "ours",
        "published",
        "difference",
        "eps 0.1",
        "eps 0.2",
    ]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("protocol", ["robust", "few", "audit"])
def test_non_finite_numbers_are_not_drawn(tmp_path, protocol, value):
    whole = division("a", "b", "c", "d")
    odd = {"value": value, "low": None, "high": None, "verdicts": None}
    records = [
        replace(r, **odd) if (r.learner, r.protocol) == ("b", protocol) else r
        for r in whole.results.records
    ]
    write_site([replace(whole, results=replace(whole.results, records=records))], [], tmp_path)
    scripts = Page((tmp_path / SUITE).read_text()).scripts
    for tab in json.loads(scripts[0][1])["tabs"]:
        drawn = {
            one["learner"]
            for chart in tab["charts"]
            for panel in chart.get("panels", [])
            for one in panel["series"]
        }
        assert (
            drawn == ({0, 2, 3} if protocol == "robust" else {0, 1, 2, 3})
            or tab["kind"] != "attack_sweep"
        )


def test_a_protocol_without_records_has_no_charts():
    whole = division("a", "b")
    results = replace(whole.results, protocols=whole.results.protocols | {"later": "attack_sweep"})
    tab = tabs(
        replace(
            whole,
            results=results,
            tables=[*whole.tables, TableSpec(protocol="later", columns=["eps"])],
        )
    )[-1]
    assert tab.protocol == "later" and tab.charts == [] and tab.tables[0].rows == []


def test_an_empty_board_is_an_error(tmp_path):
    empty = Division(Results("s", [], {}, {}, [], lambda cell, name: None, {}, []), [])
    with pytest.raises(HarnessError, match="nothing to put on a board"):
        write_site([empty], [], tmp_path)
