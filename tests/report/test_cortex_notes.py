"""Cortex beside ours: values with sources, marks, and metrics that are never shown alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from results_kit import plain, record, results_of

from harness.metrics.catalogue import METRICS, SHOWN_WITH
from harness.metrics.cortex import CONDITION, REFERENCES
from harness.report.formats import is_percent
from harness.report.tables import build
from harness.suite.specs.tables import TableSpec

SPEC = TableSpec(protocol="audit", columns=["metric"], metric=["sigma_log_w"])


def audit(*metrics: str, block: bool = True):
    records = [
        record(name, {}, value, metric=metric, protocol="audit", unit="synapse")
        for name, value in (("near", 0.9), ("far", 1.4))
        for metric in metrics
    ]
    blocks = {"audit": {CONDITION: "ranges"}} if block else {}
    return dataclasses.replace(results_of(plain(*records)), blocks=blocks)


def test_a_reference_has_its_value_source_and_a_mark_for_each_learner():
    (note,) = [each for each in build(audit("sigma_log_w"), SPEC).notes if "Cortex" in each]
    assert "0.94 (0.8 to 1.05), Song et al. 2005" in note
    assert "● near" in note and "○ far (above)" in note


def test_numbers_of_older_audits_are_printed_as_they_were():
    notes = build(audit("sigma_log_w", block=False), SPEC).notes
    assert not any("Cortex" in note for note in notes)


def test_sigma_of_weights_is_never_shown_alone():
    companions = SHOWN_WITH["sigma_log_w"]
    table = build(audit("sigma_log_w", *companions), SPEC)
    assert {column[0] for column in table.columns} == {"sigma_log_w", *companions}


def test_references_are_of_metrics_and_ranges_hold_their_value():
    for reference in REFERENCES:
        assert reference.metric in METRICS and reference.source and reference.recorded
        if reference.value is not None and reference.low is not None:
            assert reference.low < reference.value < reference.high


def test_the_page_on_brains_has_the_values_of_the_code():
    page = (Path(__file__).parents[2] / "docs" / "brain.md").read_text(encoding="utf-8")
    for reference in REFERENCES:
        assert reference.source in page
        for number in (reference.value, reference.low, reference.high):
            if number is not None:
                scaled = 100 * number if is_percent(reference.metric) else number
                assert f"{scaled:g}" in page


def test_resampled_intervals_are_called_what_they_are():
    records = [
        record("a", {}, 0.2, low=0.1, high=0.3, metric=metric, protocol="audit")
        for metric in ("rsa_spearman", "spectrum_exponent")
    ]
    spec = TableSpec(protocol="audit", columns=["metric"])
    note = build(results_of(plain(*records)), spec).notes[0]
    assert "bootstrap interval over stimuli" in note and "jackknife" in note and "t int" not in note
