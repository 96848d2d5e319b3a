"""Checks of bars: the learner, the number, and whether the bar can be cleared."""

from __future__ import annotations

from harness.suite.check.context import Checking
from harness.suite.check.numbers import check_bounded
from harness.suite.model import ProtocolEntry, SuiteConfig


def check_expect(checking: Checking, top: SuiteConfig, protocols: list[ProtocolEntry]) -> None:
    """Check every bar of a suite."""
    for index, spec in enumerate(top.expect):
        path = ("expect", index)
        checking.is_learner((*path, "learner"), spec.learner, top)
        check_bounded(checking, path, spec, top, protocols, [spec.learner])
