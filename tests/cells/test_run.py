"""Running suites: the same records however they come about, and nothing lost however a run ends."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_kit import harness as in_process

from harness import api
from harness.learning.training import PLASTIC
from harness.records import MEASURED
from harness.storage.store import Store

SUITE = """
name: small
seeds: [0, 1]
learners:
  backprop: {kind: mlp, hidden: 32, epochs: 2}
  bio: {kind: ech, hidden: 40, epochs: 2, readout_steps: 50}
  pixels: {kind: nearest-mean}
protocols:
  plain: {kind: classification, dataset: digits}
  few: {kind: few_shot, dataset: digits, ways: [2, 5], shots: 1, queries: 5, episodes: 40}
  scratch:
    {kind: few_shot, dataset: digits, regime: from_scratch, shots: 2, queries: 3, episodes: 5,
     learners: [backprop, bio]}
  robust:
    kind: attack_sweep
    dataset: digits
    images: 40
    attacks: [{attack: pgd, eps: [0, 0.1, 0.2], steps: 4, restarts: 2}]
"""


def measured(results) -> list[str]:
    """Record values as bytes would have them, in a fixed order."""
    return sorted(
        json.dumps({key: record.to_dict()[key] for key in MEASURED}, sort_keys=True)
        for record in results.records
    )


def computed(run) -> list:
    """Cells of a run: those of its plan, and the trainings that its trust checks compare with."""
    return [*run.plan.unique, *run.plan.relatives]


def tables(folder: Path) -> dict[str, bytes]:
    """Every table and figure of a run, byte by byte (records and provenance carry times)."""
    timed = ("records.jsonl.gz", "provenance.json")
    return {
        path.name: path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in timed
    }


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """An uninterrupted run with one worker: (suite file, store folder, run)."""
    folder = tmp_path_factory.mktemp("reference")
    path = folder / "small.yaml"
    path.write_text(SUITE)
    return path, folder / "store", api.run(path, store=folder / "store", workers=1)


def harness(*words: str, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "harness", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_a_run_computes_every_cell_once(reference):
    _, store, run = reference
    assert run.outcome.failed == {} and run.outcome.found == []
    assert (
        sorted(run.outcome.done)
        == sorted(cell.key for cell in computed(run))
        == Store(store).finished()
    )
    assert {record.learner for record in run.results.records} == {"backprop", "bio", "pixels"}
    assert {record.seed for record in run.results.records} == {0, 1}


def test_what_a_folder_has_already_is_not_written_again(reference, tmp_path):
    path, store, _ = reference
    words = ("run", path, "--store", store, "--out", tmp_path / "out")

    def run_again() -> tuple[str, dict[str, int], dict[str, bytes]]:
        done = in_process(*words)
        assert done.returncode == 0 and "robust" in done.stdout, done.stderr
        times = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "out").iterdir()}
        return " ".join(done.stderr.split()), times, tables(tmp_path / "out")

    said, times, made = run_again()
    assert "files)" in said
    said, later, _ = run_again()
    assert "(up to date)" in said and later == times
    (tmp_path / "out" / "few.md").write_text("altered by hand")
    said, _, mended = run_again()
    assert "files)" in said and mended == made


def test_training_is_shared_between_protocols(reference):
    run = reference[2]
    trained = [
        cell
        for cell in run.plan.unique
        if cell.role == "train" and cell.identity["splitting"] == "standard"
    ]
    assert len(trained) == 3 * 2  # learners x seeds, though `plain` and `robust` both want them


def test_another_run_finds_everything_done(reference):
    path, store, run = reference
    again = api.run(path, store=store, workers=2)
    assert again.outcome.done == [] and len(again.outcome.found) == len(run.plan.unique)
    assert measured(again.results) == measured(run.results)


def test_workers_batch_size_and_order_change_no_value(reference, tmp_path):
    path, _, run = reference
    text = path.read_text().replace(
        "  backprop: {kind", "  pixels: {kind: nearest-mean}\n  backprop: {kind", 1
    )
    other = tmp_path / "small.yaml"
    other.write_text(text.replace("\n  pixels: {kind: nearest-mean}\nprotocols", "\nprotocols"))
    assert measured(
        api.run(other, store=tmp_path / "store", workers=3, batch_size=48).results
    ) == measured(run.results)


def test_episodes_are_the_same_for_every_learner(reference):
    run = reference[2]
    few = [
        record for record in run.results.records if record.protocol == "few" and record.seed == 0
    ]
    for ways in (2, 5):
        cells = [record.cell for record in few if record.setting["ways"] == ways]
        classes = [run.results.verdicts(cell, "classes").tolist() for cell in cells]
        assert len(classes) == 3 and classes[0] == classes[1] == classes[2]


def test_killed_runs_end_in_the_same_tables(reference, tmp_path):
    path, store, _ = reference
    whole = in_process("run", path, "--store", store, "--out", tmp_path / "whole")
    for finished in (1, 4):  # lines that a run prints before it is killed: it is at work then
        kill_when_it_prints(path, tmp_path, finished)
    words = ("--store", tmp_path / "store", "--out", tmp_path / "pieces")
    assert whole.returncode == in_process("run", path, *words).returncode == 0
    assert tables(tmp_path / "pieces") == tables(tmp_path / "whole") != {}


def kill_when_it_prints(path: Path, folder: Path, lines: int) -> None:
    """Start a run and ``kill -9`` it after some lines of progress; its workers must die too."""
    run = harness(
        "run", path, "--store", folder / "store", "--out", folder / "killed", "--workers", "2"
    )
    for _ in range(lines):
        assert run.stderr.readline().startswith("[")
    kill(run)


def kill(run: subprocess.Popen) -> None:
    below = descendants(run.pid)
    run.kill()
    run.wait()
    assert all(dead(child) for child in below), "a worker outlived its parent"


def descendants(pid: int) -> list[int]:
    """Workers are children of a server process, which is the run's child."""
    with contextlib.suppress(OSError):
        children = [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]
        return children + [further for child in children for further in descendants(child)]
    return []


def killed_after(path: Path, folder: Path, *, kills: int, longest_s: float) -> int:
    """Start a run and ``kill -9`` it at random moments; returns how often it was unfinished."""
    moments, killed = random.Random(0), 0
    for _ in range(kills):
        run = harness(
            "run", path, "--store", folder / "store", "--out", folder / "killed", "--workers", "2"
        )
        try:
            run.wait(moments.uniform(0.3, longest_s))
        except subprocess.TimeoutExpired:
            kill(run)
            killed += 1
    return killed


def dead(pid: int, within_s: float = 30.0) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            if "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text():
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.slow
def test_the_quickstart_survives_twenty_kills(tmp_path):
    path = Path(__file__).parents[2] / "suites" / "quickstart.yaml"
    assert (
        harness("run", path, "--store", tmp_path / "reference", "--out", tmp_path / "whole").wait()
        == 0
    )
    assert killed_after(path, tmp_path, kills=20, longest_s=12) >= 18
    assert (
        harness("run", path, "--store", tmp_path / "store", "--out", tmp_path / "pieces").wait()
        == 0
    )
    assert tables(tmp_path / "pieces") == tables(tmp_path / "whole") != {}


def test_two_runs_at_once_do_each_cell_once(reference, tmp_path):
    path, _, run = reference
    both = [harness("run", path, "--store", tmp_path / "store", "--workers", "1") for _ in range(2)]
    errors = [one.communicate(timeout=240)[1] for one in both]
    assert [one.returncode for one in both] == [0, 0], errors
    started = sum(int(error.split(" cells computed")[0].rpartition("\n")[2]) for error in errors)
    assert sorted(Store(tmp_path / "store").finished()) == sorted(
        cell.key for cell in computed(run)
    )
    assert started == len(computed(run)), "cells computed by the two runs together"
    assert measured(api.run(path, store=tmp_path / "store").results) == measured(run.results)


def test_a_damaged_cell_is_computed_again(reference, tmp_path):
    path, store, run = reference
    shutil.copytree(store, tmp_path / "store")
    cell = next(cell for cell in run.plan.unique if cell.role == "measure")
    verdicts = tmp_path / "store" / "cells" / cell.key / "verdicts.safetensors"
    verdicts.write_bytes(verdicts.read_bytes()[:-1])
    again = api.run(path, store=tmp_path / "store", workers=1)
    assert again.outcome.done == [cell.key]
    assert measured(again.results) == measured(run.results)


FAILING = '''
from baselines.nearest_mean import NearestMean

class Fails(NearestMean):
    """Fails in training."""
    def fit(self, train, **_):
        raise ArithmeticError("as it should")

class Refuses(NearestMean):
    """Says that something is wrong with its data."""
    def fit(self, train, **_):
        from harness.errors import HarnessError
        raise HarnessError("not with these")

class Leaves(NearestMean):
    """Leaves the process."""
    def fit(self, train, **_):
        raise SystemExit(0)

class Dies(NearestMean):
    """Dies in training, as for want of memory."""
    def fit(self, train, **_):
        import os, signal
        os.kill(os.getpid(), signal.SIGKILL)
'''


def test_a_failing_learner_does_not_stop_the_others(write_suite, tmp_path):
    (tmp_path / "failing.py").write_text(FAILING)
    path = write_suite("""
name: failing
learners:
  bad: {kind: "failing:Fails"}
  refusing: {kind: "failing:Refuses"}
  leaving: {kind: "failing:Leaves"}
  dead: {kind: "failing:Dies"}
  pixels: {kind: nearest-mean}
protocols: {plain: {kind: classification, dataset: digits}}
""")
    # A learner's module lies beside its suite, wherever the command is called.
    run = in_process("run", path, "--store", tmp_path / "store", folder="/")
    output, errors = run.stdout, run.stderr
    assert run.returncode == 1
    assert "not with these" in errors and "SystemExit" in errors
    assert (
        "ArithmeticError: as it should" in errors
        and "signal SIGKILL" in errors
        and "2 cells computed" in errors
    )
    assert "pixels" in output
    traces = [path.read_text() for path in (tmp_path / "store" / "failures").iterdir()]
    assert any("in fit" in trace for trace in traces)


NOISY = '''
import torch
from baselines.nearest_mean import NearestMean

class Noisy(NearestMean):
    """Draws from torch's global state, as any plain nn.Linear does, and prints."""
    def fit(self, train, **options):
        print("NOISE")
        log = super().fit(train, **options)
        means = self.tensors["means"]
        self.tensors |= {"means": means + 0.2 * torch.randn(means.shape)}
        return log
'''


def test_a_learner_that_draws_from_global_state_is_reproducible_all_the_same(write_suite, tmp_path):
    (tmp_path / "noisy.py").write_text(NOISY)
    path = write_suite("""
name: noisy
seeds: [0, 1, 2]
learners: {noisy: {kind: "noisy:Noisy"}, pixels: {kind: nearest-mean}}
protocols: {plain: {kind: classification, dataset: digits}}
""")
    runs = [
        api.run(path, store=tmp_path / f"store{workers}", workers=workers) for workers in (1, 3)
    ]
    assert measured(runs[0].results) == measured(runs[1].results)
    values = [record.value for record in runs[0].results.records if record.learner == "noisy"]
    assert len(set(values)) > 1, "each seed draws its own"


def test_a_plain_script_may_run_suites(write_suite, tmp_path):
    path = write_suite("""
name: scripted
learners: {pixels: {kind: nearest-mean}}
protocols: {plain: {kind: classification, dataset: digits}}
""")
    script = tmp_path / "script.py"
    script.write_text(
        f"import harness\n"
        f"print(harness.run({str(path)!r}, store={str(tmp_path / 'store')!r}).outcome.failed)"
    )
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stdout == "{}\n", done.stderr


CHANGING = """
from baselines.nearest_mean import NearestMean

class Changing(NearestMean):
    plastic = True
"""
EVERY_WAY = """
name: plastic
seeds: [0]
learners: {mine: {kind: "changing:Changing"}}
protocols:
  clean: {kind: classification, dataset: digits}
  noisy: {kind: corruption, dataset: digits, corruptions: [blur], images: 16}
  few: {kind: few_shot, dataset: digits, shots: [1], ways: [5], episodes: 2}
"""


def test_every_measurement_of_a_plastic_learner_says_so(write_suite, tmp_path, monkeypatch):
    (tmp_path / "changing.py").write_text(CHANGING)
    monkeypatch.syspath_prepend(tmp_path)
    run = api.run(write_suite(EVERY_WAY), store=tmp_path / "store", workers=1)
    assert not run.outcome.failed
    assert {record.protocol for record in run.results.records} == {"clean", "noisy", "few"}
    remarks = list(run.results.remarks.values())
    assert len(remarks) == 3 and all(PLASTIC in each for each in remarks)
