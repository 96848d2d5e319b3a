"""Tests here share kits, which importlib mode does not find by itself, and a browser."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium; the test is skipped without one."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not here: pip install 'bioharness[browser]'"
    )
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


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """A board of two suites, for the browser."""
    from board_kit import NAMES, beside_published, division

    from harness.report.board.model import Refusal
    from harness.report.board.site import write_site

    folder = tmp_path_factory.mktemp("site")
    write_site(
        [division(*NAMES), beside_published(division("one", "two", "three", suite="other"))],
        [Refusal("theirs", "late", "robust", "data a, the board's is b")],
        folder,
    )
    return folder


@pytest.fixture
def page(browser, site):
    """The open board; afterwards there must be no console errors and no network requests."""
    from board_kit import SUITE

    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page, complaints, asked = context.new_page(), [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "dialog", lambda dialog: (complaints.append(f"dialog: {dialog.message}"), dialog.dismiss())
    )
    page.on("request", lambda request: asked.append(request.url))
    page.goto((site / SUITE).as_uri())
    page.wait_for_selector(".panel.current .charts svg")
    yield page
    context.close()
    assert complaints == []
    assert [url for url in asked if not url.startswith(("data:", "blob:", site.as_uri()))] == []
