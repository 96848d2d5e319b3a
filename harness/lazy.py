"""torch, and parts of SciPy, imported on first use.

``import torch`` takes seconds, which listing and validating suites must not pay. Files that
register an entry (a learner, a dataset, an attack, a protocol) are imported to read their config
models. They write ``from harness.lazy import torch`` and use it inside functions only. Files that
define ``nn.Module`` classes import torch as usual and are themselves imported lazily.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__all__ = ["F", "LazyModule", "ndimage", "nn", "stats", "torch"]


class LazyModule:
    """A placeholder that imports its module when an attribute is first read.

    >>> LazyModule("math").sqrt(4.0)
    2.0
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(importlib.import_module(self._name), attribute)
        setattr(self, attribute, value)  # the next access does not come here
        return value

    def __repr__(self) -> str:
        return f"<lazy module {self._name!r}>"


if TYPE_CHECKING:
    import torch
    import torch.nn.functional as F
    from scipy import ndimage, stats
    from torch import nn
else:
    torch = LazyModule("torch")
    F = LazyModule("torch.nn.functional")
    nn = LazyModule("torch.nn")
    ndimage = LazyModule("scipy.ndimage")
    stats = LazyModule("scipy.stats")
