"""Checking a suite: one file for each kind of entry. All problems are collected and shown."""

from __future__ import annotations

from pathlib import Path

from harness.learning.learner import Budget
from harness.suite.check.claims import check_claims
from harness.suite.check.context import Checking
from harness.suite.check.expect import check_expect
from harness.suite.check.figures import check_figures
from harness.suite.check.learners import checked_learners
from harness.suite.check.protocols import checked_protocols
from harness.suite.check.published import checked_published
from harness.suite.check.tables import check_tables
from harness.suite.explain import Problem
from harness.suite.marked_yaml import Source
from harness.suite.model import Suite, SuiteConfig


def check(tree: Source, data_root: Path | None) -> tuple[Suite | None, list[Problem]]:
    """Check a suite.

    Args:
        tree: the suite with its defaults and overrides.
        data_root: folder of the datasets that are not embedded.

    Returns:
        the suite, or None if its top level is faulty; and every problem found.
    """
    problems: list[Problem] = []
    checking = Checking(tree, data_root, problems)
    top = checking.validated(SuiteConfig, tree.value, ())
    if top is None:
        return None, problems
    learners = checked_learners(checking, top)
    protocols = checked_protocols(checking, top, learners)
    check_tables(checking, top, protocols)
    published = checked_published(checking, top, protocols)
    check_figures(checking, top, protocols)
    check_claims(checking, top, protocols)
    check_expect(checking, top, protocols)
    suite = Suite(
        name=top.name,
        description=top.description,
        budget=Budget(top.budget.images),
        snapshots=top.snapshots,
        learners=learners,
        protocols=protocols,
        tables=top.tables,
        published=published,
        figures=top.figures,
        claims=top.claims,
        expect=top.expect,
    )
    return suite, problems
