"""The board in a real headless Chromium (needs the extra `browser` and an installed Chromium)."""

from __future__ import annotations

import shutil

import pytest
from board_kit import HOSTILE, beside_published, division

from harness.report.board.model import Refusal
from harness.report.board.site import write_site

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not here: pip install 'bioharness[browser]'"
)
pytestmark = pytest.mark.browser
NAMES = (HOSTILE, "beta", "gamma", "delta", "e" * 60, "omega")


@pytest.fixture(scope="module")
def browser():
    found = next(
        filter(
            None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))
        ),
        None,
    )
    if found is None:
        pytest.skip("no Chromium here")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    write_site(
        [division(*NAMES), beside_published(division("one", "two", "three", suite="other"))],
        [Refusal("theirs", "late", "robust", "data a, the board's is b")],
        folder,
    )
    return folder / "index.html"


@pytest.fixture
def page(browser, site):
    """The open board; afterwards there must be no console errors and no network requests."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page, complaints, asked = context.new_page(), [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "dialog", lambda dialog: (complaints.append(f"dialog: {dialog.message}"), dialog.dismiss())
    )
    page.on("request", lambda request: asked.append(request.url))
    page.goto(site.as_uri())
    page.wait_for_selector(".panel.current .charts svg")
    yield page
    context.close()
    assert complaints == []
    assert [
        url for url in asked if not url.startswith(("data:", "blob:", site.parent.as_uri()))
    ] == []


def rows(page) -> list[str]:
    shown = "rows => rows.filter(r => !r.hidden).map(r => r.querySelector('th a').textContent)"
    return page.eval_on_selector_all(".panel.current tbody tr", shown)


def column(page, index: int) -> list[float]:
    numbers = f"rows => rows.map(r => parseFloat(r.cells[{index + 2}].textContent))"
    return page.eval_on_selector_all(".panel.current tbody tr", numbers)


def test_it_opens_in_order_of_rank_with_its_charts(page):
    assert page.text_content("[role=tab][aria-selected=true]").strip() == "suite robust"
    ranks = page.eval_on_selector_all(
        ".panel.current tbody .rank", "all => all.map(one => one.textContent)"
    )
    assert ranks[0].startswith("1") and ranks[-1] == "–" and rows(page)[-1] == "omega"
    assert (
        page.locator(".panel.current .charts svg[role=img]").count() == 4
    )  # three attacks, and the scatter
    assert page.locator(".panel.current .charts g[data-learner='0'] path").count() >= 6


def test_hostile_names_are_text(page):
    assert HOSTILE in rows(page)
    page.get_by_role("link", name=HOSTILE).first.click()
    assert page.text_content(".page h2") == HOSTILE and page.locator(".page script").count() == 0


def test_sorting_by_a_column_both_ways(page):
    head = page.locator(".panel.current thead .sort[data-column='2']")
    head.click()
    assert column(page, 2) == sorted(column(page, 2), reverse=True)
    assert head.locator("xpath=..").get_attribute("aria-sort") == "descending"
    head.press("Enter")
    assert column(page, 2) == sorted(column(page, 2))
    assert page.locator(".panel.current [aria-sort]").count() == 1
    assert "ascending" in page.text_content(".panel.current .status")
    page.locator(".panel.current thead .sort[data-column='-1']").click()
    assert rows(page) == list(NAMES)


def test_filtering_by_name_and_by_trust(page):
    page.fill(".panel.current .filter", "ta")
    assert (
        rows(page) == ["beta", "delta"]
        and page.text_content(".panel.current .status") == "2 of 6 rows"
    )
    playwright.expect(page.locator(".panel.current .legend button")).to_have_count(2)
    page.check(".panel.current .passing")
    assert rows(page) == ["delta"]
    page.fill(".panel.current .filter", "nobody")
    assert rows(page) == []


def test_every_tab_opens_by_keyboard(page):
    page.focus("[role=tab][aria-selected=true]")
    seen = []
    for _ in range(page.locator("[role=tab]").count()):
        page.keyboard.press("ArrowRight")
        page.wait_for_selector(".panel.current .charts svg")
        seen.append(
            page.evaluate(
                "[document.activeElement.dataset.tab, "
                "document.querySelector('.panel.current').dataset.view]"
            )
        )
    assert all(tab == view for tab, view in seen) and len({tab for tab, _ in seen}) == 6


def test_trust_marks_show_details_on_hover_and_focus(page):
    tip, mark = (
        page.locator("#tip"),
        page.locator(".panel.current tr:has(a:text-is('omega')) .mark"),
    )
    assert tip.is_hidden()
    mark.hover()
    assert (
        "failed: unbounded" in tip.text_content()
        and "accuracy of omega at half the box" in tip.text_content()
    )
    page.mouse.move(5, 5)
    assert tip.is_hidden()
    page.focus(".panel.current tr:has(a:text-is('omega')) th a")
    page.keyboard.press("Tab")
    assert tip.is_visible() and page.evaluate("document.activeElement.classList.contains('fail')")
    box = tip.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 1280
    page.keyboard.press("Escape")
    assert tip.is_hidden()


def test_a_learners_page(page):
    page.get_by_role("link", name="beta", exact=True).first.click()
    assert page.text_content(".page h2") == "beta" and page.title().startswith("beta")
    assert page.locator(".panel.current").count() == 0
    assert page.locator(".page .fields img").evaluate("image => image.naturalWidth") > 0
    captions = page.eval_on_selector_all(
        ".page figcaption", "all => all.map(one => one.textContent)"
    )
    assert any("live weights" in text for text in captions) and any(
        text.startswith("loss") for text in captions
    )
    assert "warned: unbounded" in page.text_content(".page .remarks") and "20" in page.text_content(
        ".page .config"
    )
    page.go_back()
    page.wait_for_selector(".panel.current")


def test_a_comparison_and_its_mirror(page):
    page.locator(".panel.current .compare").click()
    page.wait_for_selector(".page .versus")
    page.locator(".pickers select").nth(0).select_option(label="beta")
    page.locator(".pickers select").nth(1).select_option(label="delta")
    playwright.expect(page.locator(".page h2")).to_have_text("beta against delta")
    signed = "rows => rows.map(row => parseFloat(row.cells[3].textContent.replace('−', '-')))"
    forward = page.eval_on_selector_all(".page tbody tr", signed)
    page.goto(page.url.replace("beta/delta", "delta/beta"))
    playwright.expect(page.locator(".page h2")).to_have_text("delta against beta")
    assert (
        page.eval_on_selector_all(".page tbody tr", signed) == [-value or 0.0 for value in forward]
        and max(forward) > 0
    )
    assert page.locator(".page svg[role=img]").count() == 1


def test_a_downloaded_table_is_the_file_beside_the_page(page, site):
    with page.expect_download() as caught:
        page.locator(".panel.current .downloads a", has_text="CSV").click()
    assert caught.value.suggested_filename == "robust.csv"
    assert (
        caught.value.path().read_bytes()
        == (site.parent / "tables" / "suite" / "robust.csv").read_bytes()
    )


def test_refused_rows_are_listed(page):
    assert page.text_content(".refused summary").strip() == "1 row of submissions refused"
    assert "data a, the board's is b" in page.text_content(".refused li")


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
    const labels = boxed(svg, '[aria-label^="x-axis"] text, [aria-label^="y-axis"] text')
      .filter(([text]) => text.textContent);
    const overlaps = labels.flatMap(([text, box], i) => labels.slice(i + 1)
      .filter(([, other]) => overlap(box, other))
      .map(([other]) => [text.textContent, other.textContent]));
    return [...stray.map(([mark]) => mark.outerHTML), ...overlaps];
  };
  const charts = '.panel.current svg[role=img], .page svg[role=img]';
  return [...document.querySelectorAll(charts)].flatMap(check);
}"""


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize(
    "place",
    [
        "suite/robust",
        "suite/audit",
        "other/few",
        "learner/suite/beta",
        "compare/suite/robust/robust/beta/delta",
    ],
)
def test_charts_stay_in_their_frames_without_overlapping_labels(page, place, width):
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{page.url.partition('#')[0]}#{place}")
    page.reload()
    page.locator(".panel.current svg[role=img], .page svg[role=img]").locator(
        "visible=true"
    ).first.wait_for()
    assert page.evaluate(STRAY) == []


def test_published_numbers_are_in_the_chart_of_ours(page):
    page.goto(f"{page.url.partition('#')[0]}#other/few")
    charts = page.locator(".panel.current .charts figure")
    playwright.expect(charts).to_have_count(
        2
    )  # 1 shot and 5, not one each for published and difference
    for chart in charts.all():
        assert chart.locator("g[aria-label=tick]").count() == 1


def test_pages_opened_by_their_address_lead_back_to_their_own_suite(page):
    page.goto(f"{page.url.partition('#')[0]}#learner/other/two")
    page.reload()
    assert page.locator(".page .back").get_attribute("href").startswith("#other/")
    assert [
        said.get_attribute("data-suite") for said in page.locator("footer p >> visible=true").all()
    ] == ["other"]


def test_the_tooltip_of_a_mark_can_be_hovered(page):
    mark = page.locator(".panel.current tr:has(a:text-is('omega')) .mark")
    mark.hover()
    page.locator("#tip").hover()
    assert page.locator("#tip").is_visible()
    page.mouse.move(5, 5)
    assert page.locator("#tip").is_hidden()


def test_a_phone_shows_the_open_tab_and_keeps_names_and_headings_in_sight(page):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{page.url.partition('#')[0]}#other/audit")
    box = page.locator("[role=tab][aria-selected=true]").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390
    page.goto(f"{page.url.partition('#')[0]}#suite/robust")
    page.evaluate("document.querySelector('.panel.current .scroll').scrollLeft = 150")
    name, head = (
        page.locator(f".panel.current {one}").first.bounding_box()
        for one in ("tbody th", "th[scope=colgroup] > span")
    )
    assert name["x"] >= 0 and head["x"] >= name["x"] + name["width"]


PLACES = [
    "suite/robust",
    "suite/few",
    "suite/audit",
    "learner/suite/beta",
    "compare/suite/robust/robust/beta/delta",
]
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
def test_every_text_has_enough_contrast(page, scheme, place):
    page.emulate_media(color_scheme=scheme)
    page.evaluate("place => { location.hash = place; }", place)
    page.locator(".view.current svg, .page svg").locator("visible=true").first.wait_for()
    found = page.evaluate(CONTRAST)
    assert len(found) > 30 and found[0][0] >= 4.5, found[:5]


def test_the_button_overrides_the_system_colours(page):
    ground = "getComputedStyle(document.body).backgroundColor"
    page.emulate_media(color_scheme="light")
    bright = page.evaluate(ground)
    page.click("#theme")
    assert page.evaluate(ground) == bright and "light" in page.text_content("#theme")
    page.click("#theme")
    assert page.evaluate(ground) != bright and "dark" in page.text_content("#theme")


@pytest.mark.parametrize("place", PLACES)
def test_nothing_overflows_a_phone_screen(page, place):
    page.set_viewport_size({"width": 360, "height": 740})
    page.evaluate("place => { location.hash = place; }", place)
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


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
    page.goto(site.as_uri())
    assert page.locator("table >> visible=true").count() == 6
    context.close()
