"""A small round of the structural fuzz; ``make hostile`` runs more."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).parent.parent / "hostile"))

from structural import PLANTED, Site, attempt


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Site:
    return Site(tmp_path_factory.mktemp("site"))


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_odd_structures_break_nothing_import_nothing_and_write_nothing_elsewhere(site, data):
    attempt(data.draw, site)


def _imports() -> None:
    __import__(PLANTED)


def _imports_from_the_library() -> None:
    sys.modules["this"] = sys


@pytest.mark.parametrize("fault", [_imports, _imports_from_the_library])
def test_an_import_of_a_named_module_is_noticed(site, fault):
    with pytest.raises(AssertionError), site.watched():
        fault()
    for name in (PLANTED, "this"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", ["x", "site/x", "site/tiny.yaml", "site/store/cells/x"])
def test_a_file_written_elsewhere_is_noticed(site, name):
    path = site.parent / name
    before = path.read_bytes() if path.exists() else None
    with pytest.raises(AssertionError), site.watched():
        path.write_text("x")
    path.unlink() if before is None else path.write_bytes(before)
