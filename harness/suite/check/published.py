"""Checks of published numbers, and citations replaced by the numbers that they stand for."""

from __future__ import annotations

from harness.errors import HarnessError
from harness.suite.check.context import Checking, Steps
from harness.suite.check.numbers import check_number, choices, find
from harness.suite.model import ProtocolEntry, SuiteConfig
from harness.suite.published import cited, other_data
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
    kind = entry.protocol.kind
    at = (*path, "cite")
    try:
        candidates = cited(spec, kind)
    except HarnessError as error:
        checking.report(at, error.message, error.hint or "")
        return []
    other = other_data(spec, kind, entry.dataset)
    here = entry.dataset.title
    if other and not spec.differs:
        checking.report(
            at,
            f"{spec.cite!r} was measured on {other}, but {entry.name!r} measures {here}",
            "cite it where its data is measured; with `differs: true` it is shown all the same, "
            "and the table says on what it was measured",
        )
        return []
    measured = [each for each in candidates if _is_measured(each, entry)]
    if not measured:
        settings = ", ".join(_words(each) for each in candidates)
        hint = f"it has: {settings}"
        checking.report(at, f"{entry.name!r} measures no setting of {spec.cite!r}", hint)
    if other:
        remark = f"measured on {other}, not on {here}"
        return [each.model_copy(update={"source": f"{each.source}; {remark}"}) for each in measured]
    return measured


def _words(spec: PublishedSpec) -> str:
    """The setting of a number, e.g. ``"ways 5 shots 1"``."""
    return " ".join(f"{key} {value}" for key, value in spec.setting.items())


def _is_measured(spec: PublishedSpec, entry: ProtocolEntry) -> bool:
    for key, value in spec.setting.items():
        possible = choices(entry, key)
        if possible and value not in possible:
            return False
    return True
