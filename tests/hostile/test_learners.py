"""Misbehaving learners: one line reports how, the others go on, and no table has wrong values."""

from __future__ import annotations

import re
import resource
import shutil
import time
from pathlib import Path

import pytest
from hostile_kit import call, clear, start

HERE = Path(__file__).parent
EXPECTED = {
    "Raises": "ArithmeticError: first line",
    "Leaves": "the worker process died (exit status 0)",
    "LeavesLater": "the worker process died (exit status 3)",
    "NotANumber": "logits are NaN or infinite",
    "NowAndThen": "logits are NaN or infinite",
    "TooWide": "logits must be floats of shape (",
    "TooFlat": "logits must be floats of shape (",
    "TooShort": "a network must return one row for each of its",
    "NoTensor": "a network must return one row for each of its",
    "Hungry": "can't allocate memory",
    "HungryInPython": "MemoryError",
    "Recurses": "RecursionError: maximum recursion depth exceeded",
    "BadState": "AttributeError: 'list' object has no attribute",
    "BadLog": "fit() must return a TrainingLog, got NoneType",
}
PROTOCOLS = """
  plain: {kind: classification, dataset: digits}
  robust:
    kind: attack_sweep
    dataset: digits
    images: 20
    trust: false
    attacks: [{attack: pgd, eps: [0, 0.1], steps: 2}]
  corrupted: {kind: corruption, dataset: digits, images: 20}
"""


@pytest.fixture
def suite(tmp_path):
    """Write a suite of some of the hostile learners and a sound one."""
    shutil.copy(HERE / "hostile_learners.py", tmp_path)

    def write(*kinds: str, protocols: str = PROTOCOLS) -> Path:
        path = tmp_path / "hostile.yaml"
        entries = "".join(f"  {kind}: {{kind: 'hostile_learners:{kind}'}}\n" for kind in kinds)
        learners = f"{entries}  pixels: {{kind: nearest-mean}}"
        path.write_text(f"name: hostile\nlearners:\n{learners}\nprotocols:{protocols}")
        return path

    return write


def failures(error: str) -> dict[str, list[str]]:
    """Learner -> what the summary says of each of its cells that failed."""
    found: dict[str, list[str]] = {}
    told = re.sub(r"\n(?!FAILED|       traceback|       raised at)", " ", error)
    for learner, why in re.findall(r"^FAILED (\S+) · .*?seed 0: (.*)$", told, re.M):
        found.setdefault(learner, []).append(why)
    return found


def test_each_fails_with_its_line_in_every_protocol_and_the_others_go_on(suite, tmp_path):
    done = call(
        "run",
        suite(*EXPECTED),
        "--store",
        tmp_path / "store",
        "--out",
        tmp_path / "out",
        env_more={"COLUMNS": "400"},
    )
    assert done.returncode == 1 and clear(done.stderr.replace("traceback:", ""))
    told = failures(done.stderr)
    assert told.keys() == EXPECTED.keys()
    for learner, line in EXPECTED.items():
        assert len(told[learner]) >= 3 and all(line in why for why in told[learner]), (
            learner,
            told[learner],
        )
    for protocol in ("plain", "robust", "corrupted"):
        rows = (tmp_path / "out" / f"{protocol}.csv").read_text().splitlines()
        assert any("pixels" in row for row in rows) and not any(
            re.search(rf"\b{name}\b.*\d\.\d", row) for row in rows for name in EXPECTED
        ), rows


def test_one_that_hangs_is_stopped_at_the_time_limit_and_the_others_go_on(suite, tmp_path):
    path = suite("Hangs", protocols="\n  plain: {kind: classification, dataset: digits}\n")
    done = call(
        "run",
        path,
        "--store",
        tmp_path / "store",
        "--time-limit",
        "60",
        env_more={"COLUMNS": "400"},
    )
    assert (
        done.returncode == 1 and "2 cells computed, 0 found in the store, 2 failed" in done.stderr
    ), done.stderr
    assert all(
        "it took longer than the time limit of 60 s" in why
        for why in failures(done.stderr)["Hangs"]
    )


def test_memory_that_runs_out_in_one_cell_is_that_cells_failure(suite, tmp_path):
    def little():
        resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))

    path = suite("Greedy", protocols="\n  plain: {kind: classification, dataset: digits}\n")
    done = call(
        "run",
        path,
        "--store",
        tmp_path / "store",
        "--workers",
        "1",
        preexec_fn=little,
        env_more={"COLUMNS": "400"},
    )
    assert (
        done.returncode == 1 and "2 cells computed, 0 found in the store, 2 failed" in done.stderr
    ), done.stderr
    assert all("can't allocate memory" in why for why in failures(done.stderr)["Greedy"])


def peak_memory(run) -> int:
    """Highest resident memory of a process (kB), watched until it ends."""
    highest = 0
    while run.poll() is None:
        try:
            found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{run.pid}/status").read_text())
        except FileNotFoundError:
            break
        highest = max(highest, int(found[1]) if found else 0)
        time.sleep(0.05)
    return highest


def test_a_learner_that_prints_a_hundred_megabytes_takes_no_memory_of_the_run(suite, tmp_path):
    path, peaks = (
        suite("Shouts", protocols="\n  plain: {kind: classification, dataset: digits}\n"),
        [],
    )
    for kilobytes in (10, 100_000):
        with (tmp_path / f"said-{kilobytes}").open("wb") as said:
            run = start(
                "run",
                path,
                "--store",
                tmp_path / f"store-{kilobytes}",
                "--workers",
                "1",
                stderr=said,
                stdout=said,
                env_more={"SHOUT_KB": str(kilobytes)},
            )
            peaks.append(peak_memory(run))
            assert run.wait() == 0
        assert (tmp_path / f"said-{kilobytes}").stat().st_size > 1000 * kilobytes
    assert peaks[1] < peaks[0] + 30_000
