"""Reading results never imports a module that they name; only a suite is code."""

from __future__ import annotations

import sys

import pytest
from command_kit import harness

from harness.storage.cellfile import cell_key
from harness.storage.store import Store

MODULE = "module_of_a_stranger"


@pytest.fixture(scope="module")
def foreign(ran, tmp_path_factory):
    """A store whose learners are classes of a module that writes a file when it is imported."""
    folder, _ = ran
    here = tmp_path_factory.mktemp("foreign")
    trace = here / "imported"
    (here / f"{MODULE}.py").write_text(f"open({str(trace)!r}, 'w').close()")
    source = Store(folder / "store")
    target = Store(here / "store")
    target.prepare()
    renamed = {}
    for key, result in sorted(
        source.results(source.finished()), key=lambda pair: pair[1].identity["role"] != "train"
    ):
        identity = result.identity
        identity["learner"]["kind"] = f"{MODULE}:Mine"
        if "training" in identity:
            identity["training"] = renamed[identity["training"]]
        renamed[key] = cell_key(identity)
        names = [name for name in source.members(key) if name != "cell.json"]
        arrays = {name: source.arrays(key, name) for name in names}
        target.write(renamed[key], result, arrays)
    return here, trace


@pytest.mark.parametrize(
    "words",
    [
        ["records", "STORE"],
        ["trust", "STORE"],
        ["compare", "STORE", "STORE"],
        ["store", "verify", "STORE", "--repair"],
        ["store", "gc", "STORE"],
        ["doctor", "--store", "STORE"],
    ],
    ids=" ".join,
)
def test_reading_a_store_imports_no_module_that_it_names(foreign, monkeypatch, words):
    here, trace = foreign
    monkeypatch.syspath_prepend(here)
    monkeypatch.chdir(here)
    store = str(here / "store")
    answer = harness(*[store if word == "STORE" else word for word in words])
    assert answer.returncode in (0, 1, 2) and "Traceback" not in answer.stderr
    assert MODULE not in sys.modules and not trace.exists()
    assert len(Store(store).finished()) > 0


def test_what_is_not_imported_is_shown_under_its_name(foreign):
    here, _ = foreign
    answer = harness("records", here / "store")
    assert answer.returncode == 0 and f"{MODULE}:Mine" in answer.stdout
