"""Imports of third-party packages that print, change global state, or fail on their own."""

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
from typing import TYPE_CHECKING

import numpy as np

from harness.lazy import torch

if TYPE_CHECKING:
    from torch.library import Library


@cache
def import_learn2learn() -> ModuleType:
    """Import learn2learn without changing the global state of the process.

    It imports gym, which prints a notice and sets environment variables, and torchvision.
    """
    with _unchanged_state(), contextlib.redirect_stderr(io.StringIO()):
        return import_with_torchvision("learn2learn")


def import_with_torchvision(name: str) -> ModuleType:
    """Import a module that may import torchvision.

    A CUDA build of torchvision cannot be imported beside a CPU build of torch: its C++ library does
    not load, and its Python part then refers to operators that were never declared. In that case
    they are declared, and the import is tried again; only detection models call them.
    """
    try:
        return importlib.import_module(name)
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    _declare_torchvision_operators()
    return importlib.import_module(name)


_library: Library | None = None
"""Keeps the declared operators alive: they vanish with this object."""


def _declare_torchvision_operators() -> None:
    global _library  # noqa: PLW0603  # see above
    loaded = [name for name in sys.modules if name.partition(".")[0] == "torchvision"]
    for name in loaded:
        del sys.modules[name]  # the failed import left it incomplete
    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _library = library


@contextlib.contextmanager
def _unchanged_state() -> Iterator[None]:
    """Restore random states, warning filters and environment variables on exit."""
    random_state = random.getstate()
    numpy_state = np.random.get_state()
    torch_state = torch.get_rng_state()
    environment = dict(os.environ)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        random.setstate(random_state)
        np.random.set_state(numpy_state)
        torch.set_rng_state(torch_state)
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
