"""A benchmark and robustness harness for brain-inspired learning rules."""

from __future__ import annotations

from typing import Any

__all__ = ["check", "load", "run"]


def __getattr__(name: str) -> Any:
    """``harness.run``, ``harness.load`` and ``harness.check``, imported when asked for."""
    if name in __all__:
        from harness import api

        return getattr(api, name)
    raise AttributeError(f"module 'harness' has no attribute {name!r}")
