"""How two nested values differ, in words."""

from __future__ import annotations

from typing import Any


def changes(before: Any, now: Any, path: str = "") -> list[str]:
    """List the differences of two nested values.

    An entry that only one of them has is named, not written out.

    >>> changes({"config": {"steps": 8}, "n": 1}, {"config": {"steps": 7}, "n": 1})
    ['config.steps 8 -> 7']
    >>> changes({"a": {"kind": "mlp"}}, {"attacks": [1], "b": {"kind": "ech"}})
    ['a removed', 'attacks None -> [1]', 'b added']
    >>> changes({"attacks": [{"steps": 8}]}, {"attacks": [{"steps": 7}]})
    ['attacks.0.steps 8 -> 7']
    """
    if before == now:
        return []
    if isinstance(now, dict) and before is None:
        return [f"{path} added"]
    if isinstance(before, dict) and now is None:
        return [f"{path} removed"]
    before, now = _entries(before, now)
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return [f"{path} {before} -> {now}"]
    found = []
    for key in dict.fromkeys([*before, *now]):
        inner = f"{path}.{key}" if path else str(key)
        found += changes(before.get(key), now.get(key), inner)
    return found


def _entries(before: Any, now: Any) -> tuple[Any, Any]:
    """Two lists of as many mappings as mappings by position; other values as they are."""
    are_lists = isinstance(before, list) and isinstance(now, list) and len(before) == len(now)
    if are_lists and all(isinstance(entry, dict) for entry in [*before, *now]):
        return dict(enumerate(before)), dict(enumerate(now))
    return before, now
