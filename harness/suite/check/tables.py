"""Checks of tables: their protocol, and the keys that rows and columns are made of."""

from __future__ import annotations

from harness.errors import did_you_mean
from harness.suite.check.context import Checking, Steps
from harness.suite.check.numbers import find, keys_of
from harness.suite.model import ProtocolEntry, SuiteConfig
from harness.suite.specs.tables import TableSpec


def check_tables(checking: Checking, top: SuiteConfig, protocols: list[ProtocolEntry]) -> None:
    """Check every table that a suite asks for."""
    for index, spec in enumerate(top.tables):
        _check_table(checking, ("tables", index), spec, top, protocols)


def _check_table(
    checking: Checking,
    path: Steps,
    spec: TableSpec,
    top: SuiteConfig,
    protocols: list[ProtocolEntry],
) -> None:
    if spec.protocol not in top.protocols:
        checking.report(
            (*path, "protocol"),
            f"unknown protocol {spec.protocol!r}",
            did_you_mean(spec.protocol, top.protocols),
        )
        return
    entry = find(protocols, spec.protocol)
    if entry is None:
        return
    keys = set(keys_of(entry))
    for axis, names in (("rows", spec.rows), ("columns", spec.columns)):
        for index, key in enumerate([names] if isinstance(names, str) else names):
            if key not in keys:
                at = (*path, axis) if isinstance(names, str) else (*path, axis, index)
                message = f"{spec.protocol!r} has no {key!r} to tabulate by"
                checking.report(at, message, did_you_mean(key, keys))
    for key in spec.only:
        if key not in keys:
            message = f"{spec.protocol!r} has no {key!r} to choose by"
            checking.report((*path, "only", key), message, did_you_mean(key, keys))
