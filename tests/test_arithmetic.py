"""Subnormal numbers: flushed while a cell is computed, and only then."""

from __future__ import annotations

import threading

import torch

from harness.arithmetic import flushed_subnormals, flushes
from harness.cells.run import global_state


class SomeCell:
    """What ``global_state`` reads of a cell."""

    seed = 0
    role = "train"


def test_a_cell_computes_without_subnormal_numbers_in_every_thread():
    seen = []
    with global_state(SomeCell):
        seen.append(flushes())
        thread = threading.Thread(target=lambda: seen.append(flushes()))
        thread.start()
        thread.join()
        product = torch.full((1_000_000,), 1e-30) * 1e-10
        seen.append(not product.view(torch.int32).any())
    with flushed_subnormals() as can_flush:
        pass
    assert seen == [can_flush] * 3


def test_flushing_ends_with_the_cell_and_keeps_what_was_set_before():
    assert not flushes()
    with flushed_subnormals():
        pass
    assert not flushes()
    if torch.set_flush_denormal(True):
        with flushed_subnormals():
            pass
        assert flushes()
    torch.set_flush_denormal(False)


def test_flushing_ends_if_the_cell_fails():
    try:
        with global_state(SomeCell):
            raise RuntimeError
    except RuntimeError:
        pass
    assert not flushes()
