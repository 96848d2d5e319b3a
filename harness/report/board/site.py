"""Writing a board: a front page, a folder of pages for each suite, and tables for download.

``index.html`` has the best of every suite and all learners. ``suites/NAME/`` has the suite's page,
a page for each learner, one for its images, and tables to embed; ``tables/NAME/`` the downloads.
Every page contains all it needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.errors import HarnessError
from harness.files import write_text
from harness.report.board import pages
from harness.report.board.model import Division, Refusal
from harness.report.board.views import View, view
from harness.report.render import FORMATS


def write_site(
    divisions: Sequence[Division], refused: Sequence[Refusal], folder: Path
) -> list[Path]:
    """Write the site. The same results give the same bytes.

    Returns:
        The files written, the front page first.

    Raises:
        HarnessError: Nothing was measured.
    """
    views = [view(division) for division in divisions]
    if not any(each.tabs for each in views):
        raise HarnessError(
            "there is nothing to put on a board",
            hint="measure something first: `harness run SUITE.yaml`",
        )
    index = Path(folder) / "index.html"
    written = [index]
    for each in views:
        for name, text in [*_suite(each), *_downloads(each)]:
            path = Path(folder) / name
            write_text(path, text)
            written.append(path)
    # Last, so that a front page is there only with everything that it links to.
    write_text(index, pages.front(views, refused))
    return written


def _suite(each: View) -> Iterator[tuple[str, str]]:
    """The pages of a suite: path in the site, and content."""
    place = f"suites/{each.name}"
    yield f"{place}/index.html", pages.suite(each)
    pictures = pages.field_pictures(each)
    for profile in each.profiles:
        content = pages.learner(each, profile, pictures.get(profile.name))
        yield f"{place}/learners/{profile.page}", content
    if each.per_image:
        yield f"{place}/images.html", pages.images(each)
    for tab in each.tabs:
        for table in tab.tables:
            yield f"{place}/embed/{table.name}.html", pages.embed(each, tab, table)


def _downloads(each: View) -> Iterator[tuple[str, str]]:
    for tab in each.tabs:
        for table in tab.tables:
            for ending, renderer in FORMATS.values():
                yield f"tables/{each.name}/{table.name}{ending}", renderer(table.source)
