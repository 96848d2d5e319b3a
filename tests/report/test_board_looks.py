"""How a board looks in a real headless Chromium: frames, contrast, phones, print, axe-core."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from board_kit import LEARNER, OTHER, SUITE, broad

from harness.report.board.site import write_site

pytestmark = pytest.mark.browser


STRAY = """() => {
  // Marks outside their chart, and axis labels that overlap their neighbours or the axis title.
  const boxed = (svg, selector) =>
    [...svg.querySelectorAll(selector)].map(each => [each, each.getBoundingClientRect()]);
  const overlap = (a, b) =>
    a.left < b.right && b.left < a.right && a.top + 2 < b.bottom && b.top + 2 < a.bottom;
  const check = svg => {
    const frame = svg.getBoundingClientRect();
    const stray = boxed(svg, 'path, line, rect, circle').filter(([, box]) =>
      box.left < frame.left - 1 || box.right > frame.right + 1 || box.bottom > frame.bottom + 1);
    const labels = boxed(svg, '[data-mark^="x-axis"] text, [data-mark^="y-axis"] text')
      .filter(([text]) => text.textContent);
    const overlaps = labels.flatMap(([text, box], i) => labels.slice(i + 1)
      .filter(([, other]) => overlap(box, other))
      .map(([other]) => [text.textContent, other.textContent]));
    return [...stray.map(([mark]) => mark.outerHTML), ...overlaps];
  };
  const charts = '.panel.current svg[role=img], .page svg[role=img], .sketch svg';
  return [...document.querySelectorAll(charts)].flatMap(check);
}"""


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize(
    "place",
    [
        f"{SUITE}#robust",
        f"{SUITE}#audit",
        f"{OTHER}#few",
        LEARNER,
        f"{SUITE}#compare/robust/robust/beta/delta",
    ],
)
def test_charts_stay_in_their_frames_without_overlapping_labels(page, site, place, width):
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{site.as_uri()}/{place}")
    page.reload()
    page.locator("svg[role=img]").locator("visible=true").first.wait_for()
    assert page.evaluate(STRAY) == []


def test_a_phone_shows_the_open_tab(page):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{page.url.partition('#')[0]}#audit")
    box = page.locator("[role=tab][aria-selected=true]").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390


def test_a_wide_table_on_a_phone_keeps_the_learner_and_the_sorted_column_in_sight(
    browser, tmp_path
):
    write_site([broad()], [], tmp_path)
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto((tmp_path / SUITE).as_uri())
    table = page.locator(".panel.current .scroll.broad").first
    assert page.get_by_text("14 columns").first.is_visible()
    for chosen in (".sorted .sort", ".sort >> nth=5"):
        table.locator(f"thead {chosen}").click()
        table.evaluate("region => { region.scrollLeft = 200; }")
        name, column = (table.locator(f"tbody {one}").first for one in ("th", ".sorted"))
        left, right = name.bounding_box(), column.bounding_box()
        assert left["x"] >= 0 and left["x"] + left["width"] <= right["x"]
        assert right["x"] + right["width"] <= 390
    context.close()


PLACES = [
    "index.html",
    f"{SUITE}#robust",
    f"{SUITE}#few",
    f"{SUITE}#audit",
    f"{SUITE}#compare/robust/robust/beta/delta",
    LEARNER,
    "suites/suite/images.html",
    "suites/suite/embed/robust.html",
]


def open_place(page, site, place):
    """Open a place of the site, with its charts."""
    page.goto(f"{site.as_uri()}/{place}")
    page.reload()
    page.locator("svg[role=img], table").locator("visible=true").first.wait_for()


CONTRAST = """() => {
  // Drawn on a canvas, a colour becomes bytes in whichever notation it was written.
  const dot = Object.assign(document.createElement('canvas'), {width: 1, height: 1});
  const canvas = dot.getContext('2d', {willReadFrequently: true});
  const parse = text => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  // Relative luminance and contrast ratio of WCAG 2.
  const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) =>
    0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const contrast = (colour, other) => {
    const [light, dark] = [luminance(colour), luminance(other)].sort((x, y) => y - x);
    return (light + 0.05) / (dark + 0.05);
  };
  const background = element => {
    for (let e = element; e; e = e.parentElement) {
      const colour = parse(getComputedStyle(e).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
  };
  const hidden = ['SCRIPT', 'TEMPLATE', 'STYLE', 'OPTION', 'TITLE', 'NOSCRIPT'];
  const hasText = element => [...element.childNodes].some(
    node => node.nodeType === 3 && node.textContent.trim());
  const found = [];
  for (const element of document.querySelectorAll('body *')) {
    const tag = element.tagName;
    if (!hasText(element) || !element.checkVisibility() || hidden.includes(tag)) continue;
    const style = getComputedStyle(element);
    const drawn = element.closest('svg') && tag !== 'svg';
    const colour = parse(drawn ? style.fill : style.color);
    const text = element.textContent.trim().slice(0, 30);
    found.push([contrast(colour, background(element)), tag + ' ' + text]);
  }
  return found.sort((x, y) => x[0] - y[0]);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("place", PLACES)
def test_every_text_has_enough_contrast(page, site, scheme, place):
    page.emulate_media(color_scheme=scheme)
    open_place(page, site, place)
    found = page.evaluate(CONTRAST)
    assert len(found) > 30 and found[0][0] >= 4.5, found[:5]


@pytest.mark.parametrize("place", PLACES)
def test_nothing_overflows_a_phone_screen(page, site, place):
    page.set_viewport_size({"width": 360, "height": 740})
    open_place(page, site, place)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


OUTSIDE = """() => [...document.querySelectorAll(':is(th, td)')]
  .filter(cell => cell.checkVisibility())
  .filter(cell => getComputedStyle(cell.parentElement).clipPath === 'none')  // for screen readers
  .filter(cell => {
    const box = cell.getBoundingClientRect();
    return box.left < 0 || box.right > innerWidth || cell.scrollWidth > cell.clientWidth + 1;
  })
  .map(cell => cell.outerHTML)"""


@pytest.mark.parametrize("place", PLACES)
def test_a_phone_shows_every_cell_of_a_table_without_scrolling_sideways(page, site, place):
    page.set_viewport_size({"width": 390, "height": 844})
    open_place(page, site, place)
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    assert page.evaluate(OUTSIDE) == []


def test_a_card_of_a_phone_says_learner_rank_and_the_full_name_of_each_column(page):
    page.set_viewport_size({"width": 390, "height": 844})
    row = page.locator(".panel.current tbody tr").nth(1)
    said = row.locator("td").evaluate_all(
        "cells => cells.map(cell => getComputedStyle(cell, '::before').content)"
    )
    assert said[0] == '"rank"' and '"pgd, eps 0.2: "' in said
    name, rank = row.locator("th").bounding_box(), row.locator("td").first.bounding_box()
    assert name["y"] == rank["y"] and name["x"] + name["width"] <= rank["x"]


def test_numbers_of_a_card_are_never_broken(page):
    page.set_viewport_size({"width": 300, "height": 844})
    heights = page.locator(".panel.current tbody :is(.n, .arms)").evaluate_all(
        "parts => parts.map(part => part.getBoundingClientRect().height)"
    )
    assert len(heights) > 30 and max(heights) < 30


def test_print_is_light_and_has_no_controls(page):
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") in (
        "rgb(255, 255, 255)",
        "color(srgb 1 1 1)",
    )
    assert (
        page.locator(".tools >> visible=true").count() == 0
        and page.locator("nav >> visible=true").count() == 0
    )
    assert page.locator(".panel.current table >> visible=true").count() == 1


def test_without_scripts_the_tables_are_there(browser, site):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((site / SUITE).as_uri())
    assert page.locator("table >> visible=true").count() == 3
    page.goto((site / "index.html").as_uri())
    assert page.locator(".card >> visible=true").count() == 2
    context.close()


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("place", PLACES)
def test_axe_finds_nothing(browser, site, place, width):
    """Needs the npm package axe-core; AXE names its axe.min.js."""
    if "AXE" not in os.environ:
        pytest.skip("AXE does not name a file of axe-core")
    context = browser.new_context(bypass_csp=True, viewport={"width": width, "height": 900})
    page = context.new_page()
    open_place(page, site, place)
    page.evaluate(Path(os.environ["AXE"]).read_text())
    found = page.evaluate("axe.run()")["violations"]
    context.close()
    assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []
