"""Which definitions are behind the code versions in a store, so that a change can be named.

``code/<version>.json`` maps ``module:name`` of each definition to its hash. One file serves every
cell of that version.
"""

from __future__ import annotations

import json

from harness.storage.store import Store


def has_record(store: Store, version: str) -> bool:
    """Whether the definitions behind a code version are recorded."""
    return store.files.exists(_path(version))


def write_record(store: Store, version: str, definitions: dict[str, str]) -> None:
    """Record the definitions behind a code version."""
    store.files.write(_path(version), json.dumps(definitions).encode())


def read_record(store: Store, version: str) -> dict[str, str]:
    """Read the definitions behind a code version; empty where they are not recorded."""
    try:
        return dict(json.loads(store.files.read(_path(version))))
    except (FileNotFoundError, ValueError):
        return {}


def _path(version: str) -> str:
    return f"code/{version}.json"
