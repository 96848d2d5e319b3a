"""A benchmark and robustness harness for brain-inspired learning rules.

``harness.run``, ``harness.load`` and ``harness.check`` are the commands of the terminal as Python
functions; ``harness.api`` has the others.
"""

from __future__ import annotations

from typing import Any

__all__ = ["check", "load", "run"]


def __getattr__(name: str) -> Any:
    """Import a public function on first use, so that ``import harness`` stays fast."""
    if name in __all__:
        from harness import api

        return getattr(api, name)
    raise AttributeError(f"module 'harness' has no attribute {name!r}")
