"""A small round of the structural fuzz; ``make hostile`` runs more."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).parent.parent / "hostile"))

from structural import Site, attempt


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Site:
    return Site(tmp_path_factory.mktemp("site"))


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_odd_structures_break_nothing_import_nothing_and_write_nothing_elsewhere(site, data):
    attempt(data.draw, site)
