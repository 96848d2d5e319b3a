"""Checks of references to numbers: protocol, keys of the setting, and learners measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from harness import budgets
from harness.errors import did_you_mean
from harness.metrics.catalogue import METRICS, SHARES
from harness.records import UNION, WORST
from harness.suite.check.context import Checking, Steps
from harness.suite.model import ProtocolEntry, SuiteConfig
from harness.suite.specs.bounds import OWN, BoundedSpec


class NumberReference(Protocol):
    """What claims, figures and published numbers have in common: they point at a number."""

    @property
    def protocol(self) -> str | None:
        """Name of the protocol."""

    @property
    def metric(self) -> str:
        """Which number."""

    @property
    def setting(self) -> dict[str, Any]:
        """Which of the protocol's numbers."""


def check_number(
    checking: Checking,
    path: Steps,
    spec: NumberReference,
    top: SuiteConfig,
    protocols: list[ProtocolEntry],
    learners: Sequence[str] = (),
    *,
    single: bool = True,
) -> None:
    """Check a reference to a number.

    Args:
        checking: where problems go.
        path: of the reference.
        spec: the reference.
        top, protocols: of the suite.
        learners: names whose number it is; the protocol must measure them.
        single: whether it must be one number, not several.
    """
    if spec.protocol not in top.protocols:
        checking.report(
            (*path, "protocol"),
            f"unknown protocol {spec.protocol!r}",
            did_you_mean(str(spec.protocol), top.protocols),
        )
        return
    entry = find(protocols, spec.protocol)
    if entry is None:
        return
    _check_setting(checking, path, spec, entry)
    if single:
        for key in [*_undecided(entry, spec.setting), *_unnamed_budgets(entry, spec)]:
            listed = ", ".join(map(str, choices(entry, key)))
            checking.report(
                path,
                f"it fits several numbers of {spec.protocol!r}",
                f"say which {key} in its `setting`: {listed}",
            )
    if ":" not in entry.protocol.kind and spec.metric not in METRICS:
        checking.report(
            (*path, "metric"),
            f"unknown metric {spec.metric!r}",
            did_you_mean(spec.metric, METRICS),
        )
    measured = {learner.name for learner in entry.learners}
    for name in learners:
        # A faulty learner is left out of every protocol, and is already reported.
        faulty = checking.is_faulty("learners", name)
        if name in top.learners and name not in measured and not faulty:
            hint = entry.skipped.get(name, "add it to that protocol's `learners`")
            checking.report(path, f"{spec.protocol!r} does not measure {name!r}", hint)


def check_bounded(
    checking: Checking,
    path: Steps,
    spec: BoundedSpec,
    top: SuiteConfig,
    protocols: list[ProtocolEntry],
    learners: Sequence[str],
) -> None:
    """Check a number with a bound: the number, and that the bound can be kept.

    Args:
        checking, path, spec, top, protocols, learners: see ``check_number``.
    """
    check_number(checking, path, spec, top, protocols, learners)
    if spec.metric not in SHARES:
        return
    for name in OWN:
        bound = getattr(spec, name)
        ends = bound if isinstance(bound, list) else [bound]
        if any(end is not None and not 0 <= end <= 1 for end in ends):
            checking.report(
                (*path, name),
                f"{spec.metric} is a fraction from 0 to 1",
                "write 0.5 or 50 %",
            )


def _check_setting(
    checking: Checking, path: Steps, spec: NumberReference, entry: ProtocolEntry
) -> None:
    keys = set(keys_of(entry))
    for key, value in spec.setting.items():
        at = (*path, "setting", key)
        possible = choices(entry, key)
        if key not in keys:
            checking.report(at, f"{spec.protocol!r} has no {key!r}", did_you_mean(key, keys))
        elif possible and value not in possible:
            checking.report(
                at,
                f"{spec.protocol!r} has no {key} {value!r}",
                did_you_mean(str(value), map(str, possible)),
            )


def find(protocols: list[ProtocolEntry], name: str | None) -> ProtocolEntry | None:
    """Find a protocol by name; None if it is faulty."""
    return next((entry for entry in protocols if entry.name == name), None)


def keys_of(entry: ProtocolEntry) -> Iterator[str]:
    """Keys that a protocol's records can be distinguished by."""
    yield from ("learner", "seed", "dataset", "metric")
    yield from entry.protocol.keys
    for setting in entry.protocol.settings():
        yield from setting.to_identity()


def choices(entry: ProtocolEntry, key: str) -> list[Any]:
    """The values that a key of a setting can have, as far as they are known before measuring."""
    values: list[Any] = []
    untargeted: set[str] = set()
    norms: set[str] = set()
    for setting in entry.protocol.settings():
        identity = setting.to_identity()
        if "attack" in identity and "target" not in identity:
            untargeted.add(identity["attack"])
            norms.add(identity["norm"])
        value = identity.get(key, identity.get("config", {}).get(key))
        if value is None:
            continue
        listed = value if isinstance(value, list) else [value]
        values += [each for each in listed if each not in values]
    # The worst case over a single attack is not derived: it is that attack.
    if len(untargeted) > 1 and key == "attack" and WORST not in values:
        values.append(WORST)
    if len(norms) > 1 and key == "attack":
        values.append(UNION)
    return values


def _undecided(entry: ProtocolEntry, setting: dict[str, Any]) -> list[str]:
    """Keys in which the cells that fit a setting differ: without them it is not one number."""
    identities = [each.to_identity() for each in entry.protocol.settings()]
    fitting = [
        identity
        for identity in identities
        if all(identity.get(key, value) == value for key, value in setting.items())
    ]
    if not fitting:
        return []
    first = fitting[0]
    return [
        key
        for key in first
        if key != "config" and any(identity[key] != first[key] for identity in fitting)
    ]


def _unnamed_budgets(entry: ProtocolEntry, spec: NumberReference) -> list[str]:
    """Keys of budgets of which the setting names none, where an accuracy has several."""
    if spec.metric != "accuracy":
        return []
    unnamed = [key for key in budgets.KEYS if key not in spec.setting]
    return [key for key in unnamed if len(choices(entry, key)) > 1]
