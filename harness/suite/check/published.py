"""Checks of published numbers, and citations replaced by the numbers that they stand for."""

from __future__ import annotations

from harness.errors import HarnessError
from harness.suite.check.context import Checking, Steps
from harness.suite.check.numbers import check_number, choices, find
from harness.suite.model import ProtocolEntry, SuiteConfig
from harness.suite.published import cited
from harness.suite.specs.published import PublishedSpec


def checked_published(
    checking: Checking, top: SuiteConfig, protocols: list[ProtocolEntry]
) -> list[PublishedSpec]:
    """The published numbers of a suite, each with its value."""
    numbers: list[PublishedSpec] = []
    for index, spec in enumerate(top.published):
        path = ("published", index)
        learners = []
        if spec.learner is not None:
            checking.is_learner((*path, "learner"), spec.learner, top)
            learners = [spec.learner]
        is_single = spec.cite is None
        check_number(checking, path, spec, top, protocols, learners, single=is_single)
        entry = find(protocols, spec.protocol)
        if spec.cite is None or entry is None:
            numbers.append(spec)
        else:
            numbers += _cited(checking, path, spec, entry)
    return numbers


def _cited(
    checking: Checking, path: Steps, spec: PublishedSpec, entry: ProtocolEntry
) -> list[PublishedSpec]:
    """The numbers that a citation stands for, as far as the protocol measures them."""
    try:
        candidates = cited(spec, entry.protocol.kind)
    except HarnessError as error:
        checking.report((*path, "cite"), error.message, error.hint or "")
        return []
    return [each for each in candidates if _is_measured(each, entry)]


def _is_measured(spec: PublishedSpec, entry: ProtocolEntry) -> bool:
    for key, value in spec.setting.items():
        possible = choices(entry, key)
        if possible and value not in possible:
            return False
    return True
