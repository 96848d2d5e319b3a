"""References: small files that give back every verdict."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from results_kit import episodes, results_of, sweep

from harness.errors import HarnessError
from harness.report import reference, reference_file


def measured(**more):
    return reference.of_results(
        results_of(
            sweep("bio", "pgd", {0.0: [1, 1, 1, 0], 0.1: [1, 0, 0, 0]}),
            sweep("bio", "fgsm", {0.0: [1, 1, 1, 0], 0.1: [1, 1, 0, 0]}),
            episodes("bio", [0.2, 0.4, 1.0]),
            **more,
        ),
        {"bio": {"kind": "ech", "config": {"eta": 0.3}}},
        {"command": "c"},
    )


@given(st.lists(st.sampled_from([i / 25 for i in range(26)]), min_size=1, max_size=60))
def test_packing_is_lossless(units):
    packed = json.loads(json.dumps(reference.pack(np.array(units))))
    assert np.array_equal(reference.unpack(packed), units)


def test_a_saved_reference_is_what_was_measured(tmp_path):
    before = measured()
    reference.save(before, tmp_path / "a.json")
    again = reference_file.load(tmp_path / "a.json")
    assert [row.key for row in again.rows] == [
        row.key for row in before.rows
    ] and again.learners == before.learners
    for old, new in zip(before.rows, again.rows, strict=True):
        assert old.setting == new.setting and np.array_equal(old.seeds[0].units, new.seeds[0].units)
        assert (old.seeds[0].value, old.seeds[0].low) == (new.seeds[0].value, new.seeds[0].low)
    reference.save(again, tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_rows_are_named_by_their_distinguishing_keys():
    assert [row.name for row in measured().rows][:2] == [
        "bio: robust, pgd, clean",
        "bio: robust, pgd, eps 0.1",
    ]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('"codes": "', '"codes": "A', 1),
        lambda text: text.replace('"seeds"', '"sedes"'),
        lambda text: "[]",
        lambda text: '{"schema": 99}',
    ],
)
def test_a_damaged_reference_is_refused(tmp_path, damage):
    path = tmp_path / "a.json"
    reference.save(measured(), path)
    path.write_text(damage(path.read_text()))
    with pytest.raises(HarnessError, match="reference"):
        reference_file.load(path)


def test_the_error_on_a_missing_reference_says_how_to_make_one(tmp_path):
    with pytest.raises(HarnessError, match="--update"):
        reference_file.load(tmp_path / "none.json")


def test_trust_checks_in_settings_of_older_references_are_ignored(tmp_path):
    path = tmp_path / "a.json"
    reference.save(measured(), path)
    content = json.loads(path.read_text())
    for setting in content["settings"].values():
        setting["trust"] = {"checks": ["finite"]}
    path.write_text(json.dumps(content))
    assert [row.setting for row in reference_file.load(path).rows] == [
        row.setting for row in measured().rows
    ]
