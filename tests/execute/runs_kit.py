"""A suite for executors, what it measures, and broken learners."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

from harness.records import MEASURED

SUITE = """
name: small
seeds: [0]
learners:
  backprop: {kind: mlp, hidden: 32, epochs: 3}
  bio: {kind: ech, hidden: 40, epochs: 2, readout_steps: 50}
  pixels: {kind: nearest-mean}
protocols:
  plain: {kind: classification, dataset: digits}
  few: {kind: few_shot, dataset: digits, ways: 5, shots: 1, queries: 5, episodes: 40}
  robust:
    kind: attack_sweep
    dataset: digits
    images: 40
    attacks: [{attack: pgd, eps: [0, 0.1, 0.2], steps: 4, restarts: 2}]
"""

MATCHED = """
name: matched
snapshots: true
learners:
  bio: {kind: ech, hidden: 40, epochs: 2, readout_steps: 50}
  l1: {kind: mlp, hidden: 32, epochs: 2, match: {density: bio, trainings: 4}}
protocols: {plain: {kind: classification, dataset: digits}}
"""

WRONG = '''
import ctypes, os, time
import torch
from baselines.nearest_mean import NearestMean

class Raises(NearestMean):
    """Raises in training."""
    def fit(self, train, **_):
        raise ArithmeticError("as it should")

class Interrupts(NearestMean):
    """Raises what no learner should."""
    def fit(self, train, **_):
        raise KeyboardInterrupt

class Exits(NearestMean):
    """Ends its process without an error."""
    def fit(self, train, **_):
        os._exit(0)

class Crashes(NearestMean):
    """Reads from address 0."""
    def fit(self, train, **_):
        ctypes.string_at(0)

class Hangs(NearestMean):
    """Never returns."""
    def fit(self, train, **_):
        time.sleep(1000)

class Tells(NearestMean):
    """Reports its process, folder, environment and threads."""
    def fit(self, train, **_):
        place = [os.getpid(), os.getcwd(), os.environ.get("OF_THE_RUN")]
        threads = [torch.get_num_threads(), os.environ["OMP_NUM_THREADS"]]
        raise ArithmeticError(" ".join(map(str, place + threads)))
'''

WAITING = '''
import time
from pathlib import Path
from baselines.mlp import Mlp

class Waits(Mlp):
    """Backprop that waits for a file beside this module."""
    def fit(self, train, **options):
        while not Path(__file__).with_name("go").exists():
            time.sleep(0.05)
        return super().fit(train, **options)
'''


def measured(results) -> list[str]:
    """Record values as text, in a fixed order: equal to the bit or different."""
    return sorted(
        json.dumps({key: record.to_dict()[key] for key in MEASURED}, sort_keys=True)
        for record in results.records
    )


class Watch:
    """A display that remembers what it was told."""

    def __init__(self, *, running: int = 0, then=None):
        self.starts, self.ends, self.errors, self.running, self.then = [], [], {}, running, then

    def started(self, worker, cell) -> None:
        """Call ``then`` once, when ``running`` cells are running."""
        self.starts.append(cell.key)
        if self.then and len(set(self.starts) - set(self.ends)) == self.running:
            self.then = self.then()

    def progressed(self, worker, fraction, note) -> None:
        pass

    def warned(self, cell, warning) -> None:
        pass

    def finished(self, worker, cell, seconds, error) -> None:
        self.ends.append(cell.key)
        if error:
            self.errors[cell.key] = error

    def skipped(self, cells) -> None:
        self.ends += [cell.key for cell in cells]


def interrupted(*words: str, after: int) -> subprocess.Popen:
    """Send Ctrl-C to ``harness run`` after so many finished cells; returns it when it has ended."""
    run = subprocess.Popen(
        [sys.executable, "-m", "harness", "run", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    for line in run.stderr:
        if line.startswith("[") and line.partition("/")[0].strip("[ ") == str(after):
            run.send_signal(signal.SIGINT)
            break
    run.errors = run.stderr.read()
    run.wait(60)
    return run
