"""What a silent cell is doing, seen from its stack."""

from __future__ import annotations

import sys
import threading
import time

import numpy as np
import pytest
import torch

from harness.attacks.engine.sweep import sweep
from harness.execute import phase
from harness.registry import attacks
from harness.rng import Rng
from harness.rules import readouts


def seen_while(work) -> list[str]:
    """The phases that a thread at work shows."""
    seen: list[str] = []
    worker = threading.Thread(target=work)
    worker.start()
    while worker.is_alive():
        time.sleep(0.0005)
        seen.append(phase.phase(sys._current_frames().get(worker.ident)))
    worker.join()
    return seen


def test_a_silent_read_out_tells_its_step():
    weight = torch.ones(1, 4, 2)

    def drive(v: torch.Tensor) -> torch.Tensor:
        time.sleep(0.001)
        return v

    seen = seen_while(lambda: readouts.descend(weight, drive, steps=20, rate=0.1, clip=0.1))
    assert "read-out, step 7 of 20" in seen


def test_an_attack_tells_its_eps():
    attack = attacks["pgd"].of(eps=[0.0, 0.05, 0.1], steps=40, sweep="independent")
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
    images, labels = torch.rand(50, 1, 4, 4), torch.arange(50) % 3
    seen = seen_while(lambda: sweep(model, images, labels, np.arange(50), attack, Rng(0)))
    assert {"pgd-40 at eps 0.05", "pgd-40 at eps 0.1"} <= set(seen)


def test_every_landmark_is_a_function_of_its_module():
    """A landmark that was renamed would be silent for ever."""
    for module, function in phase.LANDMARKS:
        source = __import__(module, fromlist=["x"])
        names = [function, *(f"{name}.{function}" for name in vars(source))]
        assert any(_has(source, name) for name in names), (module, function)


def _has(module, name: str) -> bool:
    thing = module
    for part in name.split("."):
        thing = getattr(thing, part, None)
    return callable(thing)


def test_local_variables_that_are_not_there_yet_leave_the_short_name():
    frame = sys._getframe()
    assert phase._name(frame, "read-out", phase._read_out) == "read-out"


def test_a_silent_cell_is_reported_with_its_last_note_and_not_after_its_end(monkeypatch):
    monkeypatch.setattr(phase, "LOOK_S", 0.005)
    reports: list[tuple[float, str]] = []
    with phase.watched(lambda fraction, note: reports.append((fraction, note))) as progress:
        progress(0.5, "epoch 3 of 10")
        patience = time.monotonic() + 10
        while len(reports) < 3 and time.monotonic() < patience:
            time.sleep(0.01)
    count = len(reports)
    time.sleep(0.03)
    assert (0.5, "epoch 3 of 10") in reports
    assert 3 <= count == len(reports)


def test_an_error_of_the_cell_ends_the_watch(monkeypatch):
    threads = threading.active_count()
    with pytest.raises(ValueError, match="no"), phase.watched(lambda fraction, note: None):
        raise ValueError("no")
    assert threading.active_count() == threads
