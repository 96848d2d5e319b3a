"""The board in a real headless Chromium (needs the extra `browser` and an installed Chromium)."""

from __future__ import annotations

import pytest
from board_kit import HOSTILE, LEARNER, NAMES, OTHER

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not here: pip install 'bioharness[browser]'"
)
pytestmark = pytest.mark.browser


def rows(page) -> list[str]:
    shown = "rows => rows.filter(r => !r.hidden).map(r => r.querySelector('th a').textContent)"
    return page.eval_on_selector_all(".panel.current tbody tr", shown)


def column(page, index: int) -> list[float]:
    numbers = f"rows => rows.map(r => parseFloat(r.cells[{index + 2}].textContent))"
    return page.eval_on_selector_all(".panel.current tbody tr", numbers)


def test_it_opens_in_order_of_rank_with_its_charts(page):
    assert page.text_content("[role=tab][aria-selected=true]").strip() == "robust"
    ranks = page.eval_on_selector_all(
        ".panel.current tbody .rank", "all => all.map(one => one.textContent)"
    )
    assert ranks[0].startswith("1") and ranks[-1] == "–" and rows(page)[-1] == "omega"
    assert (
        page.locator(".panel.current .charts svg[role=img]").count() == 3
    )  # two attacks (the stronger one is the worst case), and the scatter
    assert page.locator(".panel.current .charts g[data-learner='0'] path").count() >= 5


def test_hostile_names_are_text(page):
    assert HOSTILE in rows(page)
    page.get_by_role("link", name=HOSTILE).first.click()
    assert page.text_content("h1") == HOSTILE and page.locator("script").count() == 1


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


def test_filtering_by_family(page):
    assert page.locator(".panel.current select.family").count() == 0  # all are of one


def test_the_front_page_filters_suites_and_learners(page, site):
    page.goto((site / "index.html").as_uri())
    shown = page.locator(".all tbody tr >> visible=true")
    every = shown.count()
    page.select_option("#threat", "Linf")
    assert 0 < shown.count() < every and "Linf" in page.text_content("#status") or shown.count()
    assert page.url.endswith("?threat=Linf")
    page.fill("#words", "gamma")
    assert shown.count() == 1 and page.locator(".card >> visible=true").count() == 1
    page.reload()
    assert shown.count() == 1
    page.goto(f"{(site / 'index.html').as_uri()}?family=%3Cb%3E")
    assert shown.count() == every


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
    assert all(tab == view for tab, view in seen) and len({tab for tab, _ in seen}) == 3


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
    assert page.text_content("h1") == "beta" and page.title().startswith("beta")
    assert page.locator(".fields img").evaluate("image => image.naturalWidth") > 0
    captions = page.eval_on_selector_all("figcaption", "all => all.map(one => one.textContent)")
    assert any("live weights" in text for text in captions)
    assert any(text.startswith("loss") for text in captions)
    assert "warned: unbounded" in page.text_content(".remarks")
    assert "20" in page.text_content(".config")
    page.go_back()
    page.wait_for_selector(".panel.current")


def test_a_learners_page_leads_to_its_comparisons(page, site):
    page.goto((site / LEARNER).as_uri())
    page.get_by_role("link", name="Under attack").click()
    page.wait_for_selector(".page .versus")
    assert page.text_content(".page h2").startswith("beta against ")


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
        caught.value.path().read_bytes() == (site / "tables" / "suite" / "robust.csv").read_bytes()
    )


def test_refused_rows_are_listed(page, site):
    page.goto((site / "index.html").as_uri())
    assert page.text_content(".refused summary").strip() == "1 row of submissions refused"
    assert "data a, the board's is b" in page.text_content(".refused li")


def test_published_numbers_are_in_the_chart_of_ours(page, site):
    page.goto(f"{site.as_uri()}/{OTHER}#few")
    charts = page.locator(".panel.current .charts figure")
    playwright.expect(charts).to_have_count(
        2
    )  # 1 shot and 5, not one each for published and difference
    for chart in charts.all():
        assert chart.locator("g[data-mark=tick]").count() == 1


def test_a_comparison_opened_by_its_address_leads_back_to_its_table(page, site):
    page.goto(f"{site.as_uri()}/{OTHER}#compare/few/few/one/two")
    page.reload()
    assert page.locator(".page .back").get_attribute("href") == "#few"


def test_the_tooltip_of_a_mark_can_be_hovered(page):
    mark = page.locator(".panel.current tr:has(a:text-is('omega')) .mark")
    mark.hover()
    page.locator("#tip").hover()
    assert page.locator("#tip").is_visible()
    page.mouse.move(5, 5)
    assert page.locator("#tip").is_hidden()


def test_the_button_overrides_the_system_colours(page):
    ground = "getComputedStyle(document.body).backgroundColor"
    page.emulate_media(color_scheme="light")
    bright = page.evaluate(ground)
    page.click("#theme")
    assert page.evaluate(ground) == bright and "light" in page.text_content("#theme")
    page.click("#theme")
    assert page.evaluate(ground) != bright and "dark" in page.text_content("#theme")
