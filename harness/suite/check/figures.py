"""Checks of figures: the learners on their lines, and the number on each axis."""

from __future__ import annotations

from harness.suite.check.context import Checking
from harness.suite.check.numbers import check_number
from harness.suite.model import ProtocolEntry, SuiteConfig


def check_figures(checking: Checking, top: SuiteConfig, protocols: list[ProtocolEntry]) -> None:
    """Check every figure that a suite asks for."""
    for index, spec in enumerate(top.figures):
        path = ("figures", index)
        learners = []
        for line, members in spec.lines.items():
            for place, name in enumerate(members):
                checking.is_learner((*path, "lines", line, place), name, top)
                learners.append(name)
        for axis, number in (("x", spec.x), ("y", spec.y)):
            if number.config is None:
                check_number(checking, (*path, axis), number, top, protocols, learners)
