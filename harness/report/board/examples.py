"""Images under attack on a learner's page: clean, perturbation, adversarial image, answers."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from harness.cells.results import Results
from harness.errors import HarnessError
from harness.records import Record
from harness.report.board.model import Picture
from harness.report.saved_sheets import sheets

MOST_SHEETS = 4
"""Sheets on a page: of the first attacks and budgets whose images a suite kept (``save:``)."""

CAPTION = "clean image, perturbation, adversarial image, true class and answer (red: wrong)"


def examples(results: Results, records: Sequence[Record]) -> list[Picture]:
    """The sheets of one learner; none if no images were kept, or if they are damaged.

    Args:
        results: That the images are read from.
        records: Of the learner.
    """
    own = replace(results, records=list(records))
    try:
        return [_picture(title, png) for title, png in islice(sheets(own), MOST_SHEETS)]
    except HarnessError:  # a submission may hold anything; its numbers were checked on their own
        return []


def _picture(title: str, png: bytes) -> Picture:
    source = "data:image/png;base64," + base64.b64encode(png).decode()
    return Picture(source, f"Images under attack, {title}", f"{title}: {CAPTION}")
