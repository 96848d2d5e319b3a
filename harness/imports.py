"""Imports of third-party packages that do not come up quietly, or at all, by themselves."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import random
import sys
import warnings
from collections.abc import Iterator
from functools import cache
from types import ModuleType

import numpy as np

from harness.lazy import torch


@cache
def import_learn2learn() -> ModuleType:
    """learn2learn, with the global state of the process left as it was found.

    Importing it pulls in gym, which prints a notice and sets environment variables, and torchvision, whose CUDA wheel
    does not import beside a CPU build of torch: its C++ library cannot load, and the Python part then describes
    operators that do not exist. Their schemas are declared first in that case; nothing here calls the operators.
    """
    with _state_kept(), contextlib.redirect_stderr(io.StringIO()):
        try:
            importlib.import_module("torchvision")
        except RuntimeError as error:
            if "torchvision::nms" not in str(error):
                raise
            _declare_torchvision_operators()
        return importlib.import_module("learn2learn")


_library = None  # the declarations live as long as this object


def _declare_torchvision_operators() -> None:
    global _library
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]  # what the failed import left half made
    _library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        _library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


@contextlib.contextmanager
def _state_kept() -> Iterator[None]:
    """Random states, warning filters and environment variables are afterwards what they were before."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    environment = dict(os.environ)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
