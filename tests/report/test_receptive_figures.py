"""The figure of receptive fields: a row for each learner, over counts of neurons."""

from __future__ import annotations

import dataclasses

import numpy as np
from results_kit import plain, record, results_of

from harness.report.receptive_figures import receptive_fields


def test_each_learner_has_its_fields_its_plane_and_its_histograms():
    generator = np.random.default_rng(0)
    gabors = np.abs(generator.normal(0.5, 0.1, (20, 6)))
    gabors[:, 5] = np.arange(20) < 15
    arrays = {"fields": generator.normal(size=(20, 9, 9)), "gabors": gabors}
    records = [
        record(name, {}, 0.9, metric="rf_r2", protocol="audit", cell="c") for name in ("a", "b")
    ]
    results = dataclasses.replace(
        results_of(plain(*records)), verdicts=lambda cell, name: arrays[name]
    )
    figure = receptive_fields(results, "audit")
    assert len(figure.axes) == 8
    fields, plane, orientations, _ = figure.axes[:4]
    assert fields.get_title(loc="left") == "a"
    assert plane.get_title(loc="left") == "15 of 20 are Gabors"
    assert np.allclose(plane.lines[0].get_xdata(), gabors[:15, 3])
    assert sum(patch.get_data().values.sum() for patch in orientations.patches) > 1.9


def test_no_figure_without_fields():
    assert receptive_fields(results_of(plain(record("a", {}, 1))), "audit") is None
