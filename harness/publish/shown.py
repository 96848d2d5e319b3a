"""Which stored arrays are read by tables, figures, claims, boards, comparisons and gates.

A submission carries only these. Margins, norms and verdicts of single restarts stay in the store.
"""

from __future__ import annotations

from collections import defaultdict

from harness.cells.results import Results
from harness.records import Record
from harness.report.reference import SAMPLES

AUDIT_ARRAYS = frozenset(
    {
        "log_weight_quantiles",
        "receptive_fields",
        "selectivity",
        "live_per_neuron",
        "spectrum",
        "spectrum_pixels",
        "fields",
        "gabors",
    }
)
"""What figures of biology and receptive fields, and the pages of a board, draw."""

DRAWN = ("biology", "receptive_fields")
"""Kinds of protocols with such figures."""


def shown_arrays(results: Results) -> dict[str, set[str]]:
    """Return the names of the arrays that reports read, by cell. A cell may lack some of them."""
    names: dict[str, set[str]] = defaultdict(set)
    for record in results.records:
        if record.verdicts is not None:
            # The verdicts have this mean; the samples say which images or classes they are of.
            names[record.cell] |= {record.verdicts, *SAMPLES}
            # The worst case over attacks on episodes needs each query, not their mean.
            names[record.cell].add(record.verdicts.replace("accuracy/", "correct/", 1))
        if record.unit == "stream":
            places = range(record.n)
            names[record.cell] |= {f"{kind}/{k}" for kind in ("correct", "task") for k in places}
            names[record.cell] |= {"curve/0", "during/0"}
    for cell in _drawn_cells(results):
        names[cell] |= AUDIT_ARRAYS
    return names


def _drawn_cells(results: Results) -> set[str]:
    """Return the cells whose audit is drawn: each learner's first, and that of its lowest seed."""
    groups: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in results.records:
        if results.protocols[record.protocol] in DRAWN:
            groups[record.protocol, record.learner].append(record)
    drawn = set()
    for group in groups.values():
        drawn.add(group[0].cell)
        drawn.add(min(group, key=lambda record: record.seed).cell)
    return drawn
