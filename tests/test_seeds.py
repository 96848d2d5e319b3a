"""Seeds as people write them."""

from __future__ import annotations

import pytest

from harness.errors import SuiteError
from harness.suite.load import load

SUITE = """
name: seeded
seeds: {seeds}
learners: {{pixels: {{kind: nearest-mean}}}}
protocols: {{plain: {{kind: classification, dataset: digits, seeds: {own}}}}}
"""


@pytest.mark.parametrize(
    ("written", "seeds"),
    [("3", [0, 1, 2]), ("0-4", [0, 1, 2, 3, 4]), ("7 - 7", [7]), ("[5, 2]", [5, 2])],
)
def test_a_list_a_count_and_a_range_are_seeds(write_suite, written, seeds):
    suite = load(write_suite(SUITE.format(seeds=written, own="null")))
    assert suite.protocols[0].seeds == seeds
    suite = load(write_suite(SUITE.format(seeds="[9]", own=written)))
    assert suite.protocols[0].seeds == seeds


@pytest.mark.parametrize("written", ["0", "4-2", "0-4000", "-1", "[]", "[1, 1]", "three", "1.5"])
def test_other_forms_get_one_line(write_suite, written):
    with pytest.raises(SuiteError) as raised:
        load(write_suite(SUITE.format(seeds=written, own="null")))
    assert "\n" not in raised.value.message and ":3:" in str(raised.value)
