"""Killed, interrupted and concurrent runs: no record is lost, incomplete or changed."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
from hostile_kit import amount, below, call, clear, computed, sound, start, survive, tables

from harness.storage.store import Store

KILLS, RUNS = amount("HOSTILE_KILLS", 20), amount("HOSTILE_RUNS", 8)
LINE = "interrupted; finished cells are kept, run the same command to resume"


def test_kills_at_random_moments_lose_nothing(matched, tmp_path):
    """``kill -9`` of the run, or of a process below it, over and over."""

    def strike(run) -> bool:
        workers = below(run.pid)
        victim = random.choice(workers) if workers and random.random() < 0.3 else run.pid
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        return True

    store = survive(matched, tmp_path, strike, KILLS, "--workers", "2")
    whole = sound(store)
    assert call("store", "gc", store, "--delete").returncode == 0
    assert not list((store / "tmp").iterdir()) and sound(store) == whole, (
        "what killed runs left lay in tmp alone"
    )


INTERRUPTED = """
name: interrupted
learners: {interrupts: {kind: "hostile_learners:Interrupts"}, pixels: {kind: nearest-mean}}
protocols: {plain: {kind: classification, dataset: digits}}
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("stage", ["import", "fit", "measure"])
def test_a_signal_at_each_stage_ends_the_run_with_one_line_and_the_next_goes_on(
    tmp_path, stage, how
):
    shutil.copy(Path(__file__).parent / "hostile_learners.py", tmp_path)
    path = tmp_path / "interrupted.yaml"
    path.write_text(INTERRUPTED)
    command = ("run", path, "--store", tmp_path / "store", "--workers", "1")
    sign = tmp_path / "sign"
    run = start(*command, env_more={"INTERRUPT_AT": stage, "INTERRUPT_SIGN": str(sign)})
    while not sign.exists():
        assert run.poll() is None, run.stderr.read()
        time.sleep(0.05)
    run.send_signal(how)
    _, errors = run.communicate(timeout=120)
    assert run.returncode == 130 and errors.rstrip().endswith(LINE) and clear(errors), errors
    again = call(*command)
    assert again.returncode == 0 and "0 failed" in again.stderr
    assert len(sound(tmp_path / "store")) == 4


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_tables_are_written_leaves_each_file_whole(small, tmp_path, how):
    path, store, undisturbed = small
    run = start("run", path, "--store", store, "--out", tmp_path / "out")
    while run.poll() is None and not list((tmp_path / "out").glob("*.*")):
        time.sleep(0.01)
    run.send_signal(how)
    _, errors = run.communicate(timeout=120)
    assert run.returncode in (0, 130) and "Traceback" not in errors, errors
    whole = tables(undisturbed)
    assert all(
        whole[name] == data
        for name, data in tables(tmp_path / "out").items()
        if not name.endswith(".tmp")
    )


@pytest.mark.parametrize("count", sorted({2, RUNS}))
def test_runs_at_once_on_one_store_do_each_cell_once_and_all_end_well(small, tmp_path, count):
    path, reference, undisturbed = small
    runs = [
        start(
            "run",
            path,
            "--store",
            tmp_path / "store",
            "--out",
            tmp_path / f"out{number}",
            "--workers",
            "1",
        )
        for number in range(count)
    ]
    errors = [run.communicate(timeout=900)[1] for run in runs]
    assert [run.returncode for run in runs] == [0] * count, errors
    assert sound(tmp_path / "store") == sound(reference) and sum(map(computed, errors)) == len(
        sound(reference)
    )
    assert all(tables(tmp_path / f"out{number}") == tables(undisturbed) for number in range(count))


BACKWARDS = """
import time, datetime
_now = [4e9]
def _back():
    _now[0] -= 3600.0
    return _now[0]
time.time = _back
time.time_ns = lambda: int(_back() * 1e9)
"""


def test_a_clock_that_runs_backwards_changes_nothing(small, tmp_path):
    path, reference, undisturbed = small
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(BACKWARDS)
    places = os.pathsep.join(
        [str(tmp_path / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    probe = call("doctor", "--store", tmp_path / "store", env_more={"PYTHONPATH": places})
    assert "WARN clock" in probe.stdout, "the clock of these processes is not the mocked one"
    done = call(
        "run",
        path,
        "--store",
        tmp_path / "store",
        "--out",
        tmp_path / "out",
        env_more={"PYTHONPATH": places},
    )
    assert done.returncode == 0 and "0 failed" in done.stderr, done.stderr
    assert sound(tmp_path / "store") == set(Store(reference).finished())
    assert tables(tmp_path / "out") == tables(undisturbed)
