"""What every export starts from: named numbers of each learner, and their origin."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.errors import HarnessError
from harness.publish.exports.numbers import by_learner, origin_of, slugs


def test_every_number_is_finite_and_has_a_name_of_its_own(numbers):
    for own in numbers.values():
        names = [number.where for number in own]
        assert len(set(names)) == len(names)
        assert all(number.value == number.value for number in own)


def test_results_without_a_number_are_refused(quickstart):
    with pytest.raises(HarnessError, match="no results of it to export"):
        by_learner(replace(quickstart, records=[]))


def test_two_numbers_of_one_name_are_refused(quickstart):
    record = next(r for r in quickstart.records if r.protocol == "few")
    other = replace(record, dataset="other", dataset_hash="0")
    with pytest.raises(HarnessError, match="2 numbers of .* are all called"):
        by_learner(replace(quickstart, records=[record, other]))


def test_two_learners_of_one_file_name_are_refused():
    with pytest.raises(HarnessError, match="would both be called"):
        slugs(["mlp hidden=1", "mlp hidden:1"])


def test_the_digest_of_cells_changes_with_any_of_them(numbers):
    origin = origin_of(numbers["bio"])
    first, *rest = numbers["bio"]
    moved = replace(first, records=tuple(replace(r, cell="0" * 24) for r in first.records))
    assert origin_of([moved, *rest]).digest != origin.digest
    assert origin_of([*rest, first]).digest == origin.digest


def test_a_release_that_differs_is_left_out(numbers):
    first, *rest = numbers["bio"]
    other = tuple(replace(r, versions={**r.versions, "torch": "0"}) for r in first.records)
    versions = origin_of([replace(first, records=other), *rest]).versions
    assert "torch" not in versions and "numpy" in versions


def test_a_date_that_is_none_is_one_error(numbers):
    first = numbers["bio"][0]
    undated = tuple(replace(record, created="yesterday") for record in first.records)
    with pytest.raises(HarnessError, match="dated 'yesterday'"):
        _ = origin_of([replace(first, records=undated)]).seconds
