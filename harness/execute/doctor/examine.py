"""The examination: all checks in order. A check that raises is a failure, not a traceback."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from harness.data import acquire
from harness.execute.doctor import data, disks, hardware, software
from harness.execute.doctor.finding import Finding
from harness.storage.store import Store

Check = Callable[[], Iterable[Finding]]


def examine(store: str | Path, data_root: Path | None = None) -> list[Finding]:
    """Check everything.

    Args:
        store: folder or URL of finished cells, which need not exist.
        data_root: folder of datasets that are not embedded; from the environment if left out.
    """
    root = acquire.data_root(data_root)
    checks: dict[str, Check] = {
        "harness": software.installation,
        "releases": software.releases,
        "imports": software.imports,
        "plug-ins": software.plugins,
        "devices": hardware.devices,
        "machine": hardware.machine,
        "subnormals": hardware.subnormals,
        "data": lambda: data.datasets_under(root),
        "cache": disks.cache,
        "store": lambda: disks.store(Store(store)),
    }
    return [finding for name, check in checks.items() for finding in _guarded(name, check)]


def _guarded(name: str, check: Check) -> Iterator[Finding]:
    try:
        yield from check()
    except Exception as error:  # whatever is wrong with an environment, the other checks go on
        yield Finding("FAIL", name, f"{type(error).__name__}: {error}".partition("\n")[0])
