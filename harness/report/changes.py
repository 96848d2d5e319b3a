"""How two nested values differ, in words."""

from __future__ import annotations

from typing import Any


def changes(before: Any, now: Any, path: str = "") -> list[str]:
    """List the differences of two nested values.

    >>> changes({"config": {"steps": 8}, "n": 1}, {"config": {"steps": 7}, "n": 1})
    ['config.steps 8 -> 7']
    """
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return [] if before == now else [f"{path} {before} -> {now}"]
    found = []
    for key in dict.fromkeys([*before, *now]):
        inner = f"{path}.{key}" if path else key
        found += changes(before.get(key), now.get(key), inner)
    return found
