"""Checks of claims: their learners and controls, and the numbers that decide them."""

from __future__ import annotations

from harness.suite.check.context import Checking, Steps
from harness.suite.check.numbers import check_bounded, check_number
from harness.suite.model import ProtocolEntry, SuiteConfig
from harness.suite.specs.claims import ClaimSpec


def check_claims(checking: Checking, top: SuiteConfig, protocols: list[ProtocolEntry]) -> None:
    """Check every claim of a suite."""
    for index, spec in enumerate(top.claims):
        _check_claim(checking, ("claims", index), spec, top, protocols)


def _check_claim(
    checking: Checking,
    path: Steps,
    spec: ClaimSpec,
    top: SuiteConfig,
    protocols: list[ProtocolEntry],
) -> None:
    checking.is_learner((*path, "learner"), spec.learner, top)
    for index, name in enumerate(spec.controls):
        checking.is_learner((*path, "controls", index), name, top)
    if spec.comparable:
        check_number(checking, (*path, "comparable"), spec.comparable, top, protocols)
    for index, measure in enumerate(spec.measures):
        at = (*path, "measures", index)
        for place, name in enumerate(measure.controls or []):
            checking.is_learner((*at, "controls", place), name, top)
        controls: list[str] = []
        if measure.comparison is not None:
            controls = measure.controls or spec.controls
            if not controls:
                checking.report(
                    at,
                    "it compares with controls, and there are none",
                    "name some in `controls`",
                )
        learners = [measure.learner or spec.learner, *controls]
        check_bounded(checking, at, measure, top, protocols, learners)
