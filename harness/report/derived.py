"""Numbers that are derived from other records, before anything is tabulated, drawn or decided."""

from __future__ import annotations

from harness.cells.results import Results
from harness.report.corruption_error import with_corruption_error
from harness.report.derive import with_worst_case
from harness.report.streams import with_streams


def with_derived(results: Results) -> Results:
    """Add the worst case over attacks, the checks across attacks, mCE, and what a strategy lacks.

    Each is added once, if this is repeated.
    """
    return with_streams(with_corruption_error(with_worst_case(results)))
