"""Files whose hashes are right and whose structure is odd: one line each, and nothing else."""

from __future__ import annotations

import pytest
from hostile_kit import amount
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structural import Site, attempt

INPUTS = amount("HOSTILE_INPUTS", 300)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Site:
    return Site(tmp_path_factory.mktemp("site"))


@pytest.mark.filterwarnings("ignore")
@settings(
    max_examples=INPUTS, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
@given(data=st.data())
def test_odd_structures_break_nothing_import_nothing_and_write_nothing_elsewhere(site, data):
    attempt(data.draw, site)
