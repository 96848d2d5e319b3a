"""torch on first use. ``import torch`` takes seconds; listing and validating a suite must not pay them.

Files that register an entry (a learner, a dataset, an attack, a protocol) are imported to read their config models, so
they write ``from harness.lazy import torch`` and touch it only inside functions. Files that define ``nn.Module``
classes import torch the ordinary way and are themselves reached lazily.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any


class LazyModule:
    """Stands for a module and imports it when an attribute is first read."""

    def __init__(self, name: str):
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(importlib.import_module(self._name), attribute)
        setattr(self, attribute, value)  # the next access skips this function
        return value

    def __repr__(self) -> str:
        return f"<lazy module {self._name!r}>"


if TYPE_CHECKING:
    import torch
    import torch.nn.functional as F
    from torch import nn
else:
    torch = LazyModule("torch")
    F = LazyModule("torch.nn.functional")
    nn = LazyModule("torch.nn")
