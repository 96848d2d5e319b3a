"""Files that learners read: declared ones are in the key, others are named in a warning."""

from __future__ import annotations

import io
import os
import sys
import tempfile
import threading
import timeit

import pytest
from rich.console import Console

from harness.cells import opened
from harness.execute import session
from harness.execute.session import RunOptions
from harness.report.tables import build_all
from harness.storage.store import Store

LEARNER = '''
import json
import torch
from harness.learning.files import File
from harness.registry import learners
from pydantic import Field

NearestMean = learners["nearest-mean"]


class {name}(NearestMean):
    """It reads a file."""

    class Config(NearestMean.Config):
        """Keys."""

        path: File | None = Field(None, description="what is added to every mean")

    def fit(self, train, **more):
        log = super().fit(train, **more)
        with open(self.config.path or "plain.json") as file:
            self.tensors |= {{"means": self.tensors["means"] + json.load(file)}}
        return log
'''

SUITE = """
name: files
learners: {{mine: {{kind: "{module}:Mine"{path}}}}}
protocols: {{c: {{kind: classification, dataset: digits}}}}
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a suite with a learner of its own in a module of its own."""
    monkeypatch.chdir(tmp_path)

    def written(module: str, path: str = ""):
        (tmp_path / f"{module}.py").write_text(LEARNER.format(name="Mine"))
        key = f", path: {path}" if path else ""
        (tmp_path / "files.yaml").write_text(SUITE.format(module=module, path=key))
        return tmp_path / "files.yaml"

    yield written
    sys.path[:] = [place for place in sys.path if place != str(tmp_path)]


def run(suite, tmp_path):
    shown = io.StringIO()
    options = RunOptions(store=tmp_path / "store", workers=1)
    result = session.run(suite, options, console=Console(file=shown, width=200))
    assert not result.outcome.failed
    return result, shown.getvalue()


def test_replacing_a_declared_file_changes_the_key(write, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.json").write_text("0.0")
    suite = write("reads_declared", "data/a.json")
    first, shown = run(suite, tmp_path)
    assert len(first.outcome.done) == 2 and "WARNING" not in shown
    assert {record.trust for record in first.results.records} == {"-"}

    (data / "a.json").write_text("1.0")
    second, _ = run(suite, tmp_path)
    assert len(second.outcome.done) == 2 and not second.outcome.found

    # Equal content at another place and time is the same.
    os.renames(data / "a.json", tmp_path / "moved" / "b.json")
    third, _ = run(write("reads_declared", "moved/b.json"), tmp_path)
    assert not third.outcome.done and third.outcome.found == sorted(second.outcome.done)


def test_an_undeclared_file_is_named_in_the_run_the_table_and_the_record(write, tmp_path):
    (tmp_path / "plain.json").write_text("0.5")
    result, shown = run(write("reads_undeclared"), tmp_path)
    assert shown.count("WARNING mine: opened plain.json, which its config does not declare") == 1
    (record,) = result.results.records
    assert record.trust == "WARN"
    (check,) = result.results.trust[record.cell]
    assert check.name == opened.CHECK and "plain.json" in check.detail
    assert any("plain.json" in note for note in build_all(result.results, [])[0].notes)
    # The training itself has it too, so that measurements made later inherit it.
    training = Store(tmp_path / "store").read(record_training(result))
    assert [check["name"] for check in training.trust] == [opened.CHECK]


def record_training(result) -> str:
    return next(cell.key for cell in result.plan.unique if cell.role == "train")


def test_what_is_no_input_of_a_learner_is_not_named(tmp_path):
    ours = tmp_path / "ours"
    ours.mkdir()
    (ours / "cached").write_text("of the harness")
    (tmp_path / "weights").write_text("of the learner")
    with opened.watched() as files:
        import colorsys  # noqa: F401 - Python opens a module

        open(ours / "cached").close()
        open("/proc/self/stat").close()
        with tempfile.NamedTemporaryFile("w+", dir=tmp_path) as scratch:
            open(scratch.name).close()
        with open(tmp_path / "own", "w") as own:
            own.write("written, then read")
        open(tmp_path / "own").close()
        with pytest.raises(OSError):
            (tmp_path / "missing").read_text()
        other = threading.Thread(target=lambda: open(tmp_path / "weights").close())
        other.start()
        other.join()
        assert files.undeclared([], [ours]) == []
        os.close(os.open(tmp_path / "weights", os.O_RDONLY))
    open(tmp_path / "own").close()
    assert files.undeclared([], [ours]) == [str((tmp_path / "weights").resolve())]


def test_watching_costs_nothing_where_nothing_is_opened():
    with opened.watched():
        pass
    audits = 10_000
    seconds = min(timeit.repeat(lambda: sys.audit("harness.test"), number=audits, repeat=5))
    assert seconds / audits < 5e-6
